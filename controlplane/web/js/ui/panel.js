//! The foot of the sidebar: the state of the call with the quality of its connection, and
//! oneself with mute, deafen and settings.

import { h, fill, setText, setAttribute } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, findChannel, isSilenced } from "../store.js";
import { settings } from "../settings.js";
import { STATUSES, ownStatus, setStatus } from "../presence.js";
import { call, gateway } from "../client.js";
import { grade, bitrateText } from "../voice/quality.js";
import * as route from "../route.js";
import { avatarWithStatus } from "./avatar.js";
import { controls } from "./controls.js";
import { openSettings } from "./settings.js";
import { openMenu } from "./menu.js";

const GRADES = ["Measuring…", "Poor connection", "Fair connection", "Good connection"];

/** Makes the panel. */
export function panel() {
  const status = h("span", { class: "panel-status-text", "data-testid": "voice-status" });
  const place = h("button", { class: "panel-place", onClick: () => goToCall() });
  const note = h("p", { class: "panel-note", role: "status" });
  const bars = h("span", { class: "bars", "aria-hidden": "true" }, [1, 2, 3].map(() => h("i")));
  const figures = h("dl", { class: "quality-figures" });
  const title = h("b");
  const card = h("div", { class: "quality-card", role: "tooltip", id: "quality-card" }, title, figures);
  const signal = h("button", { class: "signal", "aria-describedby": "quality-card", "data-testid": "quality" }, bars);
  const retry = h("button", { class: "link", hidden: true, onClick: () => call.retry() }, "Try now");
  const callControls = controls({ names: ["camera", "share-screen", "leave"], className: "controls panel-controls" });
  const voice = h(
    "section",
    { class: "panel-call", "aria-label": "Voice connection" },
    h("div", { class: "panel-line" }, h("div", { class: "panel-text" }, h("div", { class: "panel-status" }, h("span", { class: "dot" }), status), place), h("div", { class: "signal-wrap" }, signal, card)),
    note,
    retry,
    callControls.element,
  );
  const face = h("button", { class: "panel-face", "aria-haspopup": "menu", "data-testid": "own-status", onClick: () => statusMenu(face) });
  const name = h("span", { class: "panel-name" });
  const under = h("span", { class: "panel-under" });
  const selfControls = controls({ names: ["mute", "deafen"], className: "controls" });
  const gear = h("button", { class: "control", "aria-label": "Settings", title: "Settings", "data-testid": "settings", onClick: () => openSettings() }, icon("settings"));
  const self = h("section", { class: "panel-self", "aria-label": "You" }, face, h("div", { class: "panel-who" }, name, under), selfControls.element, gear);
  const element = h("div", { class: "panel" }, voice, self);

  const render = () => {
    const { status: current, channel, note: words } = state.call;
    voice.hidden = current === "idle";
    const here = findChannel(channel);
    setText(status, current === "connected" ? "Voice connected" : state.call.wasConnected ? "Reconnecting…" : "Connecting…");
    setAttribute(voice, "data-status", current);
    setText(place, here ? `${here.name} · ${state.guilds.get(here.guild_id)?.name ?? ""}` : "");
    setText(note, words);
    note.hidden = !words || words === "Connecting…" || words === "Reconnecting…";
    retry.hidden = current !== "retrying" || note.hidden;
    const user = state.user;
    const shown = state.gateway === "online" ? ownStatus() : "offline";
    const sign = `${user?.id}|${shown}`;
    if (user && face.dataset.sign !== sign) {
      face.dataset.sign = sign;
      setAttribute(face, "aria-label", `Your status: ${wordOf(shown)}`);
      setAttribute(face, "title", "Your status");
      fill(face, avatarWithStatus(user.id, user.name, shown));
    }
    setText(name, user?.name ?? "");
    setText(under, state.gateway === "online" ? (current === "idle" ? wordOf(ownStatus()) : "In voice") : state.gateway === "offline" ? "Offline, reconnecting…" : "Connecting…");
    self.classList.toggle("speaking", state.selfSpeaking && !state.call.selfMute && !isSilenced(state.voices.get(state.call.session)?.flags) && current === "connected");
    renderQuality();
  };

  function renderQuality() {
    const { quality, nodeStats } = state.call;
    const level = grade(quality);
    setAttribute(bars, "data-grade", String(level));
    setText(title, GRADES[level]);
    setAttribute(signal, "aria-label", GRADES[level]);
    const percent = (share) => (share === null || share === undefined ? "–" : `${(share * 100).toFixed(1)} %`);
    const rows = [
      ["Round trip", quality?.roundTripMs === null || !quality ? "–" : `${Math.round(quality.roundTripMs)} ms`],
      ["Loss, sending", percent(nodeStats?.loss_up ?? quality?.lossUp)],
      ["Loss, receiving", percent(quality?.lossDown)],
      ["Sending", quality ? bitrateText(quality.bitrateUp) : "–"],
      ["Receiving", quality ? bitrateText(quality.bitrateDown) : "–"],
    ];
    if (nodeStats) rows.push(["Jitter", `${nodeStats.jitter_ms.toFixed(1)} ms`]);
    fill(figures, rows.map(([label, value]) => [h("dt", null, label), h("dd", null, value)]));
  }

  const off = on(["call", "voice", "gateway", "user", "guilds", "speakers", "presence"], render);
  const offQuality = on(["quality"], renderQuality);
  return {
    element,
    render,
    stop: () => {
      off();
      offQuality();
      callControls.stop();
      selfControls.stop();
    },
  };
}

function wordOf(status) {
  return STATUSES.find(([id]) => id === status)?.[1] ?? "Offline";
}

function statusMenu(anchor) {
  openMenu(anchor, {
    label: "Your status",
    items: STATUSES.map(([id, label]) => ({
      label,
      sign: h("i", { class: `status status-${id}`, "aria-hidden": "true" }),
      checked: settings.status === id,
      testid: `status-${id}`,
      act: () => setStatus(gateway, id),
    })),
  });
}

/** Goes to the channel that one is talking in. */
export function goToCall() {
  const here = findChannel(state.call.channel);
  if (here) route.go(here.guild_id, here.id);
}
