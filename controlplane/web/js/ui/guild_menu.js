//! The menu of a guild, under its name: inviting, making channels, settings, leaving.

import { state } from "../store.js";
import { call as request } from "../api.js";
import { forgetGuild } from "../events.js";
import { P, may, mayIn } from "../permissions.js";
import { siblings, shift } from "../arrange.js";
import { openMenu } from "./menu.js";
import { createChannel } from "./create.js";
import { showInviteLink } from "./invite.js";
import { ask } from "./dialogs.js";
import { told } from "./people.js";
import { openGuildSettings, hasGuildSettings } from "./guild/settings.js";
import { openChannelSettings, askToDelete } from "./channel/settings.js";
import { markRead } from "../unread.js";

/** Opens it. */
export function guildMenu(anchor, guild) {
  const owner = guild.owner_id === state.user.id;
  const manages = may(guild, P.MANAGE_CHANNELS);
  openMenu(anchor, {
    label: guild.name,
    items: [
      may(guild, P.CREATE_INVITE) && { label: "Invite people", icon: "invite", testid: "menu-invite", act: () => showInviteLink(guild) },
      hasGuildSettings(guild) && { label: "Guild settings", icon: "settings", testid: "menu-guild-settings", act: () => openGuildSettings(guild) },
      manages && { label: "Create a channel", icon: "plus", testid: "menu-create-channel", act: () => createChannel(guild) },
      manages && { label: "Create a category", icon: "folder", testid: "menu-create-category", act: () => createChannel(guild, "category") },
      "line",
      { label: "Mark all as read", icon: "check", testid: "menu-mark-read", act: () => guild.channels.forEach((channel) => channel.last_message_id && markRead(channel, channel.last_message_id)) },
      "line",
      !owner && { label: "Leave the guild", icon: "exit", danger: true, testid: "menu-leave-guild", act: () => askToLeave(guild) },
    ],
  });
}

function askToLeave(guild) {
  ask({
    title: `Leave ${guild.name}?`,
    text: "You can come back only by another invite.",
    action: "Leave",
    testid: "leave-confirm",
    submit: async () => {
      await request("DELETE", `/guilds/${guild.id}/members/me`);
      forgetGuild(guild.id);
    },
  });
}

/** True when there is something in a channel's menu. */
export function hasChannelMenu(channel) {
  return mayIn(channel, P.MANAGE_CHANNELS);
}

/** The menu of a channel or category. */
export function channelMenu(anchor, channel, at = null) {
  const guild = state.guilds.get(channel.guild_id);
  if (!guild) return;
  const manages = mayIn(channel, P.MANAGE_CHANNELS);
  const orders = may(guild, P.MANAGE_CHANNELS);
  const list = siblings(guild, channel);
  const index = list.findIndex((one) => one.id === channel.id);
  const move = (by) => told(() => shift(guild, channel, by)).catch(() => null);
  openMenu(anchor, {
    label: channel.name,
    at,
    items: [
      channel.kind === "text" && channel.last_message_id && { label: "Mark as read", icon: "check", act: () => markRead(channel, channel.last_message_id) },
      "line",
      hasChannelMenu(channel) && { label: channel.kind === "category" ? "Category settings" : "Channel settings", icon: "settings", testid: "menu-channel-settings", act: () => openChannelSettings(channel) },
      channel.kind === "category" && orders && { label: "Create a channel here", icon: "plus", act: () => createChannel(guild, "text", channel.id) },
      orders && index > 0 && { label: "Move up", icon: "up", testid: "menu-move-up", act: () => move(-1) },
      orders && index < list.length - 1 && { label: "Move down", icon: "down", testid: "menu-move-down", act: () => move(1) },
      "line",
      manages && { label: "Delete", icon: "trash", danger: true, testid: "menu-channel-delete", act: () => askToDelete(channel) },
    ],
  });
}
