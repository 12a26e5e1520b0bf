//! The narrow bar of guilds at the very left.

import { h, keyed, setAttribute, fill } from "../dom.js";
import { icon } from "../icons.js";
import { state, on } from "../store.js";
import * as route from "../route.js";
import { unreadSum } from "../unread.js";
import { initials } from "./avatar.js";
import { createGuild } from "./create.js";
import { enterInvite } from "./invite.js";

/** Makes the bar. */
export function rail() {
  const list = h("div", { class: "rail-list", role: "group" });
  const element = h(
    "nav",
    { class: "rail", "aria-label": "Guilds" },
    list,
    h("button", { class: "rail-item rail-action", "aria-label": "Create a guild", title: "Create a guild", "data-testid": "create-guild", onClick: createGuild }, icon("plus")),
    h("button", { class: "rail-item rail-action", "aria-label": "Join a guild by an invite", title: "Join by an invite", "data-testid": "join-guild", onClick: enterInvite }, icon("invite")),
  );
  const render = () => {
    keyed(
      list,
      state.guilds.values(),
      (guild) => guild.id,
      (guild) =>
        h("button", {
          class: "rail-item rail-guild",
          "data-testid": `guild-${guild.id}`,
          onClick: () => {
            route.go(guild.id);
            route.settle();
          },
        }),
      update,
    );
  };
  return { element, stop: on(["guilds", "route", "unread", "voice", "call"], render), render };
}

function update(button, guild) {
  const { any, sum: unread } = unreadSum(guild.channels);
  const talking = guild.channels.some((channel) => channel.id === state.call.channel);
  const sign = `${guild.name}|${any}|${unread}|${talking}`;
  button.classList.toggle("unread", any);
  setAttribute(button, "aria-current", state.route.guild === guild.id ? "true" : null);
  if (button.dataset.sign === sign) return;
  button.dataset.sign = sign;
  setAttribute(button, "title", guild.name);
  setAttribute(button, "aria-label", unread > 0 ? `${guild.name}, ${unread} unread` : any ? `${guild.name}, unread messages` : guild.name);
  fill(
    button,
    initials(guild.name),
    talking && h("span", { class: "rail-talking" }, icon("wave")),
    unread > 0 && h("span", { class: "badge" }, unread > 99 ? "99+" : unread),
  );
}
