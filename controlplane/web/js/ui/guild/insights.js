//! Settings of a guild: how many people talked and wrote, day by day.

import { h, fill } from "../../dom.js";
import { call as request } from "../../api.js";
import { select } from "../dialogs.js";

const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
const NUMBER = new Intl.NumberFormat();

/** What is drawn: the field of a day, its heading, and its sum or most. */
const FIGURES = [
  ["active_people", "People who wrote or talked", "most"],
  ["messages", "Messages", "sum"],
  ["voice_joins", "Joins of voice channels", "sum"],
  ["voice_minutes", "Minutes in voice", "sum"],
  ["voice_peak", "Most in voice at once", "most"],
];

/** Makes the tab. */
export function insights(guildId) {
  const body = h("div", { class: "insights", "data-testid": "insights" });
  const days = select({ options: [["7", "7 days"], ["30", "30 days"], ["90", "90 days"]], value: "30", label: "Period", change: () => load() });
  let turn = 0;

  async function load() {
    const own = (turn += 1);
    fill(body, h("p", { class: "muted", role: "status" }, "Counting…"));
    try {
      const counted = await request("GET", `/guilds/${guildId}/insights?days=${days.value}`);
      if (own === turn) fill(body, charts(counted));
    } catch (error) {
      if (own === turn) fill(body, h("p", { class: "form-error", role: "alert" }, error.message));
    }
  }

  load();
  return { element: h("div", { class: "settings" }, h("div", { class: "narrow-field" }, days), body), stop: () => (turn += 1) };
}

function charts(days) {
  if (days.length === 0) return h("p", { class: "empty muted" }, "Nothing was counted in this time.");
  return FIGURES.map(([field, label, kind]) => chart(days, field, label, kind));
}

function chart(days, field, label, kind) {
  const values = days.map((day) => day[field]);
  const most = Math.max(...values, 1);
  const total = kind === "sum" ? values.reduce((sum, value) => sum + value, 0) : Math.max(...values);
  const bars = days.map((day, index) => {
    const bar = h("i", { title: `${DAY.format(new Date(day.begins_at_ms))}: ${NUMBER.format(values[index])}` });
    bar.style.setProperty("--part", String(values[index] / most));
    return bar;
  });
  const words = `${label}: ${NUMBER.format(total)} ${kind === "sum" ? "in all" : "at most on a day"}.`;
  return h(
    "figure",
    { class: "chart", role: "img", "aria-label": words },
    h("figcaption", null, h("span", null, label), h("b", null, NUMBER.format(total)), h("span", { class: "muted" }, kind === "sum" ? "in all" : "at most")),
    h("div", { class: "chart-bars", "aria-hidden": "true" }, bars),
    h("div", { class: "chart-scale muted", "aria-hidden": "true" }, h("span", null, DAY.format(new Date(days[0].begins_at_ms))), h("span", null, DAY.format(new Date(days.at(-1).begins_at_ms)))),
  );
}
