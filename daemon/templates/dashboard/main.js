// The page: asks, listens, and puts what it learns in its places.

import { Refused, follow, forgetToken, get, hasToken, keepToken, post, takeToken } from "./api.js";
import { Live, running, tick } from "./live.js";
import * as views from "./views.js";
import { el, human } from "./words.js";

/** Between two looks at the state, milliseconds. */
const LOOK_MS = 5_000;
/** Between two ticks of the clock of an event that runs, milliseconds; seldom for those who want no motion. */
const TICK_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1_000 : 200;
/** Between two moves of its bars. */
const LANES_MS = 1_000;
/** Sentences that are kept for those who hear the page. */
const TOLD_MAX = 6;
/** Between two looks at the plans: they change with the configuration. */
const PLANS_LOOKS = 12;
const EVENTS_SHOWN = 12;
/** Times left, seconds, besides the one assumed, for which budgets are shown. */
const LEFT = [30, 10];

const place = (id) => document.getElementById(id);
const shown = new Map();
const reports = new Map();
const openPlans = new Set();
let plans = { plans: [] };
let lastEvents = { events: [] };
const drills = new Map();

/** Tells those who do not see the page what happens. */
function say(text) {
  const told = place("told");
  told.append(el("p", {}, text));
  while (told.children.length > TOLD_MAX) told.firstChild.remove();
}

const planOf = (type) => plans.plans.find((plan) => plan.type === type)?.handlers ?? [];
const live = new Live(planOf, say);

/** Shows something unless it is there already: whoever reads it or stands in it is not disturbed. */
function show(id, value, make) {
  const key = JSON.stringify(value);
  if (shown.get(id) === key) return;
  shown.set(id, key);
  const focused = document.activeElement?.id;
  place(id).replaceChildren(...make());
  if (focused && document.activeElement === document.body) place(focused)?.focus({ preventScroll: true });
}

/** Of the state, what stays the same while nothing happens. */
const steady = (status) => ({ ...status, uptime_seconds: 0 });

function showStatus(status) {
  const { machine } = status;
  place("machine").textContent = [machine.provider, machine.instance_id, machine.zone || machine.region].filter(Boolean).join(" · ");
  place("version").textContent = `CloudSnooze ${status.version}. Times are counted from the detection of a notice.`;
  document.title = status.health === "ok" ? "CloudSnooze" : `(!) CloudSnooze`;
  show("state-body", [steady(status), Math.floor(status.uptime_seconds / 60)], () => views.state(status));
  show("sources-body", status.sources, () => views.sources(status));
  show("plugins-body", status.instances, () => views.plugins(status));
  place("fleet").hidden = place("fleet-link").hidden = !status.fleet;
  if (status.fleet) show("fleet-body", status.fleet, () => views.fleet(status.fleet));
}

function showEvents() {
  show("events-body", [lastEvents, [...reports.keys()]], () => views.events(lastEvents, reports, toggleReport));
}

async function toggleReport(id) {
  if (reports.has(id)) reports.delete(id);
  else reports.set(id, await get(`/v1/reports/${encodeURIComponent(id)}`));
  showEvents();
}

function showRunning() {
  place("running-body").replaceChildren(...running(live));
}

function fillDrillTypes() {
  const types = plans.plans.map((plan) => plan.type).filter((type) => !type.endsWith(".cancelled"));
  const select = place("drill-type");
  show("drill-type", types, () => types.map((type) => el("option", { value: type }, type)));
  select.disabled = types.length === 0;
  if (types.includes("cloud.spot.interrupt") && !select.dataset.chosen) select.value = "cloud.spot.interrupt";
  select.dataset.chosen = "yes";
}

async function lookAtPlans() {
  const query = LEFT.map((left) => `left=${left}`).join("&");
  plans = await get(`/v1/plans?${query}`);
  if (openPlans.size === 0 && plans.plans.length > 0 && !shown.has("plans-body")) openPlans.add(plans.plans[0].type);
  show("plans-body", plans, () => views.plans(plans, openPlans));
  fillDrillTypes();
}

async function lookAtEvents() {
  lastEvents = await get(`/v1/events?limit=${EVENTS_SHOWN}`);
  showEvents();
  const unknown = lastEvents.events.filter((event) => event.state === "running" && !live.events.has(event.event_id));
  for (const event of unknown) live.take(await get(`/v1/reports/${encodeURIComponent(event.event_id)}`));
  // What the stream lost while it was broken.
  const ended = lastEvents.events.filter((event) => event.state !== "running" && isStillLive(event.event_id));
  for (const event of ended) live.report(await get(`/v1/reports/${encodeURIComponent(event.event_id)}`));
  if (unknown.length + ended.length > 0) showRunning();
}

const isStillLive = (id) => live.events.has(id) && !live.events.get(id).over;

