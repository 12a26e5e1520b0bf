//! Settings of a guild: its roles, the highest first, with their order, and one of them to change.

import { h, keyed, fill, setAttribute } from "../../dom.js";
import { icon } from "../../icons.js";
import { state, on } from "../../store.js";
import { call as request, newKey } from "../../api.js";
import { setRole } from "../../events.js";
import { rules } from "../../permissions.js";
import { told } from "../people.js";
import { roleDot } from "../role_sign.js";
import { roleEditor } from "./role.js";

/** Makes the tab. */
export function roles(guildId) {
  const list = h("div", { class: "role-list", role: "group", "aria-label": "Roles" });
  const add = h("button", { class: "secondary", type: "button", "data-testid": "role-create", onClick: () => told(create).catch(() => null) }, icon("plus"), "New role");
  const place = h("div", { class: "role-editor" });
  const element = h("div", { class: "role-columns" }, h("div", { class: "role-side" }, add, list), place);
  let chosen = guildId;
  let editor = null;

  async function create() {
    const role = await request("POST", `/guilds/${guildId}/roles`, { name: "New role" }, { key: newKey() });
    chosen = role.id;
    setRole(role);
    render();
  }

  /** Changes places with the role above (-1) or below (1). */
  async function shift(role, by) {
    const guild = state.guilds.get(guildId);
    const other = guild.roles[guild.roles.findIndex((one) => one.id === role.id) + by];
    if (!other) return;
    await request("PATCH", `/guilds/${guildId}/roles/${role.id}`, { position: other.position });
  }

  function render() {
    const guild = state.guilds.get(guildId);
    if (!guild) return;
    keyed(list, guild.roles, (role) => role.id, row, (node, role) => update(node, role, guild));
    const role = guild.roles.find((one) => one.id === chosen);
    if (!role && guild.roles.length > 0 && chosen !== guildId) {
      // It was deleted.
      chosen = guildId;
      return render();
    }
    if (role && editor?.id !== role.id) {
      editor?.stop();
      editor = roleEditor(guildId, role.id);
      fill(place, editor.element);
    }
  }

  function row(role) {
    const pick = h("button", {
      class: "role-pick",
      type: "button",
      "data-testid": `role-${role.id}`,
      onClick: () => {
        chosen = role.id;
        render();
      },
    });
    const arrow = (name, label, by) => h("button", { class: "ghost small", type: "button", "data-testid": `role-${name}-${role.id}`, "aria-label": label, title: label, onClick: () => told(() => shift(pick.shown, by)).catch(() => null) }, icon(name));
    const [up, down] = [arrow("up", "Higher", -1), arrow("down", "Lower", 1)];
    const node = h("div", { class: "role-row" }, pick, up, down);
    node.parts = { pick, up, down };
    return node;
  }

  function update(node, role, guild) {
    const { pick, up, down } = node.parts;
    pick.shown = role;
    setAttribute(pick, "aria-pressed", String(role.id === chosen));
    const index = guild.roles.indexOf(role);
    const everyone = role.id === guildId;
    const [above, below] = [guild.roles[index - 1], guild.roles[index + 1]];
    up.hidden = down.hidden = everyone;
    up.disabled = !above || !rules(guild, role) || !rules(guild, above);
    down.disabled = !below || below.id === guildId || !rules(guild, role);
    const sign = `${role.name}|${role.color}|${rules(guild, role)}`;
    if (pick.dataset.sign === sign) return;
    pick.dataset.sign = sign;
    fill(pick, roleDot(role), h("span", null, everyone ? "Everyone" : role.name), !rules(guild, role) && icon("lock"));
  }

  render();
  const off = on(["guilds"], render);
  return {
    element,
    stop: () => {
      off();
      editor?.stop();
    },
  };
}
