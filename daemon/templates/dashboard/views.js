// What the page shows of the daemon's state: each view makes elements of a reply. Nothing here asks or remembers anything.

import { deadlineMs, timeline } from "./timeline.js";
import { count, el, ended, eventShape, facts, human, moment, shape, stateShape, svg, table, word } from "./words.js";

const card = (...children) => el("div", { class: "card" }, children);
const wide = (...children) => el("div", { class: "card wide" }, children);
const NONE = "–";

/** Health and problems, the machine, how the daemon runs. */
export function state(status) {
  const isWell = status.health === "ok";
  const verdict = isWell
    ? el("p", { class: "verdict well" }, shape("done"), " ", el("strong", {}, "All is well."))
    : el("div", { class: "verdict bad" },
      el("p", {}, shape("failed"), " ", el("strong", {}, `${count(status.problems.length, "problem")}:`)),
      el("ul", {}, status.problems.map((problem) => el("li", {}, problem))));
  const { machine, dispatch, events } = status;
  const named = [machine.provider, machine.instance_id, machine.instance_type, machine.zone || machine.region];
  const test = dispatch.self_test_us;
  const first = dispatch.first_start_us;
  const us = (value) => human(value / 1e6);
  return [
    verdict,
    el("div", { class: "columns" },
      card(el("h3", {}, "Machine"), facts([
        ["machine", named.filter(Boolean).join(" · ") || "not known yet"],
        ["cloud", status.detection?.summary],
        ["daemon", `snoozed ${status.version}, process ${status.pid}`],
        ["running for", human(status.uptime_seconds)],
        ["configuration", status.config_files.join(", ")],
      ])),
      card(el("h3", {}, "How fast"), facts([
        ["threads", `${dispatch.threads}, ${dispatch.scheduling}`],
        ["CPU", dispatch.cpu ?? "no particular one"],
        ["memory", dispatch.memory_locked === "yes" ? "locked" : `not locked (${dispatch.memory_locked})`],
        ["self-test", test ? `half within ${us(test.p50)}, 99 % within ${us(test.p99)} (${test.count} in the last hour)` : "none yet"],
        ["first handler", first ? `half within ${us(first.p50)}, 99 % within ${us(first.p99)} (${count(first.count, "event")})` : "none yet"],
      ])),
      card(el("h3", {}, "Since the start"), facts([
        ["events", `${events.published} taken in, ${events.completed} over, ${events.refused} refused`],
        ["deadlines missed", String(events.deadlines_missed ?? 0)],
        ["calls given up", String(dispatch.calls_abandoned)],
        ["history", (status.history?.rows_waiting ?? 0) === 0 ? "all written" : `${count(status.history.rows_waiting, "row")} waiting`],
        ["notes lost", String(events.notes_dropped)],
      ]))),
  ];
}

/** Who looks for notices, and whether it can see. */
export function sources(status) {
  const rows = status.sources.map((source) => [
    source.name, word(stateShape(source.state), source.state), source.summary,
    source.interval_seconds > 0 ? human(source.interval_seconds) : NONE,
    source.interval_seconds > 0 ? String(source.polls) : NONE,
    source.interval_seconds > 0 ? String(source.errors) : NONE,
  ]);
  const columns = ["source", "state", ["what it sees", "text"], ["every", "number"], ["polls", "number"], ["errors", "number"]];
  return [wide(table("Sources of notices", columns, rows))];
}

/** A role in an operation's order: over, now, or still to come. */
function step(operation, role, index) {
  if (operation.complete || index < operation.step) return el("li", {}, word("done", `${role}: over`));
  if (index > operation.step) return el("li", {}, word("waiting", `${role}: to come`));
  return el("li", {}, word("running", `${role}: ${operation.acting.join(", ") || "now"}`));
}

