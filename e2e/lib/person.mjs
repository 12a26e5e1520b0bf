// A person with a browser, using the page as people do: by its buttons and fields.

import puppeteer from "puppeteer-core";
import { installEar, toneFile } from "./tone.mjs";
import { eventually, ownFolder } from "./processes.mjs";

const CHROMIUM = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
  "--autoplay-policy=no-user-gesture-required", "--disable-renderer-backgrounding", "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows", "--allow-loopback-in-peer-connection", "--mute-audio=false", "--window-size=1280,800",
];

const FIREFOX = {
  "media.navigator.permission.disabled": true,
  "media.navigator.streams.fake": true,
  "media.peerconnection.ice.loopback": true,
  "media.devices.insecure.enabled": true,
  "media.getusermedia.insecure.enabled": true,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
};

/** The tone that goes with a shared screen. */
export const SHARE_HZ = 2_000;

/** Runs in each page before anything else: plain sound processing, and a picture that asks for bits. */
function prepare(hz) {
  localStorage.setItem("hype.settings", JSON.stringify({ noiseSuppression: false, echoCancellation: false, autoGainControl: false, share: "motion" }));
  // Headless browsers have no screen: a canvas of moving noise is what is shared instead.
  navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 360 });
    const context = canvas.getContext("2d");
    const image = context.createImageData(160, 90);
    setInterval(() => {
      for (let i = 0; i < image.data.length; i += 4) {
        const light = Math.random() * 255;
        image.data.set([light, 255 - light, Math.random() * 255, 255], i);
      }
      for (let x = 0; x < 4; x += 1) for (let y = 0; y < 4; y += 1) context.putImageData(image, x * 160, y * 90);
    }, 66);
    const stream = canvas.captureStream(15);
    const audio = new AudioContext();
    const tone = new OscillatorNode(audio, { frequency: hz });
    const sound = audio.createMediaStreamDestination();
    tone.connect(sound);
    tone.start();
    stream.addTrack(sound.stream.getAudioTracks()[0]);
    return stream;
  };
}

/** The selector of a test id. */
export const testid = (id) => `[data-testid="${id}"]`;

/** One person: a browser process of its own, with a known tone as voice. */
export class Person {
  static async open(name, { hz, url, browser = "chrome" }) {
    const person = new Person();
    Object.assign(person, { name, hz, url, kind: browser });
    const shared = { browser, headless: true, userDataDir: ownFolder(`browser-${browser}`), protocolTimeout: 180_000, timeout: 120_000 };
    person.browser = browser === "firefox"
      ? await puppeteer.launch({ ...shared, executablePath: "/usr/bin/firefox-esr", extraPrefsFirefox: FIREFOX })
      : await puppeteer.launch({
          ...shared,
          executablePath: "/usr/bin/chromium",
          args: [...CHROMIUM, `--use-file-for-fake-audio-capture=${toneFile(hz)}`, `--unsafely-treat-insecure-origin-as-secure=${url}`],
        });
    [person.page] = await person.browser.pages();
    person.page ??= await person.browser.newPage();
    person.page.setDefaultNavigationTimeout(120_000);
    person.errors = [];
    person.page.on("pageerror", (error) => person.errors.push(error));
    await person.page.evaluateOnNewDocument(prepare, SHARE_HZ);
    await person.page.goto(url);
    return person;
  }

  close() {
    return this.browser.close();
  }

  click(id) {
    return this.act(id, (locator) => locator.click());
  }

  fill(id, text) {
    return this.act(id, (locator) => locator.fill(text));
  }

  async act(id, act) {
    try {
      await act(this.page.locator(testid(id)).setTimeout(60_000));
    } catch (error) {
      const phase = await this.see(() => `${document.readyState}, ${document.hidden}, ${window.hype?.state.phase}, ${document.body.innerText.slice(0, 300)}`).catch(String);
      throw new Error(`${this.name}: ${id}: ${error.message} (${phase})`, { cause: error });
    }
  }

  /** Reads something in the page. */
  see(read, ...args) {
    return this.page.evaluate(read, ...args);
  }

  /** Waits until `read` in the page is truthy. */
  until(what, read, options, ...args) {
    return eventually(`${this.name}: ${what}`, () => this.see(read, ...args), options);
  }

