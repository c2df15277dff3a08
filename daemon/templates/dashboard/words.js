// How things are said and made into elements: texts only, whatever they hold. Nothing here is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; texts among them stay texts. A child that is null or false is left out. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A picture's element. */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children.flat());
  return made;
}

/** One of the shapes of the page, for the eye only: a word always stands beside it. */
export function shape(name) {
  return svg("svg", { class: `icon ${name}`, "aria-hidden": "true", viewBox: "0 0 16 16" }, svg("use", { href: `#shape-${name}` }));
}

/** A word with its shape and colour. */
export function word(name, text) {
  return el("span", { class: `word ${name}` }, shape(name), " ", text);
}

/** Shape and word for how a handler ended, as in reports. */
const ENDS = {
  handled: ["done", "handled"],
  declined: ["idle", "nothing to do"],
  failed: ["failed", "failed"],
  panicked: ["failed", "panicked"],
  crashed: ["failed", "crashed"],
  "timed-out": ["late", "timed out"],
  abandoned: ["late", "abandoned"],
  cancelled: ["stopped", "cancelled"],
  "not-run": ["skipped", "not run"],
  running: ["running", "running"],
  waiting: ["waiting", "waiting"],
};

export const ended = (status) => ENDS[status] ?? ["idle", String(status)];

/** Whether the effect was seen to hold. */
export const VERIFIED = { yes: "verified", no: "not verified", unknown: "cannot be verified" };

/** Shape for the state of a source or an instance. */
const STATES = {
  seeing: "done", active: "done", starting: "running", created: "running", partial: "late", blind: "failed", quarantined: "failed",
  off: "skipped", inactive: "skipped", destroyed: "skipped",
};

export const stateShape = (state) => STATES[state] ?? "idle";

/** Shape for the state of an event. */
export function eventShape(event) {
  if (event.state === "running") return "running";
  if (event.state === "refused" || event.state === "interrupted") return "failed";
  if (event.state === "withdrawn") return "stopped";
  return event.failed > 0 ? "failed" : "done";
}

const number = (value, digits) => value.toFixed(digits).replace(/\.0+$/, "");

/** A length of time, seconds, for people. */
export function human(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${number(seconds * 1e6, 0)} µs`;
  if (seconds < 0.01) return `${number(seconds * 1e3, 1)} ms`;
  if (seconds < 0.9995) return `${number(seconds * 1e3, 0)} ms`;
  if (seconds < 59.95) return `${number(seconds, 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return whole % 60 === 0 ? `${whole / 60} min` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** The same for a clock that runs: whole seconds above ten, tenths below. */
export function countdown(seconds) {
  const left = Math.max(0, seconds);
  if (left < 10) return `${left.toFixed(1)} s`;
  if (left < 100) return `${Math.floor(left)} s`;
  return `${Math.floor(left / 60)} min ${String(Math.floor(left % 60)).padStart(2, "0")} s`;
}

/** A moment, RFC 3339, in the reader's own time. */
export function moment(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return String(text ?? "–");
  return at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

export const count = (value, what) => `${value} ${what}${value === 1 ? "" : "s"}`;

/** Names with what they are called, as a list of terms. What is empty is left out. */
export function facts(pairs) {
  const told = pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return el("dl", { class: "facts" }, told.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/**
 * A table. `columns` are names, or [name, class]; rows are lists of cells, the first of each heads its row. The roles are named:
 * in a narrow window its parts are no longer laid out as a table, and some browsers would take it for none.
 */
export function table(caption, columns, rows) {
  const named = columns.map((column) => (Array.isArray(column) ? column : [column, null]));
  const head = named.map(([name, kind]) => el("th", { scope: "col", role: "columnheader", class: kind }, name));
  const body = rows.map((cells) => el("tr", { role: "row" }, cells.map((cell, index) => {
    const [name, kind] = named[index];
    if (index === 0) return el("th", { scope: "row", role: "rowheader", class: kind }, cell);
    return el("td", { role: "cell", class: kind, "data-name": name }, el("span", {}, cell));
  })));
  return framed("table", caption, head, body);
}

/** Head cells and rows as a table with a caption for those who do not see it. */
export function framed(kind, caption, head, body) {
  return el("table", { class: kind, role: "table" }, el("caption", { class: "unseen" }, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)), el("tbody", { role: "rowgroup" }, body));
}
