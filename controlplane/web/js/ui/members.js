//! The people of the guild: those who are there by their highest role, then those who are not.

import { h, keyed, clearKeyed, fill, setAttribute, setText } from "../dom.js";
import { icon } from "../icons.js";
import { byName, state, on, currentGuild } from "../store.js";
import { colourOf, highestRole } from "../permissions.js";
import { statusOf, statusWords } from "../presence.js";
import { avatarWithStatus } from "./avatar.js";
import { personMenu } from "./people.js";
import { pointOf } from "./menu.js";

/** Of those who are not there, so many are listed; the settings find everyone. */
const MOST_OFFLINE = 200;

/** Makes the column. */
export function members() {
  const element = h("aside", { class: "members", "aria-label": "Members" });
  let shown = null;
  let frame = null;
  // Of a crowd, many come and go within one frame.
  const soon = () => {
    frame ??= requestAnimationFrame(() => {
      frame = null;
      render();
    });
  };
  const render = () => {
    const guild = currentGuild();
    if (guild?.id !== shown) clearKeyed(element);
    shown = guild?.id ?? null;
    if (!guild) return;
    const inVoice = new Map();
    for (const voice of state.voices.values()) {
      if (voice.guild_id === guild.id) inVoice.set(voice.user_id, guild.channels.find((channel) => channel.id === voice.channel_id));
    }
    keyed(element, groupsOf(guild, inVoice), (group) => group.id, makeGroup, (node, group) => {
      const { title, list } = node.parts;
      setText(title, `${group.label} · ${group.count}`);
      keyed(list, group.people, (one) => one.id, (one) => makeMember(guild.id, one.id), (button, one) => update(button, guild, one, inVoice.get(one.id)));
    });
  };
  return { element, render, stop: on(["guilds", "route", "voice", "user", "presence"], soon) };
}

function groupsOf(guild, inVoice) {
  const byRole = new Map(guild.roles.map((role) => [role.id, []]));
  const offline = [];
  for (const member of [...guild.members.values()].sort(byName)) {
    // Whoever talks is there, even before word of his presence came.
    if (statusOf(guild, member.id) === "offline" && !inVoice.has(member.id)) offline.push(member);
    else byRole.get(highestRole(guild, member)?.id ?? guild.id)?.push(member);
  }
  const groups = guild.roles.map((role) => ({ id: role.id, label: role.id === guild.id ? "Online" : role.name, people: byRole.get(role.id) }));
  groups.push({ id: "offline", label: "Offline", people: offline.slice(0, MOST_OFFLINE), all: offline.length });
  return groups.filter((group) => group.people.length > 0).map((group) => ({ ...group, count: group.all ?? group.people.length }));
}

function makeGroup(group) {
  const title = h("h2");
  const list = h("div", { role: "group" });
  const node = h("section", { class: group.id === "offline" ? "absent" : "" }, title, list);
  node.parts = { title, list };
  return node;
}

function makeMember(guildId, userId) {
  const button = h("button", { class: "member", "data-testid": `member-${userId}` });
  button.addEventListener("click", () => personMenu(button, guildId, userId));
  button.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    personMenu(button, guildId, userId, pointOf(event));
  });
  return button;
}

function update(button, guild, one, channel) {
  const status = channel && statusOf(guild, one.id) === "offline" ? "online" : statusOf(guild, one.id);
  const colour = colourOf(guild, one);
  const owner = guild.owner_id === one.id;
  const sign = JSON.stringify([one.name, channel?.name, owner, status, colour]);
  if (button.dataset.sign === sign) return;
  button.dataset.sign = sign;
  setAttribute(button, "aria-label", [one.name, statusWords(status), channel && `in ${channel.name}`, owner && "owner"].filter(Boolean).join(", "));
  const name = h("span", null, one.name);
  name.classList.toggle("role-coloured", colour !== null);
  if (colour) name.style.setProperty("--role", colour);
  fill(
    button,
    avatarWithStatus(one.id, one.name, status),
    h("span", { class: "member-text" }, h("span", { class: "member-name" }, name, owner && icon("crown")), channel && h("span", { class: "member-note" }, icon("speaker"), h("span", null, channel.name))),
  );
}
