// Puts it together: what comes from weir goes into the past, and from there onto the page, once a second and only
// while somebody may look.

const past = new Past();
let live = null, phase = "whole", firstRefusals = null, announced = null;

const TILES = [
  ["requests_per_s", "Requests/s", asFigure],
  ["error_share", "Errors", asShare],
  ["in_flight", "In flight", asFigure],
  ["p50_us", "Latency p50", asLength],
  ["p99_us", "Latency p99", asLength],
  ["refusals_per_s", "Refused/s", asFigure],
].map(([key, label, words]) => {
  const value = make("span", {}, NONE), spark = sparkline(["p50"], 160, 28);
  byId("tiles").append(make("div", { class: "card" }, make("dt", {}, label), make("dd", {}, value, spark)));
  return { key, words, value, spark };
});

const phaseRows = PHASES.map(([key, label, meaning]) => {
  const rows = [["now"], ["past"]].map(() => PERCENTILES.map(() => make("td"))), all = make("th", { scope: "row" }, NONE);
  byId("percentiles").append(make("tbody", {},
    make("tr", {}, make("th", { scope: "rowgroup", rowspan: 2 }, label, make("span", { class: "soft" }, meaning)), make("th", { scope: "row" }, "now"), ...rows[0]),
    make("tr", { class: "soft" }, all, ...rows[1])));
  return { key, rows, all };
});

const heat = heatMap(byId("heat"), (words) => put(byId("pointed"), words));

const tabs = PHASES.map(([key, label]) => {
  const tab = make("button", { type: "button", role: "tab", id: `phase-${key}`, "aria-controls": "picture" }, label);
  tab.addEventListener("click", () => choose(key));
  return tab;
});
byId("phases").append(...tabs);
byId("phases").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const next = (PHASES.findIndex(([key]) => key === phase) + step + PHASES.length) % PHASES.length;
  choose(PHASES[next][0]);
  tabs[next].focus();
});

function choose(key) {
  phase = key;
  PHASES.forEach(([one], i) => {
    mark(tabs[i], "aria-selected", String(one === key));
    mark(tabs[i], "tabindex", one === key ? 0 : -1);
  });
  mark(byId("picture"), "aria-labelledby", `phase-${key}`);
  if (live) showLatency();
}

function showLatency() {
  heat(past.columns(phase));
  for (const { key, rows, all: of } of phaseRows) {
    const now = live.phases.find((one) => one.phase === key), all = past.together(key);
    put(of, past.words);
    PERCENTILES.forEach(([name], i) => {
      put(rows[0][i], asLength(now?.[name]));
      put(rows[1][i], asCounted(all, past.bounds, [0.5, 0.9, 0.99, 0.999][i]));
    });
  }
  put(byId("span"), `last ${past.words}`);
  const all = past.together(phase), [, label] = PHASES.find(([key]) => key === phase);
  const marks = [0.5, 0.99].map((share) => `p${share * 100} ${asCounted(all, past.bounds, share)}`);
  mark(byId("heat"), "aria-label", `Heat map of latency over the last ${past.words}, ${label}: ${marks.join(", ")}. Left and right arrow keys read single columns.`);
}

function showHead() {
  put(byId("version"), live.version);
  put(byId("facts"), `${live.ready ? "ready" : "not ready"}, up for ${asAge(live.uptime_s)}`);
  const down = live.pools.flatMap((pool) => pool.backends).filter((backend) => backend.state === "down").length;
  const title = down > 0 ? `(${down} down) weir` : "weir";
  if (document.title !== title) document.title = title;
}

function showTiles() {
  for (const { key, words, value, spark } of TILES) {
    put(value, key in live.total ? words(live.total[key]) : words(live[key]));
    const points = past.totals.map((point) => [point.at, point[key] ?? null]);
    const most = points.reduce((most, [, value]) => Math.max(most, value ?? 0), 0);
    // A tenth of headroom; and all zeros lie at the bottom, not in the middle.
    spark.show([points], past.from, past.to, 0, most * 1.1 || 1);
  }
}

