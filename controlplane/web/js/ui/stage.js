//! The voice channel's own view: tiles of people and screens as a grid, or one large with the
//! others beside it. It also states, by what is really visible, which pictures are wished for.

import { h, keyed, fill } from "../dom.js";
import { icon } from "../icons.js";
import { state, on, changed, currentChannel, voicesIn, isSpeaking, sends } from "../store.js";
import { call } from "../client.js";
import { P, mayIn } from "../permissions.js";
import { makeTile, updateTile, updateFigures } from "./tile.js";
import { controls } from "./controls.js";

const GAP_PX = 10;
const RATIO = 16 / 9;
const SMALLEST_PX = 180;

const unwatched = new Set();
const spokeAt = new Map();

/** Makes the view. */
export function stage() {
  const large = h("div", { class: "stage-large" });
  const grid = h("div", { class: "stage-grid" });
  const tiles = h("div", { class: "stage-tiles" }, large, grid);
  const empty = h("div", { class: "stage-empty" });
  const dock = controls({ prefix: "stage-" });
  const element = h("section", { class: "stage", "aria-label": "Voice channel", "data-testid": "stage" }, tiles, empty, dock.element);
  const actions = {
    focus(key) {
      state.call.focus = state.call.focus === key || (state.call.focus === null && key === autoFocus()) ? "none" : key;
      changed("call");
    },
    watch(key, yes) {
      if (yes) unwatched.delete(key);
      else unwatched.add(key);
      if (yes) state.call.focus = key;
      changed("call");
    },
  };
  let specs = [];
  let focusedKey = null;

  function autoFocus() {
    return specs.find((spec) => spec.screen && !spec.own && spec.slot >= 0)?.key ?? null;
  }

  function render() {
    const channel = currentChannel();
    const shown = channel?.kind === "voice" && element.isConnected && !element.hidden;
    const inCall = state.call.status !== "idle";
    dock.render();
    specs = inCall ? describe(state.call.channel) : [];
    const joinedHere = inCall && state.call.channel === channel?.id;
    tiles.hidden = !joinedHere;
    dock.element.hidden = !joinedHere;
    empty.hidden = joinedHere;
    if (shown && joinedHere) {
      const wanted = state.call.focus ?? autoFocus();
      focusedKey = specs.some((spec) => spec.key === wanted) ? wanted : null;
      for (const spec of specs) spec.focused = spec.key === focusedKey;
      tiles.classList.toggle("focused", focusedKey !== null);
      const make = (spec) => makeTile(spec, actions);
      keyed(large, specs.filter((spec) => spec.focused), (spec) => spec.key, make, updateTile);
      keyed(grid, specs.filter((spec) => !spec.focused), (spec) => spec.key, make, updateTile);
      layout();
    } else if (shown) {
      renderEmpty(empty, channel);
    }
    wish(shown && joinedHere);
  }

  /** Columns that make 16:9 tiles as large as possible. */
  function layout() {
    const count = grid.childElementCount;
    if (count === 0 || focusedKey !== null) return;
    const { clientWidth: width, clientHeight: height } = tiles;
    let best = { columns: 1, size: 0 };
    for (let columns = 1; columns <= count; columns += 1) {
      const rows = Math.ceil(count / columns);
      const size = Math.min((width - GAP_PX * (columns - 1)) / columns, ((height - GAP_PX * (rows - 1)) / rows) * RATIO);
      if (size > best.size) best = { columns, size };
    }
    if (best.size < SMALLEST_PX) {
      const columns = Math.max(1, Math.floor((width + GAP_PX) / (SMALLEST_PX + GAP_PX)));
      best = { columns, size: (width - GAP_PX * (columns - 1)) / columns };
    }
    grid.style.setProperty("--columns", String(best.columns));
    grid.style.setProperty("--tile", `${Math.floor(best.size)}px`);
  }

  /** Tells the views what is visible, the most important first. */
  function wish(shown) {
    if (state.call.status === "idle") return;
    const scale = Math.min(2, window.devicePixelRatio || 1);
    const wishes = specs
      .filter((spec) => !spec.own && spec.kind !== "microphone" && !unwatched.has(spec.key))
      // Elsewhere in the client the sound of shares goes on, and a small picture with it.
      .filter((spec) => shown || spec.screen)
      .map((spec) => {
        const tile = shown ? (spec.focused ? large : grid).querySelector(`[data-testid="tile-${spec.session}-${spec.kind}"]`) : null;
        const height = tile ? Math.round(tile.clientHeight * scale) : 180;
        const rank = spec.focused ? 3 : spec.screen ? 2 : 0;
        return { session: spec.session, kind: spec.kind, height: Math.max(180, height), rank, spokeAt: spokeAt.get(spec.session) ?? 0 };
      })
      .sort((a, b) => b.rank - a.rank || b.spokeAt - a.spokeAt)
      .map(({ session, kind, height }) => ({ session, kind, height }));
    call.views.want(wishes);
  }

  const resized = new ResizeObserver(render);
  resized.observe(tiles);
  const offSpeakers = on(["speakers"], () => {
    for (const voice of state.voices.values()) if (isSpeaking(voice)) spokeAt.set(voice.session_id, performance.now());
    if (element.isConnected && !element.hidden) render();
  });
  const offFigures = on(["quality"], () => {
    for (const tile of tiles.querySelectorAll(".tile:hover, .tile-focused")) updateFigures(tile);
  });
  const off = on(["voice", "call", "slots", "route", "guilds"], render);
  return {
    element,
    render,
    stop: () => {
      off();
      offSpeakers();
      offFigures();
      resized.disconnect();
    },
  };
}

