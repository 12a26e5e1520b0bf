//! How good the connection is: round trip, loss and bitrate of the whole session, and picture
//! size, frame rate and bitrate of each video slot, from getStats every two seconds.

import { state, changed } from "../store.js";
import { selectedPair } from "./watchdog.js";

const INTERVAL_MS = 2_000;

/** Measures one connection until it is stopped. */
export class Quality {
  #connection;
  #timer;
  #last = null;

  constructor(connection) {
    this.#connection = connection;
    this.#timer = setInterval(() => this.#measure(), INTERVAL_MS);
  }

  /** Stops measuring. */
  stop() {
    clearInterval(this.#timer);
  }

  async #measure() {
    if (this.#connection.connectedAt === null) return;
    let report;
    try {
      report = await this.#connection.pc.getStats();
    } catch {
      return;
    }
    const now = count(report, this.#connection);
    if (this.#last) {
      state.call.quality = compare(this.#last, now);
      changed("quality");
    }
    this.#last = now;
  }
}

function count(report, connection) {
  const pair = selectedPair(report);
  const sample = {
    at: performance.now(),
    roundTripMs: pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
    sentBytes: pair?.bytesSent ?? 0,
    receivedBytes: pair?.bytesReceived ?? 0,
    received: 0,
    lost: 0,
    lossUp: null,
    available: pair?.availableOutgoingBitrate ?? null,
    tracks: new Map(),
    sending: new Map(),
  };
  const kinds = new Map(Object.entries(connection.senders).map(([kind, sender]) => [sender.track?.id, kind]));
  for (const stats of report.values()) {
    if (stats.type === "inbound-rtp") countInbound(sample, stats);
    else if (stats.type === "remote-inbound-rtp") countRemote(sample, stats);
    else if (stats.type === "outbound-rtp" && stats.kind === "video") countOutbound(sample, stats, report, kinds);
  }
  return sample;
}

function countInbound(sample, stats) {
  sample.received += stats.packetsReceived ?? 0;
  sample.lost += Math.max(0, stats.packetsLost ?? 0);
  if (stats.kind !== "video") return;
  sample.tracks.set(stats.trackIdentifier, {
    bytes: stats.bytesReceived ?? 0,
    frames: stats.framesDecoded ?? 0,
    width: stats.frameWidth ?? 0,
    height: stats.frameHeight ?? 0,
  });
}

function countRemote(sample, stats) {
  if (stats.fractionLost !== undefined) sample.lossUp = Math.max(sample.lossUp ?? 0, stats.fractionLost);
  if (sample.roundTripMs === null && stats.roundTripTime !== undefined) sample.roundTripMs = stats.roundTripTime * 1000;
}

function countOutbound(sample, stats, report, kinds) {
  const source = report.get(stats.mediaSourceId);
  const kind = kinds.get(source?.trackIdentifier);
  if (!kind) return;
  const known = sample.sending.get(kind) ?? { bytes: 0, frames: 0, width: 0, height: 0 };
  known.bytes += stats.bytesSent ?? 0;
  if ((stats.frameHeight ?? 0) >= known.height) {
    Object.assign(known, { frames: stats.framesEncoded ?? 0, width: stats.frameWidth ?? 0, height: stats.frameHeight ?? 0 });
  }
  sample.sending.set(kind, known);
}

function compare(before, now) {
  const seconds = Math.max(0.001, (now.at - before.at) / 1000);
  const received = Math.max(0, now.received - before.received);
  const lost = Math.max(0, now.lost - before.lost);
  const rate = (bytes) => Math.max(0, (bytes * 8) / seconds);
  const streams = (samples, older) =>
    new Map(
      [...samples].map(([id, one]) => {
        const past = older.get(id) ?? one;
        return [id, {
          width: one.width,
          height: one.height,
          framesPerSecond: Math.max(0, Math.round((one.frames - past.frames) / seconds)),
          bitrate: rate(one.bytes - past.bytes),
        }];
      }),
    );
  return {
    roundTripMs: now.roundTripMs,
    lossUp: now.lossUp,
    lossDown: received + lost > 0 ? lost / (received + lost) : 0,
    bitrateUp: rate(now.sentBytes - before.sentBytes),
    bitrateDown: rate(now.receivedBytes - before.receivedBytes),
    available: now.available,
    tracks: streams(now.tracks, before.tracks),
    sending: streams(now.sending, before.sending),
  };
}

/** 3 is good, 2 fair, 1 poor, 0 unknown. */
export function grade(quality) {
  if (!quality) return 0;
  const loss = Math.max(quality.lossUp ?? 0, quality.lossDown);
  const roundTripMs = quality.roundTripMs ?? 0;
  if (loss > 0.05 || roundTripMs > 300) return 1;
  if (loss > 0.02 || roundTripMs > 150) return 2;
  return 3;
}

/** A bitrate for people. */
export function bitrateText(bits) {
  if (bits >= 1_000_000) return `${(bits / 1_000_000).toFixed(1)} Mbit/s`;
  return `${Math.round(bits / 1000)} kbit/s`;
}
