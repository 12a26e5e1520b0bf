//! One role to change: name, colour, permissions, and its end. Switches act at once; what another
//! moderator changes meanwhile shows here too.

import { h, fill } from "../../dom.js";
import { state, on } from "../../store.js";
import { call as request } from "../../api.js";
import { PERMISSIONS, P, has, inGuild, rules, hexColour } from "../../permissions.js";
import { ask, form, field, toggle } from "../dialogs.js";
import { told } from "../people.js";

const COLOURS = [
  ["#000000", "None"], ["#e5786d", "Red"], ["#e8a15c", "Orange"], ["#d8b84f", "Yellow"], ["#74b873", "Green"],
  ["#4fb3a6", "Teal"], ["#5b9bd8", "Blue"], ["#9a86e0", "Violet"], ["#d47fbb", "Pink"],
];

/** Makes the editor of a role. */
export function roleEditor(guildId, roleId) {
  const element = h("div", { class: "settings" });
  let sign = null;
  let name = null;

  function render() {
    const guild = state.guilds.get(guildId);
    const role = guild?.roles.find((one) => one.id === roleId);
    if (!role) return;
    // Made anew only when something changed; a name that is being typed stays even then.
    const next = JSON.stringify([role.name, role.color, role.permissions, rules(guild, role), String(inGuild(guild, state.user.id))]);
    if (next === sign) return;
    const focused = element.querySelector(":focus")?.dataset.testid;
    const typed = element.querySelector('[data-testid="role-name"]')?.value;
    const kept = typed !== undefined && typed !== name ? typed : role.name;
    name = role.name;
    sign = next;
    const may = rules(guild, role) || guild.owner_id === state.user.id;
    const everyone = role.id === guildId;
    fill(
      element,
      !may && h("p", { class: "notice" }, "This role is not below your own highest one: you can look at it, but not change it."),
      everyone && h("p", { class: "muted" }, "These hold for everyone in the guild. Other roles add to them, and channels may differ."),
      !everyone && look(guild, role, may, kept),
      permissions(guild, role, may),
      !everyone && may && end(guild, role),
    );
    if (focused) element.querySelector(`[data-testid="${focused}"]`)?.focus();
  }

  render();
  return { id: roleId, element, stop: on(["guilds"], render) };
}

function look(guild, role, may, shownName) {
  const name = h("input", { type: "text", required: true, maxlength: 64, value: shownName, disabled: !may, "data-testid": "role-name" });
  const own = h("input", { type: "color", class: "colour-own", value: hexColour(role.color), disabled: !may, "aria-label": "Another colour", title: "Another colour", onChange: () => paint(own.value) });
  const paint = (value) => told(() => request("PATCH", `/guilds/${guild.id}/roles/${role.id}`, { color: Number.parseInt(value.slice(1), 16) })).catch(() => null);
  const swatches = COLOURS.map(([value, label]) => {
    const current = hexColour(role.color) === value;
    const button = h("button", { class: "colour", type: "button", "aria-label": label, title: label, "aria-pressed": String(current), disabled: !may, "data-testid": `role-colour-${label.toLowerCase()}`, onClick: () => paint(value) });
    if (value !== "#000000") button.style.background = value;
    return button;
  });
  return h(
    "div",
    { class: "settings-section" },
    form({
      fields: [field("Name", name)],
      action: "Save name",
      testid: "role-save",
      done: "Saved",
      submit: () => request("PATCH", `/guilds/${guild.id}/roles/${role.id}`, { name: name.value.trim() }),
    }),
    h("div", { class: "field", role: "group", "aria-label": "Colour" }, h("span", { class: "field-label" }, "Colour"), h("div", { class: "colours" }, swatches, own)),
  );
}

function permissions(guild, role, may) {
  const own = inGuild(guild, state.user.id);
  const groups = grouped(PERMISSIONS);
  return [...groups].map(([group, list]) =>
    h(
      "section",
      { class: "settings-section" },
      h("h4", null, group),
      list.map((one) =>
        toggle({
          label: one.label,
          hint: one.hint,
          checked: has(BigInt(role.permissions), P[one.name]),
          // One gives only what one has.
          disabled: !may || !has(own, P[one.name]),
          testid: `permission-${one.name}`,
          change: (wanted) => told(() => change(guild.id, role.id, P[one.name], wanted)),
        }),
      ),
    ),
  );
}

/** Changes one bit of what the role allows now, not of what it allowed when the page was made. */
async function change(guildId, roleId, permission, wanted) {
  const role = state.guilds.get(guildId)?.roles.find((one) => one.id === roleId);
  if (!role) return;
  const set = BigInt(role.permissions);
  const changed = await request("PATCH", `/guilds/${guildId}/roles/${roleId}`, { permissions: String(wanted ? set | permission : set & ~permission) });
  // Two quick switches must not undo each other while the event of the first is on its way.
  if (changed?.permissions) role.permissions = changed.permissions;
}

function grouped(list) {
  const groups = new Map();
  for (const one of list) groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
  return groups;
}

function end(guild, role) {
  const remove = () =>
    ask({
      title: `Delete the role ${role.name}?`,
      text: "Whoever has it loses it, and what channels say about it goes too.",
      action: "Delete",
      testid: "role-delete-confirm",
      submit: () => request("DELETE", `/guilds/${guild.id}/roles/${role.id}`),
    });
  return h("section", { class: "settings-section" }, h("button", { class: "danger", type: "button", "data-testid": "role-delete", onClick: remove }, "Delete the role"));
}
