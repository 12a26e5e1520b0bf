//! One tile of the stage: a person (with or without a camera) or a shared screen. A tile only
//! shows; which picture it gets is decided by the stage and the views.

import { h, fill, setAttribute, setText, insideControl } from "../dom.js";
import { icon } from "../icons.js";
import { state, nameOf, isMuted, isSilenced, isSpeaking } from "../store.js";
import { call } from "../client.js";
import { bitrateText } from "../voice/quality.js";
import { avatar } from "./avatar.js";

const CODEC_NAMES = { vp8: "VP8", vp9: "VP9", h264: "H.264", av1: "AV1" };
const SWITCH_MS = 800;

/** Makes a tile; `actions` are `focus(key)` and `watch(key, yes)`. */
export function makeTile(spec, actions) {
  const video = h("video", { autoplay: true, playsinline: true, muted: true, disablepictureinpicture: spec.kind === "camera" });
  const face = h("div", { class: "tile-face" });
  const note = h("div", { class: "tile-note", hidden: true });
  const name = h("span", { class: "tile-name-text" });
  const signs = h("span", { class: "tile-signs" });
  const figures = h("span", { class: "tile-figures" });
  const volume = h("input", {
    type: "range", min: 0, max: 1, step: 0.05, value: 1, "aria-label": "Volume of this share", title: "Volume of this share",
    onInput: () => call.sound.setVolume(element.spec.slot, Number(volume.value)),
  });
  const volumeBox = h("span", { class: "tile-volume", hidden: true }, icon("speaker"), volume);
  const focus = h("button", { class: "tile-tool", "data-testid": `focus-${spec.session}-${spec.kind}`, onClick: () => actions.focus(element.spec.key) }, icon("focus"));
  const full = h("button", { class: "tile-tool", "aria-label": "Full screen", title: "Full screen", onClick: () => fullscreen(element) }, icon("expand"));
  const unwatch = h("button", { class: "tile-tool", "aria-label": "Stop watching", title: "Stop watching", onClick: () => actions.watch(element.spec.key, false) }, icon("close"));
  const tools = h("div", { class: "tile-tools" }, volumeBox, focus, full, unwatch);
  const element = h("div", { class: "tile", role: "group" }, video, face, note, h("div", { class: "tile-foot" }, signs, name, figures), tools);
  element.addEventListener("click", (event) => {
    if (!insideControl(event, element)) actions.focus(element.spec.key);
  });
  element.addEventListener("dblclick", (event) => {
    if (!insideControl(event, element)) fullscreen(element);
  });
  element.parts = { video, face, note, name, signs, figures, volumeBox, focus, full, unwatch };
  // A picture is shown from its first frame on; before, the face is a better sight than black.
  for (const event of ["loadeddata", "resize"]) video.addEventListener(event, () => element.spec && updateTile(element, element.spec));
  element.actions = actions;
  return element;
}

function fullscreen(element) {
  if (document.fullscreenElement) document.exitFullscreen();
  else element.requestFullscreen?.().catch(() => null);
}

/** Brings a tile up to date with its spec; see stage.js for the fields. */
export function updateTile(element, spec) {
  const { video, face, note, name, signs, volumeBox, focus, full, unwatch } = element.parts;
  element.spec = spec;
  const { voice } = spec;
  const person = nameOf(voice.guild_id, voice.user_id);
  const title = spec.screen ? `${person}’s screen` : person;
  follow(element, spec);
  const flows = spec.viewState === "live" || (element.flowing && spec.viewState !== "codec_unsupported");
  play(video, spec.track);
  const shows = spec.track !== null && (spec.own || (flows && video.videoWidth > 0));
  setAttribute(element, "data-testid", `tile-${spec.session}-${spec.kind}`);
  setAttribute(element, "aria-label", title);
  element.classList.toggle("tile-screen", spec.screen);
  element.classList.toggle("tile-focused", spec.focused);
  element.classList.toggle("has-video", shows);
  element.classList.toggle("mirrored", spec.own && !spec.screen);
  element.classList.toggle("speaking", !spec.screen && isSpeaking(voice));
  setText(name, spec.own ? `${title} (you)` : title);
  renderFace(face, voice, person, spec);
  renderSigns(signs, voice, spec);
  renderNote(note, element, spec, shows, person);
  volumeBox.hidden = !(spec.screen && spec.slot >= 0 && spec.hasSound);
  setAttribute(focus, "aria-label", spec.focused ? "Show all" : `Enlarge ${title}`);
  setAttribute(focus, "title", spec.focused ? "Show all" : "Enlarge");
  setAttribute(focus, "aria-pressed", String(spec.focused));
  full.hidden = !shows;
  unwatch.hidden = !(spec.screen && spec.slot >= 0 && !spec.own);
  updateFigures(element);
}

