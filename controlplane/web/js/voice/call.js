//! One's own call: joining a voice channel, staying in it whatever happens, and leaving it.
//! Every join has a turn; whatever comes back for an older turn finds itself outdated and stops.

import { state, changed, findChannel } from "../store.js";
import { settings, onChoice } from "../settings.js";
import { Connection } from "./connection.js";
import { JoinNews } from "./join_news.js";
import { Watchdog } from "./watchdog.js";
import { Quality } from "./quality.js";
import { Capture } from "./capture.js";
import { Sound } from "./sound.js";
import { Views } from "./views.js";
import { cue } from "./cue.js";

const KEY = "hype.voice";
const CONNECT_MS = 8_000;
const REJOIN_JITTER_MS = 300;
const BACKOFF_MS = { first: 400, most: 5_000 };
const STABLE_MS = 10_000;
/** How long after muting the server is told: the silence that the browser sends meanwhile ends the
 * sound at the listeners at once, where missing packets would be stretched for 300 ms. */
const SILENCE_MS = 100;
const QUIET_WINDOW_MS = 60_000;

/** Errors that trying again does not mend. */
const FINAL = new Set(["channel_full", "not_found", "not_a_voice_channel", "forbidden", "missing_permission", "sdp_invalid", "sdp_unsupported", "invalid_request"]);

/** The person's call; there is one a page. */
export class Call {
  connection = null;
  #gateway;
  #onTrouble;
  #turn = 0;
  #attempt = 0;
  /** What is told while a join waits for its reply; null at other times. */
  #news = null;
  #timers = {};
  #watchdog = null;
  #quality = null;
  #eager = true;
  #quietAt = -Infinity;

  /** `onTrouble(message, kind)` explains things to the person. */
  constructor(gateway, onTrouble) {
    this.#gateway = gateway;
    this.#onTrouble = onTrouble;
    this.capture = new Capture(onTrouble);
    this.sound = new Sound();
    this.views = new Views((slot, view) => this.#sendView(slot, view));
    const kept = remembered();
    Object.assign(state.call, { selfMute: kept.selfMute === true, selfDeaf: kept.selfDeaf === true });
    this.capture.setMuted(this.#silent());
    this.sound.setDeaf(state.call.selfDeaf);
    onChoice((keys) => this.#onChoice(keys));
    for (const gesture of ["pointerdown", "keydown"]) window.addEventListener(gesture, () => this.capture.meter.wake());
    window.addEventListener("pagehide", () => this.#hide());
    window.addEventListener("pageshow", (event) => {
      if (event.persisted && state.call.channel) this.#begin(0);
    });
  }

  /** The RTCPeerConnection in use, or null. */
  get pc() {
    return this.connection?.pc ?? null;
  }

  /** Joins a channel, leaving any other. */
  join(channelId) {
    if (state.call.channel === channelId && state.call.status !== "idle") return;
    const sameDevices = state.call.status !== "idle";
    this.#attempt = 0;
    if (sameDevices) this.capture.stopScreen();
    this.views.reset();
    state.speakers.clear();
    this.#set({ channel: channelId, session: null, wasConnected: false, codecs: [], focus: null, quality: null, nodeStats: null });
    this.#remember();
    if (!this.capture.tracks.microphone) this.capture.openMicrophone();
    this.#begin(0);
  }

  /** Joins the channel that this tab was in before a reload. */
  resume() {
    const { channel } = remembered();
    if (channel && state.call.status === "idle" && findChannel(channel)?.kind === "voice") this.join(channel);
  }

  /** Leaves. */
  leave() {
    if (state.call.status === "idle") return;
    const { session } = state.call;
    if (session) this.#gateway.request("voice.leave", { session_id: session }).catch(() => null);
    this.#end("");
    cue("leave");
  }

  /** Mutes or unmutes oneself. To unmute while deaf is to listen again, too. */
  setMute(mute) {
    this.#set({ selfMute: mute, ...(!mute && { selfDeaf: false }) });
    this.#applyFlags(mute ? "mute" : "unmute");
  }

  /** Deafens or undeafens oneself. */
  setDeaf(deaf) {
    this.#set({ selfDeaf: deaf });
    this.#applyFlags(deaf ? "mute" : "unmute");
  }

  /** Reconnects the media path now, e.g. when the person asks for it. */
  retry() {
    if (state.call.status === "idle") return;
    this.#attempt = 0;
    this.#begin(0);
  }

  /** The gateway is usable again: joins that waited for it go on, and flags are told anew. */
  onGateway(status) {
    if (status !== "online" || state.call.status === "idle") return;
    if (state.call.session) this.#sendFlags();
    else this.#begin(0);
  }

  onView({ session_id: session, slot, state: viewState }) {
    if (session === state.call.session) this.views.onState(slot, viewState);
  }

  onCodecs(channel, codecs) {
    if (channel !== state.call.channel) return;
    this.#set({ codecs });
    this.capture.useCodecs(codecs);
  }

  onStats(stats) {
    if (stats.session !== state.call.session) return;
    state.call.nodeStats = stats;
    changed("quality");
  }

  onVoiceState(voice, isNew) {
    this.#news?.entered(voice);
    if (voice.session_id === state.call.session && voice.flags.no_stream) this.#stopStreams();
    if (isNew && voice.channel_id === state.call.channel && voice.user_id !== state.user?.id && state.call.status === "connected") cue("someoneJoined");
  }

  onVoiceLeft(session, channel, wasKnown) {
    this.#news?.left(session, channel);
    if (wasKnown && channel === state.call.channel && session !== state.call.session && state.call.status === "connected") cue("someoneLeft");
  }

  onEnded(ending) {
    const { session_id: session, rejoin, message, move_to: moveTo } = ending;
    if (session !== state.call.session) {
      // A session that a join replaces, which is no news, or one that the join's reply will name.
      this.#news?.ended(ending);
      return;
    }
    if (moveTo && moveTo !== state.call.channel) return this.#follow(moveTo);
    if (rejoin) return this.#rejoin();
    this.#end(message);
    this.#onTrouble(message || "You are no longer in the voice channel.", "info");
  }

  /** Others no longer get one's camera and screen: showing on would be a lie. */
  #stopStreams() {
    if (!state.call.camera && !state.call.screen) return;
    this.capture.setCamera(false);
    this.capture.stopScreen();
    this.#onTrouble("You may not show a camera or screen in this channel any more.", "info");
  }

  /** A moderator moved the person: the call goes on in the other channel. */
  #follow(channelId) {
    this.join(channelId);
    const channel = findChannel(channelId);
    this.#onTrouble(channel ? `You were moved to ${channel.name}.` : "You were moved to another voice channel.", "info");
  }

  /** Starts a join, after a wait. Whatever ran before is outdated from now on. */
  #begin(delayMs, note = "") {
    const turn = (this.#turn += 1);
    this.#close();
    this.#set({ session: null, status: this.#attempt === 0 && !note ? "connecting" : "retrying", note });
    clearTimeout(this.#timers.begin);
    this.#timers.begin = setTimeout(() => {
      this.#join(turn).catch((error) => {
        if (turn === this.#turn) this.#failed(error);
      });
    }, delayMs);
  }

