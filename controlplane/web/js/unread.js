//! What one has not read: a mark for each channel says how far one came, and the server keeps it
//! for all of one's clients. How many messages wait is known only for those that came while this
//! page was open; for older ones it is known that there are some.

import { state, changed, compareIds, findChannel, madeAt } from "./store.js";
import { call } from "./api.js";

const SETTLE_MS = 400;
const RETRY_MS = 5_000;

/** ChannelId → what the server shall be told; the newest wins. */
const untold = new Map();
let timer = null;

function later(a, b) {
  return b === undefined || b === null || compareIds(a, b) > 0;
}

/** True when a channel has messages that one has not read. */
export function isUnread(channel) {
  if (channel.kind !== "text" || !channel.last_message_id) return false;
  const mark = state.read.get(channel.id);
  if (mark) return compareIds(channel.last_message_id, mark) > 0;
  // Who has never read here is told of what came since he joined.
  const joined = state.guilds.get(channel.guild_id)?.members.get(state.user?.id)?.joined_at_ms ?? Infinity;
  return madeAt(channel.last_message_id) > joined;
}

/** How many messages wait in a channel; null when that is not known. */
export function unreadCount(channel) {
  if (!isUnread(channel)) return 0;
  return state.unread.get(channel.id) ?? null;
}

/** Of some channels together: whether anything waits, and how much of it was counted. */
export function unreadSum(channels) {
  let [any, sum] = [false, 0];
  for (const channel of channels) {
    if (!isUnread(channel)) continue;
    any = true;
    sum += state.unread.get(channel.id) ?? 0;
  }
  return { any, sum };
}

/** A message came live. */
export function arrived(message) {
  const channel = findChannel(message.channel_id);
  if (!channel) return;
  const waited = isUnread(channel);
  if (later(message.id, channel.last_message_id)) channel.last_message_id = message.id;
  if (message.author.id === state.user?.id) {
    // Whoever writes has seen what stands above.
    setMark(channel.id, message.id);
    return;
  }
  if (!waited) state.unread.set(channel.id, 1);
  else if (state.unread.has(channel.id)) state.unread.set(channel.id, state.unread.get(channel.id) + 1);
  changed("unread");
}

/** A mark as the server tells it; marks never go back. */
export function setMark(channelId, messageId) {
  if (!later(messageId, state.read.get(channelId))) return;
  state.read.set(channelId, messageId);
  const channel = findChannel(channelId);
  if (!channel || !isUnread(channel)) state.unread.delete(channelId);
  changed("unread");
}

/** All marks of a fresh session. */
export function takeMarks(marks) {
  state.unread.clear();
  state.read.clear();
  untold.clear();
  for (const mark of marks) state.read.set(mark.channel_id, mark.message_id);
  changed("unread");
}

/** One sees a channel's newest message now. `newestId` is the newest that still exists. */
export function markRead(channel, newestId) {
  if (!isUnread(channel)) return;
  const last = later(newestId, channel.last_message_id) ? newestId : channel.last_message_id;
  setMark(channel.id, last);
  untold.set(channel.id, newestId);
  if (timer === null) timer = setTimeout(tell, SETTLE_MS);
}

async function tell() {
  timer = null;
  for (const [channelId, messageId] of [...untold]) {
    untold.delete(channelId);
    try {
      await call("POST", `/channels/${channelId}/read`, { message_id: messageId });
    } catch (error) {
      // A channel or message that is gone needs no mark; everything else is told later.
      if (error.status >= 400 && error.status < 500 && error.status !== 429) continue;
      if (!untold.has(channelId)) untold.set(channelId, messageId);
      timer ??= setTimeout(tell, error.retryAfterMs ?? RETRY_MS);
    }
  }
}
