//! What the client knows, in one object, and who wants to hear of changes. Changes are announced
//! by topic and delivered together at the end of the running task; nothing here touches the page.

/** Everything that the pages show. Only `events.js` and the modules beside it and `voice/` write to it. */
export const state = {
  /** `starting`, `out` or `in`. */
  phase: "starting",
  /** Oneself. */
  user: null,
  /** GuildId → guild, its members as a Map. */
  guilds: new Map(),
  /** SessionId → voice state, of all guilds. */
  voices: new Map(),
  /** ChannelId → Set of source ids that speak now. */
  speakers: new Map(),
  /** True while one's own microphone hears a voice. */
  selfSpeaking: false,
  /** ChannelId → { items, pending, complete, loading, failed }. */
  messages: new Map(),
  /** ChannelId → how many messages wait, where that is known; see unread.js. */
  unread: new Map(),
  /** ChannelId → the newest message that one has read. */
  read: new Map(),
  /** ChannelId → Set of those who are writing. */
  typing: new Map(),
  /** Where the address bar points; `message` is one to look at. */
  route: { guild: null, channel: null, message: null, invite: null },
  /** True while the search stands in the place of the members. */
  searching: false,
  /** `connecting`, `online` or `offline`. */
  gateway: "connecting",
  /** One's own call; see voice/call.js. */
  call: {
    channel: null,
    session: null,
    status: "idle",
    wasConnected: false,
    note: "",
    selfMute: false,
    selfDeaf: false,
    microphone: "unknown",
    camera: false,
    screen: false,
    soundBlocked: false,
    codecs: [],
    slots: [],
    quality: null,
    nodeStats: null,
    focus: null,
  },
};

const listeners = new Map();
const waiting = new Set();

/** Calls `callback` once after each task in which one of the topics changed. */
export function on(topics, callback) {
  for (const topic of topics) {
    if (!listeners.has(topic)) listeners.set(topic, new Set());
    listeners.get(topic).add(callback);
  }
  return () => {
    for (const topic of topics) listeners.get(topic)?.delete(callback);
  };
}

/** Announces that what belongs to these topics changed. */
export function changed(...topics) {
  if (waiting.size === 0) queueMicrotask(deliver);
  for (const topic of topics) waiting.add(topic);
}

function deliver() {
  const callbacks = new Set();
  for (const topic of waiting) {
    for (const callback of listeners.get(topic) ?? []) callbacks.add(callback);
  }
  waiting.clear();
  for (const callback of callbacks) {
    try {
      callback();
    } catch (error) {
      // One broken view must not keep the others from showing the truth.
      console.error(error);
    }
  }
}

/** Order of two decimal ids of any length, without losing precision. */
export function compareIds(a, b) {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

const NAMES = new Intl.Collator();

/** Order of people by their names. */
export function byName(a, b) {
  return NAMES.compare(a.name, b.name);
}

/** The first moment of the server's ids, in Unix milliseconds. */
const EPOCH_MS = 1_735_689_600_000;
const TIME_SHIFT = 21n;

/** When an id was made, in Unix milliseconds. */
export function madeAt(id) {
  return Number(BigInt(id) >> TIME_SHIFT) + EPOCH_MS;
}

/** The first id that could be made at a moment; ids before the epoch do not exist. */
export function firstIdAt(unixMs) {
  return String(BigInt(Math.max(0, Math.floor(unixMs - EPOCH_MS))) << TIME_SHIFT);
}

/** The guild that the address points at, or null. */
export function currentGuild() {
  return state.guilds.get(state.route.guild) ?? null;
}

/** The channel that the address points at, or null. */
export function currentChannel() {
  return currentGuild()?.channels.find((channel) => channel.id === state.route.channel) ?? null;
}

/** A channel of any guild, or null. */
export function findChannel(id) {
  for (const guild of state.guilds.values()) {
    const channel = guild.channels.find((candidate) => candidate.id === id);
    if (channel) return channel;
  }
  return null;
}

/** The shown name of a member. */
export function nameOf(guildId, userId) {
  if (userId === state.user?.id) return state.user.name;
  return state.guilds.get(guildId)?.members.get(userId)?.name ?? "Someone";
}

/** Voice states of a channel, by name. A person counts once, by the newest session. */
export function voicesIn(channelId) {
  const byUser = new Map();
  for (const voice of state.voices.values()) {
    if (voice.channel_id === channelId) byUser.set(voice.user_id, voice);
  }
  return [...byUser.values()].sort((a, b) =>
    NAMES.compare(nameOf(a.guild_id, a.user_id), nameOf(b.guild_id, b.user_id)) || compareIds(a.user_id, b.user_id));
}

/** True when others decided that the person is not heard: a moderator, or a missing permission. */
export function isSilenced(flags) {
  return Boolean(flags?.server_mute || flags?.suppressed);
}

/** True when nobody hears the person. */
export function isMuted(flags) {
  return Boolean(flags?.self_mute) || isSilenced(flags);
}

/** True while the person behind a voice state speaks. One's own voice is known locally. */
export function isSpeaking(voice) {
  if (isMuted(voice.flags)) return false;
  const heard = state.speakers.get(voice.channel_id)?.has(voice.source) ?? false;
  if (voice.session_id === state.call.session) return (state.selfSpeaking || heard) && !state.call.selfMute;
  return heard;
}

/** True when a voice state has a running stream of this kind. */
export function sends(voice, kind) {
  return voice.producers.some((producer) => producer.kind === kind);
}
