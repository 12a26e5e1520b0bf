// Three processes with a real etcd between them; then each of them dies while people talk.

import { test } from "node:test";
import assert from "node:assert/strict";
import { evening } from "../lib/evening.mjs";
import { eventually, startFleet } from "../lib/processes.mjs";

/** Follows one person's longest silence while `disturb` runs and for a while after. */
async function longestSilence(person, disturb) {
  await person.see(() => {
    window.silence = { longest: 0, timer: setInterval(() => {
      window.silence.longest = Math.max(window.silence.longest, Date.now() - window.ear.loudAt());
    }, 10) };
  });
  await disturb();
  return person.see(() => {
    clearInterval(window.silence.timer);
    return window.silence.longest;
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const others = (people, one) => people.filter((person) => person !== one);

/** Longer than this is a gap that somebody hears; jitter on a busy machine stays below. */
const HEARD_MS = 250;

test("an evening with a fleet", { timeout: 420_000 }, async (t) => {
  const fleet = await startFleet();
  t.after(() => fleet.stop());
  const people = await evening(t, fleet.url);
  const [ada, , , dee] = people;

  await t.test("etcd is killed: no gap, and one more joins the channel", async () => {
    const gap = await longestSilence(ada, async () => {
      await fleet.etcd.stop("SIGKILL");
      await pause(3_000);
      await dee.click("leave");
      await dee.until("left", () => window.hype.state.call.status === "idle");
      await dee.joinVoice();
      await dee.hearsAll(others(people, dee));
    });
    t.diagnostic(`longest silence ${gap} ms`);
    assert.ok(gap < HEARD_MS, `a gap of ${gap} ms was heard`);
  });

  await t.test("etcd is back: a new channel can be joined within 5 s", async () => {
    await ada.click("create-voice-channel");
    await ada.fill("channel-name", "Attic");
    await ada.click("channel-create");
    const attic = await dee.until("the new channel", () => [...window.hype.state.guilds.values()][0].channels.find(({ name }) => name === "Attic")?.id);
    await dee.click(`channel-${attic}`);
    await dee.until("waits with a clear word", () => window.hype.state.call.status === "retrying" && /Connecting/.test(window.hype.state.call.note));
    fleet.etcd.start();
    await eventually("etcd", async () => (await fetch(`${fleet.etcdUrl}/health`)).ok);
    await dee.inVoice({ withinMs: 5_000 });
    await dee.joinVoice();
    await dee.hearsAll(others(people, dee));
  });

  await t.test("the control process is killed: no gap; restarted: all is right again", async () => {
    const gap = await longestSilence(ada, async () => {
      await fleet.control.stop("SIGKILL");
      await pause(3_000);
      fleet.control.start();
      for (const person of people) await person.until("gateway is back", () => window.hype.state.gateway === "online", { withinMs: 30_000 });
    });
    t.diagnostic(`longest silence ${gap} ms`);
    assert.ok(gap < HEARD_MS, `a gap of ${gap} ms was heard`);
    const present = people.map(({ id }) => id).sort();
    for (const person of people) {
      await eventually(`${person.name} sees who is in the channel`, async () => {
        const seen = await person.see(() => [...window.hype.state.voices.values()].filter(({ channel_id: id }) => id === window.hype.state.call.channel).map(({ user_id: id }) => id).sort());
        assert.deepEqual(seen, present);
        return true;
      });
    }
  });

  await t.test("the node is killed and restarted: everyone is back without a reload", async () => {
    const sessions = await Promise.all(people.map((person) => person.see(() => window.hype.state.call.session)));
    await fleet.node.stop("SIGKILL");
    fleet.node.start();
    for (const [index, person] of people.entries()) {
      await person.until("a new session", (old) => window.hype.state.call.status === "connected" && window.hype.state.call.session !== old, { withinMs: 30_000 }, sessions[index]);
    }
    for (const person of people) await person.hearsAll(others(people, person));
  });

});

test("the fleet's pages for operators", async (t) => {
  const fleet = await startFleet();
  t.after(() => fleet.stop());
  for (const url of [fleet.url, fleet.adminUrl]) {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    assert.match(metrics, /^# TYPE /m, `${url}/metrics`);
  }
  const node = await (await fetch(`${fleet.adminUrl}/metrics`)).text();
  for (const name of ["sfu_node_cpu_percent", "sfu_node_connections", "active_voice_users", "hype_datagrams_dropped_total"]) {
    assert.match(node, new RegExp(`^${name}`, "m"));
  }
});
