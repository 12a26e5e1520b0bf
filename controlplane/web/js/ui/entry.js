//! The page before signing in: one form to sign in or to make an account, and, when the address
//! is an invite, what it leads to.

import { h, fill } from "../dom.js";
import { icon } from "../icons.js";
import { state } from "../store.js";
import * as api from "../api.js";
import { people } from "./words.js";

/** Shows the entry page; calls `entered(user)` once. */
export function showEntry(root, entered) {
  const name = h("input", { type: "text", name: "username", autocomplete: "username", required: true, minlength: 2, maxlength: 32, spellcheck: "false", autocapitalize: "none", "data-testid": "login-name" });
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true, minlength: 8, maxlength: 128, "data-testid": "login-password" });
  const error = h("p", { class: "form-error", role: "alert", "data-testid": "login-error" });
  const buttons = [
    h("button", { class: "primary", type: "submit", "data-testid": "login-submit" }, "Sign in"),
    h("button", { class: "secondary", type: "button", "data-testid": "register-submit", onClick: () => submit(true) }, "Create account"),
  ];

  async function submit(create) {
    if (!form.reportValidity()) return;
    for (const button of buttons) button.disabled = true;
    fill(error);
    try {
      entered(await api.signIn(name.value.trim(), password.value, { create }));
    } catch (problem) {
      fill(error, problem.message);
      password.focus();
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  const form = h(
    "form",
    {
      class: "form",
      onSubmit: (event) => {
        event.preventDefault();
        submit(false);
      },
    },
    h("label", { class: "field" }, h("span", { class: "field-label" }, "Name"), name),
    h("label", { class: "field" }, h("span", { class: "field-label" }, "Password"), password, h("span", { class: "field-hint" }, "At least 8 characters.")),
    error,
    h("div", { class: "entry-actions" }, buttons),
  );
  const invite = h("div", { class: "entry-invite", hidden: true });
  fill(
    root,
    h(
      "main",
      { class: "entry" },
      h("div", { class: "entry-waves", "aria-hidden": "true" }, Array.from({ length: 24 }, () => h("i"))),
      h(
        "section",
        { class: "entry-card" },
        h("h1", { class: "wordmark" }, icon("wave"), "hype"),
        h("p", { class: "entry-lead" }, "Your people, one click away. Talk, write, and show your screen."),
        invite,
        form,
      ),
    ),
  );
  if (state.route.invite) showInvitation(invite, state.route.invite);
  name.focus();
}

async function showInvitation(box, code) {
  try {
    const invitation = await api.invitation(code);
    fill(
      box,
      h("p", { class: "entry-invite-label" }, "You are invited to"),
      h("p", { class: "entry-invite-name" }, invitation.guild_name),
      h("p", { class: "entry-invite-count" }, people(invitation.member_count)),
    );
  } catch (error) {
    fill(box, h("p", null, error.status === 404 ? "This invite does not exist any more. Ask for a new link." : error.message));
  }
  box.hidden = false;
}
