//! The settings: devices with a level meter, sound processing, screen share, colours, account.

import { h, fill } from "../dom.js";
import { settings, choose } from "../settings.js";
import { call } from "../client.js";
import * as devices from "../voice/devices.js";
import { openDialog, field } from "./dialogs.js";
import { account } from "./account.js";

/** Opens the dialog. */
export function openSettings() {
  const test = meterTest();
  const close = openDialog({
    title: "Settings",
    wide: true,
    testid: "settings-dialog",
    onClose: () => test.stop(),
    content: () => h("div", { class: "settings" }, voice(test), picture(), look(), section("Account", account(() => close()))),
  });
}

function section(title, ...children) {
  return h("section", { class: "settings-section" }, h("h3", null, title), children);
}

function voice(test) {
  const input = deviceSelect("input", "setting-input", () => test.restart());
  const output = deviceSelect("output", "setting-output");
  const canRoute = typeof HTMLMediaElement.prototype.setSinkId === "function";
  fillDevices([[input, "inputs", "input"], [output, "outputs", "output"]]);
  return section(
    "Voice",
    h("div", { class: "field-pair" }, field("Microphone", input), canRoute && field("Speakers", output)),
    h("div", { class: "field" }, h("span", { class: "field-label" }, "Level"), test.element),
    toggle("Noise suppression", "Takes out fans, keyboards and the street.", "noiseSuppression", () => test.restart()),
    toggle("Echo cancellation", "Needed with loudspeakers; with headphones you may do without.", "echoCancellation", () => test.restart()),
    toggle("Automatic volume", "Keeps your voice about equally loud.", "autoGainControl", () => test.restart()),
  );
}

function picture() {
  const camera = deviceSelect("camera", "setting-camera");
  fillDevices([[camera, "cameras", "camera"]]);
  const share = h(
    "select",
    { "data-testid": "setting-share", onChange: (event) => choose({ share: event.target.value }) },
    h("option", { value: "detail", selected: settings.share === "detail" }, "Sharp text (30 frames a second)"),
    h("option", { value: "motion", selected: settings.share === "motion" }, "Smooth motion, for games and films (60)"),
  );
  return section("Picture", h("div", { class: "field-pair" }, field("Camera", camera), field("Screen share", share)));
}

function look() {
  const options = [["system", "Like the system"], ["light", "Light"], ["dark", "Dark"]].map(([value, label]) =>
    h("label", { class: "segment" }, h("input", { type: "radio", name: "theme", value, checked: settings.theme === value, "data-testid": `theme-${value}`, onChange: () => choose({ theme: value }) }), h("span", null, label)),
  );
  return section("Colours", h("div", { class: "segments", role: "radiogroup", "aria-label": "Colours" }, options));
}


function deviceSelect(key, testid, after = () => {}) {
  return h("select", {
    "data-testid": testid,
    onChange: (event) => {
      choose({ [key]: event.target.value });
      after();
    },
  }, h("option", { value: "" }, "The system's choice"));
}

async function fillDevices(selects) {
  const found = await devices.list();
  for (const [select, group, key] of selects) {
    const options = found[group]
      .filter((device) => device.id !== "" && device.id !== "default")
      .map((device, index) => h("option", { value: device.id, selected: device.id === settings[key] }, device.name || `Device ${index + 1}`));
    fill(select, h("option", { value: "", selected: settings[key] === "" }, "The system's choice"), options);
    select.value = found[group].some((device) => device.id === settings[key]) ? settings[key] : "";
  }
}

function toggle(label, hint, key, after) {
  const input = h("input", {
    type: "checkbox",
    role: "switch",
    class: "switch",
    checked: settings[key],
    "data-testid": `setting-${key}`,
    onChange: () => {
      choose({ [key]: input.checked });
      after();
    },
  });
  return h("label", { class: "toggle" }, h("span", null, h("b", null, label), h("span", { class: "muted" }, hint)), input);
}

/** The level of the call's microphone, or of one opened for the test only. */
function meterTest() {
  const bar = h("i");
  const words = h("span", { class: "muted" });
  const button = h("button", { class: "secondary", type: "button", "data-testid": "meter-test", onClick: () => start() }, "Test the microphone");
  const meterBox = h("div", { class: "meter", role: "meter", "aria-label": "Microphone level", "aria-valuemin": "0", "aria-valuemax": "100" }, bar);
  const element = h("div", { class: "meter-line", "data-testid": "level-meter" }, meterBox, button, words);
  let track = null;
  let own = null;
  let stopped = false;
  const timer = setInterval(() => {
    const level = (own ?? call.capture.meter).level;
    bar.style.setProperty("--level", level.toFixed(3));
    meterBox.setAttribute("aria-valuenow", String(Math.round(level * 100)));
    button.hidden = own !== null || call.capture.tracks.microphone !== null;
  }, 66);

  async function start() {
    release();
    fill(words);
    try {
      const opened = await devices.openMicrophone();
      if (stopped) return opened.stop();
      track = opened;
      own = new devices.Meter();
      own.follow(track);
    } catch (error) {
      fill(words, devices.PROBLEMS[error.problem].replace(" You can listen meanwhile.", ""));
    }
  }

  function release() {
    own?.follow(null);
    track?.stop();
    own = track = null;
  }

  return {
    element,
    restart: () => {
      if (own) start();
    },
    stop: () => {
      stopped = true;
      clearInterval(timer);
      release();
    },
  };
}
