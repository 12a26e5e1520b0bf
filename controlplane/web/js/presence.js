//! Who is there. One's own status is a choice of this browser; the server learns it with each new
//! session, and joins it with those of one's other clients.

import { state, changed, on } from "./store.js";
import { settings, choose } from "./settings.js";

/** The statuses in the order of the menu, with their words. */
export const STATUSES = [
  ["online", "Online"],
  ["idle", "Away"],
  ["do_not_disturb", "Do not disturb"],
  ["offline", "Invisible"],
];

const WORDS = { online: "online", idle: "away", do_not_disturb: "does not want to be disturbed", offline: "offline" };

/** A member's status; whoever is not listed is offline. One's own is what one chose. */
export function statusOf(guild, userId) {
  if (userId === state.user?.id && state.gateway === "online") return settings.status;
  return guild?.presences.get(userId) ?? "offline";
}

/** A status for screen readers. */
export function statusWords(status) {
  return WORDS[status] ?? WORDS.offline;
}

/** The presences of a guild as the server lists them. */
export function take(guild, presences) {
  guild.presences = new Map((presences ?? []).map((presence) => [presence.user_id, presence.status]));
}

/** Changes one's own status. */
export function setStatus(gateway, status) {
  choose({ status });
  send(gateway);
  changed("presence");
}

function send(gateway) {
  gateway.request("presence.set", { status: settings.status }).catch(() => null);
}

/** Tells the chosen status to each new session. */
export function follow(gateway) {
  let told = false;
  on(["gateway"], () => {
    const online = state.gateway === "online";
    if (online && !told && settings.status !== "online") send(gateway);
    told = online;
  });
}
