//! Dialogs on the platform's own element: it traps the focus, closes by Escape and gives the
//! focus back. Forms in them show their error in place and stay open until it worked.

import { h, fill } from "../dom.js";
import { icon } from "../icons.js";

/** Opens a dialog. `content` gets the function that closes it. Returns that function. */
export function openDialog({ title, content, wide = false, large = false, testid = null, onClose = null }) {
  const close = () => dialog.close();
  const heading = `dialog-${Math.random().toString(36).slice(2)}`;
  const dialog = h(
    "dialog",
    { class: large ? "dialog large" : wide ? "dialog wide" : "dialog", "aria-labelledby": heading, "data-testid": testid },
    h(
      "header",
      { class: "dialog-head" },
      h("h2", { id: heading }, title),
      h("button", { class: "ghost", type: "button", "aria-label": "Close", onClick: close }, icon("close")),
    ),
  );
  dialog.append(content(close));
  // A press that began inside (selecting text) and ended outside must not close the dialog.
  let pressedOutside = false;
  dialog.addEventListener("pointerdown", (event) => {
    pressedOutside = event.target === dialog;
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog && pressedOutside) close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("[autofocus]")?.focus();
  return close;
}

/**
 * A form that runs `submit` and shows its error; the button rests meanwhile. One that stays open
 * says `done` afterwards.
 */
export function form({ fields, action, testid, submit, danger = false, done = null }) {
  const said = h("span", { class: "form-done", role: "status" });
  const error = h("p", { class: "form-error", role: "alert" });
  const button = h("button", { class: danger ? "danger" : "primary", type: "submit", "data-testid": testid }, action);
  return h(
    "form",
    {
      class: "form",
      onInput: () => fill(said),
      onSubmit: async (event) => {
        event.preventDefault();
        button.disabled = true;
        fill(error);
        fill(said);
        try {
          await submit();
          fill(said, done);
        } catch (problem) {
          fill(error, problem.message);
        } finally {
          button.disabled = false;
        }
      },
    },
    fields,
    error,
    h("div", { class: "form-actions" }, said, button),
  );
}

/** Asks before something that cannot be undone. `fields` may ask for more; `submit` does it. */
export function ask({ title, text, action, testid = null, danger = true, fields = [], submit }) {
  openDialog({
    title,
    testid: "confirm-dialog",
    content: (close) =>
      form({
        fields: [h("p", { class: "muted" }, text), fields],
        action,
        danger,
        testid,
        submit: async () => {
          await submit();
          close();
        },
      }),
  });
}

/** A switch with its words. `change(on)` may fail: the switch then goes back. */
export function toggle({ label, hint = null, checked, disabled = false, testid = null, change }) {
  const input = h("input", {
    type: "checkbox",
    role: "switch",
    class: "switch",
    checked,
    disabled,
    "data-testid": testid,
    onChange: async () => {
      try {
        await change(input.checked);
      } catch {
        input.checked = !input.checked;
      }
    },
  });
  return h("label", { class: "toggle" }, h("span", null, h("b", null, label), hint && h("span", { class: "muted" }, hint)), input);
}

/** A list to choose from; `options` are `[value, label]`. */
export function select({ options, value, testid = null, label = null, disabled = false, change = () => null }) {
  const element = h("select", { "data-testid": testid, "aria-label": label, disabled, onChange: () => change(element.value) }, options.map(([id, words]) => h("option", { value: id, selected: id === value }, words)));
  return element;
}

/** A labelled field. */
export function field(label, control, hint = null) {
  return h("label", { class: "field" }, h("span", { class: "field-label" }, label), control, hint && h("span", { class: "field-hint" }, hint));
}
