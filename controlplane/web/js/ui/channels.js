//! The list of a guild's channels by category, with the people in each voice channel under it.
//! Who may order channels also drags them.

import { h, keyed, fill, setAttribute, setText } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, currentGuild, voicesIn, nameOf, isSpeaking, isMuted, isSilenced, sends, findChannel } from "../store.js";
import { call } from "../client.js";
import { P, may, mayIn } from "../permissions.js";
import { categories, within, parentOf, place } from "../arrange.js";
import { isUnread, unreadCount } from "../unread.js";
import * as route from "../route.js";
import { avatar } from "./avatar.js";
import { createChannel } from "./create.js";
import { showInviteLink } from "./invite.js";
import { guildMenu, channelMenu, hasChannelMenu } from "./guild_menu.js";
import { personMenu, told } from "./people.js";
import { pointOf } from "./menu.js";

const FOLDED = "hype.folded";

/** Categories that show only what is new in them. */
const folded = new Set(read());

function read() {
  try {
    return JSON.parse(localStorage.getItem(FOLDED) ?? "[]");
  } catch {
    return [];
  }
}

function fold(id) {
  if (!folded.delete(id)) folded.add(id);
  try {
    localStorage.setItem(FOLDED, JSON.stringify([...folded]));
  } catch {
    // Without storage it lasts until the page closes.
  }
}

/** Makes the list with its head. `onPick` runs after a channel was chosen. */
export function channels({ onPick }) {
  const name = h("h1", { class: "sidebar-title" });
  const open = h("button", { class: "sidebar-name", "aria-haspopup": "menu", "data-testid": "guild-menu", onClick: () => currentGuild() && guildMenu(open, currentGuild()) }, name, icon("chevron"));
  const invite = h("button", { class: "ghost", "aria-label": "Invite people", title: "Invite people", "data-testid": "invite-create", onClick: () => showInviteLink(currentGuild()) }, icon("invite"));
  const text = section("Text", "text");
  const voice = section("Voice", "voice");
  const grouped = h("div", { class: "channel-groups" });
  const element = h("div", { class: "sidebar-top" }, h("header", { class: "bar" }, open, invite), h("nav", { class: "channels", "aria-label": "Channels" }, text.element, voice.element, grouped));
  const again = () => render();

  const render = () => {
    const guild = currentGuild();
    setText(name, guild?.name ?? "Hype");
    open.disabled = !guild;
    invite.hidden = !may(guild, P.CREATE_INVITE);
    const mayAdd = may(guild, P.MANAGE_CHANNELS);
    const outside = guild ? within(guild, null) : [];
    const known = guild ? categories(guild) : [];
    for (const { element: block, list, kind, add } of [text, voice]) {
      const found = outside.filter((channel) => channel.kind === kind);
      block.hidden = found.length === 0 && (!mayAdd || known.length > 0);
      add.hidden = !mayAdd;
      keyed(list, found, (channel) => channel.id, (channel) => row(channel, onPick), update);
    }
    keyed(grouped, known, (category) => category.id, (category) => group(category, again), (node, category) => updateGroup(node, guild, category, onPick));
  };
  return { element, render, stop: on(["guilds", "route", "unread", "voice", "call", "speakers", "user"], render) };
}

function section(label, kind) {
  const list = h("div", { class: "channel-list" });
  const add = h("button", { class: "ghost small", "aria-label": `Create a ${kind} channel`, title: `Create a ${kind} channel`, "data-testid": `create-${kind}-channel`, onClick: () => createChannel(currentGuild(), kind) }, icon("plus"));
  return { kind, list, add, element: h("section", { class: "channel-section" }, h("header", null, h("h2", null, label), add), list) };
}

function group(category, again) {
  const toggle = h("button", { class: "category", type: "button", "data-testid": `category-${category.id}` });
  toggle.addEventListener("click", () => {
    fold(category.id);
    again();
  });
  const more = h("button", { class: "ghost small channel-more", onClick: () => channelMenu(more, findChannel(category.id)) }, icon("more"));
  const list = h("div", { class: "channel-list" });
  const head = h("header", null, h("h2", null, toggle), more);
  const node = h("section", { class: "channel-section" }, head, list);
  head.addEventListener("contextmenu", (event) => contextMenu(event, head, category.id));
  droppable(head, category.id);
  draggable(head, category.id);
  node.parts = { toggle, list, more, head };
  return node;
}

function updateGroup(node, guild, category, onPick) {
  const { toggle, list, more, head } = node.parts;
  const closed = folded.has(category.id);
  if (toggle.dataset.name !== category.name) {
    toggle.dataset.name = category.name;
    fill(toggle, icon("chevron"), h("span", null, category.name));
    setAttribute(more, "aria-label", `What to do with ${category.name}`);
  }
  setAttribute(toggle, "aria-expanded", String(!closed));
  more.hidden = !hasChannelMenu(category);
  setAttribute(head, "draggable", may(guild, P.MANAGE_CHANNELS) ? "true" : null);
  const shown = within(guild, category.id).filter((channel) => !closed || isUnread(channel) || state.route.channel === channel.id || state.call.channel === channel.id);
  keyed(list, shown, (channel) => channel.id, (channel) => row(channel, onPick), update);
}

