//! Messages by channel: the newest page, older pages on demand, live additions, and one's own
//! messages while they are under way. Bounded: a long log keeps its newest part.

import { state, changed, compareIds } from "./store.js";
import { call } from "./api.js";

const PAGE = 50;
const MOST = 600;

let nextPending = 1;

/** The log of a channel; made empty when it was not known. */
export function log(channelId) {
  let entry = state.messages.get(channelId);
  if (!entry) {
    entry = { items: [], pending: [], complete: false, loading: false, loaded: false, failed: "" };
    state.messages.set(channelId, entry);
  }
  return entry;
}

/** After a gap in events nothing here can be trusted; what is shown is read again. */
export function forgetAll() {
  for (const [channelId, entry] of state.messages) {
    if (entry.pending.length === 0) state.messages.delete(channelId);
    else Object.assign(entry, { items: [], complete: false, loaded: false, loading: false, failed: "" });
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
  merge(entry, [message]);
  changed("messages");
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

/** Reads the newest page, or the page before the oldest message that is known. */
export async function load(channelId) {
  const entry = log(channelId);
  if (entry.loading || entry.complete) return;
  entry.loading = true;
  entry.failed = "";
  changed("messages");
  try {
    const before = entry.loaded && entry.items.length > 0 ? `&before=${entry.items[0].id}` : "";
    const page = await call("GET", `/channels/${channelId}/messages?limit=${PAGE}${before}`);
    merge(entry, page);
    entry.loaded = true;
    entry.complete = page.length < PAGE;
  } catch (error) {
    entry.failed = error.message;
  } finally {
    entry.loading = false;
    changed("messages");
  }
}

/** Sends a message; it shows at once, and stays with its error when it fails. */
export async function send(channelId, content, retried = null) {
  const entry = log(channelId);
  const item = retried ?? { key: `pending-${nextPending++}`, content, created_at_ms: Date.now(), failed: "" };
  item.failed = "";
  if (!retried) entry.pending.push(item);
  changed("messages");
  try {
    const message = await call("POST", `/channels/${channelId}/messages`, { content: item.content });
    entry.pending = entry.pending.filter((other) => other !== item);
    merge(log(channelId), [message]);
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