  async #join(turn) {
    if (this.#gateway.status !== "online") {
      // onGateway begins again as soon as there is somebody to ask.
      this.#set({ status: "retrying", note: "Waiting for Hype to answer…" });
      return;
    }
    const connection = new Connection((connectionState) => this.#onConnection(turn, connectionState));
    this.connection = connection;
    await this.capture.attach(connection);
    const { sdp, lines } = await connection.offer();
    if (turn !== this.#turn) return connection.close();
    const news = (this.#news = new JoinNews(state.call.channel));
    const joined = await this.#gateway.request("voice.join", {
      channel_id: state.call.channel,
      sdp,
      lines,
      self_mute: this.#silent(),
      self_deaf: state.call.selfDeaf,
    });
    if (turn !== this.#turn) {
      connection.close();
      // Nobody uses this session; if a newer join runs, it replaces it anyway.
      this.#gateway.request("voice.leave", { session_id: joined.session_id }).catch(() => null);
      return;
    }
    this.#news = null;
    this.#take(joined, news);
    const ending = news.endingOf(joined.session_id);
    if (ending) return this.onEnded(ending);
    await connection.accept(joined.session_id, joined.sdp);
    if (turn !== this.#turn) return;
    this.sound.attach(connection);
    this.views.reassert();
    this.#watchdog = new Watchdog(connection, { eager: this.#eager }, (reason) => this.#onDead(reason));
    this.#quality = new Quality(connection);
    if (connection.connectedAt !== null) return;
    this.#timers.connect = setTimeout(() => this.#failed({ code: "no_path" }), CONNECT_MS);
  }

  #take({ session_id: session, voice_states: voices }, news) {
    for (const [id, voice] of state.voices) {
      if (voice.channel_id === state.call.channel || voice.user_id === state.user.id) state.voices.delete(id);
    }
    for (const voice of news.correct(voices, session, state.user.id)) state.voices.set(voice.session_id, voice);
    this.#set({ session });
    changed("voice");
  }

  #onConnection(turn, connectionState) {
    if (turn !== this.#turn) return;
    if (connectionState === "failed") {
      if (this.connection.connectedAt === null) this.#failed({ code: "no_path" });
      else this.#rejoin();
      return;
    }
    if (connectionState !== "connected" || state.call.status === "connected") return;
    clearTimeout(this.#timers.connect);
    if (this.#attempt === 0) cue("join");
    this.#set({ status: "connected", wasConnected: true, note: "" });
    this.capture.useCodecs(state.call.codecs);
    this.#timers.stable = setTimeout(() => {
      this.#attempt = 0;
    }, STABLE_MS);
  }