function operation(fleet) {
  const own = fleet.operation;
  if (!own) return card(el("h3", {}, "Operation"), el("p", {}, "The group has had no operation yet."));
  const missing = own.missing.length === 0 ? null
    : [el("p", {}, "The group went on without:"), el("ul", {}, own.missing.map((why) => el("li", {}, why)))];
  return card(el("h3", {}, own.complete ? "The last operation is over" : "An operation runs"),
    el("ol", { class: "plain" }, own.roles.map((role, index) => step(own, role, index))),
    facts([["leaving", own.leaving.join(", ")], ["epoch", String(own.epoch)]]), missing);
}

/** The group that this machine belongs to, as it looks from here. */
export function fleet(own) {
  const connection = own.connected ? word("done", `to ${own.server}`)
    : word("failed", own.server ? `lost; it was to ${own.server}` : "none yet");
  const { counts } = own;
  return [el("div", { class: "columns" },
    card(el("h3", {}, own.group), facts([
      ["this machine", `${own.member} (${own.role})`],
      ["connection", connection],
      ["leader", own.leads ? "this machine" : own.leader ?? "nobody, as far as is known"],
      ["own work takes", human(own.work_seconds)],
    ])),
    operation(own),
    card(el("h3", {}, "Since the start"), facts([
      ["events", `${counts.sent} sent, ${counts.kept} of them kept; ${counts.heard} heard`],
      ["turns", `${counts.turns} by a leader, ${counts.alone} alone`],
      ["refused", `${counts.refused} of leaders that were none any more`],
    ])))];
}

function planTable(plan) {
  const left = plan.budgets.map((budget, index) =>
    [index === 0 ? `of ${human(budget.left_seconds)} (assumed)` : `of ${human(budget.left_seconds)}`, "number"]);
  const rows = plan.handlers.map((handler, at) => [
    handler.handler, handler.start === "at-once" ? `${handler.priority}, at once` : String(handler.priority),
    human(handler.timeout_seconds), handler.minimum_seconds > 0 ? human(handler.minimum_seconds) : NONE,
    ...plan.budgets.map((budget) => human(budget.granted_seconds[at])),
  ]);
  const columns = ["handler", ["priority", "number"], ["at most", "number"], ["at least", "number"], ...left];
  return table(`Plan of ${plan.type}`, columns, rows);
}

/** Which handlers would run for each type, and what time each would get. `open` are the types to show unfolded. */
export function plans(reply, open) {
  if (reply.plans.length === 0) return [card(el("p", {}, "No event has a handler: nothing would be called."))];
  return reply.plans.map((plan) => {
    const details = el("details", { class: "card wide", open: open.has(plan.type), "data-type": plan.type },
      el("summary", {}, el("strong", {}, plan.type), " ",
        el("span", { class: "muted" }, `${count(plan.handlers.length, "handler")}, done ${human(plan.finish_before_seconds)} early`)),
      planTable(plan),
      el("p", { class: "muted" }, "The last columns say what each gets when so much time is left."));
    details.addEventListener("toggle", () => (details.open ? open.add(plan.type) : open.delete(plan.type)));
    return details;
  });
}

/** The time below which so much of the calls stayed, as far as the bounds tell. */
function within(took, part) {
  const all = took.counts.reduce((sum, value) => sum + value, 0);
  let sum = 0;
  for (const [index, value] of took.counts.entries()) {
    sum += value;
    if (sum >= all * part) return took.bounds_seconds[index] === undefined ? "longer" : `≤ ${human(took.bounds_seconds[index])}`;
  }
  return NONE;
}

/** How often a call took how long: a bar for each bound, said in words for those who cannot see it. */
function histogram(took) {
  const all = (took?.counts ?? []).reduce((sum, value) => sum + value, 0);
  if (all === 0) return el("span", { class: "muted" }, "no call yet");
  const most = Math.max(...took.counts);
  const bound = (index) => (took.bounds_seconds[index] === undefined
    ? `more than ${human(took.bounds_seconds.at(-1))}` : `up to ${human(took.bounds_seconds[index])}`);
  const told = took.counts.map((value, index) => (value > 0 ? `${bound(index)}: ${value}` : null)).filter(Boolean).join("; ");
  const bars = took.counts.map((value, index) => {
    const height = value === 0 ? 0 : Math.max(2, (value / most) * 26);
    return svg("g", {},
      svg("rect", { class: "floor", x: index * 8, y: 27, width: 6, height: 1 }),
      svg("rect", { class: "heap", x: index * 8, y: 27 - height, width: 6, height }));
  });
  const size = { viewBox: `0 0 ${took.counts.length * 8} 28`, width: took.counts.length * 8, height: 28 };
  return el("span", { class: "histogram" },
    svg("svg", { ...size, role: "img", "aria-label": `Time of ${count(all, "call")}: ${told}` }, bars),
    el("span", { class: "small" }, `half ${within(took, 0.5)}, 99 % ${within(took, 0.99)}`));
}

