//! Settings of a channel: what it allows or denies to roles and members, beyond what the guild says.

import { h, fill, setAttribute } from "../../dom.js";
import { icon } from "../../icons.js";
import { byName, state, on, findChannel, nameOf } from "../../store.js";
import { call as request } from "../../api.js";
import { PERMISSIONS, P, has, inChannel, outranks, rules } from "../../permissions.js";
import { avatar } from "../avatar.js";
import { openMenu } from "../menu.js";
import { told } from "../people.js";
import { roleDot } from "../role_sign.js";

/** Three ways to stand to a permission, as they are shown. */
const WAYS = [
  ["deny", "close", "Denied here"],
  ["inherit", "minus", "As the roles say"],
  ["allow", "check", "Allowed here"],
];

/** Makes the tab. */
export function overwrites(channelId) {
  const targets = h("div", { class: "role-list", role: "group", "aria-label": "Roles and members" });
  const add = h("button", { class: "secondary", type: "button", "data-testid": "overwrite-add", onClick: () => choose() }, icon("plus"), "Role or member");
  const place = h("div", { class: "settings" });
  const element = h("div", { class: "role-columns" }, h("div", { class: "role-side" }, add, targets), place);
  const guildId = findChannel(channelId).guild_id;
  /** Whose are shown: `{ kind, id }`. */
  let chosen = { kind: "role", id: guildId };
  let sign = null;

  /** Everyone first, then what the channel names, and the one that is about to be named. */
  function listed(guild, channel) {
    const named = (channel.overwrites ?? []).map((one) => ({ kind: one.kind, id: one.target_id }));
    const all = [{ kind: "role", id: guild.id }, ...named, chosen];
    return all.filter((one, index) => all.findIndex((other) => other.id === one.id) === index);
  }

  function choose() {
    const guild = state.guilds.get(guildId);
    const taken = new Set(listed(guild, findChannel(channelId)).map((one) => one.id));
    const pick = (kind, id) => {
      chosen = { kind, id };
      render();
    };
    const roles = guild.roles.filter((role) => !taken.has(role.id) && rules(guild, role)).map((role) => ({ label: role.name, sign: roleDot(role), testid: `overwrite-role-${role.id}`, act: () => pick("role", role.id) }));
    const members = [...guild.members.values()].filter((member) => !taken.has(member.id) && outranks(guild, member.id)).sort(byName);
    openMenu(add, { label: "Role or member", items: [...roles, "line", ...members.map((member) => ({ label: member.name, sign: avatar(member.id, member.name, "tiny"), testid: `overwrite-member-${member.id}`, act: () => pick("member", member.id) }))] });
  }

  function render() {
    const channel = findChannel(channelId);
    const guild = state.guilds.get(guildId);
    if (!channel || !guild) return;
    const list = listed(guild, channel);
    const overwrite = (channel.overwrites ?? []).find((one) => one.target_id === chosen.id) ?? { target_id: chosen.id, kind: chosen.kind, allow: "0", deny: "0" };
    // One says only what one may do oneself, and only about those who stand below.
    const own = below(guild, chosen) ? inChannel(guild, state.user.id, channel) : 0n;
    const next = JSON.stringify([chosen, list, overwrite, guild.roles, String(own)]);
    if (next === sign) return;
    sign = next;
    const focused = element.contains(document.activeElement) ? document.activeElement.dataset.testid : null;
    fill(targets, list.map((target) => targetRow(guild, target)));
    fill(place, h("p", { class: "muted" }, words(guild, chosen)), groups(guild, channel, overwrite, own), below(guild, chosen) && (channel.overwrites ?? []).includes(overwrite) && removal(channel, overwrite));
    if (focused) element.querySelector(`[data-testid="${focused}"]`)?.focus();
  }

  function targetRow(guild, target) {
    const role = target.kind === "role" ? guild.roles.find((one) => one.id === target.id) : null;
    const name = target.kind === "role" ? (target.id === guild.id ? "Everyone" : (role?.name ?? "A deleted role")) : nameOf(guild.id, target.id);
    const button = h(
      "button",
      {
        class: "role-pick",
        type: "button",
        "data-testid": `overwrite-${target.id}`,
        onClick: () => {
          chosen = target;
          render();
        },
      },
      role ? roleDot(role) : avatar(target.id, name, "tiny"),
      h("span", null, name),
    );
    setAttribute(button, "aria-pressed", String(target.id === chosen.id));
    return h("div", { class: "role-row" }, button);
  }

  function groups(guild, channel, overwrite, own) {
    return PERMISSIONS.filter((one) => one.kinds.includes(channel.kind)).map((one) => line(channel, overwrite, one, has(own, P[one.name])));
  }

  function line(channel, overwrite, permission, may) {
    const bit = P[permission.name];
    const way = has(BigInt(overwrite.allow), bit) ? "allow" : has(BigInt(overwrite.deny), bit) ? "deny" : "inherit";
    const buttons = WAYS.map(([id, sign, label]) =>
      h("button", {
        class: `way way-${id}`,
        type: "button",
        role: "radio",
        "aria-checked": String(way === id),
        "aria-label": `${permission.label}: ${label}`,
        title: label,
        disabled: !may,
        "data-testid": `way-${permission.name}-${id}`,
        onClick: () => told(() => set(channel.id, overwrite, bit, id)).catch(() => null),
      }, icon(sign)),
    );
    return h("div", { class: "way-line", role: "radiogroup", "aria-label": permission.label }, h("span", null, h("b", null, permission.label), h("span", { class: "muted" }, permission.hint)), h("div", { class: "ways" }, buttons));
  }

  async function set(channelId, overwrite, bit, way) {
    let [allow, deny] = [BigInt(overwrite.allow) & ~bit, BigInt(overwrite.deny) & ~bit];
    if (way === "allow") allow |= bit;
    if (way === "deny") deny |= bit;
    await request("PUT", `/channels/${channelId}/overwrites/${overwrite.target_id}`, { kind: overwrite.kind, allow: String(allow), deny: String(deny) });
  }

  function removal(channel, overwrite) {
    const remove = () => told(() => request("DELETE", `/channels/${channel.id}/overwrites/${overwrite.target_id}`)).catch(() => null);
    return h("section", { class: "settings-section" }, h("button", { class: "secondary", type: "button", "data-testid": "overwrite-remove", onClick: remove }, icon("trash"), "As the roles say in all"));
  }

  render();
  return { element, stop: on(["guilds"], render) };
}

function below(guild, { kind, id }) {
  if (kind === "member") return outranks(guild, id);
  const role = guild.roles.find((one) => one.id === id);
  return Boolean(role) && rules(guild, role);
}

function words(guild, { kind, id }) {
  if (kind === "role" && id === guild.id) return "What this channel allows or denies to everyone. Roles and members that are named count for more.";
  if (kind === "role") return "What this channel allows or denies to whoever has this role.";
  return `What this channel allows or denies to ${nameOf(guild.id, id)}; it counts for more than all roles.`;
}