  async register() {
    await this.fill("login-name", this.name);
    await this.fill("login-password", `${this.name} has a password`);
    await this.click("register-submit");
    await this.until("signed in", () => window.hype.state.phase === "in" && window.hype.state.gateway === "online");
    this.id = await this.see(() => window.hype.state.user.id);
  }

  async createGuild(name) {
    await this.click("create-guild");
    await this.fill("guild-name", name);
    await this.click("guild-create");
    await this.until("has a guild", () => window.hype.state.guilds.size > 0);
  }

  /** Makes an invite by the dialog and returns its link. */
  async invite() {
    await this.click("invite-create");
    const link = await this.until("invite link", (selector) => document.querySelector(selector)?.value, {}, testid("invite-link"));
    await this.page.keyboard.press("Escape");
    return link;
  }

  async accept(link) {
    await this.see((hash) => { location.hash = hash; }, new URL(link).hash);
    await this.click("invite-accept");
    await this.until("joined the guild", () => window.hype.state.guilds.size > 0);
  }

  /** The id of the guild's first channel of a kind. */
  channel(kind) {
    return this.see((wanted) => [...window.hype.state.guilds.values()][0].channels.find((channel) => channel.kind === wanted).id, kind);
  }

  async joinVoice() {
    await this.click(`channel-${await this.channel("voice")}`);
    await this.inVoice();
  }

  /** Waits until media flows; then listens. */
  async inVoice(options) {
    await this.until("in voice", () => window.hype?.state.call.status === "connected", options);
    await this.see(installEar);
  }

  /** What is heard, as `{ user id: Hz }`. */
  async hears() {
    return this.see(() => {
      const users = new Map([...window.hype.state.voices.values()].map((voice) => [voice.source, voice.user_id]));
      return Object.fromEntries(window.ear.hear().flatMap(({ sources, hz }) => sources.map((source) => [users.get(source) ?? `source ${source}`, hz])));
    });
  }

  /** Waits until exactly these people are heard, each by his own tone. */
  hearsAll(others, options) {
    const expected = new Map(others.map(({ id, hz }) => [id, hz]));
    return eventually(`${this.name} hears ${others.map(({ name }) => name)}`, async () => {
      const heard = Object.entries(await this.hears());
      const right = heard.length === expected.size && heard.every(([id, hz]) => Math.abs(hz - expected.get(id)) < 8);
      if (!right) throw new Error(`hears ${JSON.stringify(heard)}, expected ${JSON.stringify([...expected])}`);
      return true;
    }, options);
  }

  /** Sum over this person's own streams of one field of getStats, by type and kind. */
  stat(type, kind, field) {
    return this.see(async (type, kind, field) => {
      let sum = 0;
      for (const stat of (await window.hype.voice.pc.getStats()).values()) {
        if (stat.type === type && stat.kind === kind) sum += stat[field] ?? 0;
      }
      return sum;
    }, type, kind, field);
  }

  /** How much a stat grows a second, over `ms`. */
  async rate(type, kind, field, ms) {
    const [before, began] = [await this.stat(type, kind, field), performance.now()];
    await new Promise((resolve) => setTimeout(resolve, ms));
    return ((await this.stat(type, kind, field)) - before) / ((performance.now() - began) / 1000);
  }

  /** What the browser believes that it may send, in bits a second; undefined where it does not tell. */
  upstream() {
    return this.see(async () => [...(await window.hype.voice.pc.getStats()).values()].find(({ type, availableOutgoingBitrate }) => type === "candidate-pair" && availableOutgoingBitrate)?.availableOutgoingBitrate);
  }

  /** The SRTP suite that the browser negotiated; undefined where it does not tell. */
  suite() {
    return this.see(async () => [...(await window.hype.voice.pc.getStats()).values()].find(({ type }) => type === "transport")?.srtpCipher);
  }
}

/** Opens people one after the other, registers them, and brings them into the first one's guild. */
export async function gather(url, tones) {
  const people = [];
  let link;
  for (const [name, hz, browser] of tones) {
    const person = await Person.open(`${name} ${process.pid} ${Date.now() % 100_000}`, { hz, url, browser });
    people.push(person);
    await person.register();
    if (link) await person.accept(link);
    else {
      await person.createGuild("Evening");
      link = await person.invite();
    }
  }
  return { people, link };
}
