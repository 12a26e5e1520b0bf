//! Microphone and camera: opening them by the person's choice, clear words when that fails, the
//! list of devices, and the level of the microphone (for the meter and one's own speaking ring).

import { settings } from "../settings.js";

const LEVEL_MS = 60;
const SPEAKING_LEVEL = 0.024;
const SPEAKING_HOLD_MS = 300;

/** Why a device could not be opened, in words for a person, by stable code. */
export const PROBLEMS = {
  insecure: "Browsers only allow the microphone on secure pages. Open Hype by https, or on this computer by http://localhost. You can listen meanwhile.",
  denied: "The browser does not let Hype use the microphone. Allow it beside the address bar. You can listen meanwhile.",
  absent: "No microphone was found. Plug one in, and Hype will use it. You can listen meanwhile.",
  busy: "Another program is using the microphone. Close it, then choose the microphone again in the settings. You can listen meanwhile.",
};

/** The code of a getUserMedia error. */
export function problemOf(error) {
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "absent";
    default:
      return "busy";
  }
}

/** True where the browser gives out devices at all. */
export function available() {
  return window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);
}

async function open(constraints) {
  if (!available()) throw Object.assign(new Error(PROBLEMS.insecure), { problem: "insecure" });
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw Object.assign(error, { problem: problemOf(error) });
  }
}

/** A device that was chosen once may be unplugged now: then any other does. */
async function openPreferring(deviceId, constraintsFor) {
  if (!deviceId) return open(constraintsFor({}));
  try {
    return await open(constraintsFor({ deviceId: { exact: deviceId } }));
  } catch (error) {
    if (error.problem !== "absent") throw error;
    return open(constraintsFor({}));
  }
}

/** Opens the chosen microphone; throws an error with `problem`. */
export async function openMicrophone() {
  const stream = await openPreferring(settings.input, (device) => ({
    audio: {
      ...device,
      channelCount: 1,
      echoCancellation: settings.echoCancellation,
      noiseSuppression: settings.noiseSuppression,
      autoGainControl: settings.autoGainControl,
    },
  }));
  const [track] = stream.getAudioTracks();
  track.contentHint = "speech";
  return track;
}

/** Opens the chosen camera; throws an error with `problem`. */
export async function openCamera() {
  const stream = await openPreferring(settings.camera, (device) => ({
    video: { ...device, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } },
  }));
  const [track] = stream.getVideoTracks();
  track.contentHint = "motion";
  return track;
}

/** `{ inputs, outputs, cameras }`; names are empty until a permission was given. */
export async function list() {
  const found = { inputs: [], outputs: [], cameras: [] };
  if (!navigator.mediaDevices?.enumerateDevices) return found;
  const groups = { audioinput: "inputs", audiooutput: "outputs", videoinput: "cameras" };
  for (const device of await navigator.mediaDevices.enumerateDevices()) {
    found[groups[device.kind]]?.push({ id: device.deviceId, name: device.label });
  }
  return found;
}

/** Calls back when devices come or go. */
export function onDevices(listener) {
  navigator.mediaDevices?.addEventListener?.("devicechange", listener);
}

/** Measures one track's level, and tells when a voice starts and stops. */
export class Meter {
  /** The present level: 0 is silence, 1 is full scale on a perceptual (square root) scale. */
  level = 0;
  #context = null;
  #source = null;
  #analyser = null;
  #samples = null;
  #timer = null;
  #loudAt = -Infinity;
  #speaking = false;
  #onSpeaking;

  constructor(onSpeaking = () => {}) {
    this.#onSpeaking = onSpeaking;
  }

  /** Follows another track; null stops. */
  follow(track) {
    this.#source?.disconnect();
    this.#source = null;
    clearInterval(this.#timer);
    this.#timer = null;
    this.#set(0);
    if (!track || typeof AudioContext === "undefined") return;
    this.#context ??= new AudioContext({ latencyHint: "balanced" });
    // Without a click yet the context is asleep; the first gesture wakes it.
    if (this.#context.state === "suspended") this.wake();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: 1024, smoothingTimeConstant: 0 });
    this.#samples ??= new Float32Array(this.#analyser.fftSize);
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
    this.#timer = setInterval(() => this.#measure(), LEVEL_MS);
  }

  /** Resumes the audio context; called from gestures. */
  wake() {
    this.#context?.resume().catch(() => null);
  }

  #measure() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let power = 0;
    for (const sample of this.#samples) power += sample * sample;
    this.#set(Math.min(1, Math.sqrt(Math.sqrt(power / this.#samples.length)) * 1.25));
  }

  #set(level) {
    this.level = level;
    const now = performance.now();
    if (level * level > SPEAKING_LEVEL) this.#loudAt = now;
    const speaking = now - this.#loudAt < SPEAKING_HOLD_MS && level > 0;
    if (speaking === this.#speaking) return;
    this.#speaking = speaking;
    this.#onSpeaking(speaking);
  }
}
