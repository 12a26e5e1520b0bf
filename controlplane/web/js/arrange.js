//! The order of a guild's channels: those outside of categories first, then category by category;
//! in each, text before voice, then by position, equal ones by id.

import { compareIds } from "./store.js";
import { call } from "./api.js";

const KINDS = ["text", "voice"];

function order(a, b) {
  return KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || a.position - b.position || compareIds(a.id, b.id);
}

/** A guild's categories in order. */
export function categories(guild) {
  return guild.channels.filter((channel) => channel.kind === "category").sort(order);
}

/** The category that a channel stands in, as far as one sees it, or null. */
export function parentOf(guild, channel) {
  return guild.channels.find((one) => one.kind === "category" && one.id === channel.parent_id)?.id ?? null;
}

/** The channels of a category in order; null stands for those outside of all. */
export function within(guild, categoryId) {
  return guild.channels.filter((channel) => channel.kind !== "category" && parentOf(guild, channel) === categoryId).sort(order);
}

/** All channels that hold something, as the sidebar lists them. */
export function arranged(guild) {
  return [null, ...categories(guild).map((category) => category.id)].flatMap((id) => within(guild, id));
}

/** Those that a channel can change places with. */
export function siblings(guild, channel) {
  if (channel.kind === "category") return categories(guild);
  return within(guild, parentOf(guild, channel)).filter((one) => one.kind === channel.kind);
}

/** Puts a channel before another one, or at the end of a category. Throws what the server says against it. */
export async function place(guild, channel, before, parentId) {
  const list = channel.kind === "category" ? categories(guild) : within(guild, parentId);
  const others = list.filter((one) => one.id !== channel.id);
  const index = before ? others.findIndex((one) => one.id === before.id) : -1;
  others.splice(index < 0 ? others.length : index, 0, channel);
  const parent = channel.kind === "category" ? null : parentId;
  await call("PATCH", `/guilds/${guild.id}/channels`, others.map((one, position) => ({ id: one.id, position, parent_id: parent })));
}

/** Moves a channel up (-1) or down (1) among its siblings. Throws what the server says against it. */
export async function shift(guild, channel, by) {
  const list = siblings(guild, channel);
  const index = list.findIndex((one) => one.id === channel.id);
  if (!list[index + by]) return;
  const before = by < 0 ? list[index - 1] : (list[index + 2] ?? null);
  const parent = parentOf(guild, channel);
  await place(guild, channel, before ?? following(guild, channel, parent), parent);
}

/** What stands after the last one of its kind: text channels end where voice channels begin. */
function following(guild, channel, parentId) {
  if (channel.kind !== "text") return null;
  return within(guild, parentId).find((one) => one.kind === "voice") ?? null;
}
