//! Applies what the gateway tells to the state. Pure bookkeeping: voice-session events are handed
//! on to the call, everything else only changes `state` and announces topics. A durable event
//! carries its place among its guild's, and one that was seen already changes nothing.

import { state, changed, compareIds } from "./store.js";
import * as chatlog from "./chatlog.js";
import * as presence from "./presence.js";
import * as typing from "./typing.js";
import * as unread from "./unread.js";

/** Takes a guild as the server describes it into the state; an older copy than the known one is no news. */
export function takeGuild(guild) {
  const known = state.guilds.get(guild.id);
  if (known && known.sequence > (guild.sequence ?? 0)) return;
  const { voice_states: voices = [], members, presences, roles = [], sequence = 0, ...rest } = guild;
  const taken = { ...rest, sequence, roles: ordered(roles), members: new Map(members.map((member) => [member.id, { roles: [], ...member }])) };
  presence.take(taken, presences);
  state.guilds.set(guild.id, taken);
  takeVoices(guild.id, voices);
  changed("guilds", "presence", "unread");
}

/** Forgets a guild and all that belongs to it. */
export function forgetGuild(guildId) {
  const guild = state.guilds.get(guildId);
  if (!guild) return;
  state.guilds.delete(guildId);
  takeVoices(guildId, []);
  for (const channel of guild.channels) forgetChannel(channel.id);
  changed("guilds", "unread");
}

/** Forgets everything of the person who was signed in. */
export function clear() {
  state.user = null;
  for (const table of [state.guilds, state.voices, state.speakers, state.messages, state.unread, state.read]) table.clear();
  typing.clear();
  changed("guilds", "voice", "speakers", "messages", "unread");
}

/** Applies one event; `call` gets those about one's own voice session. */
export function apply(event, data, call, position = null) {
  const guild = position && state.guilds.get(position.guild_id);
  if (guild) {
    if (position.sequence <= guild.sequence) return;
    guild.sequence = position.sequence;
  }
  const handler = HANDLERS[event];
  if (handler) handler(data, call);
}

/** The newest event that is known of each guild: a resume on any replica goes on after it. */
export function positions() {
  return Object.fromEntries([...state.guilds.values()].map((guild) => [guild.id, guild.sequence]));
}

function ordered(roles) {
  return [...roles].sort((a, b) => b.position - a.position || compareIds(a.id, b.id));
}

function takeVoices(guildId, voices) {
  for (const [session, voice] of state.voices) {
    if (voice.guild_id === guildId) state.voices.delete(session);
  }
  for (const voice of voices) state.voices.set(voice.session_id, voice);
  changed("voice");
}

function forgetChannel(channelId) {
  for (const [session, voice] of state.voices) {
    if (voice.channel_id === channelId) state.voices.delete(session);
  }
  state.messages.delete(channelId);
  state.unread.delete(channelId);
  state.typing.delete(channelId);
  changed("voice", "messages", "typing");
}

function setMember({ guild_id: guildId, member }) {
  state.guilds.get(guildId)?.members.set(member.id, { roles: [], ...member });
  changed("guilds");
}

/** Takes a role as the server describes it. */
export function setRole(role) {
  const guild = state.guilds.get(role.guild_id);
  if (!guild) return;
  guild.roles = ordered([...guild.roles.filter((known) => known.id !== role.id), role]);
  changed("guilds");
}

function setChannel(channel) {
  const guild = state.guilds.get(channel.guild_id);
  if (!guild) return;
  const known = guild.channels.find((one) => one.id === channel.id);
  if (!known) guild.channels.push(channel);
  else {
    const newest = [known.last_message_id, channel.last_message_id].filter(Boolean).sort(compareIds).at(-1) ?? null;
    Object.assign(known, channel, { last_message_id: newest });
  }
  changed("guilds", "unread");
}

const HANDLERS = {
  ready({ user, guilds, read_marks: marks = [] }) {
    state.user = user;
    state.guilds.clear();
    state.voices.clear();
    state.speakers.clear();
    typing.clear();
    for (const guild of guilds) takeGuild(guild);
    unread.takeMarks(marks);
    chatlog.forgetAll();
    changed("user", "guilds", "voice", "speakers");
  },
  resumed() {},
  "guild.added": takeGuild,
  "guild.removed"({ guild_id: guildId }) {
    forgetGuild(guildId);
  },
  "guild.updated"({ guild_id: guildId, name, owner_id: ownerId }) {
    const guild = state.guilds.get(guildId);
    if (guild) Object.assign(guild, { name, owner_id: ownerId });
    changed("guilds");
  },
  "guild.state"({ guild_id: guildId, voice_states: voices, presences }) {
    const guild = state.guilds.get(guildId);
    if (!guild) return;
    presence.take(guild, presences);
    takeVoices(guildId, voices);
    changed("presence");
  },
  "member.added": setMember,
  "member.updated": setMember,
  "member.removed"({ guild_id: guildId, user_id: userId }) {
    const guild = state.guilds.get(guildId);
    guild?.members.delete(userId);
    guild?.presences.delete(userId);
    changed("guilds");
  },
  "role.created": setRole,
  "role.updated": setRole,
  "role.deleted"({ guild_id: guildId, role_id: roleId }) {
    const guild = state.guilds.get(guildId);
    if (!guild) return;
    guild.roles = guild.roles.filter((role) => role.id !== roleId);
    for (const member of guild.members.values()) member.roles = member.roles.filter((id) => id !== roleId);
    for (const channel of guild.channels) channel.overwrites = (channel.overwrites ?? []).filter((one) => one.target_id !== roleId);
    changed("guilds");
  },
  "channel.created": setChannel,
  "channel.updated": setChannel,
  "channel.deleted"({ guild_id: guildId, channel_id: channelId }) {
    const guild = state.guilds.get(guildId);
    if (guild) guild.channels = guild.channels.filter((channel) => channel.id !== channelId);
    forgetChannel(channelId);
    changed("guilds", "unread");
  },
  "message.created"(message) {
    chatlog.add(message);
    unread.arrived(message);
    typing.ended(message.channel_id, message.author.id);
  },
  "message.updated": chatlog.replace,
  "message.deleted"({ channel_id: channelId, message_id: messageId }) {
    chatlog.remove(channelId, messageId);
  },
  "channel.read"({ channel_id: channelId, message_id: messageId }) {
    unread.setMark(channelId, messageId);
  },
  typing({ channel_id: channelId, user_id: userId }) {
    typing.started(channelId, userId);
  },
  presence({ guild_id: guildId, presence: { user_id: userId, status } }) {
    const guild = state.guilds.get(guildId);
    if (!guild) return;
    if (status === "offline") guild.presences.delete(userId);
    else guild.presences.set(userId, status);
    changed("presence");
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
