//! What one's own side sends: microphone, camera, screen and its sound. Holds the tracks over
//! rejoins and puts them on whatever connection there is.

import { state, changed } from "../store.js";
import { settings } from "../settings.js";
import * as devices from "./devices.js";
import { publishWith } from "./codec.js";

const DISPLAY = {
  detail: { frameRate: { ideal: 30, max: 30 }, width: { max: 1920 }, height: { max: 1080 } },
  motion: { frameRate: { ideal: 60, max: 60 }, width: { max: 1920 }, height: { max: 1080 } },
};

/** One's own tracks by kind. */
export class Capture {
  /** Kind → MediaStreamTrack. */
  tracks = { microphone: null, camera: null, screen: null, screen_audio: null };
  /** The level of the microphone. */
  meter;
  #connection = null;
  #muted = false;
  #opening = null;
  #onTrouble;

  /** `onTrouble(message)` explains to the person what could not be done. */
  constructor(onTrouble) {
    this.#onTrouble = onTrouble;
    this.meter = new devices.Meter((speaking) => {
      state.selfSpeaking = speaking;
      changed("speakers");
    });
    devices.onDevices(() => {
      if (this.#connection && !this.tracks.microphone && state.call.microphone === "absent") this.openMicrophone();
    });
  }

  /** Puts the tracks that exist on a new connection. */
  attach(connection) {
    this.#connection = connection;
    return Promise.all(
      Object.entries(this.tracks)
        .filter(([, track]) => track)
        .map(([kind, track]) => connection.replace(kind, track)),
    );
  }

  /** Publishes by codecs that all present can decode, best first. */
  async useCodecs(codecs) {
    const connection = this.#connection;
    if (!connection?.session) return;
    for (const kind of ["camera", "screen"]) {
      const chosen = await publishWith(connection.senders[kind], codecs, { screen: kind === "screen" });
      if (chosen === undefined && this.tracks[kind]) {
        this.#onTrouble("Somebody here cannot play any video format that your browser can send, so that person will not see your picture.");
      }
    }
    if (this.tracks.screen) await this.#preferFor(settings.share);
  }

  async #put(kind, track) {
    const old = this.tracks[kind];
    this.tracks[kind] = track;
    if (old && old !== track) old.stop();
    await this.#connection?.replace(kind, track);
  }

  /** Opens the microphone anew, by the present settings. Without one, one listens. */
  async openMicrophone() {
    const turn = Symbol("opening");
    this.#opening = turn;
    let track = null;
    let outcome = "ok";
    try {
      track = await devices.openMicrophone();
    } catch (error) {
      outcome = error.problem;
    }
    if (this.#opening !== turn) {
      track?.stop();
      return;
    }
    if (track) {
      track.enabled = !this.#muted;
      track.addEventListener("ended", () => {
        // The device was unplugged: another may be there.
        if (this.tracks.microphone === track) this.openMicrophone();
      });
    } else if (state.call.microphone !== outcome) {
      this.#onTrouble(devices.PROBLEMS[outcome]);
    }
    state.call.microphone = outcome;
    changed("call");
    await this.#put("microphone", track);
    this.meter.follow(track);
  }

  /** Silences the microphone at its source; the server does the same on its side. */
  setMuted(muted) {
    this.#muted = muted;
    if (this.tracks.microphone) this.tracks.microphone.enabled = !muted;
  }

  /** Switches the camera on or off. */
  async setCamera(on) {
    let track = null;
    if (on) {
      try {
        track = await devices.openCamera();
      } catch (error) {
        this.#onTrouble((devices.PROBLEMS[error.problem] ?? "").replace(/microphone/g, "camera").replace(" You can listen meanwhile.", ""));
        return;
      }
      track.addEventListener("ended", () => {
        if (this.tracks.camera === track) this.setCamera(false);
      });
    }
    await this.#put("camera", track);
    state.call.camera = Boolean(track);
    changed("call", "voice");
    if (track) await this.useCodecs(state.call.codecs);
  }

  /** Asks what to share, and shares it with its sound where the browser gives it. */
  async startScreen() {
    if (!window.isSecureContext || !navigator.mediaDevices?.getDisplayMedia) {
      this.#onTrouble(window.isSecureContext ? "This browser cannot share a screen." : devices.PROBLEMS.insecure.replace("the microphone", "screen sharing"));
      return;
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({
        video: DISPLAY[settings.share],
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 2 },
        systemAudio: "include",
        surfaceSwitching: "include",
        selfBrowserSurface: "exclude",
      });
    } catch (error) {
      // To close the browser's picker is a choice, not a failure; browsers name both the same.
      if (error.name !== "NotAllowedError") this.#onTrouble(`The screen could not be shared: ${error.message}`);
      return;
    }
    const [video] = stream.getVideoTracks();
    const [audio = null] = stream.getAudioTracks();
    if (state.call.status === "idle") {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    video.contentHint = settings.share;
    if (audio) audio.contentHint = "music";
    video.addEventListener("ended", () => {
      if (this.tracks.screen === video) this.stopScreen();
    });
    await Promise.all([this.#put("screen", video), this.#put("screen_audio", audio)]);
    state.call.screen = true;
    changed("call", "voice");
    await this.useCodecs(state.call.codecs);
  }

  /** Text stays sharp when the network is slow; games stay smooth. */
  async #preferFor(share) {
    const sender = this.#connection?.senders.screen;
    if (!sender?.getParameters || !this.#connection.session) return;
    const parameters = sender.getParameters();
    parameters.degradationPreference = share === "motion" ? "maintain-framerate" : "maintain-resolution";
    await sender.setParameters(parameters).catch(() => null);
  }

  /** Stops sharing. */
  async stopScreen() {
    await Promise.all([this.#put("screen", null), this.#put("screen_audio", null)]);
    state.call.screen = false;
    changed("call", "voice");
  }

  /** Lets go of the connection; tracks stay for the next one. */
  detach() {
    this.#connection = null;
  }

  /** Closes all devices. */
  release() {
    this.detach();
    this.#opening = null;
    for (const kind of Object.keys(this.tracks)) {
      this.tracks[kind]?.stop();
      this.tracks[kind] = null;
    }
    this.meter.follow(null);
    Object.assign(state.call, { camera: false, screen: false, microphone: "unknown" });
    changed("call", "voice");
  }
}
