//! Notices a dead media path in two to four seconds. A browser alone takes up to half a minute:
//! it calls a path failed only long after its checks stopped being answered.

const POLL_MS = 500;
const DISCONNECTED_MS = 3_000;
const SILENT_MS = 2_000;
const UNANSWERED_MS = 800;
const CERTAIN_MS = 9_000;
/** Polls with steady reception after which silence by itself is taken seriously. */
const STEADY_POLLS = 20;
const STEADY_GAP_MS = 1_100;

/**
 * Watches one connection and calls `onDead(reason)` at most once: `disconnected`, `closed`, `silent` (checks
 * stay unanswered), or, only when `eager`, `quiet`: a server that has steadily acknowledged what
 * this side sends stopped doing so for two seconds.
 */
export class Watchdog {
  #connection;
  #onDead;
  #timer;
  #received = -1;
  #receivedAt = performance.now();
  #responses = -1;
  #sentAtResponse = 0;
  #unansweredSince = null;
  #disconnectedAt = null;
  #polledAt = performance.now();
  #steadyPolls = 0;
  #packetsSent = 0;
  #sentInSilence = 0;
  #eager;

  constructor(connection, { eager }, onDead) {
    this.#connection = connection;
    this.#eager = eager;
    this.#onDead = onDead;
    this.#timer = setInterval(() => this.#poll(), POLL_MS);
  }

  /** Stops watching. */
  stop() {
    clearInterval(this.#timer);
    this.#onDead = () => {};
  }

  #dead(reason) {
    const onDead = this.#onDead;
    this.stop();
    onDead(reason);
  }

  async #poll() {
    const { pc } = this.#connection;
    const now = performance.now();
    // A sleeping computer or a throttled page makes silence of its own: begin anew.
    const lateMs = now - this.#polledAt - POLL_MS;
    if (lateMs > 3 * POLL_MS) this.#forgive(now);
    // A busy computer handles what came in late, too: that time is no silence of the server's.
    else if (lateMs > 0) this.#receivedAt += lateMs;
    this.#polledAt = now;
    if (pc.connectionState === "disconnected") {
      this.#disconnectedAt ??= now;
      if (now - this.#disconnectedAt > DISCONNECTED_MS) return this.#dead("disconnected");
    } else {
      this.#disconnectedAt = null;
    }
    if (this.#connection.connectedAt === null) return;
    // The other side closed DTLS; the connection's own state may keep silent about it.
    const secured = this.#connection.senders.microphone.transport?.state;
    if (secured === "closed" || secured === "failed") return this.#dead("closed");
    let report;
    try {
      report = await smallReport(this.#connection);
    } catch {
      return;
    }
    this.#judge(report, now);
  }

  #forgive(now) {
    this.#receivedAt = now;
    this.#unansweredSince = null;
    this.#disconnectedAt = null;
    this.#steadyPolls = 0;
  }

  #judge(report, now) {
    const pair = selectedPair(report);
    if (!pair) return;
    const received = (pair.bytesReceived ?? 0) + (pair.responsesReceived ?? 0);
    // Firefox counts bytes only: 80 of them are about a packet of silence.
    const packetsSent = pair.packetsSent ?? (pair.bytesSent ?? 0) / 80;
    if (received !== this.#received) {
      this.#received = received;
      this.#receivedAt = now;
      this.#sentInSilence = 0;
    } else {
      this.#sentInSilence += packetsSent - this.#packetsSent;
    }
    this.#packetsSent = packetsSent;
    const sent = (pair.requestsSent ?? 0) + (pair.consentRequestsSent ?? 0);
    if (pair.responsesReceived !== this.#responses) {
      this.#responses = pair.responsesReceived;
      this.#sentAtResponse = sent;
      this.#unansweredSince = null;
    } else if (sent > this.#sentAtResponse) {
      this.#unansweredSince ??= now;
    }
    const silent = now - this.#receivedAt;
    const unanswered = this.#unansweredSince === null ? 0 : now - this.#unansweredSince;
    const wasSteady = this.#steadyPolls >= STEADY_POLLS;
    if (silent <= STEADY_GAP_MS) this.#steadyPolls += 1;
    else if (!wasSteady || silent > SILENT_MS) this.#steadyPolls = 0;
    if (this.#eager && wasSteady && silent > SILENT_MS && this.#sentInSilence >= 3) this.#dead("quiet");
    // Silence alone may be a quiet room; silence and an unanswered check are a dead path.
    else if (silent > SILENT_MS && unanswered > UNANSWERED_MS) this.#dead("silent");
    else if (silent > CERTAIN_MS && sent > 0) this.#dead("silent");
  }
}

/** The microphone's statistics carry the transport's: much cheaper than those of all lines. */
async function smallReport({ pc, senders }) {
  const report = await senders.microphone.getStats();
  return selectedPair(report) ? report : pc.getStats();
}

/** The candidate pair in use, or null. */
export function selectedPair(report) {
  let fallback = null;
  for (const stats of report.values()) {
    if (stats.type === "transport" && stats.selectedCandidatePairId) return report.get(stats.selectedCandidatePairId) ?? null;
    if (stats.type === "candidate-pair" && stats.nominated && stats.state === "succeeded") fallback = stats;
  }
  return fallback;
}
