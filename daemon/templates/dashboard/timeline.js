// Who ran when: one row a handler, its time granted and taken as bars, how it ended in words. From a report, or from what is known
// of an event that runs.

import { VERIFIED, el, ended, framed, human, word } from "./words.js";

/** Where the deadline is more than so many times as far away as the work, the lanes show the work alone. */
const NEAR = 2.5;

/** Rows in the order of their starts; those that never started last. */
export function inOrder(handlers) {
  const start = (handler) => handler.start_ms ?? Number.POSITIVE_INFINITY;
  return [...handlers].sort((a, b) => start(a) - start(b) || b.priority - a.priority || a.handler.localeCompare(b.handler));
}

/** Milliseconds that the lanes show, and where in them the deadline lies, if it does. */
function span(rows, nowMs, deadlineMs) {
  const end = Math.max(nowMs, 1, ...rows.map((row) => (row.start_ms ?? 0) + (row.duration_ms ?? 0)));
  const isNear = deadlineMs !== null && deadlineMs < end * NEAR;
  return { whole: isNear ? Math.max(deadlineMs * 1.02, end) : end * 1.05, deadline: isNear ? deadlineMs : null };
}

function bar(kind, fromMs, lengthMs, whole) {
  const made = el("span", { class: `stretch ${kind}` });
  const left = Math.min(100, (fromMs / whole) * 100);
  made.style.left = `${left}%`;
  made.style.width = `${Math.min(100 - left, (lengthMs / whole) * 100)}%`;
  return made;
}

function line(kind, ms, whole) {
  const made = el("span", { class: `mark ${kind}` });
  made.style.left = `${Math.min(100, (ms / whole) * 100)}%`;
  return made;
}

function lane(row, whole, deadline) {
  const [shape] = ended(row.status);
  const parts = [];
  let words = "did not run";
  if (row.start_ms !== null && row.start_ms !== undefined) {
    const took = row.duration_ms ?? 0;
    if (row.budget_ms) parts.push(bar("granted", row.start_ms, row.budget_ms, whole));
    parts.push(bar(`ran ${shape}`, row.start_ms, took, whole));
    if (row.budget_ms && took > row.budget_ms) parts.push(bar("overrun", row.start_ms + row.budget_ms, took - row.budget_ms, whole));
    const granted = row.budget_ms ? ` of ${human(row.budget_ms / 1e3)} granted` : "";
    words = `began after ${human(row.start_ms / 1e3)}, took ${human(took / 1e3)}${granted}`;
  }
  if (row.status === "waiting") words = "has not begun";
  if (row.status === "running") words = `began after ${human(row.start_ms / 1e3)}, runs`;
  if (deadline !== null) parts.push(line("deadline", deadline, whole));
  return el("span", { class: "lane", role: "img", "aria-label": words }, parts);
}

function result(row) {
  const [shape, text] = ended(row.status);
  const seen = VERIFIED[row.verified];
  const late = row.late_ms ? `late by ${human(row.late_ms / 1e3)}` : null;
  const attempts = row.attempts > 1 ? `${row.attempts} attempts` : null;
  const more = [seen, attempts, late].filter(Boolean).join(", ");
  return [
    word(shape, text),
    more ? el("span", { class: "small" }, more) : null,
    row.error ? el("span", { class: shape === "done" || shape === "idle" ? "small" : "error" }, row.error) : null,
  ];
}

function scale(whole, deadline) {
  const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const made = el("span", { class: "tick" }, human((whole * part) / 1e3));
    made.style.left = `${part * 100}%`;
    return made;
  });
  const due = deadline === null ? null : el("span", { class: "due" }, "deadline");
  if (due) {
    due.style.left = `${(deadline / whole) * 100}%`;
    due.classList.toggle("is-left", deadline / whole > 0.5);
  }
  return el("div", { class: "scale", "aria-hidden": "true" }, marks, due);
}

/** The whole notice in one bar, where the lanes show only its beginning. */
function notice(nowMs, deadlineMs) {
  const words = `the whole notice: ${human(nowMs / 1e3)} of ${human(deadlineMs / 1e3)} used`;
  const bar = el("span", { class: "used" });
  bar.style.width = `${Math.min(100, (nowMs / deadlineMs) * 100)}%`;
  return el("div", { class: "notice" }, el("span", { class: "small" }, words), el("span", { class: "strip", "aria-hidden": "true" }, bar));
}

/**
 * The picture as a table. `rows` are handlers as in a report, besides with status `running` and `waiting`; `nowMs` is how long the
 * event lasts so far, `deadlineMs` when the cloud acts, both counted from detection.
 */
export function timeline(caption, rows, nowMs, deadlineMs) {
  if (rows.length === 0) return el("p", { class: "muted" }, "No handler has a part in this event.");
  const { whole, deadline } = span(rows, nowMs, deadlineMs);
  const column = (kind, ...inside) => el("th", { scope: "col", role: "columnheader", class: kind }, inside);
  const head = [
    column(null, "handler"),
    column("lanes", el("span", { class: "unseen" }, "when it ran"), scale(whole, deadline)),
    column(null, "result"),
  ];
  const body = inOrder(rows).map((row) => el("tr", { role: "row" },
    el("th", { scope: "row", role: "rowheader" }, row.handler, el("span", { class: "small" }, `priority ${row.priority}`)),
    el("td", { role: "cell", class: "lanes" }, lane(row, whole, deadline)),
    el("td", { role: "cell", class: "result" }, result(row))));
  const isFar = deadlineMs !== null && deadline === null;
  return el("div", {}, isFar ? notice(nowMs, deadlineMs) : null, framed("timeline", caption, head, body));
}

/** When the cloud acts, milliseconds after detection; null when the notice named no time. */
export function deadlineMs(report) {
  const at = Date.parse(report.deadline ?? "") - Date.parse(report.detected);
  return Number.isNaN(at) ? null : at;
}
