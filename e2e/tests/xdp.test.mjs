// Two browsers in a call whose node receives and sends past the kernel, by AF_XDP.

import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { cableToNode, insideNamespace } from "../lib/namespace.mjs";
import { gather } from "../lib/person.mjs";
import { eventually, startUpPastKernel } from "../lib/processes.mjs";

insideNamespace(import.meta.url);

/** Datagrams that did not go through the kernel's stack so far, by direction. */
async function pastKernel(url) {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const count = (direction) => Number(metrics.match(new RegExp(`^hype_packets_past_kernel_total{direction="${direction}"} (\\d+)$`, "m"))?.[1] ?? 0);
  return [count("in"), count("out")];
}

for (const queues of [1, 2]) {
  test(`a call past the kernel, over an interface with ${queues} queues`, { timeout: 600_000 }, async (t) => {
    const cable = cableToNode(queues);
    const up = await startUpPastKernel(cable);
    t.after(() => up.stop().finally(() => cable.remove()));
    const log = readFileSync(up.program.logFile, "utf8");
    assert.match(log, /native XDP attached/, log);
    const { people } = await gather(up.url, [["ada", 500], ["ben", 730]]);
    t.after(() => Promise.all(people.map((person) => person.close())));
    const [ada, ben] = people;
    for (const person of people) await person.joinVoice();
    await ada.hearsAll([ben]);
    await ben.hearsAll([ada]);
    await ada.click("share-screen");
    await eventually("ben decodes ada's screen", async () => (await ben.rate("inbound-rtp", "video", "framesDecoded", 3_000)) >= 3);
    // Two voices and a screen for some seconds: what goes by the kernel are the first ones alone.
    await eventually("packets past the kernel", async () => {
      const [received, sent] = await pastKernel(up.url);
      t.diagnostic(`${received} received and ${sent} sent past the kernel`);
      return received > 500 && sent > 500;
    });
    assert.deepEqual(people.flatMap((person) => person.errors), []);
  });
}
