//! The small menu about a person: what a guild's owner may do to somebody in a voice channel.

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { state, nameOf } from "../store.js";
import { call as request } from "../api.js";
import { avatar } from "./avatar.js";
import { toast } from "./toasts.js";

/** Opens the menu beside `anchor`. */
export function personMenu(anchor, guildId, userId) {
  const guild = state.guilds.get(guildId);
  if (!guild) return;
  const name = nameOf(guildId, userId);
  const voice = [...state.voices.values()].find((one) => one.guild_id === guildId && one.user_id === userId);
  const may = guild.owner_id === state.user.id && userId !== state.user.id && voice;
  const change = async (wanted) => {
    menu.hidePopover();
    try {
      await request("PATCH", `/guilds/${guildId}/members/${userId}/voice`, wanted);
    } catch (error) {
      toast(error.message);
    }
  };
  const item = (label, sign, wanted, testid, className = "") =>
    h("button", { class: `menu-item ${className}`, role: "menuitem", "data-testid": testid, onClick: () => change(wanted) }, icon(sign.name, sign), label);
  const flags = voice?.flags;
  const menu = h(
    "div",
    { class: "menu", popover: "auto", role: "menu", "aria-label": name },
    h(
      "div",
      { class: "menu-head" },
      avatar(userId, name),
      h("div", null, h("b", null, name), h("span", { class: "muted" }, guild.owner_id === userId ? "Owner of this guild" : userId === state.user.id ? "You" : "Member")),
    ),
    may && item(flags.server_mute ? "Let speak again" : "Mute for everybody", { name: "microphone", struck: !flags.server_mute }, { server_mute: !flags.server_mute }, "moderate-mute"),
    may && item(flags.server_deaf ? "Let listen again" : "Deafen", { name: "headphones", struck: !flags.server_deaf }, { server_deaf: !flags.server_deaf }, "moderate-deafen"),
    may && item("Disconnect", { name: "leave" }, { disconnect: true }, "moderate-disconnect", "menu-danger"),
  );
  menu.addEventListener("toggle", (event) => {
    if (event.newState === "closed") menu.remove();
  });
  document.body.append(menu);
  menu.showPopover();
  place(menu, anchor.getBoundingClientRect());
  menu.querySelector("button")?.focus();
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
