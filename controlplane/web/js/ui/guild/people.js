//! Settings of a guild: its members with their roles, to be found by name.

import { h, keyed, fill, setText } from "../../dom.js";
import { icon } from "../../icons.js";
import { byName, state, on } from "../../store.js";
import { colourOf } from "../../permissions.js";
import { statusOf } from "../../presence.js";
import { avatarWithStatus } from "../avatar.js";
import { personMenu } from "../people.js";
import { roleChip } from "../role_sign.js";

/** Rows at once; who looks for somebody writes a part of the name. */
const MOST = 200;
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** Makes the tab. */
export function people(guildId) {
  const search = h("input", { type: "text", placeholder: "Find a member", "aria-label": "Find a member", "data-testid": "member-filter", onInput: () => render() });
  const count = h("p", { class: "muted", role: "status" });
  const list = h("div", { class: "rows" });
  const element = h("div", { class: "settings" }, search, count, list);

  function render() {
    const guild = state.guilds.get(guildId);
    if (!guild) return;
    const wanted = search.value.trim().toLocaleLowerCase();
    const found = [...guild.members.values()].filter((member) => member.name.toLocaleLowerCase().includes(wanted)).sort(byName);
    setText(count, found.length > MOST ? `${found.length} members; the first ${MOST} are shown.` : `${found.length} ${found.length === 1 ? "member" : "members"}`);
    keyed(list, found.slice(0, MOST), (member) => member.id, (member) => row(guildId, member.id), (node, member) => update(node, guild, member));
  }

  render();
  return { element, stop: on(["guilds", "presence"], render) };
}

function row(guildId, userId) {
  const body = h("div", { class: "row-body" });
  const more = h("button", { class: "ghost", type: "button", "data-testid": `settings-member-${userId}`, onClick: () => personMenu(more, guildId, userId) }, icon("more"));
  const node = h("div", { class: "row" }, body, more);
  node.parts = { body, more };
  return node;
}

function update(node, guild, member) {
  const { body, more } = node.parts;
  const given = guild.roles.filter((role) => role.id !== guild.id && member.roles.includes(role.id));
  const status = statusOf(guild, member.id);
  const sign = JSON.stringify([member, status, given, guild.owner_id]);
  if (node.dataset.sign === sign) return;
  node.dataset.sign = sign;
  more.setAttribute("aria-label", `What to do about ${member.name}`);
  const name = h("b", null, member.name, guild.owner_id === member.id && icon("crown"));
  const colour = colourOf(guild, member);
  if (colour) name.style.setProperty("--role", colour);
  name.classList.toggle("role-coloured", colour !== null);
  fill(
    body,
    avatarWithStatus(member.id, member.name, status),
    h("div", { class: "row-text" }, name, h("span", { class: "muted" }, member.joined_at_ms ? `Member since ${DATE.format(new Date(member.joined_at_ms))}` : "")),
    h("div", { class: "role-chips" }, given.map(roleChip)),
  );
}
