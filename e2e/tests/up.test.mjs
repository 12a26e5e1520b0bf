// One process, `hype up`, and real browsers.

import { test } from "node:test";
import assert from "node:assert/strict";
import { evening } from "../lib/evening.mjs";
import { startUp } from "../lib/processes.mjs";

test("an evening in hype up", { timeout: 900_000 }, async (t) => {
  const up = await startUp();
  t.after(() => up.stop());
  await evening(t, up.url);

  await t.test("it stops by itself within 2 s, on a busy machine a little later", async () => {
    const took = await up.program.stop("SIGINT");
    t.diagnostic(`took ${took.toFixed()} ms`);
    assert.ok(took < 20_000, `took ${took.toFixed()} ms`);
  });
});
