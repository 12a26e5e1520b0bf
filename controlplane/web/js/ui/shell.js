//! The frame of the signed-in client: guilds, channels, the open channel, its people. On a phone
//! the sides become drawers; the open channel keeps the whole width.

import { h, fill, setText, setAttribute } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, currentChannel, currentGuild, findChannel, voicesIn } from "../store.js";
import { settings, choose } from "../settings.js";
import { call } from "../client.js";
import { rail } from "./rail.js";
import { channels } from "./channels.js";
import { members } from "./members.js";
import { panel, goToCall } from "./panel.js";
import { chat } from "./chat.js";
import { stage } from "./stage.js";
import { mini } from "./mini.js";
import { search, showSearch } from "./search.js";
import { createGuild } from "./create.js";
import { enterInvite } from "./invite.js";
import { shortcut } from "./shortcuts.js";

const NARROW = matchMedia("(max-width: 760px)");

let running = [];

/** Shows the frame; what an earlier one left running is stopped. */
export function showShell(root) {
  for (const part of running) part.stop();
  const closeDrawers = () => {
    delete element.dataset.drawer;
    if (NARROW.matches && state.searching) showSearch(false);
    render();
  };
  const parts = { rail: rail(), channels: channels({ onPick: closeDrawers }), panel: panel(), members: members(), search: search({ onPick: closeDrawers }), chat: chat(), stage: stage(), mini: mini() };
  const sign = h("span", { class: "main-sign" });
  const title = h("h1", { class: "main-title" });
  const count = h("span", { class: "muted" });
  const topic = h("span", { class: "main-topic muted" });
  const openNavigation = h("button", { class: "ghost only-narrow", "aria-label": "Channels", "data-testid": "open-navigation", onClick: () => toggleDrawer("left") }, icon("menu"));
  const showMembers = h("button", { class: "ghost", "aria-label": "Members", title: "Members", "data-testid": "toggle-members", onClick: toggleMembers }, icon("people"));
  const openSearch = h("button", { class: "ghost", "aria-label": "Search messages", title: "Search messages (" + shortcut("F") + ")", "data-testid": "open-search", onClick: toggleSearch }, icon("search"));
  const connection = h("div", { class: "banner", role: "status", hidden: true });
  const sound = h("button", { class: "banner banner-action", hidden: true, onClick: () => call.sound.start() }, icon("speaker"), "Your browser waits for a click before it plays sound. Click here to hear the others.");
  const callBar = h("button", { class: "call-bar", hidden: true, onClick: goToCall });
  const welcome = h(
    "section",
    { class: "welcome" },
    h("span", { class: "welcome-sign" }, icon("wave")),
    h("h2", null, "It is quiet here"),
    h("p", { class: "muted" }, "Make a guild for your people, or join one by the link that somebody sent you."),
    h("div", { class: "welcome-actions" }, h("button", { class: "primary", "data-testid": "welcome-create", onClick: createGuild }, icon("plus"), "Create a guild"), h("button", { class: "secondary", onClick: enterInvite }, icon("invite"), "Join by a link")),
  );
  const main = h(
    "main",
    { class: "main" },
    connection,
    sound,
    h("header", { class: "bar" }, openNavigation, sign, title, count, topic, h("span", { class: "grow" }), openSearch, showMembers),
    callBar,
    h("div", { class: "main-body" }, welcome, parts.chat.element, parts.stage.element, parts.mini.element),
  );
  const element = h(
    "div",
    { class: "shell" },
    h("div", { class: "side" }, parts.rail.element, h("div", { class: "sidebar" }, parts.channels.element, parts.panel.element)),
    main,
    parts.members.element,
    parts.search.element,
    h("div", { class: "scrim", onClick: closeDrawers }),
  );
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeDrawers();
  });

  function toggleDrawer(side) {
    if (element.dataset.drawer === side) delete element.dataset.drawer;
    else element.dataset.drawer = side;
    render();
  }

  function toggleMembers() {
    if (state.searching) showSearch(false);
    else if (!NARROW.matches) choose({ members: !settings.members });
    if (NARROW.matches) return toggleDrawer("right");
    render();
  }

  function toggleSearch() {
    showSearch(!state.searching);
    if (!state.searching) return;
    render();
    parts.search.render();
    parts.search.focus();
  }

  function render() {
    const channel = currentChannel();
    const online = state.gateway === "online";
    welcome.hidden = state.guilds.size > 0 || !online;
    parts.chat.element.hidden = channel?.kind !== "text";
    parts.stage.element.hidden = channel?.kind !== "voice";
    parts.chat.render();
    parts.stage.render();
    fill(sign, channel && icon(channel.kind === "voice" ? "speaker" : "hash"));
    setText(title, channel?.name ?? currentGuild()?.name ?? "");
    setText(count, channel?.kind === "voice" && channel.user_limit > 0 ? `${voicesIn(channel.id).length} of ${channel.user_limit}` : "");
    setText(topic, channel?.kind === "text" ? (channel.topic ?? "") : "");
    setAttribute(topic, "title", channel?.topic || null);
    const searching = state.searching && Boolean(currentGuild());
    showMembers.hidden = !currentGuild() || (channel?.kind === "voice" && !NARROW.matches && !searching);
    openSearch.hidden = !currentGuild();
    setAttribute(openSearch, "aria-pressed", String(searching));
    setAttribute(showMembers, "aria-pressed", String(!searching && (NARROW.matches ? element.dataset.drawer === "right" : settings.members)));
    parts.search.element.hidden = !searching;
    element.classList.toggle("searching", searching);
    element.classList.toggle("with-members", !searching && settings.members && Boolean(currentGuild()) && channel?.kind !== "voice");
    connection.hidden = state.gateway !== "offline";
    setText(connection, state.call.status === "connected" ? "The connection to Hype was lost; it is being restored. Your call goes on." : "The connection to Hype was lost; it is being restored…");
    sound.hidden = !state.call.soundBlocked;
    renderCallBar(channel);
  }

  function renderCallBar(channel) {
    const away = state.call.status !== "idle" && state.call.channel !== channel?.id;
    callBar.hidden = !away;
    if (!away) return;
    fill(callBar, icon("wave"), h("span", null, findChannel(state.call.channel)?.name ?? ""), h("span", { class: "muted" }, state.call.status === "connected" ? "Tap to return" : "Connecting…"));
  }

  running = [...Object.values(parts), { stop: on(["route", "guilds", "gateway", "call", "voice", "searching"], render) }];
  fill(root, element);
  for (const part of Object.values(parts)) part.render();
  render();
}