/**
 * Notices by itself that a picture flows: the server's word for it may get lost in a cut of the
 * gateway, and the picture must not stay hidden then. Frames right after a switch do not count,
 * since they may be the slot's previous stream.
 */
function follow(element, spec) {
  const sign = `${spec.session}|${spec.kind}|${spec.slot}|${spec.track?.id}`;
  if (element.followed === sign) return;
  element.followed = sign;
  element.flowing = false;
  if (spec.own || !spec.track || !HTMLVideoElement.prototype.requestVideoFrameCallback) return;
  const since = performance.now();
  const look = () => {
    if (element.followed !== sign || !element.isConnected) return;
    if (performance.now() - since < SWITCH_MS) {
      element.parts.video.requestVideoFrameCallback(look);
      return;
    }
    element.flowing = true;
    updateTile(element, element.spec);
  };
  element.parts.video.requestVideoFrameCallback(look);
}

function play(video, track) {
  const current = video.srcObject?.getVideoTracks()[0] ?? null;
  if (current === track) return;
  video.srcObject = track ? new MediaStream([track]) : null;
  if (track) video.play().catch(() => null);
}

function renderFace(face, voice, person, spec) {
  const sign = `${person}|${spec.screen}`;
  if (face.dataset.sign === sign) return;
  face.dataset.sign = sign;
  fill(face, spec.screen ? icon("screen") : avatar(voice.user_id, person, "large"));
}

function renderSigns(signs, { flags }, spec) {
  const muted = isMuted(flags);
  const deaf = flags.self_deaf || flags.server_deaf;
  const sign = JSON.stringify([flags, spec.screen]);
  if (signs.dataset.sign === sign) return;
  signs.dataset.sign = sign;
  fill(signs, spec.screen ? icon("screen") : [deaf && icon("headphones", { struck: true }), muted && icon("microphone", { struck: true })]);
  signs.classList.toggle("by-server", isSilenced(flags) || Boolean(flags.server_deaf));
}

function renderNote(note, element, spec, shows, person) {
  const wantsPicture = spec.kind !== "microphone";
  let text = "";
  let watch = false;
  if (wantsPicture && !spec.own && !shows) {
    if (spec.slot >= 0 && spec.viewState === "codec_unsupported") {
      const codec = CODEC_NAMES[spec.codec] ?? "this format";
      text = `Your browser cannot play ${codec}, which ${person} is sending.`;
    } else if (spec.slot >= 0) text = spec.screen ? "Loading the screen…" : "";
    else watch = spec.screen;
  }
  const sign = `${text}|${watch}`;
  note.hidden = text === "" && !watch;
  if (note.dataset.sign === sign) return;
  note.dataset.sign = sign;
  fill(note, text, watch && h("button", { class: "primary", "data-testid": `watch-${spec.session}`, onClick: () => element.actions.watch(element.spec.key, true) }, "Watch"));
}

/** Size, frame rate and bitrate; shown on hover. */
export function updateFigures(element) {
  const { spec, parts } = element;
  const { quality } = state.call;
  const stream = spec.own ? quality?.sending.get(spec.kind) : quality?.tracks.get(spec.track?.id);
  setText(parts.figures, stream?.height ? `${stream.width}×${stream.height} · ${stream.framesPerSecond} fps · ${bitrateText(stream.bitrate)}` : "");
}
