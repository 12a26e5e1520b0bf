//! Menus that open beside what they are about: on the platform's popovers, which close by Escape or
//! a click elsewhere and give the focus back. Arrow keys go through the items.

import { h, fill } from "../dom.js";
import { icon } from "../icons.js";

/**
 * Opens a menu beside `anchor`. Items are `{ label, act, icon, struck, danger, checked, testid,
 * items }`; false ones are left out, `"line"` is a separator, and one with `items` of its own opens
 * them in the same place. `head` stands above them.
 */
export function openMenu(anchor, { label, head = null, items, at = null }) {
  const list = h("div", { class: "menu-items" });
  const menu = h("div", { class: "menu", popover: "auto", role: "menu", "aria-label": label }, head, list);
  const show = (entries, back) => {
    fill(list, back && entry({ label: "Back", icon: "back", act: () => show(items, null), stay: true }), tidy(entries).map(entry));
    list.querySelector("button")?.focus();
  };
  const entry = (item) => {
    if (item === "line") return h("hr", { class: "menu-line" });
    const checkable = item.checked !== undefined;
    const act = () => {
      if (item.items) return show(item.items, true);
      if (!item.stay) menu.hidePopover();
      item.act();
    };
    return h(
      "button",
      {
        class: item.danger ? "menu-item menu-danger" : "menu-item",
        type: "button",
        role: checkable ? "menuitemradio" : "menuitem",
        "aria-checked": checkable ? String(item.checked) : null,
        "aria-haspopup": item.items ? "menu" : null,
        "data-testid": item.testid,
        disabled: item.disabled ?? false,
        onClick: act,
      },
      item.sign ?? (item.icon && icon(item.icon, { struck: Boolean(item.struck) })),
      h("span", { class: "menu-label" }, item.label),
      item.items && h("span", { class: "menu-more" }, icon("chevron")),
      item.checked && icon("check"),
    );
  };
  menu.addEventListener("keydown", (event) => walk(event, list));
  menu.addEventListener("toggle", (event) => {
    if (event.newState === "closed") menu.remove();
  });
  // A modal dialog makes everything outside of it inert.
  (anchor.closest("dialog") ?? document.body).append(menu);
  menu.showPopover();
  show(items, null);
  place(menu, at ?? anchor.getBoundingClientRect());
  list.querySelector("button")?.focus();
}

/** No separators at the ends, and never two together. */
function tidy(entries) {
  const there = entries.filter(Boolean);
  return there.filter((item, index) => item !== "line" || (index > 0 && index < there.length - 1 && there[index - 1] !== "line" && there.slice(index).some((one) => one !== "line")));
}

function walk(event, list) {
  const buttons = [...list.querySelectorAll("button:not(:disabled)")];
  const index = buttons.indexOf(document.activeElement);
  const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (next === undefined || buttons.length === 0) return;
  event.preventDefault();
  buttons[(next + buttons.length) % buttons.length].focus();
}

/** Keeps the menu on the page, below or above its anchor. */
function place(menu, anchor) {
  const { width, height } = menu.getBoundingClientRect();
  const left = Math.min(Math.max(8, anchor.left), innerWidth - width - 8);
  const below = anchor.bottom + 6;
  const top = below + height > innerHeight - 8 ? Math.max(8, anchor.top - height - 6) : below;
  menu.style.left = `${left}px`;
  menu.style.top = `${top}px`;
}

/** Where a right click or a long press happened, for `at`. */
export function pointOf(event) {
  return { left: event.clientX, right: event.clientX, top: event.clientY, bottom: event.clientY - 4 };
}
