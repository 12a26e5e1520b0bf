//! The settings of a channel: what it is, who may do what in it, and its end.

import { h } from "../../dom.js";
import { state, on, findChannel } from "../../store.js";
import { call as request } from "../../api.js";
import { P, mayIn } from "../../permissions.js";
import { categories, parentOf } from "../../arrange.js";
import { ask, form, field, select } from "../dialogs.js";
import { openTabs } from "../tabs.js";
import { overwrites } from "./overwrites.js";

const KBIT = 1_000;
const BITRATES = [0, 24, 32, 48, 64, 96, 128, 256];

/** Opens them. They close when the channel is gone, or one may not change it any more. */
export function openChannelSettings(channel, start = null) {
  if (!mayIn(channel, P.MANAGE_CHANNELS)) return;
  const tabs = [
    { id: "overview", label: "Overview", icon: "settings", make: (done) => overview(channel.id, done) },
    { id: "permissions", label: "Permissions", icon: "shield", make: () => overwrites(channel.id) },
  ];
  const off = on(["guilds"], () => {
    const current = findChannel(channel.id);
    if (!current || !mayIn(current, P.MANAGE_CHANNELS)) close();
  });
  const close = openTabs({ title: channel.name, tabs, testid: "channel-settings", start, onClose: off });
}

function overview(channelId, close) {
  const channel = findChannel(channelId);
  const guild = state.guilds.get(channel.guild_id);
  const name = h("input", { type: "text", required: true, maxlength: 64, value: channel.name, "data-testid": "channel-rename" });
  const topic = h("input", { type: "text", maxlength: 1024, value: channel.topic ?? "", "data-testid": "channel-topic" });
  const parent = select({
    options: [["", "None"], ...categories(guild).map((one) => [one.id, one.name])],
    value: parentOf(guild, channel) ?? "",
    testid: "channel-parent",
  });
  const limit = h("input", { type: "number", min: 0, max: 1000, value: String(channel.user_limit ?? 0), inputmode: "numeric", "data-testid": "channel-user-limit" });
  const bitrate = select({ options: bitrateOptions(channel.bitrate ?? 0), value: String(channel.bitrate ?? 0), testid: "channel-bitrate" });
  const mode = select({
    options: [["auto", "As it suits the number of people"], ["sfu", "By a voice server"], ["p2p", "Directly with each other"]],
    value: channel.voice_mode ?? "auto",
    testid: "channel-voice-mode",
  });
  const voice = channel.kind === "voice";
  const category = channel.kind === "category";
  const change = form({
    fields: [
      field("Name", name),
      channel.kind === "text" && field("Topic", topic, "Stands beside the name above the messages."),
      !category && categories(guild).length > 0 && field("Category", parent),
      voice && h("div", { class: "field-pair" }, field("Most people", limit, "0 means no limit."), field("Quality of voices", bitrate)),
      voice && field("Connection", mode),
    ],
    action: "Save",
    testid: "channel-save",
    done: "Saved",
    submit: async () => {
      const wanted = { name: name.value.trim() };
      if (channel.kind === "text") wanted.topic = topic.value.trim();
      if (!category && parent.value !== (parentOf(guild, channel) ?? "")) wanted.parent_id = parent.value || null;
      if (voice) Object.assign(wanted, { user_limit: Number(limit.value), bitrate: Number(bitrate.value), voice_mode: mode.value });
      await request("PATCH", `/channels/${channelId}`, wanted);
    },
  });
  return { element: h("div", { class: "settings" }, change, end(channel, close)) };
}

function bitrateOptions(current) {
  const values = [...new Set([...BITRATES.map((kbit) => kbit * KBIT), current])].sort((a, b) => a - b);
  return values.map((value) => [String(value), value === 0 ? "The server’s choice" : `${value / KBIT} kbit/s`]);
}

function end(channel, close) {
  return h(
    "section",
    { class: "settings-section danger-zone" },
    h("button", { class: "danger", type: "button", "data-testid": "channel-delete", onClick: () => askToDelete(channel, close) }, channel.kind === "category" ? "Delete the category" : "Delete the channel"),
  );
}

/** Asks, and deletes a channel. */
export function askToDelete(channel, done = () => null) {
  ask({
    title: `Delete ${channel.name}?`,
    text: { text: "All of its messages go with it. This cannot be undone.", voice: "Whoever talks in it is put out. This cannot be undone.", category: "Its channels stay, outside of any category." }[channel.kind],
    action: "Delete",
    testid: "channel-delete-confirm",
    submit: async () => {
      await request("DELETE", `/channels/${channel.id}`);
      done();
    },
  });
}
