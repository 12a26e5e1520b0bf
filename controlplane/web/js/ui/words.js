//! Times and amounts in words.

const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const STEPS = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000]];

/** "in 3 hours", "2 days ago". */
export function relative(unixMs, now = Date.now()) {
  const distance = unixMs - now;
  for (const [unit, ms] of STEPS) {
    if (Math.abs(distance) >= ms) return RELATIVE.format(Math.round(distance / ms), unit);
  }
  return RELATIVE.format(0, "minute");
}

/** When an invite ends; 0 or nothing means never. */
export function expiryWords(unixMs) {
  if (!unixMs) return "does not expire";
  return unixMs > Date.now() ? `expires ${relative(unixMs)}` : "expired";
}

/** "1 person", "5 people". */
export function people(count) {
  return count === 1 ? "1 person" : `${count} people`;
}
