//! Invites: making a link with its limits, passing it on, and accepting one (`#/invite/CODE`).

import { h, fill } from "../dom.js";
import { icon } from "../icons.js";
import * as api from "../api.js";
import { takeGuild } from "../events.js";
import { state } from "../store.js";
import { arranged } from "../arrange.js";
import * as route from "../route.js";
import { openDialog, form, field, select } from "./dialogs.js";
import { toast } from "./toasts.js";
import { people } from "./words.js";

const HOUR_S = 3_600;
const LIFETIMES = [["0", "Never"], [String(HOUR_S / 2), "30 minutes"], [String(HOUR_S), "1 hour"], [String(24 * HOUR_S), "1 day"], [String(7 * 24 * HOUR_S), "7 days"], [String(30 * 24 * HOUR_S), "30 days"]];
const USES = [["0", "No limit"], ["1", "1 use"], ["5", "5 uses"], ["10", "10 uses"], ["25", "25 uses"], ["100", "100 uses"]];

let asking = null;

/** Makes a link to a guild and shows it; other limits make another link. */
export function showInviteLink(guild, { onClose = null } = {}) {
  const link = h("input", { type: "text", readonly: true, value: "", placeholder: "Making a link…", "aria-label": "Invite link", "data-testid": "invite-link", onFocus: () => link.select() });
  const copied = h("span", null, "Copy");
  const copy = h(
    "button",
    {
      class: "primary",
      type: "button",
      disabled: true,
      "data-testid": "invite-copy",
      onClick: async () => {
        await copyText(link.value);
        made = null;
        fill(copied, "Copied");
      },
    },
    icon("copy"),
    copied,
  );
  const error = h("p", { class: "form-error", role: "alert" });
  const uses = select({ options: USES, value: "0", testid: "invite-max-uses", change: () => make() });
  const lifetime = select({ options: LIFETIMES, value: "0", testid: "invite-expires", change: () => make() });
  let turn = 0;
  /** The code that was made and not yet copied. */
  let made = null;

  async function make() {
    const own = (turn += 1);
    link.value = "";
    copy.disabled = true;
    fill(copied, "Copy");
    fill(error);
    const limits = {};
    if (uses.value !== "0") limits.max_uses = Number(uses.value);
    if (lifetime.value !== "0") limits.expires_in_s = Number(lifetime.value);
    try {
      const invite = await api.call("POST", `/guilds/${guild.id}/invites`, Object.keys(limits).length > 0 ? limits : undefined, { key: api.newKey() });
      const unused = made;
      made = invite.code;
      // The link with the former limits was shown to nobody.
      if (unused) api.call("DELETE", `/guilds/${guild.id}/invites/${encodeURIComponent(unused)}`).catch(() => null);
      if (own !== turn) return;
      link.value = route.inviteLink(invite.code);
      copy.disabled = false;
    } catch (problem) {
      if (own === turn) fill(error, problem.message);
    }
  }

  openDialog({
    title: `Invite people to ${guild.name}`,
    testid: "invite-dialog",
    onClose,
    content: () =>
      h(
        "div",
        { class: "form" },
        h("p", { class: "muted" }, "Whoever opens this link can join the guild."),
        h("div", { class: "joined-field" }, link, copy),
        h("div", { class: "field-pair" }, field("Ends after", lifetime), field("Works for", uses)),
        error,
      ),
  });
  make().then(() => link.focus());
}

/** Puts a text on the clipboard. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages that are not secure have no clipboard interface, but the old command still works.
    const field = h("textarea", { class: "off-screen", "aria-hidden": "true" });
    field.value = text;
    const before = document.activeElement;
    (before?.closest("dialog") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    before?.focus();
  }
}

/** Asks whether to accept the invite in the address. */
export async function askToAccept(code) {
  if (asking === code) return;
  asking = code;
  let invitation;
  try {
    invitation = await api.invitation(code);
  } catch (error) {
    toast(error.status === 404 ? "This invite does not exist any more. Ask for a new link." : error.message);
    leave();
    return;
  }
  if (asking !== code) return;
  openDialog({
    title: "You are invited",
    testid: "invite-accept-dialog",
    onClose: () => {
      if (state.route.invite === code) leave();
      asking = null;
    },
    content: (close) =>
      form({
        fields: [h("p", { class: "invite-name" }, invitation.guild_name), h("p", { class: "muted" }, `${people(invitation.member_count)} there already.`)],
        action: "Join the guild",
        testid: "invite-accept",
        submit: async () => {
          const guild = await api.call("POST", `/invites/${encodeURIComponent(code)}/accept`);
          // The gateway may have told of it already, and better: with who is there.
          if (!state.guilds.has(guild.id)) takeGuild(guild);
          route.go(guild.id, arranged(guild).find((channel) => channel.kind === "text")?.id ?? null, { replace: true });
          close();
        },
      }),
  });
}

function leave() {
  asking = null;
  route.go(null, null, { replace: true });
  route.settle();
}

/** Asks for a pasted link. */
export function enterInvite() {
  const link = h("input", { type: "text", required: true, autofocus: true, placeholder: `${location.origin}/#/invite/…`, "data-testid": "invite-enter" });
  openDialog({
    title: "Join a guild",
    content: (close) =>
      form({
        fields: [field("Invite link or code", link)],
        action: "Continue",
        submit: async () => {
          const code = route.inviteCode(link.value);
          await api.invitation(code);
          close();
          location.hash = `#/invite/${encodeURIComponent(code)}`;
        },
      }),
  });
}
