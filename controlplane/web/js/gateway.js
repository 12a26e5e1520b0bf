//! The WebSocket to the server: identify, heartbeats, sequence numbers, resume after a cut,
//! reconnecting with jitter. Requests are answered by nonce; a cut fails those under way with
//! the code `offline`, and who asked decides whether to ask again.

const IDENTIFY_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 10_000;
const BACKOFF_MS = { first: 250, most: 15_000 };

/** A request failed; `code` is the server's stable one, or `offline`, or `timeout`. */
export class RequestError extends Error {
  constructor({ code, message, retry_after_ms: retryAfterMs = null }) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** One connection to the gateway that lasts over cuts. */
export class Gateway {
  #token;
  #onEvent;
  #onStatus;
  #positions;
  #socket = null;
  #session = null;
  #sequence = 0;
  #requests = new Map();
  #nextNonce = 1;
  #attempt = 0;
  #timers = {};
  #acknowledged = true;
  #staleToken = null;
  #usedToken = null;
  #stopped = true;
  #metronome = null;

  /** `status` is `connecting`, `online` or `offline`. */
  status = "connecting";

  /**
   * `token(stale)` gives an access token, newer than the stale one; `positions()` the newest event
   * that is known of each guild.
   */
  constructor({ token, onEvent, onStatus, positions }) {
    this.#token = token;
    this.#onEvent = onEvent;
    this.#onStatus = onStatus;
    this.#positions = positions;
    window.addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#hurry();
    });
  }

  /** Connects, and stays connected until `stop`. */
  start() {
    this.#stopped = false;
    this.#attempt = 0;
    this.#connect();
  }

  /** Closes, and forgets the session. */
  stop() {
    this.#stopped = true;
    this.#session = null;
    this.#sequence = 0;
    clearTimeout(this.#timers.retry);
    this.#detach(1000);
    this.#setStatus("offline");
  }

  /** Asks; resolves with the result, or rejects with a [`RequestError`]. */
  request(method, params, timeoutMs = REQUEST_TIMEOUT_MS) {
    if (this.status !== "online") {
      return Promise.reject(new RequestError({ code: "offline", message: "Not connected to Hype at the moment." }));
    }
    const nonce = String(this.#nextNonce++);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#requests.delete(nonce);
        reject(new RequestError({ code: "timeout", message: "Hype did not answer in time." }));
      }, timeoutMs);
      this.#requests.set(nonce, { resolve, reject, timer });
      this.#send("request", { nonce, method, params });
    });
  }

  async #connect() {
    this.#detach(1000);
    if (this.#stopped) return;
    this.#setStatus("connecting");
    let token;
    try {
      token = await this.#token(this.#staleToken);
    } catch (error) {
      if (error.status !== 401) this.#retry();
      return;
    }
    if (this.#stopped || this.#socket) return;
    this.#staleToken = null;
    this.#usedToken = token;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/gateway`);
    this.#socket = socket;
    this.#timers.identify = setTimeout(() => this.#lost(socket, 4009), IDENTIFY_TIMEOUT_MS);
    socket.addEventListener("message", (message) => {
      if (socket === this.#socket) this.#receive(message.data);
    });
    socket.addEventListener("close", (event) => this.#lost(socket, event.code));
  }

  /** Lets go of the socket and of everything that waits for it. */
  #detach(code) {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#timers.identify);
    clearTimeout(this.#timers.firstBeat);
    this.#metronome?.postMessage(0);
    socket?.close(code);
    for (const { reject, timer } of this.#requests.values()) {
      clearTimeout(timer);
      reject(new RequestError({ code: "offline", message: "The connection to Hype was lost." }));
    }
    this.#requests.clear();
  }

  #lost(socket, code) {
    if (socket !== this.#socket) return;
    this.#detach(4000);
    if (code === 4004) this.#staleToken = this.#usedToken;
    if (code === 4003 || code === 4005 || code === 4007) this.#session = null;
    if (code === 4008) this.#attempt = Math.max(this.#attempt, 5);
    this.#retry();
  }

  #retry() {
    if (this.#stopped) return;
    this.#setStatus("offline");
    const ceiling = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.#attempt);
    this.#attempt += 1;
    clearTimeout(this.#timers.retry);
    this.#timers.retry = setTimeout(() => this.#connect(), ceiling * (0.5 + Math.random() / 2));
  }

  /** The network or the page came back: waiting longer would be pointless. */
  #hurry() {
    if (this.#stopped || this.status !== "offline") return;
    this.#attempt = 0;
    clearTimeout(this.#timers.retry);
    this.#connect();
  }

  #send(op, d) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ op, d }));
  }

  #receive(text) {
    const { op, d } = JSON.parse(text);
    switch (op) {
      case "hello":
        this.#startBeating(d.heartbeat_interval_ms);
        this.#introduce();
        break;
      case "heartbeat_ack":
        this.#acknowledged = true;
        break;
      case "invalid_session":
        this.#session = null;
        this.#introduce();
        break;
      case "reconnect":
        this.#attempt = 0;
        this.#lost(this.#socket, 4011);
        break;
      case "reply":
      case "error":
        this.#settle(op, d);
        break;
      case "event":
        this.#handle(d);
        break;
      default:
        // A newer server may say more than this client knows.
        break;
    }
  }

  #introduce() {
    const token = this.#usedToken;
    if (this.#session) this.#send("resume", { token, session_id: this.#session, seq: this.#sequence, guilds: this.#positions() });
    else this.#send("identify", { token });
  }

  #settle(op, { nonce, result, error }) {
    const request = this.#requests.get(nonce);
    if (!request) return;
    this.#requests.delete(nonce);
    clearTimeout(request.timer);
    if (op === "reply") request.resolve(result);
    else request.reject(new RequestError(error));
  }

  #handle({ seq, event, data, position = null }) {
    this.#sequence = seq;
    if (event === "ready") this.#session = data.session_id;
    const introduced = event === "ready" || event === "resumed";
    this.#onEvent(event, data ?? {}, position);
    if (introduced) {
      clearTimeout(this.#timers.identify);
      this.#attempt = 0;
      this.#setStatus("online");
    }
  }

  /** Heartbeats begin at a random moment, so that many clients do not beat together. */
  #startBeating(intervalMs) {
    this.#acknowledged = true;
    if (!this.#metronome) {
      this.#metronome = new Worker("/js/metronome.js");
      this.#metronome.addEventListener("message", () => this.#beat());
    }
    clearTimeout(this.#timers.firstBeat);
    this.#timers.firstBeat = setTimeout(() => {
      this.#metronome.postMessage(intervalMs);
      this.#beat();
    }, intervalMs * Math.random() * 0.5);
  }

  #beat() {
    if (!this.#socket) return;
    if (!this.#acknowledged) {
      // A half-open connection: nothing was heard for a whole interval.
      this.#lost(this.#socket, 4009);
      return;
    }
    this.#acknowledged = false;
    this.#send("heartbeat", { seq: this.#sequence });
  }

  #setStatus(status) {
    if (this.status === status) return;
    this.status = status;
    this.#onStatus(status);
  }
}
