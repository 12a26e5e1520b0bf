// A community in two browsers: what one may do changes at once, and what is written can be edited,
// deleted, found and read elsewhere. Everything is done by the page's own buttons.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { gather, testid } from "../lib/person.mjs";
import { startUp } from "../lib/processes.mjs";

let up;
let ada;
let ben;
let general;
let quiet;

before(async () => {
  up = await startUp();
  const { people } = await gather(up.url, [["ada", 500], ["ben", 730]]);
  [ada, ben] = people;
  general = await ada.channel("text");
  quiet = await createChannel("text", "quiet");
});

// A test that fails must not fail the others by what it left open.
afterEach(async () => {
  for (const person of [ada, ben]) await closeDialogs(person);
});

after(async () => {
  await ada?.close();
  await ben?.close();
  await up?.stop();
});

const gone = (person, id) => person.until(`${id} is gone`, (selector) => !document.querySelector(selector), {}, testid(id));
const there = (person, id) => person.until(`${id} is there`, (selector) => Boolean(document.querySelector(selector)?.checkVisibility()), {}, testid(id));

async function createChannel(kind, name) {
  await ada.click(`create-${kind}-channel`);
  await ada.fill("channel-name", name);
  await ada.click("channel-create");
  return ada.until("the channel", (wanted) => [...window.hype.state.guilds.values()][0].channels.find((channel) => channel.name === wanted)?.id, {}, name);
}

async function write(person, text) {
  await person.fill("message-input", text);
  await person.page.keyboard.press("Enter");
  return person.until(`"${text}" is sent`, (wanted) => {
    const items = [...window.hype.state.messages.values()].flatMap((entry) => entry.items);
    return items.find((message) => message.content === wanted)?.id;
  }, {}, text);
}

/** Closes whatever dialog is open. */
async function closeDialogs(person) {
  await person.see(() => document.querySelectorAll("dialog").forEach((dialog) => dialog.close()));
}

async function guildSettings(person, tab) {
  await person.click("guild-menu");
  await person.click("menu-guild-settings");
  await person.click(`tab-${tab}`);
}

/** Makes a role, in the settings that it leaves open. */
async function createRole(name) {
  if (!(await ada.see(() => Boolean(document.querySelector('[data-testid="guild-settings"]'))))) await guildSettings(ada, "roles");
  const count = await ada.see(() => [...window.hype.state.guilds.values()][0].roles.length);
  await ada.click("role-create");
  await ada.until("the role", (before) => [...window.hype.state.guilds.values()][0].roles.length > before && document.querySelector('[data-testid="role-name"]')?.value === "New role", {}, count);
  await ada.fill("role-name", name);
  await ada.click("role-save");
  return ada.until("its name", (wanted) => [...window.hype.state.guilds.values()][0].roles.find((role) => role.name === wanted)?.id, {}, name);
}

async function channelPermissions(person, channel) {
  await person.click(`channel-menu-${channel}`);
  await person.click("menu-channel-settings");
  await person.click("tab-permissions");
}

test("a message is edited, found, and deleted", async () => {
  for (const person of [ada, ben]) await person.click(`channel-${general}`);
  const id = await write(ada, "the quick brown fox");
  await there(ben, `message-${id}`);
  assert.equal(await ben.see((selector) => document.querySelector(selector), testid(`delete-message-${id}`)), null, "ben may not delete what ada wrote");

  await ada.see((selector) => document.querySelector(selector).click(), testid(`edit-message-${id}`));
  await ada.fill("edit-input", "the quick Café fox");
  await ada.click("edit-save");
  await ben.until("the edit", () => /the quick Café fox\s*\(edited\)/.test(document.body.innerText));

  await ben.click("open-search");
  await ben.fill("search-words", "CAFE quick");
  await ben.click("search-submit");
  await ben.click(`result-${id}`);
  await ben.until("the found message is shown", (selector) => document.querySelector(selector)?.classList.contains("looked-for"), {}, testid(`message-${id}`));
  await ben.page.keyboard.press("Escape");

  await ada.see((selector) => document.querySelector(selector).click(), testid(`delete-message-${id}`));
  await ada.click("delete-message-confirm");
  await gone(ben, `message-${id}`);
});

test("what is read in one tab is read in the other", async () => {
  await ben.click(`channel-${quiet}`);
  const second = await ben.page.browser().newPage();
  await second.goto(ben.page.url());
  const tab = Object.assign(Object.create(Object.getPrototypeOf(ben)), { ...ben, page: second, name: "ben's second tab" });
  await tab.until("online", () => window.hype?.state.gateway === "online");

  await ada.click(`channel-${general}`);
  await write(ada, "one");
  await write(ada, "two");
  for (const one of [ben, tab]) await one.until("two unread", (selector) => document.querySelector(`${selector} .badge`)?.textContent === "2", {}, testid(`channel-${general}`));
  await ben.page.bringToFront();
  await ben.click(`channel-${general}`);
  for (const one of [ben, tab]) await one.until("nothing unread", (selector) => !document.querySelector(`${selector} .badge`), {}, testid(`channel-${general}`));
  await second.close();
});

test("others see one write, and one's status", async () => {
  for (const person of [ada, ben]) await person.click(`channel-${general}`);
  for (const [person, other] of [[ada, ben], [ben, ada]]) {
    await person.until(`${other.name} is there`, (selector) => document.querySelector(`${selector} .status-online`), {}, testid(`member-${other.id}`));
  }
  await ben.page.focus(testid("message-input"));
  await ben.page.keyboard.type("w");
  await ada.until("ben writes", () => document.querySelector('[data-testid="typing"]').textContent.includes("is writing"));
  await ben.page.keyboard.press("Backspace");
  await ben.click("own-status");
  await ben.click("status-do_not_disturb");
  await ada.until("ben's status", (selector) => document.querySelector(`${selector} .status-do_not_disturb`), {}, testid(`member-${ben.id}`));
});