async function lookAtAll() {
  showStatus(await get("/v1/status"));
  await lookAtPlans();
  await lookAtEvents();
}

/** A report is there when its event is told to be over. */
async function over(id) {
  const report = await get(`/v1/reports/${encodeURIComponent(id)}`);
  live.report(report);
  showRunning();
  endDrill(report);
  showStatus(await get("/v1/status"));
  await lookAtEvents();
}

function happened(told) {
  if (told.kind === "log") return;
  if (told.kind === "event" && drills.has(told.event.data?.cancels)) drills.set(told.event.id, drills.get(told.event.data.cancels));
  const ended = live.tell(told);
  showRunning();
  if (ended !== null) over(ended).catch(complain);
}

/** Both halves of a drill, as they come to their ends. */
function endDrill(report) {
  const drill = drills.get(report.event_id);
  if (!drill) return;
  const isBack = report.type.endsWith(".cancelled");
  drill[isBack ? "back" : "done"] = report;
  const parts = [];
  if (drill.done) parts.push(el("h3", {}, "What was done"), ...views.whole(drill.done));
  if (drill.back) parts.push(el("h3", {}, "And put back"), ...views.whole(drill.back));
  const failed = [drill.done, drill.back].filter(Boolean).flatMap((half) => half.handlers)
    .filter((handler) => !["handled", "declined"].includes(handler.status) || handler.verified === "no").length;
  const words = drill.back ? (failed === 0 ? "The drill went well." : "The drill did not go well.") : "Done; now it is put back.";
  say(words);
  place("drill-body").replaceChildren(el("div", { class: "card wide" }, el("p", {}, el("strong", {}, words)), ...parts));
}

async function haveDrill(type, seconds) {
  place("drill-body").replaceChildren(el("p", { class: "card" }, `A drill of ${type} runs. It shows under Now, too.`));
  const { event_id: id } = await post("/v1/drill", { type, in_seconds: seconds });
  const drill = { done: null, back: null };
  drills.set(id, drill);
  // Both halves may have been over before the id came back.
  for (const own of [...live.events.values()]) {
    if (own.event.data?.cancels === id) drills.set(own.id, drill);
    if (drills.get(own.id) === drill && own.over) await over(own.id);
  }
}

function askForDrill(event) {
  event.preventDefault();
  const [type, seconds] = [place("drill-type").value, Number(place("drill-seconds").value)];
  place("ask-text").textContent = `Handlers that know drills do what can be undone for ${type}, as if ${human(seconds)} were left, and put it back.`;
  const dialog = place("ask");
  dialog.returnValue = "no";
  dialog.showModal();
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "yes") haveDrill(type, seconds).catch((error) => {
      place("drill-body").replaceChildren(el("p", { class: "card error" }, `The drill was refused: ${error.message}`));
    });
  }, { once: true });
}

/** No answer shows as such; a token that is missing or wrong is asked for. */
function complain(error) {
  if (error instanceof Refused && error.status === 401) return askForToken(error.message);
  link(false);
  return undefined;
}

function link(isUp) {
  const badge = place("link");
  const words = isUp ? "live" : "no connection";
  if (badge.textContent !== words) badge.textContent = words;
  badge.classList.toggle("is-up", isUp);
}

function askForToken(why) {
  place("page").hidden = true;
  place("door").hidden = false;
  place("link").textContent = "not let in";
  place("door-why").textContent = hasToken() ? why : "This port wants the token of the dashboard.";
  forgetToken();
  place("door-token").focus();
}

/** Whether the stream stands; the state alone would not show an event in time. */
let isFollowing = false;

async function linked(isUp) {
  isFollowing = isUp;
  link(isUp);
  if (isUp) await lookAtAll().catch(complain);
}

async function begin() {
  try {
    await lookAtAll();
  } catch (error) {
    complain(error);
    if (error instanceof Refused && error.status === 401) return;
  }
  place("door").hidden = true;
  place("page").hidden = false;
  showRunning();
  follow(happened, linked, (error) => askForToken(error.message));
}

let looks = 0;
setInterval(() => {
  if (document.hidden || place("page").hidden) return;
  looks += 1;
  const asked = [get("/v1/status").then(showStatus), looks % PLANS_LOOKS === 0 ? lookAtPlans() : null];
  Promise.all(asked).then(() => link(isFollowing)).catch(complain);
}, LOOK_MS);
let lanesAt = 0;
setInterval(() => {
  if (!live.isRunning()) return;
  const withLanes = performance.now() - lanesAt >= LANES_MS;
  if (withLanes) lanesAt = performance.now();
  tick(live, place("running-body"), withLanes);
}, TICK_MS);

place("drill-form").addEventListener("submit", askForDrill);
place("door-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(place("door-token").value.trim());
  place("door-token").value = "";
  begin();
});
takeToken();
begin();
