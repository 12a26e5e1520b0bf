//! A large dialog with tabs at its side, above on a phone: the settings of a guild or a channel.

import { h, fill, setAttribute } from "../dom.js";
import { icon } from "../icons.js";
import { openDialog } from "./dialogs.js";

/**
 * Opens it. Tabs are `{ id, label, icon, make(close) }`, where `make` returns `{ element, stop? }`
 * and runs when the tab is opened. Returns the function that closes the dialog.
 */
export function openTabs({ title, tabs, testid, start = null, onClose = null }) {
  let running = null;
  let closeDialog = null;
  const list = h("div", { class: "tabs-list", role: "tablist", "aria-label": title, "aria-orientation": "vertical" });
  const panel = h("div", { class: "tabs-panel", role: "tabpanel", tabindex: "-1" });

  const buttons = tabs.map((tab) =>
    h(
      "button",
      { class: "tab", type: "button", role: "tab", id: `tab-${tab.id}`, "data-testid": `tab-${tab.id}`, onClick: () => open(tab) },
      icon(tab.icon),
      h("span", null, tab.label),
    ),
  );
  fill(list, buttons);

  function open(tab) {
    running?.stop?.();
    tabs.forEach((one, index) => {
      setAttribute(buttons[index], "aria-selected", String(one === tab));
      setAttribute(buttons[index], "tabindex", one === tab ? "0" : "-1");
      if (one === tab) buttons[index].scrollIntoView({ block: "nearest", inline: "center" });
    });
    running = tab.make(closeDialog);
    setAttribute(panel, "aria-labelledby", `tab-${tab.id}`);
    fill(panel, h("h3", { class: "tab-title" }, tab.label), running.element);
    panel.scrollTop = 0;
  }

  function closed() {
    running?.stop?.();
    onClose?.();
  }

  list.addEventListener("keydown", (event) => {
    const index = buttons.indexOf(document.activeElement);
    const next = { ArrowDown: index + 1, ArrowRight: index + 1, ArrowUp: index - 1, ArrowLeft: index - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (index < 0 || next === undefined) return;
    event.preventDefault();
    const chosen = (next + tabs.length) % tabs.length;
    open(tabs[chosen]);
    buttons[chosen].focus();
  });

  closeDialog = openDialog({ title, large: true, testid, onClose: closed, content: () => h("div", { class: "tabs" }, list, panel) });
  open(tabs.find((tab) => tab.id === start) ?? tabs[0]);
  return closeDialog;
}
