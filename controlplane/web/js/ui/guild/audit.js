//! Settings of a guild: who changed what, newest first.

import { h } from "../../dom.js";
import { call as request } from "../../api.js";
import { nameOf, state } from "../../store.js";
import { PERMISSIONS, P } from "../../permissions.js";
import { avatar } from "../avatar.js";
import { paged } from "../paged.js";
import { relative } from "../words.js";

const PAGE = 50;
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

const WORDS = {
  "guild.update": "changed the guild",
  "guild.transfer": "gave the guild to",
  "channel.create": "created the channel",
  "channel.update": "changed the channel",
  "channel.delete": "deleted the channel",
  "channel.order": "put the channels in another order",
  "overwrite.update": "changed the permissions of",
  "overwrite.set": "changed the permissions of",
  "overwrite.delete": "took away permissions of",
  "role.create": "created the role",
  "role.update": "changed the role",
  "role.delete": "deleted the role",
  "member.update": "changed the roles of",
  "member.roles": "changed the roles of",
  "member.kick": "kicked",
  "member.ban": "banned",
  "member.unban": "lifted the ban of",
  "ban.create": "banned",
  "ban.delete": "lifted the ban of",
  "invite.create": "made an invite",
  "invite.delete": "ended an invite",
  "message.delete": "deleted a message of",
  "member.voice": "acted in voice on",
  "voice.mute": "muted",
  "voice.update": "changed the voice of",
};

/** Makes the tab. */
export function audit(guildId) {
  return paged({
    read: (last) => request("GET", `/guilds/${guildId}/audit-log?limit=${PAGE}${last ? `&before=${last.id}` : ""}`),
    row: (entry) => row(guildId, entry),
    empty: "Nothing was changed yet.",
    size: PAGE,
    testid: "audit",
  });
}

function row(guildId, entry) {
  const guild = state.guilds.get(guildId);
  const actor = nameOf(guildId, entry.actor_id);
  const time = new Date(entry.created_at_ms);
  const target = targetOf(guild, entry);
  const what = WORDS[entry.action] ?? entry.action.replace(/[._]/g, " ");
  return h(
    "div",
    { class: "row" },
    h(
      "div",
      { class: "row-body" },
      avatar(entry.actor_id, actor),
      h(
        "div",
        { class: "row-text" },
        h("span", null, h("b", null, actor), ` ${what} `, target && h("b", null, target)),
        h("span", { class: "muted" }, h("time", { datetime: time.toISOString(), title: FULL.format(time) }, relative(entry.created_at_ms))),
        changes(guild, entry.detail),
      ),
    ),
  );
}

/** The name of what was acted on, as far as it is still there or the entry tells it. */
function targetOf(guild, { target_id: id, detail }) {
  if (!id || id === "0" || id === guild?.id) return detail?.name?.to ?? (typeof detail?.name === "string" ? detail.name : null);
  const channel = guild?.channels.find((one) => one.id === id);
  if (channel) return channel.name;
  const role = guild?.roles.find((one) => one.id === id);
  if (role) return role.name;
  const told = detail?.name?.from ?? detail?.name?.to ?? detail?.name;
  return guild?.members.get(id)?.name ?? (typeof told === "string" ? told : null);
}

function changes(guild, detail) {
  if (!detail || typeof detail !== "object") return null;
  const lines = Object.entries(detail).map(([key, value]) => {
    const label = key.replace(/_/g, " ");
    if (value && typeof value === "object" && ("from" in value || "to" in value)) return `${label}: ${shown(guild, key, value.from)} → ${shown(guild, key, value.to)}`;
    return `${label}: ${shown(guild, key, value)}`;
  });
  return lines.length > 0 && h("ul", { class: "audit-changes" }, lines.map((line) => h("li", null, line)));
}

function shown(guild, key, value) {
  if (value === null || value === undefined || value === "") return "nothing";
  if (["permissions", "allow", "deny"].includes(key) && /^\d+$/.test(String(value))) {
    const set = BigInt(value);
    return PERMISSIONS.filter((one) => (set & P[one.name]) !== 0n).map((one) => one.label).join(", ") || "nothing";
  }
  if (key === "color") return Number(value) === 0 ? "none" : `#${Number(value).toString(16).padStart(6, "0")}`;
  if (Array.isArray(value)) return value.map((one) => named(guild, one)).join(", ") || "nothing";
  if (typeof value === "object") return JSON.stringify(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return named(guild, value);
}

/** Ids of what is known become names. */
function named(guild, value) {
  const id = String(value);
  return guild?.roles.find((one) => one.id === id)?.name ?? guild?.channels.find((one) => one.id === id)?.name ?? guild?.members.get(id)?.name ?? id;
}
