//! Plays what comes in: an audio element for each voice slot and for each share's sound. The
//! elements outlive sessions, so that a rejoin is a short gap and not a new start.

import { state, changed } from "../store.js";
import { settings, onChoice } from "../settings.js";

const VOICES = 8;
const SHARES = 4;

/** All sound of the call. */
export class Sound {
  /** Audio elements of the voice slots, in the order of the slots. */
  voices = [];
  /** Audio elements of the video slots' sound. */
  shares = [];
  #deaf = false;
  #volumes = Array(SHARES).fill(1);

  constructor() {
    const home = document.getElementById("sounds");
    const make = (name) => {
      const audio = document.createElement("audio");
      audio.autoplay = true;
      audio.dataset.slot = name;
      home.append(audio);
      return audio;
    };
    for (let slot = 0; slot < VOICES; slot += 1) this.voices.push(make(`voice-${slot}`));
    for (let slot = 0; slot < SHARES; slot += 1) this.shares.push(make(`share-${slot}`));
    onChoice((keys) => {
      if (keys.includes("output")) this.#route();
    });
    for (const gesture of ["pointerdown", "keydown"]) {
      window.addEventListener(gesture, () => {
        if (state.call.soundBlocked) this.start();
      });
    }
  }

  /** Plays a connection's receivers. */
  attach(connection) {
    connection.voices.forEach((receiver, slot) => {
      this.voices[slot].srcObject = new MediaStream([receiver.track]);
    });
    connection.videos.forEach(({ sound }, slot) => {
      this.shares[slot].srcObject = new MediaStream([sound.track]);
    });
    this.#route();
    this.#apply();
    this.start();
  }

  /** Falls silent for good. */
  detach() {
    for (const audio of [...this.voices, ...this.shares]) audio.srcObject = null;
    this.#blocked(false);
  }

  /** Starts playing; browsers may refuse until the person has clicked anywhere. */
  async start() {
    const playing = [...this.voices, ...this.shares].filter((audio) => audio.srcObject).map((audio) => audio.play());
    const outcomes = await Promise.allSettled(playing);
    this.#blocked(outcomes.some(({ status, reason }) => status === "rejected" && reason?.name === "NotAllowedError"));
  }

  /** Silences everything, or lets it be heard again. */
  setDeaf(deaf) {
    this.#deaf = deaf;
    this.#apply();
  }

  /** The volume of one share's sound, 0–1. */
  setVolume(slot, volume) {
    this.#volumes[slot] = Math.min(1, Math.max(0, volume));
    this.#apply();
  }

  /** The volume of one share's sound, 0–1. */
  volumeOf(slot) {
    return this.#volumes[slot] ?? 1;
  }

  #apply() {
    for (const audio of [...this.voices, ...this.shares]) audio.muted = this.#deaf;
    this.shares.forEach((audio, slot) => {
      audio.volume = this.#volumes[slot];
    });
  }

  #route() {
    for (const audio of [...this.voices, ...this.shares]) {
      // A device that is gone leaves the sound where it was; the settings show what is there.
      audio.setSinkId?.(settings.output).catch(() => null);
    }
  }

  #blocked(blocked) {
    if (state.call.soundBlocked === blocked) return;
    state.call.soundBlocked = blocked;
    changed("call");
  }
}
