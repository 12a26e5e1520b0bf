//! The account in the settings: password, and signing out here or everywhere.

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { state } from "../store.js";
import * as api from "../api.js";
import { ask, field, form, openDialog } from "./dialogs.js";
import { toast } from "./toasts.js";

/** Makes the part. `close` closes the settings. */
export function account(close) {
  const leave = () => {
    close();
    api.signOut();
  };
  return [
    h("p", { class: "muted" }, `You are signed in as ${state.user?.name ?? ""}.`),
    h(
      "div",
      { class: "button-row" },
      h("button", { class: "secondary", type: "button", "data-testid": "change-password", onClick: askForPassword }, icon("lock"), "Change password"),
      h("button", { class: "secondary", type: "button", "data-testid": "sign-out", onClick: leave }, icon("exit"), "Sign out"),
      h("button", { class: "secondary danger-text", type: "button", "data-testid": "sign-out-everywhere", onClick: () => askToLeaveEverywhere(close) }, "Sign out everywhere"),
    ),
  ];
}

function askForPassword() {
  const secret = (name, autocomplete, testid) => h("input", { type: "password", name, autocomplete, required: true, minlength: 8, maxlength: 128, "data-testid": testid });
  const [current, next, again] = [secret("current", "current-password", "password-current"), secret("new", "new-password", "password-new"), secret("again", "new-password", "password-again")];
  openDialog({
    title: "Change the password",
    content: (close) =>
      form({
        fields: [field("Current password", current), field("New password", next, "At least 8 characters."), field("New password again", again)],
        action: "Change it",
        testid: "password-save",
        submit: async () => {
          if (next.value !== again.value) throw new Error("The two new passwords differ.");
          await api.changePassword(current.value, next.value);
          close();
          toast("Your password was changed. All other sign-ins have ended.", "success");
        },
      }),
  });
}

function askToLeaveEverywhere(close) {
  ask({
    title: "Sign out everywhere?",
    text: "All devices and browsers on which you are signed in, this one as well, have to sign in again.",
    action: "Sign out everywhere",
    testid: "sign-out-everywhere-confirm",
    submit: async () => {
      await api.signOutEverywhere();
      close();
    },
  });
}
