// Native clients by derived keys, through the public API: every packet is counted.

import { test } from "node:test";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { binary, startUp, within } from "../lib/processes.mjs";

test("twenty native clients hear every packet once", { timeout: 400_000 }, async (t) => {
  const up = await startUp();
  t.after(() => up.stop());
  for (const suite of ["gcm", "gcm256", "cm"]) {
    const args = ["bench", "voice", "--url", up.url, "--people", "20", "--speakers", "3", "--seconds", "5", "--suite", suite, "--json"];
    await within(3, (why) => t.diagnostic(why), async () => {
      // It ends with an error when something was lost, and tells what all the same.
      const { stdout } = await promisify(execFile)(binary, args).catch((error) => (error.stdout ? error : Promise.reject(error)));
      const report = JSON.parse(stdout);
      t.diagnostic(`${suite}: ${report.received_pps.toFixed()} packets/s, p50 ${report.latency_us.p50} us, p99 ${report.latency_us.p99} us`);
      assert.equal(report.duplicates + report.bad_packets + report.own_voice, 0);
      assert.equal(report.lost, 0);
      assert.ok(report.received_pps > 0.8 * 3 * 19 * 50, `${report.received_pps} packets/s`);
    });
  }
});