  /** Silence was taken for death twice in a minute: on this network it means nothing. */
  #onDead(reason) {
    if (reason === "quiet") {
      if (performance.now() - this.#quietAt < QUIET_WINDOW_MS) this.#eager = false;
      this.#quietAt = performance.now();
    }
    this.#rejoin();
  }

  /** The media path died: a fresh one, soon but not all at the same moment, who speaks first. */
  #rejoin() {
    if (state.call.status === "idle") return;
    const jitterMs = Math.random() * REJOIN_JITTER_MS * (state.selfSpeaking ? 0.3 : 1);
    const backoffMs = this.#attempt === 0 ? 0 : this.#backoff();
    this.#attempt += 1;
    this.#begin(jitterMs + backoffMs, "Reconnecting…");
  }

  #backoff() {
    return Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** Math.min(this.#attempt, 10)) * (0.5 + Math.random() / 2);
  }

  #failed(error) {
    if (FINAL.has(error.code)) {
      this.#end(error.message);
      this.#onTrouble(error.code === "channel_full" ? "This voice channel is full. Try again when somebody has left." : error.message);
      return;
    }
    const delayMs = Math.max(error.retryAfterMs ?? 0, this.#backoff());
    this.#attempt += 1;
    this.#begin(delayMs, this.#explain(error));
  }

  #explain({ code, message }) {
    if (code === "no_path") {
      return this.#attempt < 2 ? "Connecting…" : "No connection to the voice server. A firewall or VPN may block UDP here; Hype keeps trying.";
    }
    if (code === "coordination_unavailable" || code === "no_node") return "Connecting… the voice servers are getting ready.";
    if (code === "offline" || code === "timeout") return "Waiting for Hype to answer…";
    return message ? `Connecting… (${message})` : "Connecting…";
  }

  /** Drops the connection, and keeps the wish to be in the channel. */
  #close() {
    for (const timer of ["begin", "connect", "stable"]) clearTimeout(this.#timers[timer]);
    this.#watchdog?.stop();
    this.#quality?.stop();
    this.#watchdog = this.#quality = null;
    this.#news = null;
    this.capture.detach();
    this.connection?.close();
    this.connection = null;
  }

  #end(note) {
    this.#turn += 1;
    this.#close();
    this.capture.release();
    this.sound.detach();
    this.views.reset();
    if (state.call.session) state.voices.delete(state.call.session);
    this.#set({ channel: null, session: null, status: "idle", note, quality: null, nodeStats: null, codecs: [], focus: null });
    changed("voice");
    this.#remember();
  }

  /** The page goes away: say so at once, but remember the channel for a reload. */
  #hide() {
    const { session } = state.call;
    this.#remember();
    if (session) this.#gateway.request("voice.leave", { session_id: session }).catch(() => null);
    this.#turn += 1;
    this.#close();
  }

  #silent() {
    return state.call.selfMute || state.call.selfDeaf;
  }

  #applyFlags(sound) {
    this.capture.setMuted(this.#silent());
    this.sound.setDeaf(state.call.selfDeaf);
    this.#remember();
    const own = state.voices.get(state.call.session);
    if (own) own.flags = { ...own.flags, self_mute: this.#silent(), self_deaf: state.call.selfDeaf };
    changed("voice", "speakers");
    clearTimeout(this.#timers.flags);
    if (this.#silent()) this.#timers.flags = setTimeout(() => this.#sendFlags(), SILENCE_MS);
    else this.#sendFlags();
    cue(sound);
  }

  #sendFlags() {
    const { session, selfDeaf } = state.call;
    if (!session) return;
    // A cut fails this request; onGateway tells the flags again.
    this.#gateway.request("voice.flags", { session_id: session, self_mute: this.#silent(), self_deaf: selfDeaf }).catch(() => null);
  }

  #sendView(slot, view) {
    const { session } = state.call;
    return session ? this.#gateway.request("voice.view", { session_id: session, slot, view }) : Promise.resolve();
  }

  #onChoice(keys) {
    if (state.call.status === "idle") return;
    if (keys.some((key) => ["input", "echoCancellation", "noiseSuppression", "autoGainControl"].includes(key))) this.capture.openMicrophone();
    if (keys.includes("camera") && state.call.camera) this.capture.setCamera(true);
    if (keys.includes("share") && this.capture.tracks.screen) this.capture.tracks.screen.contentHint = settings.share;
  }

  #remember() {
    const { channel, selfMute, selfDeaf } = state.call;
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ channel, selfMute, selfDeaf }));
    } catch {
      // Without storage a reload simply does not rejoin.
    }
  }

  #set(changes) {
    Object.assign(state.call, changes);
    changed("call");
  }
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "{}") ?? {};
  } catch {
    return {};
  }
}
