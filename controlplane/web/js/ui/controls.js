//! The buttons of a call: mute, deafen, camera, screen, leave. Used in the side panel and on the
//! stage; both follow the state, so they never disagree.

import { h, fill, setAttribute } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, findChannel, isSilenced } from "../store.js";
import { P, mayIn } from "../permissions.js";
import { call } from "../client.js";
import { shortcut } from "./shortcuts.js";

const ALL = {
  mute: {
    icon: "microphone",
    act: () => call.setMute(!(state.call.selfMute || state.call.selfDeaf)),
    look: () => {
      const off = state.call.selfMute || state.call.selfDeaf;
      const flags = ownFlags();
      const forced = isSilenced(flags);
      const missing = state.call.status !== "idle" && !["ok", "unknown"].includes(state.call.microphone);
      const label = flags?.server_mute ? "A moderator muted you" : forced ? "You may not speak in this channel" : missing ? "No microphone: you are listening only" : off ? "Unmute" : "Mute";
      return { label: `${label} (${shortcut("M")})`, pressed: off, struck: off || forced || missing, alarm: off || forced, warn: missing };
    },
  },
  deafen: {
    icon: "headphones",
    act: () => call.setDeaf(!state.call.selfDeaf),
    look: () => {
      const forced = ownFlags()?.server_deaf;
      const label = forced ? "A moderator deafened you" : state.call.selfDeaf ? "Undeafen" : "Deafen";
      return { label: `${label} (${shortcut("D")})`, pressed: state.call.selfDeaf, struck: state.call.selfDeaf || forced, alarm: state.call.selfDeaf || forced };
    },
  },
  camera: {
    icon: "camera",
    act: () => call.capture.setCamera(!state.call.camera),
    look: () => mayShow() && ({ label: state.call.camera ? "Turn the camera off" : "Turn the camera on", pressed: state.call.camera, struck: !state.call.camera, on: state.call.camera }),
  },
  "share-screen": {
    icon: "screen",
    act: () => (state.call.screen ? call.capture.stopScreen() : call.capture.startScreen()),
    look: () => mayShow() && ({ label: state.call.screen ? "Stop sharing" : "Share your screen", pressed: state.call.screen, on: state.call.screen }),
  },
  leave: {
    icon: "leave",
    act: () => call.leave(),
    look: () => ({ label: "Leave the voice channel", hangup: true }),
  },
};

/** Cameras and screens need a permission; without it the buttons rest, unless something runs. */
function mayShow() {
  const channel = findChannel(state.call.channel);
  return state.call.camera || state.call.screen || !channel || mayIn(channel, P.STREAM);
}

function ownFlags() {
  return state.voices.get(state.call.session)?.flags;
}

/** Makes a row of these buttons. `prefix` keeps test ids apart where the row stands twice. */
export function controls({ names = Object.keys(ALL), prefix = "", className = "controls" }) {
  const buttons = names.map((name) => {
    const button = h("button", { class: "control", type: "button", "data-testid": prefix + name });
    button.addEventListener("click", async () => {
      if (button.dataset.busy) return;
      button.dataset.busy = "1";
      try {
        await ALL[name].act();
      } finally {
        delete button.dataset.busy;
      }
    });
    return { name, button };
  });
  const element = h("div", { class: className, role: "toolbar", "aria-label": "Call" }, buttons.map(({ button }) => button));
  const render = () => {
    for (const { name, button } of buttons) {
      const look = ALL[name].look() || { label: "You may not show a camera or screen in this channel", struck: true, barred: true };
      const sign = JSON.stringify(look);
      if (button.dataset.sign === sign) continue;
      button.dataset.sign = sign;
      fill(button, icon(ALL[name].icon, { struck: Boolean(look.struck) }));
      button.disabled = Boolean(look.barred);
      setAttribute(button, "aria-label", look.label);
      setAttribute(button, "title", look.label);
      setAttribute(button, "aria-pressed", look.pressed === undefined ? null : String(look.pressed));
      button.className = ["control", look.alarm && "alarm", look.warn && "warn", look.on && "on", look.hangup && "hangup"].filter(Boolean).join(" ");
    }
  };
  render();
  const stop = on(["call", "voice", "guilds"], render);
  return { element, render, stop };
}
