//! A person's or a guild's round sign: initials on a colour that follows from the id.

import { h } from "../dom.js";

const COLOURS = 8;

/** The first letters of the first two words. */
export function initials(name) {
  const words = name.trim().split(/[\s_.-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[1]].map((word) => [...word][0]) : [...(words[0] ?? "?")].slice(0, 2);
  return letters.join("").toUpperCase();
}

/** An avatar with the dot of a status; `name` and status are said elsewhere. */
export function avatarWithStatus(id, name, status, size = "") {
  return h("span", { class: "avatar-box", "aria-hidden": "true" }, avatar(id, name, size), h("i", { class: `status status-${status}` }));
}

/** An avatar; `id` decides the colour. */
export function avatar(id, name, size = "") {
  let hash = 0;
  for (const digit of String(id)) hash = (hash * 31 + digit.charCodeAt(0)) >>> 0;
  return h("span", { class: `avatar ${size} tint-${hash % COLOURS}`, "aria-hidden": "true" }, initials(name));
}
