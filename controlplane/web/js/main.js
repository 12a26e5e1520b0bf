//! Starts the client: signed in or not, it shows the one or the other, and keeps to it when the
//! session ends. Exposes `window.hype` so that tests and curious people can look inside.

import { state, changed, on } from "./store.js";
import * as api from "./api.js";
import * as events from "./events.js";
import * as route from "./route.js";
import { unreadSum } from "./unread.js";
import { gateway, call } from "./client.js";
import { showEntry } from "./ui/entry.js";
import { showShell } from "./ui/shell.js";
import { askToAccept } from "./ui/invite.js";
import { listenForShortcuts } from "./ui/shortcuts.js";
import { toast } from "./ui/toasts.js";

const app = document.getElementById("app");
let resumed = false;

function enter(user) {
  state.user = user;
  state.phase = "in";
  resumed = false;
  showShell(app);
  changed("phase", "user");
  gateway.start();
}

function exit(reason) {
  if (state.phase === "out") return;
  state.phase = "out";
  call.leave();
  gateway.stop();
  events.clear();
  showEntry(app, enter);
  changed("phase");
  if (reason) toast(reason, "info");
}

function onReady() {
  if (state.phase !== "in" || state.gateway !== "online") return;
  if (state.route.invite) askToAccept(state.route.invite);
  else route.settle();
  if (resumed) return;
  resumed = true;
  call.resume();
}

window.hype = {
  voice: call,
  gateway,
  state,
  /** Everything that plays sound, for tests that measure it. */
  get audioElements() {
    return [...call.sound.voices, ...call.sound.shares];
  },
};

route.start();
on(["gateway", "route", "guilds"], onReady);
on(["voice", "guilds", "route", "unread"], title);
api.onSignedOut(exit);
listenForShortcuts();

function title() {
  const { any, sum } = unreadSum([...state.guilds.values()].flatMap((one) => one.channels));
  const guild = state.guilds.get(state.route.guild);
  const text = guild ? `${guild.name} · Hype` : "Hype";
  document.title = sum > 0 ? `(${sum}) ${text}` : any ? `• ${text}` : text;
}

const user = api.signedInUser();
if (user) enter(user);
else exit("");
