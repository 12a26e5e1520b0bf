//! Settings of a guild: who changed what, newest first.

import { h } from "../../dom.js";
import { call as request } from "../../api.js";
import { nameOf, state } from "../../store.js";
import { PERMISSIONS, P, hexColour } from "../../permissions.js";
import { avatar } from "../avatar.js";
import { paged } from "../paged.js";
import { relative } from "../words.js";

const PAGE = 50;
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

const WORDS = {
  "guild.update": "changed the guild",
  "channel.create": "created the channel",
  "channel.update": "changed the channel",
  "channel.delete": "deleted the channel",
  "overwrite.set": "set the permissions of",
  "overwrite.delete": "took back the permissions of",
  "role.create": "created the role",
  "role.update": "changed the role",
  "role.delete": "deleted the role",
  "member.roles": "changed the roles of",
  "member.voice": "changed the voice of",
  "member.kick": "kicked",
  "member.ban": "banned",
  "member.unban": "lifted the ban of",
  "invite.create": "made an invite",
  "invite.revoke": "ended an invite",
  "message.delete": "deleted a message of",
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
  const channel = guild?.channels.find((one) => one.id === entry.channel_id)?.name ?? entry.channel_id;
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
        h("span", null, h("b", null, actor), ` ${what} `, target && h("b", null, target), channel && [" in ", h("b", null, channel)]),
        h("span", { class: "muted" }, h("time", { datetime: time.toISOString(), title: FULL.format(time) }, relative(entry.created_at_ms))),
        entry.reason && h("span", null, `“${entry.reason}”`),
        changes(guild, entry),
      ),
    ),
  );
}

/** The name of what was acted on, as far as it is still there or the entry tells it. */
function targetOf(guild, { action, target_id: id, changes: fields }) {
  if (id === guild?.id) return action.startsWith("overwrite") ? "everyone" : (fields?.code?.to ?? fields?.code?.from ?? null);
  const known = guild?.channels.find((one) => one.id === id) ?? guild?.roles.find((one) => one.id === id) ?? guild?.members.get(id);
  return known?.name ?? fields?.name?.from ?? fields?.name?.to ?? null;
}

/** What changed; what something was like when it was made or deleted is not worth the room. */
function changes(guild, { action, changes: fields }) {
  if (/\.(create|delete|revoke)$/.test(action) || !fields) return null;
  const lines = Object.entries(fields).map(([key, { from, to }]) => `${key.replace(/_(id|ms)$/, "").replace(/_/g, " ")}: ${shown(guild, key, from)} → ${shown(guild, key, to)}`);
  return lines.length > 0 && h("ul", { class: "audit-changes" }, lines.map((line) => h("li", null, line)));
}

function shown(guild, key, value) {
  if (value === null || value === undefined || value === "") return "nothing";
  if (["permissions", "allow", "deny"].includes(key) && /^\d+$/.test(String(value))) {
    const set = BigInt(value);
    return PERMISSIONS.filter((one) => (set & P[one.name]) !== 0n).map((one) => one.label).join(", ") || "nothing";
  }
  if (key === "color") return Number(value) === 0 ? "none" : hexColour(Number(value));
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