function results(calls) {
  const entries = Object.entries(calls?.results ?? {});
  if (entries.length === 0) return el("span", { class: "muted" }, "none yet");
  const words = entries.map(([status, value]) => {
    const [name, text] = ended(status);
    return el("li", {}, word(name, `${value} ${text}`));
  });
  const unverified = calls.unverified > 0 ? el("li", {}, word("failed", `${calls.unverified} not verified`)) : null;
  return el("ul", { class: "plain" }, words, unverified);
}

/** Each handler's instance, its health and how long its calls took. */
export function plugins(status) {
  if (status.instances.length === 0) return [card(el("p", {}, "No handler is configured."))];
  const rows = status.instances.map((own) => [
    [own.name, el("span", { class: "small" }, `${own.plugin} ${own.version}, ${own.kind}, priority ${own.priority}`)],
    [word(stateShape(own.state), own.state), own.detail ? el("span", { class: "small" }, own.detail) : null],
    results(own.calls), histogram(own.calls?.took),
  ]);
  return [wide(table("Handlers", ["handler", "state", "calls", "time they took"], rows))];
}

function about(event) {
  const handled = event.state === "running" ? null : `${event.handled} of ${count(event.handlers, "handler")} handled it`;
  const failed = event.failed > 0 ? `${event.failed} failed` : null;
  const took = event.duration_ms === null ? null : `${human(event.duration_ms / 1e3)} in all`;
  return [handled, failed, took, event.source ? `seen by ${event.source}` : null].filter(Boolean).join(", ");
}

/** The last events; `toggle` is called with the id of one whose timeline is wanted or no longer wanted. */
export function events(reply, reports, toggle) {
  if (reply.events.length === 0) return [card(el("p", {}, "There was no event yet."))];
  const rows = reply.events.map((event) => {
    const report = reports.get(event.event_id);
    const button = el("button", {
      type: "button", id: `show-${event.event_id}`, class: "link", "aria-expanded": String(report !== undefined),
      "aria-controls": `report-${event.event_id}`,
    }, event.type);
    button.addEventListener("click", () => toggle(event.event_id));
    const kind = event.simulated ? " (test)" : "";
    return el("li", { class: "card wide past" },
      el("div", { class: "bar" }, el("h3", {}, button), word(eventShape(event), event.state),
        el("span", { class: "muted" }, `${moment(event.detected)}${kind}`)),
      el("p", { class: "muted" }, about(event)),
      el("div", { id: `report-${event.event_id}` }, report === undefined ? null : whole(report)));
  });
  return [el("ol", { class: "stack" }, rows)];
}

/** A report: when, how much was left, who ran when, and the event as it was. */
export function whole(report) {
  const due = deadlineMs(report);
  return [
    facts([
      ["detected", moment(report.detected)],
      ["first handler", report.first_start_us === null ? "" : `${human(report.first_start_us / 1e6)} later`],
      ["deadline", due === null ? "none named" : `${human(due / 1e3)} after detection`],
      ["finished", `after ${human(report.duration_ms / 1e3)}${due === null ? "" : `, ${human(report.left_seconds)} left`}`],
    ]),
    timeline(`Handlers of ${report.type}`, report.handlers, report.duration_ms, due),
    el("details", {}, el("summary", {}, "the event as it was published"),
      el("pre", { tabindex: "0" }, JSON.stringify(report.event, null, 2))),
  ];
}
