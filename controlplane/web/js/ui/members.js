//! The people of the guild, those in voice first.

import { h, keyed, fill, setAttribute } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, currentGuild } from "../store.js";
import { avatar } from "./avatar.js";
import { personMenu } from "./people.js";

/** Makes the column. */
export function members() {
  const talking = group();
  const others = group();
  const element = h("aside", { class: "members", "aria-label": "Members" }, talking.element, others.element);
  const render = () => {
    const guild = currentGuild();
    if (!guild) {
      talking.element.hidden = others.element.hidden = true;
      return;
    }
    const inVoice = new Map();
    for (const voice of state.voices.values()) {
      if (voice.guild_id === guild.id) inVoice.set(voice.user_id, guild.channels.find((channel) => channel.id === voice.channel_id));
    }
    const sorted = [...guild.members.values()].sort((a, b) => a.name.localeCompare(b.name));
    show(talking, "In voice", sorted.filter((one) => inVoice.has(one.id)), guild, inVoice);
    show(others, "Members", sorted.filter((one) => !inVoice.has(one.id)), guild, inVoice);
  };
  return { element, render, stop: on(["guilds", "route", "voice", "user"], render) };
}

function group() {
  const title = h("h2");
  const list = h("div", { role: "group" });
  return { title, list, element: h("section", null, title, list) };
}

function show({ element, title, list }, label, people, guild, inVoice) {
  element.hidden = people.length === 0;
  fill(title, `${label} · ${people.length}`);
  keyed(list, people, (one) => `${guild.id}/${one.id}`, (one) => {
    const button = h("button", { class: "member", "data-testid": `member-${one.id}` });
    button.addEventListener("click", () => personMenu(button, guild.id, one.id));
    return button;
  }, (button, one) => {
    const channel = inVoice.get(one.id);
    const sign = JSON.stringify([one.name, channel?.name, guild.owner_id]);
    if (button.dataset.sign === sign) return;
    button.dataset.sign = sign;
    setAttribute(button, "aria-label", channel ? `${one.name}, in ${channel.name}` : one.name);
    fill(
      button,
      avatar(one.id, one.name),
      h("span", { class: "member-text" }, h("span", { class: "member-name" }, h("span", null, one.name), guild.owner_id === one.id && icon("crown")), channel && h("span", { class: "member-note" }, icon("speaker"), h("span", null, channel.name))),
    );
  });
}
