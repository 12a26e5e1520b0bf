//! Keys that work everywhere: Ctrl or Cmd + Shift + M mutes, + D deafens, + F searches.

import { state } from "../store.js";
import { call } from "../client.js";

/** Starts listening. */
export function listenForShortcuts() {
  window.addEventListener("keydown", (event) => {
    if (state.phase !== "in" || event.repeat || event.altKey || !event.shiftKey || !(event.ctrlKey || event.metaKey)) return;
    // The physical key: with Shift held, other layouts give other letters.
    if (event.code === "KeyM") call.setMute(!(state.call.selfMute || state.call.selfDeaf));
    else if (event.code === "KeyD") call.setDeaf(!state.call.selfDeaf);
    else if (event.code === "KeyF") document.querySelector('[data-testid="open-search"]')?.click();
    else return;
    event.preventDefault();
  });
}

/** A shortcut as people write it on their system. */
export function shortcut(letter) {
  return /Mac|iP(hone|ad)/.test(navigator.platform) ? `⌘⇧${letter}` : `Ctrl+Shift+${letter}`;
}
