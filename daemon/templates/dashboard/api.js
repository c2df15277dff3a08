// What is asked of the daemon: requests with the token, and the stream of what happens.
// The token comes in the fragment of the address, which browsers send nobody, and is kept for this tab alone.

const KEY = "cloudsnooze-token";
/** Shortest and longest pause before the stream is asked for again, milliseconds. */
const PAUSE_MS = [500, 10_000];
/** The daemon sends a sign of life every 15 s; after so long without one the stream counts as broken, milliseconds. */
const SILENCE_MS = 40_000;

/** Takes the token out of the address, so that neither history nor screenshots keep it. */
export function takeToken() {
  const match = /^#token=([\w.~+/=-]+)$/.exec(location.hash);
  if (!match) return;
  keepToken(match[1]);
  history.replaceState(null, "", location.pathname);
}

export const keepToken = (token) => sessionStorage.setItem(KEY, token);
export const forgetToken = () => sessionStorage.removeItem(KEY);
export const hasToken = () => sessionStorage.getItem(KEY) !== null;

/** The daemon said no. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function headers(more) {
  const token = sessionStorage.getItem(KEY);
  return token === null ? more : { ...more, Authorization: `Bearer ${token}` };
}

async function accepted(response) {
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Refused(response.status, told.error ?? `the daemon answered ${response.status}`);
}

/** The reply to GET as JSON. */
export async function get(path) {
  return (await accepted(await fetch(path, { headers: headers({}) }))).json();
}

/** The reply to POST as JSON. */
export async function post(path, body) {
  const sent = { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) };
  return (await accepted(await fetch(path, sent))).json();
}

/** The data of one event of a stream (WHATWG HTML, "Server-sent events"); null for a comment. */
function dataOf(block) {
  const lines = block.split("\n").filter((line) => line.startsWith("data:"));
  return lines.length === 0 ? null : lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
}

async function read(response, alive, tell) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    blocks.map(dataOf).filter((data) => data !== null).forEach((data) => tell(JSON.parse(data)));
  }
}

/**
 * Follows what happens, for ever: `tell` gets each thing, `linked` whether the stream stands. EventSource would put the token into
 * the address: it sends no headers.
 */
export async function follow(tell, linked, refused) {
  for (let pause = PAUSE_MS[0]; ; pause = Math.min(pause * 2, PAUSE_MS[1])) {
    const stop = new AbortController();
    let clock = setTimeout(() => stop.abort(), SILENCE_MS);
    const alive = () => {
      clearTimeout(clock);
      clock = setTimeout(() => stop.abort(), SILENCE_MS);
    };
    try {
      const asked = { headers: headers({ Accept: "text/event-stream" }), signal: stop.signal };
      const response = await accepted(await fetch("/v1/watch", asked));
      pause = PAUSE_MS[0];
      await linked(true);
      await read(response, alive, tell);
    } catch (error) {
      if (error instanceof Refused && error.status === 401) {
        clearTimeout(clock);
        refused(error);
        return;
      }
    }
    clearTimeout(clock);
    await linked(false);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
