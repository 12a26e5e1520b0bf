//! Who is there. One's own status is a choice of this browser, and "away" comes by itself when nobody
//! has touched the page for a while; the server learns it with each new session, and joins it with
//! those of one's other clients.

import { state, changed, on } from "./store.js";
import { settings, choose } from "./settings.js";

const AWAY_AFTER_MS = 10 * 60_000;
const LOOK_MS = 15_000;

/** The statuses that one can choose, with their words. */
export const STATUSES = [
  ["online", "Online"],
  ["idle", "Away"],
  ["do_not_disturb", "Do not disturb"],
];

const WORDS = { online: "online", idle: "away", do_not_disturb: "do not disturb", offline: "offline" };

let touchedAt = Date.now();
let told = "online";

/** A member's status; whoever is not listed is offline. One's own is what this page says. */
export function statusOf(guild, userId) {
  if (userId === state.user?.id && state.gateway === "online") return ownStatus();
  return guild?.presences.get(userId) ?? "offline";
}

/** A status for screen readers. */
export function statusWords(status) {
  return WORDS[status] ?? WORDS.offline;
}

/** What others see of one. */
export function ownStatus() {
  const away = settings.status === "online" && state.call.status === "idle" && Date.now() - touchedAt > AWAY_AFTER_MS;
  return away ? "idle" : settings.status;
}

/** The presences of a guild as the server lists them. */
export function take(guild, presences) {
  guild.presences = new Map((presences ?? []).map((presence) => [presence.user_id, presence.status]));
}

/** Chooses one's own status. */
export function setStatus(gateway, status) {
  choose({ status });
  tell(gateway);
}

function tell(gateway) {
  const status = ownStatus();
  if (state.gateway !== "online" || status === told) return;
  told = status;
  changed("presence");
  gateway.request("presence.set", { status }).catch(() => {
    // Told at the next look, unless the session ends before.
    told = "";
  });
}

/** Keeps the server told, from now on. */
export function follow(gateway) {
  let online = false;
  on(["gateway"], () => {
    const now = state.gateway === "online";
    // A session begins as online; one that goes on may have missed what was told.
    if (now && !online && told !== "online") told = "";
    online = now;
    tell(gateway);
  });
  const touch = () => {
    const away = Date.now() - touchedAt > AWAY_AFTER_MS;
    touchedAt = Date.now();
    if (away) tell(gateway);
  };
  for (const gesture of ["pointerdown", "pointermove", "keydown", "wheel"]) window.addEventListener(gesture, touch, { passive: true });
  setInterval(() => tell(gateway), LOOK_MS);
}
