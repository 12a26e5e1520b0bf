//! The field to write in, with the words about who else is writing.

import { h, fill, setText } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, nameOf } from "../store.js";
import { gateway } from "../client.js";
import { P, mayIn } from "../permissions.js";
import * as typing from "../typing.js";

const LONGEST = 4_000;
const NAMED = 3;

/** Makes it. `send(content)` sends, `editLast()` is for the arrow up in an empty field. */
export function composer({ send, editLast }) {
  const input = h("textarea", { rows: "1", maxlength: LONGEST, "data-testid": "message-input", "aria-label": "Message" });
  const sendButton = h("button", { class: "ghost send", "aria-label": "Send", title: "Send", "data-testid": "message-send", onClick: () => submit() }, icon("send"));
  const box = h("div", { class: "composer" }, input, sendButton);
  const barred = h("p", { class: "composer-barred muted", hidden: true });
  const words = h("p", { class: "typing", role: "status", "aria-live": "polite", "data-testid": "typing" });
  const element = h("div", { class: "composer-area" }, box, barred, words);
  const drafts = new Map();
  let channel = null;

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
    typing.sent();
    send(content);
    input.focus();
  }

  function open(next) {
    if (channel) drafts.set(channel.id, input.value);
    input.value = drafts.get(next.id) ?? "";
    grow();
    if (matchMedia("(hover: hover)").matches && !document.querySelector("dialog[open]")) input.focus({ preventScroll: true });
  }

  function render(next) {
    const other = next.id !== channel?.id;
    const may = mayIn(next, P.SEND_MESSAGES);
    box.hidden = !may;
    barred.hidden = may;
    setText(barred, "You may read here, but not write.");
    input.placeholder = `Message #${next.name}`;
    if (other) open(next);
    channel = next;
    renderTyping();
  }

  function renderTyping() {
    const names = [...(state.typing.get(channel?.id) ?? [])].map((id) => nameOf(channel.guild_id, id));
    const text = names.length === 0 ? "" : names.length > NAMED ? "Several people are writing…" : `${new Intl.ListFormat("en").format(names)} ${names.length === 1 ? "is" : "are"} writing…`;
    if (words.dataset.text === text) return;
    words.dataset.text = text;
    fill(words, text && h("span", { class: "typing-dots", "aria-hidden": "true" }, [h("i"), h("i"), h("i")]), text);
  }

  input.addEventListener("input", () => {
    grow();
    if (channel && input.value.trim() !== "") typing.tell(gateway, channel.id);
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowUp" && input.value === "") {
      if (editLast()) event.preventDefault();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      submit();
    }
  });
  return { element, render, focus: () => input.focus(), stop: on(["typing"], renderTyping) };
}
