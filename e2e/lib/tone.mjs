// Known tones: written as WAV files for browsers' fake microphones, and measured in a page from
// the sound that its audio elements received.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ownFolder } from "./processes.mjs";

const RATE = 48_000;

/** A WAV file of ten seconds of a sine; ten seconds hold whole periods, so that it loops cleanly. */
export function toneFile(hz) {
  const samples = RATE * 10;
  const wav = Buffer.alloc(44 + samples * 2);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + samples * 2, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(RATE, 24);
  wav.writeUInt32LE(RATE * 2, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(samples * 2, 40);
  for (let i = 0; i < samples; i += 1) {
    wav.writeInt16LE(Math.round(12_000 * Math.sin((2 * Math.PI * hz * i) / RATE)), 44 + i * 2);
  }
  const file = join(ownFolder("tone"), `${hz}.wav`);
  writeFileSync(file, wav);
  return file;
}

/** Runs in the page: installs `window.ear`, which listens to what the client plays. */
export function installEar() {
  const context = new AudioContext();
  const taps = new Map();
  const LOUD = 0.01;
  let loudAt = 0;

  const tap = (element) => {
    const track = element.srcObject?.getAudioTracks()[0];
    const known = taps.get(element);
    if (!track || known?.track === track) return known;
    known?.source.disconnect();
    const source = context.createMediaStreamSource(new MediaStream([track]));
    const tone = new AnalyserNode(context, { fftSize: 16_384, smoothingTimeConstant: 0 });
    const level = new AnalyserNode(context, { fftSize: 256 });
    source.connect(tone);
    source.connect(level);
    const made = { track, source, tone, level };
    taps.set(element, made);
    return made;
  };

  const dominant = ({ tone }) => {
    const bins = new Float32Array(tone.frequencyBinCount);
    tone.getFloatFrequencyData(bins);
    let best = 0;
    for (let i = 1; i < bins.length; i += 1) if (bins[i] > bins[best]) best = i;
    return { hz: (best * context.sampleRate) / tone.fftSize, db: bins[best] };
  };

  setInterval(() => {
    const samples = new Float32Array(256);
    for (const element of window.hype.voice.sound.voices) {
      const made = tap(element);
      if (!made || element.muted) continue;
      made.level.getFloatTimeDomainData(samples);
      if (samples.some((sample) => Math.abs(sample) > LOUD)) loudAt = Date.now();
    }
  }, 10);

  window.ear = {
    ready: context.resume(),
    /** What each voice slot plays now: whose it is by CSRC, and its strongest frequency. */
    hear() {
      const receivers = window.hype.voice.connection?.voices ?? [];
      const heard = [];
      window.hype.voice.sound.voices.forEach((element, slot) => {
        const made = tap(element);
        if (!made || !receivers[slot]) return;
        const { hz, db } = dominant(made);
        if (db < -60) return;
        const sources = receivers[slot].getContributingSources().map(({ source }) => source);
        heard.push({ slot, sources, hz, db });
      });
      return heard;
    },
    /** Strongest frequency of each share's sound. */
    hearShares: () => window.hype.voice.sound.shares.map((element) => tap(element)).filter(Boolean).map(dominant).filter(({ db }) => db > -60),
    /** When any voice was last heard, in Unix milliseconds. */
    loudAt: () => loudAt,
  };
}

/**
 * Runs in the page, for browsers whose AudioContext waits for a sound card that a server has not:
 * records what the busy voice slots receive, and measures its frequency by zero crossings.
 * Returns `[{ source, hz }]`.
 */
export async function recordVoices() {
  const busy = window.hype.voice.connection.voices.filter((receiver) => receiver.getContributingSources().length > 0);
  return Promise.all(busy.map(async (receiver) => {
    const [{ source }] = receiver.getContributingSources();
    const recorder = new MediaRecorder(new MediaStream([receiver.track]));
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
    recorder.start();
    setTimeout(() => recorder.stop(), 1_500);
    await stopped;
    const bytes = await new Blob(parts).arrayBuffer();
    const sound = await new OfflineAudioContext(1, 48_000, 48_000).decodeAudioData(bytes);
    // The middle half second: a recording starts and ends with silence.
    const middle = sound.getChannelData(0).subarray(sound.length / 2 - 12_000, sound.length / 2 + 12_000);
    let crossings = 0;
    for (let i = 1; i < middle.length; i += 1) if (middle[i - 1] < 0 && middle[i] >= 0) crossings += 1;
    const loudest = middle.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    return { source, hz: loudest > 0.01 ? (crossings * 48_000) / middle.length : 0 };
  }));
}
