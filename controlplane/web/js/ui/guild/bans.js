//! Settings of a guild: who was banned, by whom and why, and lifting a ban.

import { h } from "../../dom.js";
import { call as request } from "../../api.js";
import { nameOf } from "../../store.js";
import { avatar } from "../avatar.js";
import { ask } from "../dialogs.js";
import { paged } from "../paged.js";

const PAGE = 50;
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** Makes the tab. */
export function bans(guildId) {
  return paged({
    read: (last) => request("GET", `/guilds/${guildId}/bans?limit=${PAGE}${last ? `&after=${last.user.id}` : ""}`),
    row: (ban, reload) => row(guildId, ban, reload),
    empty: "Nobody is banned.",
    size: PAGE,
    testid: "bans",
  });
}

function row(guildId, ban, reload) {
  const { user } = ban;
  const by = ban.moderator_id ? ` by ${nameOf(guildId, ban.moderator_id)}` : "";
  const lift = () =>
    ask({
      title: `Lift the ban of ${user.name}?`,
      text: `${user.name} may come back by an invite.`,
      action: "Lift the ban",
      danger: false,
      testid: "unban-confirm",
      submit: async () => {
        await request("DELETE", `/guilds/${guildId}/bans/${user.id}`);
        reload();
      },
    });
  return h(
    "div",
    { class: "row", "data-testid": `ban-${user.id}` },
    h("div", { class: "row-body" }, avatar(user.id, user.name), h("div", { class: "row-text" }, h("b", null, user.name), h("span", { class: "muted" }, `Banned${by}, ${DATE.format(new Date(ban.created_at_ms))}`), ban.reason && h("span", null, ban.reason))),
    h("button", { class: "secondary", type: "button", "data-testid": `unban-${user.id}`, onClick: lift }, "Lift"),
  );
}
