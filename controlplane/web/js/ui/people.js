//! The menu about a person: who he is here, and what one may do to him. What the server would
//! refuse is not offered.

import { h } from "../dom.js";
import { state, nameOf, compareIds } from "../store.js";
import { call as request } from "../api.js";
import { P, may, mayIn, outranks, rules } from "../permissions.js";
import { statusOf, statusWords } from "../presence.js";
import { arranged } from "../arrange.js";
import { avatarWithStatus } from "./avatar.js";
import { ask, field } from "./dialogs.js";
import { openMenu } from "./menu.js";
import { roleChip, roleDot } from "./role_sign.js";
import { toast } from "./toasts.js";

const LONGEST_REASON = 512;

/** Opens the menu beside `anchor`. */
export function personMenu(anchor, guildId, userId, at = null) {
  const guild = state.guilds.get(guildId);
  if (!guild) return;
  const member = guild.members.get(userId);
  openMenu(anchor, { label: nameOf(guildId, userId), head: head(guild, userId, member), items: [...voiceItems(guild, userId, member), "line", ...memberItems(guild, userId, member)], at });
}

function head(guild, userId, member) {
  const name = nameOf(guild.id, userId);
  const given = guild.roles.filter((role) => role.id !== guild.id && member?.roles.includes(role.id));
  const standing = guild.owner_id === userId ? "Owner of this guild" : userId === state.user.id ? "You" : member ? "Member" : "Not a member any more";
  const status = statusOf(guild, userId);
  return h(
    "div",
    { class: "menu-head" },
    avatarWithStatus(userId, name, status),
    h("div", null, h("b", null, name), h("span", { class: "muted" }, `${standing}${member ? `, ${statusWords(status)}` : ""}`)),
    given.length > 0 && h("div", { class: "role-chips" }, given.map(roleChip)),
  );
}

/** What one may do to somebody in a voice channel. */
function voiceItems(guild, userId, member) {
  const voice = [...state.voices.values()].filter((one) => one.guild_id === guild.id && one.user_id === userId).sort((a, b) => compareIds(a.session_id, b.session_id)).at(-1);
  const channel = voice && guild.channels.find((one) => one.id === voice.channel_id);
  const above = outranks(guild, userId);
  const change = async (wanted) => {
    try {
      await request("PATCH", `/guilds/${guild.id}/members/${userId}/voice`, wanted);
    } catch (error) {
      toast(error.message);
    }
  };
  const allowed = (permission) => above && (channel ? mayIn(channel, permission) : may(guild, permission));
  const muted = voice?.flags.server_mute ?? member?.server_mute ?? false;
  const deaf = voice?.flags.server_deaf ?? member?.server_deaf ?? false;
  const places = arranged(guild).filter((one) => one.kind === "voice" && one.id !== channel?.id && mayIn(one, P.MOVE_MEMBERS));
  return [
    (voice || muted) && allowed(P.MUTE_MEMBERS) && { label: muted ? "Let speak again" : "Mute for everybody", icon: "microphone", struck: !muted, testid: "moderate-mute", act: () => change({ server_mute: !muted }) },
    (voice || deaf) && allowed(P.DEAFEN_MEMBERS) && { label: deaf ? "Let listen again" : "Deafen", icon: "headphones", struck: !deaf, testid: "moderate-deafen", act: () => change({ server_deaf: !deaf }) },
    voice && places.length > 0 && allowed(P.MOVE_MEMBERS) && {
      label: "Move to",
      icon: "move",
      testid: "moderate-move",
      items: places.map((one) => ({ label: one.name, icon: "speaker", testid: `move-to-${one.id}`, act: () => change({ channel_id: one.id }) })),
    },
    voice && allowed(P.MOVE_MEMBERS) && { label: "Disconnect", icon: "leave", danger: true, testid: "moderate-disconnect", act: () => change({ disconnect: true }) },
  ];
}

function memberItems(guild, userId, member) {
  if (!member) return [];
  const above = outranks(guild, userId);
  const self = userId === state.user.id;
  // Whoever rules by the guild's ownership or a role may also give roles to himself.
  const roles = may(guild, P.MANAGE_ROLES) && (above || self) ? guild.roles.filter((role) => role.id !== guild.id && rules(guild, role)) : [];
  return [
    roles.length > 0 && {
      label: "Roles",
      icon: "shield",
      testid: "member-roles",
      items: roles.map((role) => ({
        label: role.name,
        sign: roleDot(role),
        checked: member.roles.includes(role.id),
        testid: `give-role-${role.id}`,
        act: () => toggleRole(guild, member, role.id).catch((error) => toast(error.message)),
      })),
    },
    above && may(guild, P.KICK_MEMBERS) && { label: "Kick", icon: "kick", danger: true, testid: "kick", act: () => askToKick(guild, member) },
    above && may(guild, P.BAN_MEMBERS) && { label: "Ban", icon: "ban", danger: true, testid: "ban", act: () => askToBan(guild, member) },
  ];
}

/** Gives a role to a member, or takes it. Throws what the server says against it. */
export async function toggleRole(guild, member, roleId) {
  const roles = member.roles.includes(roleId) ? member.roles.filter((id) => id !== roleId) : [...member.roles, roleId];
  await request("PATCH", `/guilds/${guild.id}/members/${member.id}`, { roles });
}

function reasonField() {
  const reason = h("input", { type: "text", maxlength: LONGEST_REASON, "data-testid": "reason" });
  return { reason, element: field("Reason", reason, "Stands in the audit log. You may leave it empty.") };
}

/** Asks for a reason and puts a member out. */
export function askToKick(guild, member) {
  const { reason, element } = reasonField();
  ask({
    title: `Kick ${member.name}?`,
    text: `${member.name} leaves ${guild.name} at once, and may come back by an invite.`,
    action: "Kick",
    testid: "kick-confirm",
    fields: [element],
    submit: async () => {
      const query = reason.value.trim() ? `?reason=${encodeURIComponent(reason.value.trim())}` : "";
      await request("DELETE", `/guilds/${guild.id}/members/${member.id}${query}`);
    },
  });
}

/** Asks for a reason and bans somebody. */
export function askToBan(guild, member) {
  const { reason, element } = reasonField();
  ask({
    title: `Ban ${member.name}?`,
    text: `${member.name} leaves ${guild.name} at once and cannot come back until the ban is lifted.`,
    action: "Ban",
    testid: "ban-confirm",
    fields: [element],
    submit: () => request("PUT", `/guilds/${guild.id}/bans/${member.id}`, reason.value.trim() ? { reason: reason.value.trim() } : {}),
  });
}

/** Does it, says in words when the server refuses, and throws the refusal. */
export async function told(work) {
  try {
    await work();
  } catch (error) {
    toast(error.message);
    throw error;
  }
}
