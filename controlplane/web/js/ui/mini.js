//! A small picture of a shared screen while one reads elsewhere; a click leads back to the stage.

import { h, setAttribute, setText } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, currentChannel, nameOf } from "../store.js";
import { call } from "../client.js";
import { goToCall } from "./panel.js";

/** Makes the picture. */
export function mini() {
  const video = h("video", { autoplay: true, playsinline: true, muted: true, "aria-hidden": "true" });
  const name = h("span", { class: "tile-name-text" });
  const element = h("button", { class: "mini", hidden: true, "data-testid": "mini", onClick: goToCall }, video, h("span", { class: "tile-foot" }, icon("screen"), name));
  const render = () => {
    const away = state.call.status === "connected" && state.call.channel !== currentChannel()?.id;
    const slot = away ? state.call.slots.findIndex((one) => one?.kind === "screen" && one.state === "live") : -1;
    const voice = slot >= 0 ? state.voices.get(state.call.slots[slot].session) : null;
    const track = voice ? (call.connection?.videos[slot]?.video.track ?? null) : null;
    element.hidden = track === null;
    if ((video.srcObject?.getVideoTracks()[0] ?? null) !== track) video.srcObject = track ? new MediaStream([track]) : null;
    if (!voice) return;
    const title = `${nameOf(voice.guild_id, voice.user_id)}’s screen`;
    setText(name, title);
    setAttribute(element, "aria-label", `Back to ${title}`);
  };
  return { element, render, stop: on(["call", "slots", "route", "voice", "guilds"], render) };
}
