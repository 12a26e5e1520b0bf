//! Settings of a guild: its name, who owns it, and its end.

import { h } from "../../dom.js";
import { byName, state } from "../../store.js";
import { call as request } from "../../api.js";
import { forgetGuild } from "../../events.js";
import { ask, form, field, select } from "../dialogs.js";

/** Makes the tab. */
export function overview(guildId, close) {
  const guild = state.guilds.get(guildId);
  const name = h("input", { type: "text", required: true, maxlength: 64, value: guild.name, "data-testid": "guild-rename" });
  const rename = form({
    fields: [field("Name", name)],
    action: "Save",
    testid: "guild-save",
    done: "Saved",
    submit: () => request("PATCH", `/guilds/${guildId}`, { name: name.value.trim() }),
  });
  const owner = guild.owner_id === state.user.id;
  return { element: h("div", { class: "settings" }, rename, owner && transfer(guild), owner && end(guild, close)) };
}

function transfer(guild) {
  const others = [...guild.members.values()].filter((member) => member.id !== state.user.id).sort(byName);
  if (others.length === 0) return null;
  const heir = select({ options: [["", "Choose a member"], ...others.map((member) => [member.id, member.name])], value: "", testid: "transfer-to", label: "New owner" });
  const go = h("button", { class: "secondary", type: "button", "data-testid": "transfer", onClick: () => heir.value && confirmTransfer(guild, heir.value) }, "Transfer");
  return h(
    "section",
    { class: "settings-section" },
    h("h4", null, "Owner"),
    h("p", { class: "muted" }, "The owner may do everything. Only one person can be it, and only the new owner can give it back."),
    h("div", { class: "joined-field" }, heir, go),
  );
}

function confirmTransfer(guild, userId) {
  const heir = guild.members.get(userId);
  if (!heir) return;
  ask({
    title: `Make ${heir.name} the owner?`,
    text: `${heir.name} will own ${guild.name}. You stay a member with the roles that you have.`,
    action: "Transfer",
    testid: "transfer-confirm",
    submit: () => request("PATCH", `/guilds/${guild.id}`, { owner_id: userId }),
  });
}

function end(guild, close) {
  return h(
    "section",
    { class: "settings-section danger-zone" },
    h("h4", null, "Delete the guild"),
    h("p", { class: "muted" }, "All channels and messages go with it. This cannot be undone."),
    h("button", { class: "danger", type: "button", "data-testid": "guild-delete", onClick: () => confirmEnd(guild, close) }, "Delete the guild"),
  );
}

function confirmEnd(guild, close) {
  const { name } = state.guilds.get(guild.id) ?? guild;
  const typed = h("input", { type: "text", autofocus: true, autocomplete: "off", "data-testid": "guild-delete-name" });
  ask({
    title: `Delete ${name}?`,
    text: `Type the guild’s name, ${name}, to delete it with all of its channels and messages.`,
    action: "Delete for good",
    testid: "guild-delete-confirm",
    fields: [field("Name", typed)],
    submit: async () => {
      if (typed.value.trim() !== name) throw new Error("That is not the guild’s name.");
      await request("DELETE", `/guilds/${guild.id}`);
      close();
      forgetGuild(guild.id);
    },
  });
}
