//! A list that is read from the server page by page: bans, invites, the audit log. It says when it
//! is empty, when it failed, and offers more while there is more.

import { h, fill } from "../dom.js";

/**
 * Makes a list. `read(last)` gives the items after `last` (null at first), `row(item, reload)` its
 * element. `size` is how many make a full page; without it everything comes at once.
 */
export function paged({ read, row, empty, size = null, testid = null }) {
  const list = h("div", { class: "rows", "data-testid": testid });
  const foot = h("div", { class: "rows-foot", role: "status" });
  let last = null;
  let turn = 0;

  async function more(fresh) {
    const own = (turn += 1);
    fill(foot, h("p", { class: "muted" }, "Loading…"));
    try {
      const items = await read(fresh ? null : last);
      if (own !== turn) return;
      if (fresh) fill(list);
      for (const item of items) list.append(row(item, () => more(true)));
      last = items.at(-1) ?? last;
      if (list.childElementCount === 0) fill(foot, h("p", { class: "empty muted" }, empty));
      else if (size !== null && items.length === size) fill(foot, h("button", { class: "secondary", type: "button", onClick: () => more(false) }, "Show more"));
      else fill(foot);
    } catch (error) {
      if (own !== turn) return;
      fill(foot, h("p", { class: "form-error" }, error.message), h("button", { class: "secondary", type: "button", onClick: () => more(fresh) }, "Try again"));
    }
  }

  more(true);
  return { element: h("div", { class: "paged" }, list, foot), reload: () => more(true), stop: () => (turn += 1) };
}
