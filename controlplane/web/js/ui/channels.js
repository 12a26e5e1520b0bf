//! The list of a guild's channels, with the people in each voice channel under it.

import { h, keyed, fill, setAttribute } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, currentGuild, voicesIn, nameOf, isSpeaking, sends } from "../store.js";
import { call } from "../client.js";
import * as route from "../route.js";
import { avatar } from "./avatar.js";
import { createChannel } from "./create.js";
import { showInviteLink } from "./invite.js";
import { personMenu } from "./people.js";

/** Makes the list with its head. `onPick` runs after a channel was chosen. */
export function channels({ onPick }) {
  const name = h("h1", { class: "sidebar-name" });
  const invite = h("button", { class: "ghost", "aria-label": "Invite people", title: "Invite people", "data-testid": "invite-create", onClick: () => showInviteLink(currentGuild()) }, icon("invite"));
  const text = section("Text", "text");
  const voice = section("Voice", "voice");
  const element = h("div", { class: "sidebar-top" }, h("header", { class: "bar" }, name, invite), h("nav", { class: "channels", "aria-label": "Channels" }, text.element, voice.element));

  const render = () => {
    const guild = currentGuild();
    fill(name, guild?.name ?? "Hype");
    invite.hidden = !guild;
    for (const { element: block, list, kind, add } of [text, voice]) {
      const found = guild?.channels.filter((channel) => channel.kind === kind) ?? [];
      const mayAdd = guild?.owner_id === state.user?.id;
      block.hidden = found.length === 0 && !mayAdd;
      add.hidden = !mayAdd;
      keyed(list, found, (channel) => channel.id, (channel) => row(channel, onPick), update);
    }
  };
  return { element, render, stop: on(["guilds", "route", "unread", "voice", "call", "speakers", "user"], render) };
}

function section(label, kind) {
  const list = h("div", { class: "channel-list" });
  const add = h("button", { class: "ghost small", "aria-label": `Create a ${kind} channel`, title: `Create a ${kind} channel`, "data-testid": `create-${kind}-channel`, onClick: () => createChannel(currentGuild(), kind) }, icon("plus"));
  return { kind, list, add, element: h("section", { class: "channel-section" }, h("header", null, h("h2", null, label), add), list) };
}

function row(channel, onPick) {
  const pick = () => {
    route.go(channel.guild_id, channel.id);
    if (channel.kind === "voice") call.join(channel.id);
    onPick();
  };
  const button = h("button", { class: "channel", "data-testid": `channel-${channel.id}`, onClick: pick });
  const people = h("div", { class: "voice-users", role: "group", "aria-label": `In ${channel.name}` });
  const element = h("div", { class: "channel-row" }, button, people);
  element.parts = { button, people };
  return element;
}

function update(element, channel) {
  const { button, people } = element.parts;
  const unread = state.unread.get(channel.id) ?? 0;
  const inside = channel.kind === "voice" ? voicesIn(channel.id) : [];
  const joined = state.call.channel === channel.id;
  const sign = JSON.stringify([channel.name, unread, channel.user_limit && inside.length, joined]);
  if (button.dataset.sign !== sign) {
    button.dataset.sign = sign;
    fill(
      button,
      icon(channel.kind === "voice" ? "speaker" : "hash"),
      h("span", { class: "channel-name" }, channel.name),
      unread > 0 && h("span", { class: "badge", "aria-label": `${unread} unread` }, unread > 99 ? "99+" : unread),
      channel.kind === "voice" && channel.user_limit > 0 && h("span", { class: "limit" }, `${inside.length}/${channel.user_limit}`),
    );
  }
  setAttribute(button, "aria-current", state.route.channel === channel.id ? "page" : null);
  button.classList.toggle("joined", joined);
  button.classList.toggle("unread", unread > 0);
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
  const muted = flags.self_mute || flags.server_mute;
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
        muted && h("span", { class: flags.server_mute ? "by-server" : "" }, icon("microphone", { struck: true })),
        deaf && h("span", { class: flags.server_deaf ? "by-server" : "" }, icon("headphones", { struck: true })),
      ),
    );
  }
  element.classList.toggle("speaking", isSpeaking(voice));
}
