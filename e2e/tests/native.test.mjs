// Native clients by derived keys, through the public API: every packet is counted.

import { test } from "node:test";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { binary, startUp } from "../lib/processes.mjs";

test("twenty native clients hear every packet once", { timeout: 120_000 }, async (t) => {
  const up = await startUp();
  t.after(() => up.stop());
  for (const suite of ["gcm", "gcm256", "cm"]) {
    const args = ["bench", "voice", "--url", up.url, "--people", "20", "--speakers", "3", "--seconds", "5", "--suite", suite, "--json"];
    const { stdout } = await promisify(execFile)(binary, args);
    const report = JSON.parse(stdout);
    t.diagnostic(`${suite}: ${report.received_pps.toFixed()} packets/s, p50 ${report.latency_us.p50} us, p99 ${report.latency_us.p99} us`);
    assert.equal(report.lost + report.duplicates + report.bad_packets + report.own_voice, 0);
    assert.ok(report.received_pps > 0.95 * 3 * 19 * 50);
  }
});
