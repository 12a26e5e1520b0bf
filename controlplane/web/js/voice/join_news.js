//! What was told while a join waits for its reply. The reply shows the channel as it was when it
//! was written; what an event told meanwhile about a session is kept, and holds against it.

/** Most endings of own sessions, and most sessions of the channel, that are kept; the oldest go. */
const LIMITS = { endings: 8, sessions: 1_024 };

/** The news of one join of `channel`. */
export class JoinNews {
  #channel;
  /** SessionId → voice state, or null for one that left. */
  #sessions = new Map();
  /** SessionId → the `voice.ended` event. */
  #endings = new Map();

  constructor(channel) {
    this.#channel = channel;
  }

  /** Somebody came to a channel or changed there. */
  entered(voice) {
    if (voice.channel_id === this.#channel) keep(this.#sessions, voice.session_id, voice, LIMITS.sessions);
  }

  /** Somebody's session in a channel ended. */
  left(session, channel) {
    if (channel === this.#channel) keep(this.#sessions, session, null, LIMITS.sessions);
  }

  /** An own session ended; it may be the one that the reply is going to name. */
  ended(ending) {
    keep(this.#endings, ending.session_id, ending, LIMITS.endings);
  }

  /** How this session ended already, or null. */
  endingOf(session) {
    return this.#endings.get(session) ?? null;
  }

  /** The reply's voice states, put right; of the person's own sessions only the new one is left. */
  correct(voices, session, user) {
    const bySession = new Map(voices.map((voice) => [voice.session_id, voice]));
    for (const [id, voice] of this.#sessions) bySession.set(id, voice);
    const isPresent = (voice) => voice !== null && !this.#endings.has(voice.session_id) && (voice.user_id !== user || voice.session_id === session);
    return [...bySession.values()].filter(isPresent);
  }
}

function keep(map, key, value, limit) {
  map.delete(key);
  map.set(key, value);
  if (map.size > limit) map.delete(map.keys().next().value);
}
