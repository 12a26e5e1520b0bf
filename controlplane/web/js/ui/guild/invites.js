//! Settings of a guild: the invites that work now, how often they were used, and ending them.

import { h } from "../../dom.js";
import { icon } from "../../icons.js";
import { call as request } from "../../api.js";
import { nameOf, state } from "../../store.js";
import { P, may } from "../../permissions.js";
import * as route from "../../route.js";
import { copyText, showInviteLink } from "../invite.js";
import { ask } from "../dialogs.js";
import { paged } from "../paged.js";
import { toast } from "../toasts.js";
import { expiryWords } from "../words.js";

const PAGE = 50;

/** Makes the tab. */
export function invites(guildId) {
  const list = paged({
    read: (last) => request("GET", `/guilds/${guildId}/invites?limit=${PAGE}${last ? `&after=${encodeURIComponent(last.code)}` : ""}`),
    row: (invite, reload) => row(guildId, invite, reload),
    empty: "There is no invite at the moment.",
    size: PAGE,
    testid: "invites",
  });
  const guild = state.guilds.get(guildId);
  const add = may(guild, P.CREATE_INVITE) && h("button", { class: "secondary", type: "button", onClick: () => showInviteLink(guild, { onClose: list.reload }) }, icon("plus"), "New invite");
  return { element: h("div", { class: "settings" }, h("div", null, add), list.element), stop: list.stop };
}

function row(guildId, invite, reload) {
  const used = invite.max_uses > 0 ? `${invite.uses} of ${invite.max_uses} uses` : `${invite.uses} ${invite.uses === 1 ? "use" : "uses"}`;
  const by = invite.creator_id ? `by ${nameOf(guildId, invite.creator_id)}, ` : "";
  const revoke = () =>
    ask({
      title: `End the invite ${invite.code}?`,
      text: "Its link will lead nowhere. Whoever has joined by it stays.",
      action: "End it",
      testid: "invite-revoke-confirm",
      submit: async () => {
        await request("DELETE", `/guilds/${guildId}/invites/${encodeURIComponent(invite.code)}`);
        reload();
      },
    });
  const copy = async () => {
    await copyText(route.inviteLink(invite.code));
    toast("The link is copied.", "success");
  };
  return h(
    "div",
    { class: "row", "data-testid": `invite-${invite.code}` },
    h("div", { class: "row-body" }, h("div", { class: "row-text" }, h("b", { class: "code" }, invite.code), h("span", { class: "muted" }, `${by}${used}, ${expiryWords(invite.expires_at_ms)}`))),
    h("button", { class: "ghost", type: "button", "aria-label": `Copy the link of ${invite.code}`, title: "Copy the link", onClick: copy }, icon("copy")),
    h("button", { class: "ghost", type: "button", "aria-label": `End the invite ${invite.code}`, title: "End it", "data-testid": `invite-revoke-${invite.code}`, onClick: revoke }, icon("trash")),
  );
}