function row(channel, onPick) {
  const { id } = channel;
  const pick = () => {
    const current = findChannel(id);
    if (!current) return;
    route.go(current.guild_id, id);
    if (current.kind === "voice" && mayIn(current, P.CONNECT)) call.join(id);
    onPick();
  };
  const button = h("button", { class: "channel", "data-testid": `channel-${id}`, onClick: pick });
  const more = h("button", { class: "ghost small channel-more", "data-testid": `channel-menu-${id}`, onClick: () => channelMenu(more, findChannel(id)) }, icon("more"));
  const line = h("div", { class: "channel-line" }, button, more);
  const people = h("div", { class: "voice-users", role: "group" });
  const element = h("div", { class: "channel-row" }, line, people);
  line.addEventListener("contextmenu", (event) => contextMenu(event, line, id));
  draggable(line, id);
  droppable(line, id);
  element.parts = { button, more, people, line };
  return element;
}

function contextMenu(event, anchor, channelId) {
  const channel = findChannel(channelId);
  if (!channel) return;
  event.preventDefault();
  channelMenu(anchor, channel, pointOf(event));
}

let dragged = null;

function draggable(element, channelId) {
  element.addEventListener("dragstart", (event) => {
    dragged = channelId;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", findChannel(channelId)?.name ?? "");
  });
  element.addEventListener("dragend", () => {
    dragged = null;
  });
}

/** Dropped on a channel, another one goes before it; dropped on a category, into it. */
function droppable(element, channelId) {
  const fits = () => {
    const [moved, target] = [findChannel(dragged), findChannel(channelId)];
    if (!moved || !target || moved === target || moved.guild_id !== target.guild_id) return null;
    if (moved.kind === "category" && target.kind !== "category") return null;
    return { moved, target };
  };
  element.addEventListener("dragover", (event) => {
    if (!fits()) return;
    event.preventDefault();
    element.classList.add("drop-here");
  });
  for (const end of ["dragleave", "drop"]) element.addEventListener(end, () => element.classList.remove("drop-here"));
  element.addEventListener("drop", (event) => {
    const fit = fits();
    if (!fit) return;
    event.preventDefault();
    const { moved, target } = fit;
    const guild = state.guilds.get(moved.guild_id);
    const into = target.kind === "category" && moved.kind !== "category";
    told(() => (into ? place(guild, moved, null, target.id) : place(guild, moved, target, parentOf(guild, target)))).catch(() => null);
  });
}

function update(element, channel) {
  const { button, more, people, line } = element.parts;
  const unread = isUnread(channel);
  const count = unreadCount(channel);
  const inside = channel.kind === "voice" ? voicesIn(channel.id) : [];
  const joined = state.call.channel === channel.id;
  const locked = channel.kind === "voice" && !mayIn(channel, P.CONNECT);
  const sign = JSON.stringify([channel.name, unread, count, channel.user_limit && inside.length, joined, locked]);
  if (button.dataset.sign !== sign) {
    button.dataset.sign = sign;
    fill(
      button,
      icon(locked ? "lock" : channel.kind === "voice" ? "speaker" : "hash"),
      h("span", { class: "channel-name" }, channel.name),
      unread && (count ? h("span", { class: "badge", "aria-label": `${count} unread` }, count > 99 ? "99+" : count) : h("span", { class: "unread-dot", role: "img", "aria-label": "unread" })),
      channel.kind === "voice" && channel.user_limit > 0 && h("span", { class: "limit" }, `${inside.length}/${channel.user_limit}`),
    );
    setAttribute(more, "aria-label", `What to do with ${channel.name}`);
    setAttribute(people, "aria-label", `In ${channel.name}`);
  }
  more.hidden = !hasChannelMenu(channel);
  setAttribute(line, "draggable", may(currentGuild(), P.MANAGE_CHANNELS) ? "true" : null);
  setAttribute(button, "aria-current", state.route.channel === channel.id ? "page" : null);
  button.classList.toggle("joined", joined);
  button.classList.toggle("unread", unread);
  if (channel.kind === "voice") keyed(people, inside, (voice) => voice.user_id, person, updatePerson);
}

function person(voice) {
  const element = h("button", { class: "voice-user", "data-testid": `voice-user-${voice.user_id}` });
  element.addEventListener("click", () => personMenu(element, voice.guild_id, voice.user_id));
  return element;
}

function updatePerson(element, voice) {
  const { flags } = voice;
  const name = nameOf(voice.guild_id, voice.user_id);
  const own = voice.session_id === state.call.session;
  const screen = own ? state.call.screen : sends(voice, "screen");
  const camera = own ? state.call.camera : sends(voice, "camera");
  const muted = isMuted(flags);
  const deaf = flags.self_deaf || flags.server_deaf;
  const sign = JSON.stringify([name, flags, screen, camera]);
  if (element.dataset.sign !== sign) {
    element.dataset.sign = sign;
    const words = [name, muted && "muted", deaf && "deafened", camera && "camera on", screen && "shares a screen"].filter(Boolean);
    setAttribute(element, "aria-label", words.join(", "));
    fill(
      element,
      avatar(voice.user_id, name, "tiny"),
      h("span", { class: "voice-user-name" }, name),
      h(
        "span",
        { class: "voice-user-signs" },
        screen && h("span", { class: "live" }, "Live"),
        camera && icon("camera"),
        muted && h("span", { class: isSilenced(flags) ? "by-server" : "" }, icon("microphone", { struck: true })),
        deaf && h("span", { class: flags.server_deaf ? "by-server" : "" }, icon("headphones", { struck: true })),
      ),
    );
  }
  element.classList.toggle("speaking", isSpeaking(voice));
}
