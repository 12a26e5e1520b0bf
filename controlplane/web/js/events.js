//! Applies what the gateway tells to the state. Pure bookkeeping: voice-session events are handed
//! on to the call, everything else only changes `state` and announces topics.

import { state, changed, currentChannel } from "./store.js";
import * as chatlog from "./chatlog.js";

/** Takes a guild as the server describes it into the state. */
export function takeGuild(guild) {
  const { voice_states: voices = [], members, ...rest } = guild;
  state.guilds.set(guild.id, { ...rest, members: new Map(members.map((member) => [member.id, member])) });
  for (const [session, voice] of state.voices) {
    if (voice.guild_id === guild.id) state.voices.delete(session);
  }
  for (const voice of voices) state.voices.set(voice.session_id, voice);
  changed("guilds", "voice");
}

/** Forgets everything of the person who was signed in. */
export function clear() {
  state.user = null;
  for (const table of [state.guilds, state.voices, state.speakers, state.messages, state.unread]) table.clear();
  changed("guilds", "voice", "speakers", "messages", "unread");
}

/** Applies one event; `call` gets those about one's own voice session. */
export function apply(event, data, call) {
  const handler = HANDLERS[event];
  if (handler) handler(data, call);
}

const HANDLERS = {
  ready({ user, guilds }) {
    state.user = user;
    state.guilds.clear();
    state.voices.clear();
    state.speakers.clear();
    for (const guild of guilds) takeGuild(guild);
    chatlog.forgetAll();
    changed("user", "guilds", "voice", "speakers");
  },
  resumed() {},
  "guild.added": takeGuild,
  "member.added"({ guild_id: guildId, member }) {
    state.guilds.get(guildId)?.members.set(member.id, member);
    changed("guilds");
  },
  "channel.created"(channel) {
    const guild = state.guilds.get(channel.guild_id);
    if (!guild || guild.channels.some((known) => known.id === channel.id)) return;
    guild.channels.push(channel);
    changed("guilds");
  },
  "message.created"(message) {
    chatlog.add(message);
    const seen = currentChannel()?.id === message.channel_id && document.visibilityState === "visible";
    if (seen || message.author.id === state.user?.id) return;
    state.unread.set(message.channel_id, (state.unread.get(message.channel_id) ?? 0) + 1);
    changed("unread");
  },
  "voice.state"(voice, call) {
    const known = state.voices.has(voice.session_id);
    state.voices.set(voice.session_id, voice);
    changed("voice");
    call.onVoiceState(voice, !known);
  },
  "voice.left"({ session_id: session, channel_id: channel }, call) {
    const wasKnown = state.voices.delete(session);
    if (wasKnown) changed("voice");
    call.onVoiceLeft(session, channel, wasKnown);
  },
  "voice.speakers"({ channel_id: channel, speakers }) {
    state.speakers.set(channel, new Set(speakers));
    changed("speakers");
  },
  "voice.view"(view, call) {
    call.onView(view);
  },
  "voice.codecs"({ channel_id: channel, codecs }, call) {
    call.onCodecs(channel, codecs);
  },
  "voice.stats"(stats, call) {
    call.onStats(stats);
  },
  "voice.ended"(ended, call) {
    state.voices.delete(ended.session_id);
    changed("voice");
    call.onEnded(ended);
  },
};