test("a hidden channel vanishes, and comes back for a role", async () => {
  const role = await createRole("Crew");
  await createRole("Deck");
  await ada.click(`role-up-${await createRole("Mates")}`);
  await ada.until("the order", () => [...window.hype.state.guilds.values()][0].roles.map(({ name }) => name).join() === "Crew,Mates,Deck,everyone");
  await closeDialogs(ada);

  await channelPermissions(ada, quiet);
  await ada.click("way-VIEW_CHANNEL-deny");
  await gone(ben, `channel-${quiet}`);
  await ada.click("overwrite-add");
  await ada.click(`overwrite-role-${role}`);
  await ada.click("way-VIEW_CHANNEL-allow");
  await closeDialogs(ada);
  await ada.click(`member-${ben.id}`);
  await ada.click("member-roles");
  await ada.click(`give-role-${role}`);
  await there(ben, `channel-${quiet}`);
  await ben.until("his new heading", () => document.querySelector(".members").innerText.includes("Crew"));
});

test("who may not speak any more is muted at once", async () => {
  await ada.joinVoice();
  await ben.joinVoice();
  await ada.hearsAll([ben]);
  await guildSettings(ada, "roles");
  await ada.click("permission-SPEAK");
  const flag = (id) => [...window.hype.state.voices.values()].find((voice) => voice.user_id === id)?.flags.suppressed;
  await ada.until("ben is muted", flag, {}, ben.id);
  await ben.until("his button says so", () => document.querySelector('[data-testid="mute"]').ariaLabel.includes("may not speak"));
  await ada.hearsAll([]);
  await ada.click("permission-SPEAK");
  await ada.hearsAll([ben]);
  await closeDialogs(ada);
});

test("a moderator moves somebody to another voice channel", async () => {
  const attic = await createChannel("voice", "Attic");
  await ada.click(`voice-user-${ben.id}`);
  await ada.click("moderate-move");
  await ada.click(`move-to-${attic}`);
  await ben.until("he is in the attic", (id) => window.hype.state.call.channel === id && window.hype.state.call.status === "connected", {}, attic);
  for (const person of [ada, ben]) await person.click("leave");
});

test("an invite with a limit lets in no more than that", async () => {
  await ada.click("invite-create");
  await ada.page.select(testid("invite-max-uses"), "1");
  const link = await ada.until("the link", (selector) => document.querySelector(selector)?.value, {}, testid("invite-link"));
  await closeDialogs(ada);
  const code = new URL(link).hash.split("/").at(-1);
  const api = async (method, path, token, body) => {
    const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
    return fetch(`${up.url}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  };
  const accept = async (name) => {
    const { access_token: token } = await (await api("POST", "/auth/register", null, { name: `${name} ${process.pid}`, password: `${name} has a password` })).json();
    return (await api("POST", `/invites/${code}/accept`, token)).status;
  };
  assert.equal(await accept("cyd"), 200);
  assert.equal(await accept("dee"), 404);
  await ada.until("cyd is a member", () => document.querySelector(".members").innerText.includes("cyd"));
});

test("who is kicked may come back, who is banned may not", async () => {
  const link = await ada.invite();
  await ada.click(`channel-${general}`);
  await ada.click(`member-${ben.id}`);
  await ada.click("kick");
  await ada.click("kick-confirm");
  await ben.until("he is out", () => window.hype.state.guilds.size === 0 && document.body.innerText.includes("You are no longer in"));
  await ben.accept(link);

  await ada.click(`member-${ben.id}`);
  await ada.click("ban");
  await ada.fill("reason", "too loud");
  await ada.click("ban-confirm");
  await ben.until("he is out again", () => window.hype.state.guilds.size === 0);
  await ben.see((hash) => { location.hash = hash; }, new URL(link).hash);
  await ben.click("invite-accept");
  await ben.until("the refusal", () => document.querySelector("dialog .form-error")?.textContent.includes("banned"));
  await closeDialogs(ben);

  await guildSettings(ada, "bans");
  await there(ada, `ban-${ben.id}`);
  await ada.click("tab-audit");
  await ada.until("the audit log tells it", () => document.querySelector('[data-testid="audit"]')?.innerText.includes("too loud"));
  await ada.click("tab-insights");
  await ada.until("what was counted", () => document.querySelectorAll('[data-testid="insights"] .chart').length === 5);
});

test("a new password works, and signing out everywhere does", async () => {
  await ben.click("settings");
  await ben.click("change-password");
  await ben.fill("password-current", `${ben.name} has a password`);
  for (const field of ["password-new", "password-again"]) await ben.fill(field, "quite another password");
  await ben.click("password-save");
  await ben.until("it is told", () => document.body.innerText.includes("Your password was changed"));
  await ben.click("sign-out-everywhere");
  await ben.click("sign-out-everywhere-confirm");
  await there(ben, "login-name");
  await ben.fill("login-name", ben.name);
  await ben.fill("login-password", "quite another password");
  await ben.click("login-submit");
  await ben.until("signed in", () => window.hype.state.phase === "in" && window.hype.state.gateway === "online");
  for (const person of [ada, ben]) assert.deepEqual(person.errors, [], `${person.name}'s page threw`);
});
