// Events while they run: what the stream tells, put together, and shown with a clock that runs.

import { deadlineMs, timeline } from "./timeline.js";
import { count, countdown, el, ended, eventShape, human, word } from "./words.js";

/** Finished events that stay in sight until another begins. */
const KEPT_MAX = 3;

/** An event as the stream makes it known. Times are milliseconds after detection; `at` is performance.now() of detection. */
function known(event, detectedAgoMs) {
  const seconds = event.data?.timeRemaining;
  return {
    id: event.id, type: event.type, event, at: performance.now() - detectedAgoMs, state: "running", rows: new Map(),
    deadline: typeof seconds === "number" ? seconds * 1e3 : null, over: null,
  };
}

export class Live {
  /** `planOf` gives the planned handlers of a type; `say` tells those who cannot see the page. */
  constructor(planOf, say) {
    this.events = new Map();
    this.planOf = planOf;
    this.say = say;
  }

  /** An event from its report, for what ran before the page was opened. */
  take(report) {
    const own = known({ ...report.event, id: report.event_id, type: report.type }, report.duration_ms);
    own.deadline = deadlineMs(report);
    this.plan(own);
    report.handlers.forEach((handler) => own.rows.set(handler.instance, handler));
    (report.running ?? []).forEach((told) => this.started(own, told));
    this.events.set(own.id, own);
    if (report.state !== "running") this.finish(own, report);
  }

  plan(own) {
    for (const planned of this.planOf(own.type)) {
      const { handler, instance, priority } = planned;
      own.rows.set(instance, { handler, instance, priority, status: "waiting", start_ms: null });
    }
  }

  /** One thing that the stream told; gives the id of an event that is over now. */
  tell(told) {
    if (told.kind === "event") return this.begun(told.event);
    const own = this.events.get(told.event_id);
    if (!own || own.over) return null;
    if (told.kind === "started") this.started(own, told);
    if (told.kind === "finished") this.finished(own, told);
    if (told.kind === "completed") {
      own.state = told.state;
      own.over = { duration_ms: told.duration_ms, left_seconds: told.left_seconds };
      const left = own.deadline === null ? "" : `, ${human(told.left_seconds)} left`;
      this.say(`${own.type} is over after ${human(told.duration_ms / 1e3)}${left}`);
      return own.id;
    }
    return null;
  }

  begun(event) {
    const own = known(event, 0);
    this.forget();
    this.plan(own);
    this.events.set(own.id, own);
    const left = own.deadline === null ? "no time named" : `${human(own.deadline / 1e3)} left`;
    this.say(`Event ${own.type} has begun, ${left}`);
    return null;
  }

  started(own, told) {
    const { handler, instance, priority, at_ms: start_ms, budget_ms } = told;
    own.rows.set(instance, { handler, instance, priority, status: "running", start_ms, budget_ms });
    // The stream is told a little after it happened: the earliest word of the clock is the best.
    own.at = Math.min(own.at, performance.now() - start_ms);
  }

  finished(own, told) {
    const before = own.rows.get(told.instance) ?? {};
    const { handler, instance, priority, status, verified, error, duration_ms } = told;
    const start_ms = status === "not-run" ? null : (before.start_ms ?? told.at_ms - duration_ms);
    own.rows.set(instance, { ...before, handler, instance, priority, status, verified, error, duration_ms, start_ms });
    this.say(`${handler}: ${ended(status)[1]}`);
  }

  /** The whole report of an event that is over. */
  finish(own, report) {
    own.state = report.state;
    own.rows = new Map(report.handlers.map((handler) => [handler.instance, handler]));
    own.over = { duration_ms: report.duration_ms, left_seconds: report.left_seconds };
  }

  report(report) {
    const own = this.events.get(report.event_id);
    if (own && report.state !== "running") this.finish(own, report);
  }

  forget() {
    const over = [...this.events.values()].filter((own) => own.over);
    over.slice(0, Math.max(0, over.length - KEPT_MAX + 1)).forEach((own) => this.events.delete(own.id));
  }

  isRunning() {
    return [...this.events.values()].some((own) => !own.over);
  }
}

const passed = (own) => (own.over ? own.over.duration_ms : performance.now() - own.at);

/** The clock of an event, alone: it is made anew many times a second. */
function clock(own) {
  const now = passed(own);
  if (own.over) {
    const left = own.deadline === null ? "" : `, ${human(own.over.left_seconds)} before the deadline`;
    return el("p", { class: "clock" }, `over after ${human(now / 1e3)}${own.over.left_seconds > 0 ? left : ""}`);
  }
  if (own.deadline === null) return el("p", { class: "clock" }, el("b", {}, human(now / 1e3)), " so far; no deadline named");
  const left = (own.deadline - now) / 1e3;
  if (left <= 0) return el("p", { class: "clock" }, el("b", {}, "0.0 s"), " left: the deadline has passed");
  return el("p", { class: "clock" }, el("b", {}, countdown(left)), " left until the cloud acts");
}

function notices(event) {
  if (event.drill) return el("p", { class: "note" }, "A drill: only what can be undone is done, and put back.");
  if (event.simulated) return el("p", { class: "note" }, "Simulated: no cloud sent this notice. The handlers do their real work.");
  return null;
}

/** Rows as they are now: what runs has taken until now. */
function rowsNow(own, now) {
  const grow = (row) => (row.status === "running" ? { ...row, duration_ms: Math.max(0, now - row.start_ms) } : row);
  return [...own.rows.values()].map(grow);
}

const lanes = (own, now) => timeline(`Handlers of ${own.type}`, rowsNow(own, now), now, own.deadline);
const isDone = (row) => !["running", "waiting"].includes(row.status);

function card(own) {
  const now = passed(own);
  const rows = [...own.rows.values()];
  const failed = rows.filter((row) => isDone(row) && !["handled", "declined"].includes(row.status)).length;
  const { event } = own;
  const data = event.data ?? {};
  const about = [data.instanceID, data.instanceType, data.zone ?? data.region, data.action === "none" ? null : data.action];
  return el("article", { class: "card event", "aria-labelledby": `event-${own.id}`, "data-id": own.id },
    el("div", { class: "bar" },
      el("h3", { id: `event-${own.id}` }, own.type),
      word(eventShape({ state: own.state, failed }), own.state),
      el("span", { class: "muted" }, `${rows.filter(isDone).length} of ${count(rows.length, "handler")} done`)),
    el("p", { class: "muted" }, about.filter(Boolean).join(" · ")),
    notices(event),
    el("div", { class: "clock-place" }, clock(own)),
    el("div", { class: "lanes-place" }, lanes(own, now)),
    el("p", { class: "id" }, own.id));
}

/** What runs, newest first, or that nothing does. */
export function running(live) {
  const events = [...live.events.values()].reverse();
  if (events.length === 0) {
    return [el("div", { class: "card" }, el("p", {}, "No event is in progress. One that begins shows here at once."))];
  }
  return events.map(card);
}

/** Moves the clocks on, and the lanes where that is asked for; nothing else is touched, so that it can be read meanwhile. */
export function tick(live, root, withLanes) {
  for (const own of live.events.values()) {
    const card = [...root.children].find((child) => child.dataset.id === own.id);
    if (own.over || !card) continue;
    card.querySelector(".clock-place").replaceChildren(clock(own));
    if (withLanes) card.querySelector(".lanes-place").replaceChildren(lanes(own, passed(own)));
  }
}
