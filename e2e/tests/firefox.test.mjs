// Firefox joins a Chromium call, and both hear each other.

import { test } from "node:test";
import assert from "node:assert/strict";
import { insideNamespace } from "../lib/namespace.mjs";
import { gather } from "../lib/person.mjs";
import { recordVoices } from "../lib/tone.mjs";
import { eventually, startUp } from "../lib/processes.mjs";

// Firefox offers no loopback candidate: it needs a network, if only one of its own.
insideNamespace(import.meta.url);

/** The tone of Firefox's fake microphone. */
const FIREFOX_HZ = 1_000;

test("Firefox and Chromium hear each other", { timeout: 600_000 }, async (t) => {
  const up = await startUp({ announceAll: true });
  t.after(() => up.stop());
  const { people } = await gather(up.url, [["ada", 500], ["fox", FIREFOX_HZ, "firefox"]]);
  t.after(() => Promise.all(people.map((person) => person.close())));
  const [ada, fox] = people;
  for (const person of people) await person.joinVoice();
  await eventually("fox hears ada's tone", async () => {
    const [heard] = await fox.see(recordVoices);
    t.diagnostic(`Firefox receives ${JSON.stringify(heard)}`);
    return heard && Math.abs(heard.hz - ada.hz) < 10;
  });
  await ada.hearsAll([fox]);

  await t.test("both negotiated an AES-GCM suite", async () => {
    const metrics = await (await fetch(`${up.url}/metrics`)).text();
    const handshakes = metrics.split("\n").filter((line) => line.startsWith("hype_dtls_handshakes_total"));
    t.diagnostic(handshakes.join(" "));
    assert.ok(handshakes.length > 0, "no handshake was counted");
    for (const line of handshakes) assert.match(line, /aead_aes_(128|256)_gcm/);
  });

  await t.test("the screen of one is decoded by the other", async () => {
    for (const [sharer, viewer] of [[ada, fox], [fox, ada]]) {
      await sharer.click("share-screen");
      await eventually(`${viewer.name} decodes`, async () => (await viewer.rate("inbound-rtp", "video", "framesDecoded", 3_000)) >= 3);
      await sharer.click("share-screen");
    }
  });
});
