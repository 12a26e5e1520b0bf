//! The settings of a guild: one tab for each thing that one may see or change.

import { state, on } from "../../store.js";
import { P, may } from "../../permissions.js";
import { openTabs } from "../tabs.js";
import { overview } from "./overview.js";
import { roles } from "./roles.js";
import { people } from "./people.js";
import { bans } from "./bans.js";
import { invites } from "./invites.js";
import { audit } from "./audit.js";
import { insights } from "./insights.js";

/** The tabs that one may open, in order. */
function tabsOf(guild) {
  const owner = guild.owner_id === state.user?.id;
  return [
    (owner || may(guild, P.MANAGE_GUILD)) && { id: "overview", label: "Overview", icon: "settings", make: (close) => overview(guild.id, close) },
    may(guild, P.MANAGE_ROLES) && { id: "roles", label: "Roles", icon: "shield", make: () => roles(guild.id) },
    (may(guild, P.MANAGE_ROLES) || may(guild, P.KICK_MEMBERS) || may(guild, P.BAN_MEMBERS)) && { id: "people", label: "Members", icon: "people", make: () => people(guild.id) },
    may(guild, P.MANAGE_GUILD) && { id: "invites", label: "Invites", icon: "invite", make: () => invites(guild.id) },
    may(guild, P.BAN_MEMBERS) && { id: "bans", label: "Bans", icon: "ban", make: () => bans(guild.id) },
    may(guild, P.VIEW_AUDIT_LOG) && { id: "audit", label: "Audit log", icon: "log", make: () => audit(guild.id) },
    may(guild, P.VIEW_INSIGHTS) && { id: "insights", label: "Insights", icon: "chart", make: () => insights(guild.id) },
  ].filter(Boolean);
}

/** True when there is anything that one may see in a guild's settings. */
export function hasGuildSettings(guild) {
  return tabsOf(guild).length > 0;
}

/** Opens them. They close when one is no longer in the guild, or may do none of it any more. */
export function openGuildSettings(guild, start = null) {
  const tabs = tabsOf(guild);
  if (tabs.length === 0) return;
  const off = on(["guilds"], () => {
    const current = state.guilds.get(guild.id);
    if (!current || tabsOf(current).length === 0) close();
  });
  const close = openTabs({ title: guild.name, tabs, testid: "guild-settings", start, onClose: off });
}
