//! How a role is shown small: a dot of its colour, alone or with its name.

import { h } from "../dom.js";
import { hexColour } from "../permissions.js";

/** The dot of a role's colour. */
export function roleDot(role) {
  const dot = h("i", { class: "role-dot", "aria-hidden": "true" });
  if (role.color !== 0) dot.style.background = hexColour(role.color);
  return dot;
}

/** Dot and name. */
export function roleChip(role) {
  return h("span", { class: "role-chip" }, roleDot(role), role.name);
}
