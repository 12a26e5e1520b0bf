//! The dialogs that make a guild or a channel.

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { call as request } from "../api.js";
import { takeGuild } from "../events.js";
import { state, changed } from "../store.js";
import { categories } from "../arrange.js";
import * as route from "../route.js";
import { openDialog, form, field, select } from "./dialogs.js";

const KINDS = [
  ["text", "hash", "Text", "Messages and links"],
  ["voice", "speaker", "Voice", "Talk, cameras, screens"],
  ["category", "folder", "Category", "A heading over channels"],
];

/** Asks for a name and makes a guild. */
export function createGuild() {
  const name = h("input", { type: "text", required: true, maxlength: 64, autofocus: true, placeholder: `${state.user.name}'s guild`, "data-testid": "guild-name" });
  openDialog({
    title: "Create a guild",
    content: (close) =>
      form({
        fields: [h("p", { class: "muted" }, "A guild is a place for your people. It starts with a text channel and a voice channel."), field("Name", name)],
        action: "Create",
        testid: "guild-create",
        submit: async () => {
          const guild = await request("POST", "/guilds", { name: name.value.trim() });
          if (!state.guilds.has(guild.id)) takeGuild(guild);
          close();
          route.go(guild.id, guild.channels.find((channel) => channel.kind === "text")?.id ?? null);
        },
      }),
  });
}

/** Asks for name and kind and makes a channel, in a category when one is named. */
export function createChannel(guild, kind = "text", parentId = null) {
  const name = h("input", { type: "text", required: true, maxlength: 64, autofocus: true, "data-testid": "channel-name" });
  const limit = h("input", { type: "number", min: 0, max: 1000, value: "0", inputmode: "numeric", "data-testid": "channel-limit" });
  const limitField = field("Most people", limit, "0 means no limit.");
  const known = categories(guild);
  const parent = select({ options: [["", "None"], ...known.map((one) => [one.id, one.name])], value: parentId ?? "", testid: "channel-category" });
  const parentField = field("Category", parent);
  const choices = KINDS.map(([value, sign, label, hint]) =>
    h(
      "label",
      { class: "choice" },
      h("input", { type: "radio", name: "kind", value, checked: value === kind, "data-testid": `channel-kind-${value}`, onChange: () => show(value) }),
      icon(sign),
      h("span", null, h("b", null, label), h("span", { class: "muted" }, hint)),
    ),
  );
  let chosen = kind;
  function show(value) {
    chosen = value;
    limitField.hidden = value !== "voice";
    parentField.hidden = value === "category" || known.length === 0;
  }
  show(kind);
  openDialog({
    title: "Create a channel",
    content: (close) =>
      form({
        fields: [h("div", { class: "choices", role: "radiogroup", "aria-label": "Kind" }, choices), field("Name", name), parentField, limitField],
        action: "Create",
        testid: "channel-create",
        submit: async () => {
          const wanted = { name: name.value.trim(), kind: chosen };
          if (chosen === "voice" && Number(limit.value) > 0) wanted.user_limit = Number(limit.value);
          if (chosen !== "category" && parent.value) wanted.parent_id = parent.value;
          const channel = await request("POST", `/guilds/${guild.id}/channels`, wanted);
          const current = state.guilds.get(guild.id);
          if (current && !current.channels.some((one) => one.id === channel.id)) current.channels.push(channel);
          changed("guilds");
          close();
          if (channel.kind === "text") route.go(guild.id, channel.id);
        },
      }),
  });
}