function showNotes() {
  const notes = notesOf(live, past), list = byId("notes").querySelector("ul");
  if (notes.length === 0) notes.push(["good", "Nothing."]);
  keep(list, notes, ([, words]) => words, () => {
    const node = make("li", {}, sign("open"), make("span", { class: "unseen" }), make("span"));
    node.show = ([name, words]) => {
      turnSign(node.firstChild, name);
      put(node.children[1], { bad: "Fault: ", warn: "Warning: " }[name] ?? "");
      put(node.lastChild, words);
    };
    return node;
  });
}

function showRest() {
  keep(byId("shards").tBodies[0], live.shards, (shard) => shard.number, shardRow);
  const list = byId("transitions");
  keep(list, live.transitions, (it) => [it.at_ms, it.pool, it.backend, it.from, it.to].join("\n"), transitionRow);
  orNothing(list, live.transitions.length, "No backend has changed its state.");
  firstRefusals ??= new Map(live.refusals.map((it) => [causeOf(it), it.count]));
  const causes = live.refusals.filter((it) => it.count > 0).sort((a, b) => b.count - a.count), body = byId("refusals").tBodies[0];
  keep(body, causes, causeOf, () => refusalRow(firstRefusals));
  orNothing(body, causes.length, "None so far.", 4);
}

/** Says aloud, to those who listen to the page, what backends have become; not what the figures are. */
function announce() {
  const newest = live.transitions.filter((it) => announced !== null && it.at_ms > announced);
  announced = live.transitions[0]?.at_ms ?? 0;
  if (newest.length > 0) put(byId("spoken"), newest.map((it) => `${it.backend} of pool ${it.pool} is ${asWords(it.to)}: ${it.why}`).join(". "));
}

function show() {
  if (!live) return;
  // A tab that nobody looks at still shows its title.
  showHead();
  if (document.hidden) return;
  showTiles();
  showNotes();
  const mayChange = live.may_change || secret.get() !== null;
  mark(byId("backends"), "class", mayChange ? null : "looking");
  byId("looking").hidden = mayChange;
  put(byId("looking"), "Nothing can be changed from this page: weir takes changes from a page only at an IP address or localhost, or with its token. weir ctl can.");
  if (byId("pools").firstElementChild?.tagName === "P") byId("pools").firstElementChild.remove();
  keep(byId("pools"), live.pools.map((pool) => ({ pool, past })), (it) => it.pool.name, () => poolOf(act));
  showLatency();
  showRest();
}

function take(event, data) {
  if (event === "history") past.begin(data);
  if (event === "slot") past.addSlot(data);
  if (event !== "live") return;
  live = data;
  past.addSecond(data);
  announce();
  show();
}

function showLink(sign, words) {
  turnSign(byId("link").firstElementChild, sign);
  put(byId("link").lastElementChild, words);
}

/** What `stayConnected` tells; for "lost" it returns when it is time to try again, for "token" with the token. */
async function linked(state, words, until) {
  const isLost = state === "lost", wasLost = !byId("lost").hidden;
  byId("lost").hidden = !isLost;
  // Said once, and not with each try.
  if (isLost !== wasLost) put(byId("spoken"), isLost ? "The connection to weir is lost." : "Connected to weir again.");
  byId("forget").hidden = secret.get() === null;
  if (state === "live") return showLink("good", "live");
  if (state === "token") {
    showLink("open", "token needed");
    put(byId("wrong"), words ? "That is not the token." : "");
    do byId("token").value = ""; while (!(await answered(byId("ask"))));
    showLink("open", "connecting");
    return byId("token").value.trim();
  }
  showLink("bad", "connection lost");
  const when = live ? ` What stands below is from ${asClock(live.at_ms)}.` : "";
  const line = byId("lost").querySelector("p"), left = () => Math.max(0, Math.ceil((until - Date.now()) / 1000));
  const count = () => put(line, `No word from weir: ${words}.${when} ${left() > 0 ? `Trying again in ${left()} s.` : "Trying again."}`);
  count();
  const counting = setInterval(count, 1000);
  await new Promise((done) => {
    setTimeout(done, until - Date.now());
    byId("again").onclick = done;
  });
  clearInterval(counting);
}

byId("forget").addEventListener("click", () => {
  secret.set(null);
  location.reload();
});
document.addEventListener("visibilitychange", show);
choose(phase);
stayConnected(take, linked);
