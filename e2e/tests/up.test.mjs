// One process, `hype up`, and real browsers.

import { test } from "node:test";
import assert from "node:assert/strict";
import { evening } from "../lib/evening.mjs";
import { startUp } from "../lib/processes.mjs";

test("an evening in hype up", { timeout: 300_000 }, async (t) => {
  const up = await startUp();
  t.after(() => up.stop());
  await evening(t, up.url);

  await t.test("it stops within 2 s", async () => {
    const took = await up.program.stop("SIGINT");
    assert.ok(took < 2_000, `took ${took.toFixed()} ms`);
  });
});
