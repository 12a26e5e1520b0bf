//! Invites: making a link, passing it on, and accepting one (`#/invite/CODE`).

import { h, fill } from "../dom.js";
import { icon } from "../icons.js";
import * as api from "../api.js";
import { takeGuild } from "../events.js";
import { state } from "../store.js";
import * as route from "../route.js";
import { openDialog, form, field } from "./dialogs.js";
import { people } from "./entry.js";
import { toast } from "./toasts.js";

let asking = null;

/** Makes a link to a guild and shows it. */
export function showInviteLink(guild) {
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
        await copyText(link);
        fill(copied, "Copied");
      },
    },
    icon("copy"),
    copied,
  );
  const error = h("p", { class: "form-error", role: "alert" });
  openDialog({
    title: `Invite people to ${guild.name}`,
    testid: "invite-dialog",
    content: () => h("div", { class: "form" }, h("p", { class: "muted" }, "Whoever opens this link can join the guild."), h("div", { class: "joined-field" }, link, copy), error),
  });
  api
    .call("POST", `/guilds/${guild.id}/invites`)
    .then(({ code }) => {
      link.value = route.inviteLink(code);
      copy.disabled = false;
      link.focus();
    })
    .catch((problem) => fill(error, problem.message));
}

async function copyText(input) {
  try {
    await navigator.clipboard.writeText(input.value);
  } catch {
    // Pages that are not secure have no clipboard interface, but the old command still works.
    input.select();
    document.execCommand("copy");
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
          takeGuild(guild);
          route.go(guild.id, guild.channels.find((channel) => channel.kind === "text")?.id ?? null, { replace: true });
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
