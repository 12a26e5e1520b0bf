// What is told of a channel while one's join waits for its reply must not get lost.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Person } from "../lib/person.mjs";
import { startUp } from "../lib/processes.mjs";

/** Sooner than a join gives up by itself. */
const SOON_MS = 7_500;

let up;
let ada;

before(async () => {
  up = await startUp();
  ada = await Person.open(`ada ${process.pid}`, { hz: 500, url: up.url });
  await ada.register();
  await ada.createGuild("Evening");
  // The real reply comes, but after the events that `meanwhile(reply, events)` makes of it.
  await ada.see(async () => {
    const events = await import("/js/events.js");
    const { gateway, voice } = window.hype;
    const request = gateway.request.bind(gateway);
    gateway.request = async (method, params) => {
      const reply = await request(method, params);
      if (method === "voice.join") window.meanwhile?.(reply, (event, data) => events.apply(event, data, voice));
      return reply;
    };
  });
});

after(async () => {
  await ada?.close();
  await up?.stop();
});

const leave = async () => {
  await ada.see(() => {
    window.meanwhile = null;
    window.hype.voice.leave();
  });
};

test("a refusal that comes before the reply ends the join at once and says why", async () => {
  const channel = await ada.channel("voice");
  await ada.see(() => {
    window.meanwhile = ({ session_id: session }, tell) => {
      for (const id of ["1", session]) tell("voice.ended", { channel_id: window.hype.state.call.channel, session_id: id, rejoin: false, message: "The room is full." });
    };
  });
  await ada.click(`channel-${channel}`);
  await ada.until("the reason", () => window.hype.state.call.status === "idle" && document.body.innerText.includes("The room is full."), { withinMs: SOON_MS });
  await leave();
});

test("a refusal that comes while the answer is being applied ends the join, too", async () => {
  await ada.see((channel) => {
    const accept = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = async function (answer) {
      RTCPeerConnection.prototype.setRemoteDescription = accept;
      const { state, voice } = window.hype;
      voice.onEnded({ channel_id: channel, session_id: state.call.session, rejoin: false, message: "The offer is invalid." });
      return accept.call(this, answer);
    };
    window.hype.voice.join(channel);
  }, await ada.channel("voice"));
  await ada.until("the reason", () => window.hype.state.call.status === "idle" && document.body.innerText.includes("The offer is invalid."), { withinMs: SOON_MS });
  await leave();
});

test("an ending that asks to come back makes a new join", async () => {
  await ada.see((channel) => {
    window.joins = [];
    window.meanwhile = ({ session_id: session }, tell) => {
      window.joins.push(performance.now());
      if (window.joins.length === 1) tell("voice.ended", { channel_id: channel, session_id: session, rejoin: true, message: "" });
    };
    window.hype.voice.join(channel);
  }, await ada.channel("voice"));
  await ada.inVoice();
  const joins = await ada.see(() => window.joins);
  assert.equal(joins.length, 2);
  assert.ok(joins[1] - joins[0] < SOON_MS, `came back after ${joins[1] - joins[0]} ms`);
  await leave();
});

test("who left before the reply stays gone, and who came stays there", async () => {
  const channel = await ada.channel("voice");
  await ada.see((channel) => {
    const voice = (id) => ({ session_id: id, user_id: id, channel_id: channel, guild_id: window.hype.state.route.guild, source: Number(id), flags: {}, producers: [] });
    window.meanwhile = (reply, tell) => {
      reply.voice_states.push(voice("101"), voice("102"));
      tell("voice.left", { channel_id: channel, session_id: "101", user_id: "101", guild_id: "1" });
      tell("voice.state", voice("103"));
    };
    window.hype.voice.join(channel);
  }, channel);
  await ada.inVoice();
  const ids = await ada.see(() => [...window.hype.state.voices.keys()].filter((id) => id.length === 3).sort());
  assert.deepEqual(ids, ["102", "103"]);
  await leave();
  assert.deepEqual(ada.errors, []);
});
