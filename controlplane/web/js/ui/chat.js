//! A text channel: its messages, older ones when one scrolls up, and the field to write in.
//! Stays at the newest message as long as the reader is there, and leaves him alone elsewhere.

import { h, keyed, clearKeyed, fill, setText } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, changed, currentChannel } from "../store.js";
import * as chatlog from "../chatlog.js";
import { avatar } from "./avatar.js";
import { render as renderMarkup } from "./markup.js";

const GROUP_MS = 7 * 60_000;
const NEAR_PX = 80;
const LONGEST = 4_000;

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

/** Makes the view. It shows the channel of the address while that is a text channel. */
export function chat() {
  const list = h("div", { class: "messages", role: "log", "aria-live": "polite", "aria-label": "Messages", "data-testid": "messages" });
  const start = h("div", { class: "chat-start" });
  const scroller = h("div", { class: "chat-scroll", tabindex: "0", "aria-label": "Messages" }, start, list);
  const jump = h("button", { class: "jump", hidden: true, onClick: () => toEnd() }, icon("down"), "New messages");
  const input = h("textarea", { rows: "1", maxlength: LONGEST, "data-testid": "message-input", "aria-label": "Message" });
  const sendButton = h("button", { class: "ghost send", "aria-label": "Send", title: "Send", "data-testid": "message-send", onClick: () => submit() }, icon("send"));
  const element = h("section", { class: "chat" }, scroller, jump, h("div", { class: "composer" }, input, sendButton));

  const drafts = new Map();
  let channel = null;
  let atEnd = true;
  let newest = null;

  function toEnd() {
    scroller.scrollTop = scroller.scrollHeight;
    atEnd = true;
    jump.hidden = true;
  }

  function render() {
    const current = currentChannel();
    if (current?.kind !== "text") return;
    if (current.id !== channel?.id) open(current);
    channel = current;
    const entry = chatlog.log(channel.id);
    if (!entry.loaded && !entry.loading && !entry.failed) chatlog.load(channel.id);
    const before = { height: scroller.scrollHeight, top: scroller.scrollTop };
    const oldNewest = newest;
    renderStart(entry);
    const rows = [...entry.items.map(known), ...entry.pending.map(pending)];
    group(rows);
    keyed(list, rows, (row) => row.key, makeRow, (node, row) => updateRow(node, row, channel.id));
    newest = rows.at(-1)?.key ?? null;
    if (atEnd) toEnd();
    else if (newest !== oldNewest) jump.hidden = false;
    else if (scroller.scrollHeight !== before.height) {
      // Older messages came in above: what the reader looks at must not move.
      scroller.scrollTop = before.top + (scroller.scrollHeight - before.height);
    }
    if (scroller.clientHeight > 0 && scroller.scrollHeight <= scroller.clientHeight && entry.loaded && !entry.failed) chatlog.load(channel.id);
    if (document.visibilityState === "visible" && state.unread.delete(channel.id)) changed("unread");
  }

  function open(next) {
    if (channel) drafts.set(channel.id, input.value);
    clearKeyed(list);
    input.value = drafts.get(next.id) ?? "";
    input.placeholder = `Message #${next.name}`;
    atEnd = true;
    newest = null;
    jump.hidden = true;
    grow();
    if (matchMedia("(hover: hover)").matches) input.focus({ preventScroll: true });
  }

  function renderStart(entry) {
    const sign = JSON.stringify([channel.id, channel.name, entry.complete, entry.loading, entry.failed]);
    if (start.dataset.sign === sign) return;
    start.dataset.sign = sign;
    if (entry.failed) {
      const again = h("button", { class: "secondary", onClick: () => chatlog.load(channel.id) }, "Try again");
      fill(start, h("p", null, entry.failed), again);
    } else if (entry.complete) {
      fill(start, h("span", { class: "chat-start-sign" }, icon("hash")), h("h2", null, channel.name), h("p", null, "This is where the channel begins."));
    } else {
      fill(start, h("p", { class: "muted" }, entry.loading ? "Loading messages…" : ""));
    }
  }

  function grow() {
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight, 200)}px`;
    sendButton.disabled = input.value.trim() === "";
  }

  function submit() {
    const content = input.value.trim();
    if (!content || !channel) return;
    input.value = "";
    grow();
    atEnd = true;
    chatlog.send(channel.id, content);
    input.focus();
  }

  input.addEventListener("input", grow);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  scroller.addEventListener("scroll", () => {
    atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
    if (atEnd) {
      jump.hidden = true;
      if (channel) chatlog.trim(channel.id);
    }
    if (channel && scroller.scrollTop < 300 && chatlog.log(channel.id).loaded && !chatlog.log(channel.id).failed) chatlog.load(channel.id);
  });
  const resized = new ResizeObserver(() => {
    if (atEnd) toEnd();
  });
  resized.observe(scroller);
  const onVisible = () => render();
  document.addEventListener("visibilitychange", onVisible);
  const off = on(["messages", "route", "guilds", "user"], render);
  return {
    element,
    render,
    stop: () => {
      off();
      resized.disconnect();
      document.removeEventListener("visibilitychange", onVisible);
    },
  };
}

function known(message) {
  return { key: message.id, author: message.author, at: message.created_at_ms, content: message.content, item: null };
}

function pending(item) {
  return { key: item.key, author: state.user, at: item.created_at_ms, content: item.content, item };
}

/** Marks the first message of each day and of each person's run. */
function group(rows) {
  let previous = null;
  for (const row of rows) {
    row.day = !previous || new Date(previous.at).toDateString() !== new Date(row.at).toDateString();
    row.head = row.day || previous.author.id !== row.author.id || row.at - previous.at > GROUP_MS;
    previous = row;
  }
}

function makeRow(row) {
  const time = new Date(row.at);
  const stamp = h("time", { datetime: time.toISOString(), title: FULL.format(time) }, TIME.format(time));
  const body = h("div", { class: "message-body" }, renderMarkup(row.content));
  const day = h("div", { class: "day", role: "separator" });
  const head = h("div", { class: "message-head" }, h("b", { class: "message-author" }, row.author.name), stamp);
  const fault = h("div", { class: "message-fault", role: "alert", hidden: true });
  const element = h("article", { class: "message", "data-testid": `message-${row.key}` }, day, avatar(row.author.id, row.author.name), h("div", { class: "message-main" }, head, body, fault));
  element.parts = { day, head, fault };
  return element;
}

function updateRow(element, row, channelId) {
  const { day, fault } = element.parts;
  day.hidden = !row.day;
  if (row.day) setText(day, DAY.format(new Date(row.at)));
  element.classList.toggle("headless", !row.head);
  element.classList.toggle("pending", Boolean(row.item) && !row.item.failed);
  const problem = row.item?.failed ?? "";
  fault.hidden = problem === "";
  if (fault.dataset.problem === problem) return;
  fault.dataset.problem = problem;
  fill(
    fault,
    icon("warning"),
    h("span", null, problem),
    h("button", { class: "link", onClick: () => chatlog.send(channelId, row.content, row.item) }, "Send again"),
    h("button", { class: "link", onClick: () => chatlog.discard(channelId, row.item) }, "Discard"),
  );
}
