//! A text channel: its messages, older ones when one scrolls up, newer ones when one looked at old
//! ones and scrolls down. Stays at the newest message as long as the reader is there, and leaves
//! him alone elsewhere.

import { h, keyed, clearKeyed, fill } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, compareIds, currentChannel } from "../store.js";
import { P, mayIn } from "../permissions.js";
import { isUnread, markRead } from "../unread.js";
import * as chatlog from "../chatlog.js";
import * as route from "../route.js";
import { composer } from "./composer.js";
import { makeRow, updateRow, edit } from "./message.js";
import { walkMessages, settleStop } from "./walk.js";

const GROUP_MS = 7 * 60_000;
const NEAR_PX = 80;
const AHEAD_PX = 300;
const SHOWN_MS = 2_500;

/** Makes the view. It shows the channel of the address while that is a text channel. */
export function chat() {
  const list = h("div", { class: "messages", role: "log", "aria-live": "polite", "aria-label": "Messages", "data-testid": "messages" });
  const start = h("div", { class: "chat-start" });
  const scroller = h("div", { class: "chat-scroll" }, start, list);
  const jump = h("button", { class: "jump", hidden: true, "data-testid": "jump", onClick: () => toNewest() });
  const field = composer({ send, editLast });
  const element = h("section", { class: "chat" }, scroller, jump, field.element);

  walkMessages(list);
  let channel = null;
  let atEnd = true;
  let newest = null;
  /** Where the line "New" stands: what was read when the channel was opened. */
  let readBefore = null;
  /** The message that the address asks to look at, until it was shown. */
  let target = null;

  function toEnd() {
    scroller.scrollTop = scroller.scrollHeight;
    atEnd = true;
    renderJump();
  }

  function toNewest() {
    target = null;
    if (state.route.message) route.go(channel.guild_id, channel.id, { replace: true });
    atEnd = true;
    if (chatlog.log(channel.id).live) toEnd();
    else {
      clearKeyed(list);
      chatlog.loadNewest(channel.id);
    }
  }

  function send(content) {
    if (!chatlog.log(channel.id).live) chatlog.loadNewest(channel.id);
    atEnd = true;
    readBefore = null;
    chatlog.send(channel.id, content);
  }

  function editLast() {
    const own = chatlog.log(channel.id).items.findLast((message) => message.author.id === state.user.id);
    const row = own && list.querySelector(`[data-testid="message-${own.id}"]`);
    if (!row) return false;
    row.scrollIntoView({ block: "nearest" });
    edit(row, field.focus);
    return true;
  }

  function render() {
    const current = currentChannel();
    if (current?.kind !== "text") return;
    if (current.id !== channel?.id) open(current);
    channel = current;
    field.render(channel);
    const entry = chatlog.log(channel.id);
    const history = mayIn(channel, P.READ_MESSAGE_HISTORY);
    chatlog.setHistory(entry, history);
    if (!target && !entry.loaded && !entry.loading && !entry.failed) chatlog.load(channel.id);
    const before = { height: scroller.scrollHeight, top: scroller.scrollTop, first: list.firstChild?.dataset.testid };
    const oldNewest = newest;
    renderStart(entry, history);
    const rows = [...entry.items.map(known), ...(entry.live ? entry.pending.map(pending) : [])];
    group(rows, readBefore);
    keyed(list, rows, (row) => row.key, makeRow, (node, row) => updateRow(node, row, channel.id));
    settleStop(list);
    newest = rows.at(-1)?.key ?? null;
    if (target) show(entry);
    else if (atEnd && entry.live) toEnd();
    else if (scroller.scrollHeight !== before.height && list.firstChild?.dataset.testid !== before.first) {
      // Older messages came in above: what the reader looks at must not move.
      scroller.scrollTop = before.top + (scroller.scrollHeight - before.height);
    }
    renderJump(newest !== oldNewest);
    if (scroller.clientHeight > 0 && scroller.scrollHeight <= scroller.clientHeight && entry.loaded && !entry.failed) {
      chatlog.load(channel.id);
      chatlog.loadNewer(channel.id);
    }
    noteRead(entry);
  }

  function open(next) {
    clearKeyed(list);
    atEnd = true;
    newest = null;
    jump.hidden = true;
    readBefore = isUnread(next) ? (state.read.get(next.id) ?? "0") : null;
    const entry = chatlog.log(next.id);
    if (!entry.live && !state.route.message) chatlog.loadNewest(next.id);
  }

  /** Follows the address to a message. */
  function seek() {
    const current = currentChannel();
    if (current?.kind !== "text" || !state.route.message) {
      target = null;
      return;
    }
    target = state.route.message;
    atEnd = false;
    chatlog.loadAround(current.id, target);
    render();
  }

  /** Brings the looked-for message to the middle, once it is there. */
  function show(entry) {
    if (!entry.loaded) return;
    const row = list.querySelector(`[data-testid="message-${target}"]`);
    target = null;
    if (!row) return;
    atEnd = false;
    row.scrollIntoView({ block: "center" });
    row.classList.add("looked-for");
    setTimeout(() => row.classList.remove("looked-for"), SHOWN_MS);
  }

  function noteRead(entry) {
    const seen = document.visibilityState === "visible" && atEnd && entry.live && entry.loaded && element.isConnected && !element.hidden;
    const last = entry.items.at(-1);
    if (seen && last) markRead(channel, last.id);
  }

  function renderJump(fresh = false) {
    const entry = channel && chatlog.log(channel.id);
    const away = Boolean(entry) && entry.loaded && !(entry.live && atEnd);
    const text = fresh || (channel && isUnread(channel)) ? "New messages" : "To the newest";
    if (!away) jump.hidden = true;
    else if (!entry.live || fresh || far()) jump.hidden = false;
    if (jump.dataset.text === text) return;
    jump.dataset.text = text;
    fill(jump, icon("down"), text);
  }

  function far() {
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight > 2 * scroller.clientHeight;
  }

  function renderStart(entry, history) {
    const sign = JSON.stringify([channel.id, channel.name, channel.topic, entry.complete, entry.loading, entry.failed, history]);
    if (start.dataset.sign === sign) return;
    start.dataset.sign = sign;
    if (entry.failed && history) {
      const again = h("button", { class: "secondary", onClick: () => chatlog.load(channel.id) }, "Try again");
      fill(start, h("p", null, entry.failed), again);
    } else if (entry.complete || !history) {
      const words = history ? channel.topic || "This is where the channel begins." : "You see only what is written from now on.";
      fill(start, h("span", { class: "chat-start-sign" }, icon("hash")), h("h2", null, channel.name), h("p", null, words));
    } else {
      fill(start, h("p", { class: "muted" }, entry.loading ? "Loading messages…" : ""));
    }
  }

  scroller.addEventListener("scroll", () => {
    if (!channel) return;
    const entry = chatlog.log(channel.id);
    const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    atEnd = below < NEAR_PX;
    renderJump();
    if (!entry.loaded || entry.failed) return;
    if (atEnd && entry.live) {
      chatlog.trim(channel.id);
      noteRead(entry);
    }
    if (below < AHEAD_PX) chatlog.loadNewer(channel.id);
    if (scroller.scrollTop < AHEAD_PX) chatlog.load(channel.id);
  });
  const resized = new ResizeObserver(() => {
    if (atEnd && channel && chatlog.log(channel.id).live) toEnd();
  });
  resized.observe(scroller);
  const onVisible = () => {
    if (document.visibilityState === "visible" && channel && isUnread(channel)) readBefore = state.read.get(channel.id) ?? "0";
    render();
  };
  document.addEventListener("visibilitychange", onVisible);
  const offs = [on(["messages", "guilds", "user"], render), on(["route"], () => (state.route.message ? seek() : render())), field.stop];
  return {
    element,
    render,
    stop: () => {
      for (const off of offs) off();
      resized.disconnect();
      document.removeEventListener("visibilitychange", onVisible);
    },
  };
}

function known(message) {
  return { key: message.id, author: message.author, at: message.created_at_ms, editedAt: message.edited_at_ms, content: message.content, item: null, message };
}

function pending(item) {
  return { key: item.key, author: state.user, at: item.created_at_ms, editedAt: null, content: item.content, item, message: null };
}

/** Marks the first message of each day and of each person's run, and the first one that is new. */
function group(rows, readBefore) {
  let previous = null;
  let marked = readBefore === null;
  for (const row of rows) {
    row.fresh = !marked && row.message !== null && row.author.id !== state.user?.id && compareIds(row.key, readBefore) > 0;
    if (row.fresh) marked = true;
    row.day = !previous || new Date(previous.at).toDateString() !== new Date(row.at).toDateString();
    row.head = row.day || row.fresh || previous.author.id !== row.author.id || row.at - previous.at > GROUP_MS;
    previous = row;
  }
}
