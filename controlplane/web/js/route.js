//! The address bar: `#/g/GUILD/CHANNEL`, `#/g/GUILD/CHANNEL/MESSAGE` and `#/invite/CODE`. The hash is
//! the only truth about what is shown, so links, history and a reload all lead to the same place.

import { state, changed } from "./store.js";
import { arranged } from "./arrange.js";

const LAST = "hype.last";

/** Reads the address bar into the state, now and at every change. */
export function start() {
  window.addEventListener("hashchange", read);
  read();
}

function read() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").map(decode);
  const route = { guild: null, channel: null, message: null, invite: null };
  if (parts[0] === "invite" && parts[1]) route.invite = parts[1];
  if (parts[0] === "g") [route.guild, route.channel, route.message] = [parts[1] || null, parts[2] || null, parts[3] || null];
  state.route = route;
  changed("route");
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}

/** Goes to a channel, or to a guild's last one. `replace` leaves no history entry. */
export function go(guildId, channelId = null, { replace = false } = {}) {
  const channel = channelId ?? remembered()[guildId] ?? null;
  if (channel) remember(guildId, channel);
  const hash = guildId ? `#/g/${guildId}${channel ? `/${channel}` : ""}` : "#/";
  if (location.hash === hash) return;
  if (replace) {
    history.replaceState(null, "", hash);
    read();
  } else {
    location.hash = hash;
  }
}

/** Goes to a message of a channel; the same one again is looked at again. */
export function goToMessage(guildId, channelId, messageId) {
  const hash = `#/g/${guildId}/${channelId}/${messageId}`;
  if (location.hash === hash) read();
  else location.hash = hash;
}

/** The link by which an invite is passed on. */
export function inviteLink(code) {
  return `${location.origin}/#/invite/${encodeURIComponent(code)}`;
}

/** The code in a pasted link, or the text itself. */
export function inviteCode(text) {
  const match = /#\/invite\/([^/?#\s]+)/.exec(text);
  return match ? decode(match[1]) : text.trim();
}

function remember(guildId, channelId) {
  const last = remembered();
  if (last[guildId] === channelId && last.guild === guildId) return;
  try {
    localStorage.setItem(LAST, JSON.stringify({ ...last, [guildId]: channelId, guild: guildId }));
  } catch {
    // Without storage the last channel is simply not remembered.
  }
}

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(LAST) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

/**
 * Makes the route point at something that exists: an unknown guild or channel (or none) becomes
 * the last one used, or the first. Says nothing while an invite is open.
 */
export function settle() {
  if (state.route.invite || state.guilds.size === 0) return;
  const last = remembered();
  const guild = state.guilds.get(state.route.guild) ?? state.guilds.get(last.guild) ?? state.guilds.values().next().value;
  const channels = arranged(guild);
  if (state.route.guild === guild.id && channels.some((candidate) => candidate.id === state.route.channel)) {
    remember(guild.id, state.route.channel);
    return;
  }
  const channel =
    channels.find((candidate) => candidate.id === last[guild.id]) ??
    channels.find((candidate) => candidate.kind === "text") ??
    channels[0];
  go(guild.id, channel?.id ?? null, { replace: true });
}
