//! Short notes at the edge of the page: what failed and what to do about it. Read out by screen
//! readers, gone by themselves, and never twice at the same time.

import { h } from "../dom.js";
import { icon } from "../icons.js";

const SHOWN_MS = { error: 9_000, info: 6_000, success: 4_000 };
const MOST = 4;
const ICONS = { error: "warning", info: "chat", success: "check" };

const shown = new Map();

/** Above dialogs as well: the platform stacks by who was shown last. */
function raise(box) {
  if (!box.showPopover) return;
  if (box.matches(":popover-open")) box.hidePopover();
  box.showPopover();
}

/** Shows a note; `kind` is `error`, `info` or `success`. */
export function toast(message, kind = "error") {
  if (!message) return;
  shown.get(message)?.();
  if (shown.size >= MOST) shown.values().next().value();
  let timer = null;
  const close = () => {
    clearTimeout(timer);
    shown.delete(message);
    element.remove();
  };
  const start = () => {
    clearTimeout(timer);
    timer = setTimeout(close, SHOWN_MS[kind]);
  };
  const element = h(
    "div",
    {
      class: `toast toast-${kind}`,
      role: kind === "error" ? "alert" : null,
      "data-testid": "toast",
      onMouseenter: () => clearTimeout(timer),
      onMouseleave: start,
    },
    icon(ICONS[kind]),
    h("p", null, message),
    h("button", { class: "ghost small", "aria-label": "Dismiss", onClick: close }, icon("close")),
  );
  shown.set(message, close);
  const box = document.getElementById("toasts");
  box.append(element);
  raise(box);
  start();
}