/** What there is to show: screens first, then people. */
function describe(channelId) {
  const screens = [];
  const people = [];
  for (const voice of voicesIn(channelId)) {
    const own = voice.session_id === state.call.session;
    const camera = own ? state.call.camera : sends(voice, "camera");
    if (own ? state.call.screen : sends(voice, "screen")) screens.push(describeTile(voice, "screen", own));
    people.push(describeTile(voice, camera ? "camera" : "microphone", own));
  }
  const known = new Set(screens.map((spec) => spec.key));
  for (const key of unwatched) if (!known.has(key)) unwatched.delete(key);
  return [...screens, ...people];
}

function describeTile(voice, kind, own) {
  const session = voice.session_id;
  const screen = kind === "screen";
  const slot = own || kind === "microphone" ? -1 : call.views.slotOf(session, kind);
  const receiver = slot >= 0 ? call.connection?.videos[slot]?.video : null;
  return {
    // By person, so that a tile and its place survive a rejoin.
    key: `${voice.user_id}-${screen ? "screen" : "person"}`,
    voice,
    session,
    kind,
    own,
    screen,
    slot,
    viewState: call.views.stateOf(slot),
    codec: voice.producers.find((producer) => producer.kind === kind)?.codec,
    hasSound: sends(voice, "screen_audio"),
    track: own ? (kind === "microphone" ? null : call.capture.tracks[kind]) : (receiver?.track ?? null),
    focused: false,
  };
}

function renderEmpty(empty, channel) {
  const inside = voicesIn(channel.id).length;
  const may = mayIn(channel, P.CONNECT);
  const sign = JSON.stringify([channel.id, channel.name, inside, state.call.note, may]);
  if (empty.dataset.sign === sign) return;
  empty.dataset.sign = sign;
  fill(
    empty,
    h("span", { class: "stage-sign" }, icon("speaker")),
    h("h2", null, channel.name),
    h("p", { class: "muted" }, inside === 0 ? "Nobody is here yet. Be the first." : inside === 1 ? "One person is here." : `${inside} people are here.`),
    may ? h("button", { class: "primary", "data-testid": "join-voice", onClick: () => call.join(channel.id) }, "Join voice") : h("p", { class: "muted" }, "You may not join this channel."),
  );
}
