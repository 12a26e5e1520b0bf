//! Looking for messages of the guild, by words, author, channel and days. It stands in the place of
//! the members; a result leads to its message.

import { h, fill } from "../dom.js";
import { icon } from "../icons.js";
import { byName, state, on, changed, currentGuild, firstIdAt } from "../store.js";
import { call as request } from "../api.js";
import { P, mayIn } from "../permissions.js";
import { arranged } from "../arrange.js";
import * as route from "../route.js";
import { avatar } from "./avatar.js";
import { field, select } from "./dialogs.js";
import { render as renderMarkup } from "./markup.js";

const PAGE = 25;
const DAY_MS = 86_400_000;
const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Opens or closes it. */
export function showSearch(yes) {
  state.searching = yes;
  changed("searching");
  if (!yes && document.activeElement?.closest(".search")) document.querySelector('[data-testid="open-search"]')?.focus();
}

/** Makes the panel. `onPick` runs after a result was chosen. */
export function search({ onPick }) {
  const words = h("input", { type: "text", placeholder: "Words", "aria-label": "Words to look for", enterkeyhint: "search", maxlength: 200, "data-testid": "search-words" });
  const from = select({ options: [], value: "", testid: "search-from" });
  const place = select({ options: [], value: "", testid: "search-in" });
  const after = h("input", { type: "date", "data-testid": "search-after" });
  const before = h("input", { type: "date", "data-testid": "search-before" });
  const results = h("div", { class: "search-results", role: "list", "aria-label": "Results", "data-testid": "search-results" });
  const foot = h("div", { class: "rows-foot", role: "status" });
  const close = h("button", { class: "ghost", type: "button", "aria-label": "Close the search", title: "Close", onClick: () => showSearch(false) }, icon("close"));
  const form = h(
    "form",
    { class: "search-form", role: "search", onSubmit: (event) => { event.preventDefault(); run(null); } },
    h("div", { class: "joined-field" }, words, h("button", { class: "primary", type: "submit", "aria-label": "Search", "data-testid": "search-submit" }, icon("search"))),
    h("details", { class: "search-filters" }, h("summary", null, "Filters"), h("div", { class: "form" }, field("From", from), field("In", place), h("div", { class: "field-pair" }, field("Since", after), field("Until", before)))),
  );
  const element = h("aside", { class: "members search", "aria-label": "Search" }, h("header", { class: "search-head" }, h("h2", null, "Search"), close), form, results, foot);
  let guildId = null;
  let turn = 0;
  let last = null;

  async function run(olderThan) {
    const query = queryOf(olderThan);
    const own = (turn += 1);
    if (!olderThan) fill(results);
    if (query === null) return fill(foot, h("p", { class: "muted" }, "Write some words, or choose whose messages."));
    fill(foot, h("p", { class: "muted" }, "Searching…"));
    try {
      const found = await request("GET", `/guilds/${guildId}/messages/search?${query}`);
      if (own !== turn) return;
      for (const message of found) results.append(result(message));
      last = found.at(-1)?.id ?? last;
      if (found.length === PAGE) fill(foot, h("button", { class: "secondary", type: "button", onClick: () => run(last) }, "Show more"));
      else fill(foot, h("p", { class: "muted" }, results.childElementCount === 0 ? "Nothing was found." : `${results.childElementCount} found.`));
    } catch (error) {
      if (own === turn) fill(foot, h("p", { class: "form-error" }, error.message));
    }
  }

  /** Days become the ids of their first moments; null when nothing is asked for. */
  function queryOf(olderThan) {
    const query = new URLSearchParams();
    if (words.value.trim()) query.set("q", words.value.trim());
    if (from.value) query.set("from", from.value);
    if (place.value) query.set("in", place.value);
    if (after.value) query.set("after", firstIdAt(dayStart(after.value)));
    if (before.value) query.set("before", firstIdAt(dayStart(before.value) + DAY_MS));
    if (!query.has("q") && !query.has("from")) return null;
    if (olderThan) query.set("before", olderThan);
    query.set("limit", String(PAGE));
    return query;
  }

  function result(message) {
    const channel = state.guilds.get(message.guild_id)?.channels.find((one) => one.id === message.channel_id);
    const time = new Date(message.created_at_ms);
    const open = () => {
      route.goToMessage(message.guild_id, message.channel_id, message.id);
      onPick();
    };
    return h(
      "div",
      { role: "listitem" },
      h(
        "button",
        { class: "search-result", type: "button", "data-testid": `result-${message.id}`, onClick: open },
        avatar(message.author.id, message.author.name, "tiny"),
        h("span", { class: "search-text" }, h("span", { class: "search-top" }, h("b", null, message.author.name), h("span", { class: "muted" }, `#${channel?.name ?? "?"}`)), h("span", { class: "search-body" }, plain(message.content)), h("time", { class: "muted", datetime: time.toISOString() }, WHEN.format(time))),
      ),
    );
  }

  function options() {
    const guild = currentGuild();
    if (!guild) return;
    const people = [...guild.members.values()].sort(byName).map((member) => [member.id, member.name]);
    const places = arranged(guild).filter((channel) => channel.kind === "text" && mayIn(channel, P.READ_MESSAGE_HISTORY)).map((channel) => [channel.id, `#${channel.name}`]);
    refill(from, [["", "Anybody"], ...people]);
    refill(place, [["", "All channels"], ...places]);
  }

  function render() {
    const guild = currentGuild();
    if (guild?.id !== guildId) {
      guildId = guild?.id ?? null;
      turn += 1;
      fill(results);
      fill(foot);
      for (const input of [words, after, before, from, place]) input.value = "";
    }
    options();
  }

  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    showSearch(false);
  });
  for (const filter of [from, place, after, before]) filter.addEventListener("change", () => run(null));
  return { element, render, focus: () => words.focus(), stop: on(["guilds", "route"], () => state.searching && render()) };
}

function dayStart(day) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date).getTime();
}

/** Replaces the options only when they changed, and keeps the choice. */
function refill(element, options) {
  const sign = JSON.stringify(options);
  if (element.dataset.sign === sign) return;
  element.dataset.sign = sign;
  const { value } = element;
  fill(element, options.map(([id, label]) => h("option", { value: id }, label)));
  element.value = options.some(([id]) => id === value) ? value : "";
}

/** A message without links, since a result is a button as a whole. */
function plain(content) {
  return renderMarkup(content).map((node) => node.textContent).join("");
}
