//! What one may do: the same rules as the server's (`domain/permission.rs`), computed here only so
//! that the pages show what would work. The server decides. Sets are BigInts; they travel as
//! decimal strings.

import { state } from "./store.js";

/** Every permission: its bit, how it is shown, and in which kinds of channels it means something. */
export const PERMISSIONS = [
  { name: "VIEW_CHANNEL", bit: 10, group: "General", label: "See channels", hint: "See a channel and read what is new in it.", kinds: ["text", "voice", "category"] },
  { name: "CREATE_INVITE", bit: 0, group: "General", label: "Invite people", hint: "Make invite links.", kinds: ["text", "voice", "category"] },
  { name: "SEND_MESSAGES", bit: 11, group: "Text", label: "Write messages", hint: "Write in text channels.", kinds: ["text", "category"] },
  { name: "READ_MESSAGE_HISTORY", bit: 16, group: "Text", label: "Read the history", hint: "Read and search what was written before.", kinds: ["text", "category"] },
  { name: "MANAGE_MESSAGES", bit: 13, group: "Text", label: "Delete others’ messages", hint: "Take away what somebody else wrote.", kinds: ["text", "category"] },
  { name: "CONNECT", bit: 20, group: "Voice", label: "Join voice channels", hint: "Join and listen.", kinds: ["voice", "category"] },
  { name: "SPEAK", bit: 21, group: "Voice", label: "Speak", hint: "Be heard in voice channels.", kinds: ["voice", "category"] },
  { name: "STREAM", bit: 9, group: "Voice", label: "Show camera and screen", hint: "Turn on a camera or share a screen.", kinds: ["voice", "category"] },
  { name: "MUTE_MEMBERS", bit: 22, group: "Voice", label: "Mute others", hint: "So that nobody hears them.", kinds: ["voice", "category"] },
  { name: "DEAFEN_MEMBERS", bit: 23, group: "Voice", label: "Deafen others", hint: "So that they hear nobody.", kinds: ["voice", "category"] },
  { name: "MOVE_MEMBERS", bit: 24, group: "Voice", label: "Move others", hint: "To another voice channel, or out of one.", kinds: ["voice", "category"] },
  { name: "KICK_MEMBERS", bit: 1, group: "People", label: "Kick members", hint: "They may come back by an invite.", kinds: [] },
  { name: "BAN_MEMBERS", bit: 2, group: "People", label: "Ban members", hint: "They stay out until somebody lifts the ban.", kinds: [] },
  { name: "MANAGE_CHANNELS", bit: 4, group: "Guild", label: "Manage channels", hint: "Create, change, order and delete channels.", kinds: ["text", "voice", "category"] },
  { name: "MANAGE_ROLES", bit: 28, group: "Guild", label: "Manage roles", hint: "Create, change and give roles below one’s own highest.", kinds: ["text", "voice", "category"] },
  { name: "MANAGE_GUILD", bit: 5, group: "Guild", label: "Manage the guild", hint: "Change its name, see and revoke invites.", kinds: [] },
  { name: "VIEW_AUDIT_LOG", bit: 7, group: "Guild", label: "Read the audit log", hint: "Who changed what.", kinds: [] },
  { name: "VIEW_INSIGHTS", bit: 19, group: "Guild", label: "See insights", hint: "How many people talk and write.", kinds: [] },
  { name: "ADMINISTRATOR", bit: 3, group: "Guild", label: "Administrator", hint: "Everything, past all settings of channels. Give it with care.", kinds: [] },
];

/** Name → set with that one permission. */
export const P = Object.fromEntries(PERMISSIONS.map(({ name, bit }) => [name, 1n << BigInt(bit)]));

const ALL = PERMISSIONS.reduce((set, { bit }) => set | (1n << BigInt(bit)), 0n);
/** What a channel may allow or deny. */
const OVERWRITABLE = PERMISSIONS.filter(({ kinds }) => kinds.length > 0).reduce((set, { bit }) => set | (1n << BigInt(bit)), 0n);

/** True when all of `wanted` are in the set. */
export function has(set, wanted) {
  return (set & wanted) === wanted;
}

function rolesOf(guild, userId) {
  const given = new Set(guild.members.get(userId)?.roles ?? []);
  return guild.roles.filter((role) => role.id === guild.id || given.has(role.id));
}

/** What a member may do in the guild, its channels aside. */
export function inGuild(guild, userId) {
  if (guild.owner_id === userId) return ALL;
  const set = rolesOf(guild, userId).reduce((sum, role) => sum | BigInt(role.permissions), 0n);
  return has(set, P.ADMINISTRATOR) ? ALL : set;
}

/** What a member may do in one channel: everyone's overwrite, those of roles, the member's own. */
export function inChannel(guild, userId, channel) {
  let set = inGuild(guild, userId);
  if (has(set, P.ADMINISTRATOR)) return set;
  const given = new Set(guild.members.get(userId)?.roles ?? []);
  const apply = (overwrites) => {
    const deny = overwrites.reduce((sum, one) => sum | BigInt(one.deny), 0n);
    const allow = overwrites.reduce((sum, one) => sum | BigInt(one.allow), 0n);
    set = (set & ~(deny & OVERWRITABLE)) | (allow & OVERWRITABLE);
  };
  const overwrites = channel.overwrites ?? [];
  apply(overwrites.filter((one) => one.kind === "role" && one.target_id === guild.id));
  apply(overwrites.filter((one) => one.kind === "role" && one.target_id !== guild.id && given.has(one.target_id)));
  apply(overwrites.filter((one) => one.kind === "member" && one.target_id === userId));
  if (!has(set, P.VIEW_CHANNEL)) return 0n;
  return has(set, P.CONNECT) ? set : set & ~(P.SPEAK | P.STREAM);
}

/** True when one may do this in the guild. */
export function may(guild, wanted) {
  return Boolean(guild && state.user) && has(inGuild(guild, state.user.id), wanted);
}

/** True when one may do this in the channel. */
export function mayIn(channel, wanted) {
  const guild = state.guilds.get(channel?.guild_id);
  return Boolean(guild && state.user) && has(inChannel(guild, state.user.id, channel), wanted);
}

/** The place of a member's highest role; the owner stands above all. */
export function rank(guild, userId) {
  if (guild.owner_id === userId) return Infinity;
  return rolesOf(guild, userId).reduce((most, role) => Math.max(most, role.position), 0);
}

/** True when one stands strictly above a member, and so may act on him. */
export function outranks(guild, userId) {
  return userId !== state.user?.id && rank(guild, state.user.id) > rank(guild, userId);
}

/** True when a role stands strictly below one's own highest. */
export function rules(guild, role) {
  return rank(guild, state.user.id) > role.position;
}

/** A member's highest role, that of everybody aside, or null. */
export function highestRole(guild, member) {
  const given = new Set(member.roles);
  return guild.roles.find((role) => role.id !== guild.id && given.has(role.id)) ?? null;
}

/** The colour of a member's name: that of the highest role which has one, or null. */
export function colourOf(guild, member) {
  const given = new Set(member?.roles ?? []);
  const role = guild?.roles.find((one) => one.id !== guild.id && one.color !== 0 && given.has(one.id));
  return role ? hexColour(role.color) : null;
}

/** A role's colour as CSS writes it. */
export function hexColour(colour) {
  return `#${colour.toString(16).padStart(6, "0")}`;
}
