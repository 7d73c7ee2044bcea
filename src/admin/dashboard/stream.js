// The connection to weir: shows the token where one is asked for, reads `/live`, and comes back after a loss.
//
// Read with fetch and not with EventSource, which cannot send the token in a field; in an address it would stay in
// logs and in the browser's history. It is kept for this tab alone.

const QUIET_MAX_MS = 5000;
const WAIT_MAX_MS = 10000;

const secret = {
  get() {
    try { return sessionStorage.getItem("weir-token"); } catch { return this.kept ?? null; }
  },
  set(token) {
    this.kept = token;
    // Storage may be forbidden; then it holds until the page is left.
    try {
      if (token === null) sessionStorage.removeItem("weir-token");
      else sessionStorage.setItem("weir-token", token);
    } catch {}
  },
};

/** Asks weir, showing the token if there is one. */
function request(path, options = {}) {
  const token = secret.get();
  const headers = { ...options.headers, ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
  return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
}

/** What a refusal says, in words. */
async function refusalOf(answer) {
  const problem = await answer.json().catch(() => null);
  return problem?.error ? `${problem.error}; ${problem.remedy}` : `weir answered ${answer.status}`;
}

/** Hands each event of a stream to `take`, until the stream ends or is quiet for too long. */
async function readEvents(body, abort, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const quiet = setTimeout(() => abort.abort(), QUIET_MAX_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(quiet));
    if (done) return;
    const events = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const fields = { event: "message", data: "" };
      for (const line of event.split("\n")) {
        const [, name, text] = /^(event|data): ?(.*)$/.exec(line) ?? [];
        if (name === "event") fields.event = text;
        else if (name === "data") fields.data += text;
      }
      try {
        if (fields.data) take(fields.event, JSON.parse(fields.data));
      } catch (error) {
        // A fault of this page is to be seen as one, and not taken for a loss of the connection.
        console.error(error);
      }
    }
  }
}

/** Stays connected as long as the page is there. `take` gets the events; `tell(state, words, until)` what has
 * become of the connection: "live", "lost" (and when it is tried again), or "token" where it must be asked for. */
async function stayConnected(take, tell) {
  let failed = 0;
  for (;;) {
    const abort = new AbortController();
    let why = "the connection ended";
    try {
      const answer = await request("/live", { signal: abort.signal, headers: { Accept: "text/event-stream" } });
      if (answer.status === 401) {
        const shown = secret.get() !== null;
        secret.set(null);
        secret.set(await tell("token", shown));
        continue;
      }
      if (answer.ok) {
        await readEvents(answer.body, abort, (event, data) => {
          failed = 0;
          tell("live");
          take(event, data);
        });
      } else {
        why = await refusalOf(answer);
      }
    } catch {
      why = abort.signal.aborted ? `nothing came for ${QUIET_MAX_MS / 1000} s` : "weir cannot be reached";
    }
    abort.abort();
    // Not all pages at once, or they would knock together at a weir that has just started.
    const wait = Math.min(WAIT_MAX_MS, 500 * 2 ** failed++) * (0.75 + Math.random() / 2);
    await tell("lost", why, Date.now() + wait);
  }
}
