//! One message of the log: who, when and what, with editing and deleting for whom it is allowed.

import { h, fill, setText } from "../dom.js";
import { icon } from "../icons.js";
import { state, findChannel } from "../store.js";
import { P, mayIn, colourOf } from "../permissions.js";
import * as chatlog from "../chatlog.js";
import { avatar } from "./avatar.js";
import { ask } from "./dialogs.js";
import { copyText } from "./invite.js";
import { personMenu } from "./people.js";
import { toast } from "./toasts.js";
import { render as renderMarkup } from "./markup.js";

const LONGEST = 4_000;
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

/** Makes the row of a message; see chat.js for the fields. */
export function makeRow(row) {
  const time = new Date(row.at);
  const stamp = h("time", { datetime: time.toISOString(), title: FULL.format(time) }, TIME.format(time));
  const body = h("div", { class: "message-body" });
  const day = h("div", { class: "day", role: "separator" });
  const fresh = h("div", { class: "day fresh", role: "separator", hidden: true }, "New");
  const author = h("button", { class: "message-author", type: "button", tabindex: "-1" }, row.author.name);
  const head = h("div", { class: "message-head" }, author, stamp);
  const fault = h("div", { class: "message-fault", role: "alert", hidden: true });
  const tools = h("div", { class: "message-tools", role: "group", "aria-label": "This message" });
  const element = h("article", { class: "message", tabindex: "-1", "data-testid": `message-${row.key}` }, day, fresh, avatar(row.author.id, row.author.name), h("div", { class: "message-main" }, head, body, fault), tools);
  author.addEventListener("click", () => row.message && personMenu(author, row.message.guild_id, row.author.id));
  element.parts = { day, fresh, head, author, body, fault, tools };
  return element;
}

/** Brings a row up to date. */
export function updateRow(element, row, channelId) {
  const { day, fresh, author, fault } = element.parts;
  day.hidden = !row.day;
  if (row.day) setText(day, DAY.format(new Date(row.at)));
  fresh.hidden = !row.fresh;
  element.classList.toggle("headless", !row.head);
  element.classList.toggle("pending", Boolean(row.item) && !row.item.failed);
  const channel = findChannel(channelId);
  const guild = state.guilds.get(channel?.guild_id);
  const colour = colourOf(guild, guild?.members.get(row.author.id));
  author.classList.toggle("role-coloured", colour !== null);
  if (colour) author.style.setProperty("--role", colour);
  renderBody(element, row);
  renderTools(element, row, channel);
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

function renderBody(element, row) {
  const { body } = element.parts;
  if (element.editing || body.shown === `${row.editedAt ?? ""}|${row.content}`) return;
  body.shown = `${row.editedAt ?? ""}|${row.content}`;
  const mark = row.editedAt && h("span", { class: "edited", title: FULL.format(new Date(row.editedAt)) }, " (edited)");
  fill(body, renderMarkup(row.content), mark);
}

function renderTools(element, row, channel) {
  const { tools } = element.parts;
  element.message = row.message;
  const own = row.author.id === state.user?.id;
  const edits = Boolean(row.message) && own && mayIn(channel, P.SEND_MESSAGES);
  const erases = Boolean(row.message) && (own || mayIn(channel, P.MANAGE_MESSAGES));
  const sign = `${Boolean(row.message)}|${edits}|${erases}`;
  if (tools.dataset.sign === sign) return;
  tools.dataset.sign = sign;
  const tool = (label, name, testid, act, danger = false) => h("button", { class: danger ? "ghost small menu-danger" : "ghost small", type: "button", tabindex: "-1", "aria-label": label, title: label, "data-testid": `${testid}-${row.key}`, onClick: act }, icon(name));
  fill(
    tools,
    row.message && tool("Copy the text", "copy", "copy-message", () => copyText(element.message.content).then(() => toast("The text is copied.", "success"))),
    edits && tool("Edit", "edit", "edit-message", () => edit(element, () => element.focus())),
    erases && tool("Delete", "trash", "delete-message", () => askToErase(element.message), true),
  );
  tools.hidden = !row.message;
}

function askToErase(message) {
  ask({
    title: "Delete this message?",
    text: message.content.length > 300 ? `${message.content.slice(0, 300)}…` : message.content,
    action: "Delete",
    testid: "delete-message-confirm",
    submit: () => chatlog.erase(message),
  });
}

/** Turns the text of one's own message into a field; `done` runs when it is a text again. */
export function edit(element, done = () => null) {
  if (element.editing) return;
  element.editing = true;
  const { body } = element.parts;
  const { message } = element;
  const input = h("textarea", { class: "edit-field", rows: "1", maxlength: LONGEST, "aria-label": "Edit the message", "data-testid": "edit-input" });
  const problem = h("p", { class: "form-error", role: "alert" });
  input.value = message.content;
  const grow = () => {
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight, 260)}px`;
  };
  const end = () => {
    element.editing = false;
    body.shown = null;
    const current = element.message;
    renderBody(element, { content: current.content, editedAt: current.edited_at_ms });
    done();
  };
  const save = async () => {
    const content = input.value.trim();
    if (content === element.message.content) return end();
    if (content === "") {
      end();
      return askToErase(element.message);
    }
    input.disabled = true;
    try {
      await chatlog.edit(element.message, content);
      element.message = { ...element.message, content, edited_at_ms: Date.now() };
      end();
    } catch (error) {
      input.disabled = false;
      fill(problem, error.message);
      input.focus();
    }
  };
  input.addEventListener("input", grow);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      end();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      save();
    }
  });
  fill(
    body,
    input,
    problem,
    h("div", { class: "edit-hint muted" }, h("button", { class: "link", type: "button", onClick: end }, "Cancel"), " (Esc) or ", h("button", { class: "link", type: "button", "data-testid": "edit-save", onClick: save }, "save"), " (Enter)"),
  );
  grow();
  input.focus();
  input.setSelectionRange(input.value.length, input.value.length);
}
