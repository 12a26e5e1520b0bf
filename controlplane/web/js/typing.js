//! Who is writing where, and telling others that one writes oneself. It holds for 10 s at most and
//! ends with the message.

import { state, changed } from "./store.js";

const HELD_MS = 10_000;
const AGAIN_MS = 7_000;

const timers = new Map();
let told = { channel: null, at: -Infinity };

/** Somebody writes. */
export function started(channelId, userId) {
  if (userId === state.user?.id) return;
  if (!state.typing.has(channelId)) state.typing.set(channelId, new Set());
  state.typing.get(channelId).add(userId);
  const key = `${channelId}/${userId}`;
  clearTimeout(timers.get(key));
  timers.set(key, setTimeout(() => ended(channelId, userId), HELD_MS));
  changed("typing");
}

/** Somebody has written, or gave up. */
export function ended(channelId, userId) {
  const key = `${channelId}/${userId}`;
  clearTimeout(timers.get(key));
  timers.delete(key);
  if (state.typing.get(channelId)?.delete(userId)) changed("typing");
}

/** Forgets all. */
export function clear() {
  for (const timer of timers.values()) clearTimeout(timer);
  timers.clear();
  state.typing.clear();
  told = { channel: null, at: -Infinity };
  changed("typing");
}

/** One writes: the others are told now and then. `gateway` asks the server. */
export function tell(gateway, channelId) {
  const now = performance.now();
  if (told.channel === channelId && now - told.at < AGAIN_MS) return;
  told = { channel: channelId, at: now };
  gateway.request("typing.start", { channel_id: channelId }).catch(() => null);
}

/** One sent the message: the next letter tells anew. */
export function sent() {
  told = { channel: null, at: -Infinity };
}
