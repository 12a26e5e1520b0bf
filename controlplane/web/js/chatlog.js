//! Messages by channel: one unbroken stretch of them, mostly the newest, with live additions and
//! one's own messages while they are under way; or a stretch around a message that was looked for.
//! Bounded: a long stretch lets go of the end that is not looked at.

import { state, changed, compareIds, findChannel } from "./store.js";
import { call, newKey } from "./api.js";

const PAGE = 50;
const MOST = 600;

let nextPending = 1;

/** The log of a channel; made empty when it was not known. */
export function log(channelId) {
  let entry = state.messages.get(channelId);
  if (!entry) {
    entry = { items: [], pending: [], complete: false, live: true, loading: false, loaded: false, failed: "", turn: 0, barred: false };
    state.messages.set(channelId, entry);
  }
  return entry;
}

function reset(entry, live) {
  Object.assign(entry, { items: [], complete: false, live, loaded: false, loading: false, failed: "", turn: entry.turn + 1 });
}

/** Who may not read the history has all there is: what comes live. */
export function setHistory(entry, allowed) {
  if (!allowed) Object.assign(entry, { barred: true, loaded: true, complete: true });
  else if (entry.barred) {
    entry.barred = false;
    reset(entry, true);
  }
}

/** After a gap in events nothing here can be trusted; what is shown is read again. */
export function forgetAll() {
  for (const [channelId, entry] of state.messages) {
    if (entry.pending.length === 0) state.messages.delete(channelId);
    reset(entry, true);
  }
  changed("messages");
}

/** A message that came live. */
export function add(message) {
  const entry = state.messages.get(message.channel_id);
  if (!entry) return;
  if (message.author.id === state.user?.id) {
    // The event may be faster than the answer to the request that caused it.
    const index = entry.pending.findIndex((item) => !item.failed && item.content.trim() === message.content.trim());
    if (index >= 0) entry.pending.splice(index, 1);
  }
  // A stretch of older messages does not reach up to this one.
  if (entry.live) merge(entry, [message]);
  changed("messages");
}

/** A message that was edited. */
export function replace(message) {
  const entry = state.messages.get(message.channel_id);
  const index = entry?.items.findIndex((item) => item.id === message.id) ?? -1;
  if (index < 0) return;
  entry.items[index] = message;
  changed("messages");
}

/** A message that is gone. */
export function remove(channelId, messageId) {
  const entry = state.messages.get(channelId);
  if (entry) entry.items = entry.items.filter((item) => item.id !== messageId);
  const channel = findChannel(channelId);
  if (channel?.last_message_id === messageId && entry?.loaded && entry.live) channel.last_message_id = entry.items.at(-1)?.id ?? null;
  changed("messages", "unread");
}

function merge(entry, messages) {
  const byId = new Map(entry.items.map((item) => [item.id, item]));
  for (const message of messages) byId.set(message.id, message);
  entry.items = [...byId.values()].sort((a, b) => compareIds(a.id, b.id));
}

/** Lets the log forget its oldest part; called while its newest part is looked at. */
export function trim(channelId) {
  const entry = state.messages.get(channelId);
  if (!entry || entry.items.length <= MOST) return;
  entry.items = entry.items.slice(-MOST / 2);
  entry.complete = false;
  changed("messages");
}

async function page(channelId, query, take) {
  const entry = log(channelId);
  if (entry.loading) return;
  const { turn } = entry;
  entry.loading = true;
  entry.failed = "";
  changed("messages");
  try {
    const found = await call("GET", `/channels/${channelId}/messages?limit=${PAGE}${query}`);
    if (turn === entry.turn) take(entry, found);
  } catch (error) {
    if (turn === entry.turn) entry.failed = error.message;
  } finally {
    if (turn === entry.turn) entry.loading = false;
    changed("messages");
  }
}

/** Reads the newest page, or the page before the oldest message that is known. */
export async function load(channelId) {
  const { complete, loaded, items } = log(channelId);
  if (complete) return;
  const before = loaded && items.length > 0 ? `&before=${items[0].id}` : "";
  await page(channelId, before, (entry, found) => {
    merge(entry, found);
    entry.loaded = true;
    entry.complete = found.length < PAGE;
    if (entry.items.length <= 2 * MOST) return;
    entry.items = entry.items.slice(0, MOST);
    entry.live = false;
  });
}

/** Reads the page after the newest message of a stretch that does not reach the end. */
export async function loadNewer(channelId) {
  const { live, loaded, items } = log(channelId);
  if (live || !loaded || items.length === 0) return;
  await page(channelId, `&after=${items.at(-1).id}`, (entry, found) => {
    merge(entry, found);
    entry.live = found.length < PAGE;
    trim(channelId);
  });
}

/** Reads the stretch around one message, instead of what is there. */
export async function loadAround(channelId, messageId) {
  const entry = log(channelId);
  if (entry.loaded && entry.items.some((item) => item.id === messageId)) return;
  reset(entry, false);
  await page(channelId, `&around=${messageId}`, (_, found) => {
    merge(entry, found);
    entry.loaded = true;
  });
}

/** Goes back to the newest messages. */
export function loadNewest(channelId) {
  reset(log(channelId), true);
  return load(channelId);
}

/** Sends a message; it shows at once, and stays with its error when it fails. */
export async function send(channelId, content, retried = null) {
  const entry = log(channelId);
  const item = retried ?? { key: `pending-${nextPending++}`, idempotencyKey: newKey(), content, created_at_ms: Date.now(), failed: "" };
  item.failed = "";
  if (!retried) entry.pending.push(item);
  changed("messages");
  try {
    // Sent again under its key, it is never there twice.
    const message = await call("POST", `/channels/${channelId}/messages`, { content: item.content }, { key: item.idempotencyKey });
    entry.pending = entry.pending.filter((other) => other !== item);
    if (log(channelId).live) merge(log(channelId), [message]);
  } catch (error) {
    item.failed = error.message;
  }
  changed("messages");
}

/** Gives up a message that could not be sent. */
export function discard(channelId, item) {
  const entry = log(channelId);
  entry.pending = entry.pending.filter((other) => other !== item);
  changed("messages");
}

/** Changes one's own message. Throws what the server says against it. */
export async function edit(message, content) {
  replace(await call("PATCH", `/channels/${message.channel_id}/messages/${message.id}`, { content }));
}

/** Deletes a message. Throws what the server says against it. */
export async function erase(message) {
  await call("DELETE", `/channels/${message.channel_id}/messages/${message.id}`);
  remove(message.channel_id, message.id);
}
