//! Decides what the four video slots show, and tells the server. The stage states its wishes in
//! order of importance; a picture that is still wished for keeps its slot, so nothing flickers.

import { state, changed } from "../store.js";

const SLOTS = 4;
const SETTLE_MS = 250;
const RETRY_MS = 2_000;
/** Heights that are told apart; each is about a simulcast layer. */
const HEIGHTS = [180, 360, 720, 1080, 1440, 2160];

function bucket(height) {
  return HEIGHTS.find((step) => height <= step * 1.1) ?? HEIGHTS.at(-1);
}

function same(a, b) {
  return a !== null && b !== null && a.session === b.session && a.kind === b.kind;
}

/** The slots of one call; survives its sessions. */
export class Views {
  #send;
  #wishes = [];
  /** What each slot shall show: `{ session, kind, height, state }` or null. */
  #slots = Array(SLOTS).fill(null);
  /** What the server was told, as JSON, by slot. */
  #told = Array(SLOTS).fill("null");
  #timer = null;

  /** `send(slot, view)` asks the server and rejects when that failed. */
  constructor(send) {
    this.#send = send;
    this.#publish();
  }

  /** States what shall be seen: `[{ session, kind, height }]`, the most important first. */
  want(wishes) {
    this.#wishes = wishes.slice(0, SLOTS);
    this.#assign();
    this.#schedule(SETTLE_MS);
  }

  /** The slot that shows this picture, or -1. */
  slotOf(session, kind) {
    return this.#slots.findIndex((slot) => same(slot, { session, kind }));
  }

  /** The state of a slot: `waiting`, `live` or `codec_unsupported`. */
  stateOf(slot) {
    return this.#slots[slot]?.state ?? "waiting";
  }

  /** The server tells how a slot stands. */
  onState(slot, viewState) {
    if (!this.#slots[slot] || this.#slots[slot].state === viewState) return;
    this.#slots[slot].state = viewState;
    this.#publish();
  }

  /** A new session knows nothing of the slots: they are asked for again. */
  reassert() {
    this.#told.fill("null");
    for (const slot of this.#slots) if (slot) slot.state = "waiting";
    this.#publish();
    this.#schedule(0);
  }

  /** The call ended. */
  reset() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#wishes = [];
    this.#slots.fill(null);
    this.#told.fill("null");
    this.#publish();
  }

  #assign() {
    const before = JSON.stringify(this.#slots);
    const open = [...this.#wishes];
    for (let index = 0; index < SLOTS; index += 1) {
      const slot = this.#slots[index];
      const wish = slot && open.findIndex((candidate) => same(slot, candidate));
      if (slot && wish >= 0) {
        slot.height = bucket(open[wish].height);
        open.splice(wish, 1);
      } else {
        this.#slots[index] = null;
      }
    }
    for (const wish of open) {
      const free = this.#slots.indexOf(null);
      if (free < 0) break;
      this.#slots[free] = { session: wish.session, kind: wish.kind, height: bucket(wish.height), state: "waiting" };
    }
    if (JSON.stringify(this.#slots) !== before) this.#publish();
  }

  #schedule(delayMs) {
    if (this.#timer !== null && delayMs > 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#tell();
    }, delayMs);
  }

  #tell() {
    this.#slots.forEach((slot, index) => {
      const view = slot && { session_id: slot.session, kind: slot.kind, height: slot.height };
      const text = JSON.stringify(view);
      if (this.#told[index] === text) return;
      this.#told[index] = text;
      this.#send(index, view).catch(() => {
        // Not told after all; a rejoin asks again at once, everything else a little later.
        if (this.#told[index] === text) this.#told[index] = "unknown";
        this.#schedule(RETRY_MS);
      });
    });
  }

  #publish() {
    state.call.slots = this.#slots.map((slot) => (slot ? { ...slot } : null));
    changed("slots");
  }
}
