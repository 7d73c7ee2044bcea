// Rows: a backend, a shard, a transition, a cause of refusals. Each is made once and then shown anew, so that the
// keyboard's focus stays where it is while the figures change.

const keyOf = (pool, backend) => `${pool}\n${backend}`;

/** A cell that says by itself what it holds, for where the table's head is not shown. */
const cell = (label, ...children) => make("td", { role: "cell", "data-label": label }, ...children);

function poolOf(act) {
  const name = make("h3"), facts = make("span", { class: "soft" });
  const sound = make("span", { class: "pill" }, sign("good"), make("span"));
  const body = make("tbody", { role: "rowgroup" });
  const heads = ["Backend", "State", "Requests/s", "Errors", "In flight", "Latency", "Change"];
  const span = make("span", { class: "span" });
  const table = make("table", { role: "table", class: "backends" },
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads.map((head) =>
      make("th", { role: "columnheader", scope: "col" }, head, ...(head === "Latency" ? [span] : []))))),
    body);
  const node = make("div", { class: "card pool" }, make("div", { class: "head" }, name, facts, sound), table);
  node.show = ({ pool, past }) => {
    put(name, pool.name);
    mark(table, "aria-label", `Backends of pool ${pool.name}`);
    put(facts, `${asWords(pool.policy)}, ${pool.usable} of ${pool.backends.length} usable`);
    const state = pool.panic ? ["warn", "panic"] : pool.usable > 0 ? ["good", "serving"] : ["bad", "none usable"];
    turnSign(sound.firstChild, state[0]);
    put(sound.lastChild, state[1]);
    put(span, `, last ${past.words}`);
    const rows = pool.backends.map((backend) => ({ backend, pool, past }));
    keep(body, rows, (row) => row.backend.name, () => backendRow(act));
  };
  return node;
}

function backendRow(act) {
  const name = make("span", { class: "name" }), address = make("span", { class: "address soft" });
  const state = make("span", { class: "pill" }, sign("open"), make("span")), since = make("span", { class: "soft" });
  const why = make("span", { class: "why soft" });
  const [rate, errors, flight] = ["rate", "errors", "flight"].map((kind) => make("span", { class: `figure ${kind}` }));
  const perShard = bars(), spark = sparkline(["p50", "p90", "p99", "p99-9"], 160, 40);
  const values = PERCENTILES.map(([, label]) => [make("dt", {}, label), make("dd")]);
  let now;
  const button = (verb, label) => {
    const node = make("button", { type: "button", class: verb }, label, make("span", { class: "unseen" }));
    node.addEventListener("click", () => act(verb, now.pool, now.backend, node));
    return node;
  };
  const buttons = [button("drain", "Drain"), button("ready", "Ready"), button("weight", "Weight")];
  const weight = buttons[2].insertBefore(make("b"), buttons[2].lastChild);
  const node = make("tr", { role: "row" },
    make("th", { role: "rowheader", scope: "row" }, name, address),
    cell("State", make("span", { class: "line" }, state, since), why),
    cell("Requests/s", rate), cell("Errors", errors), cell("In flight", make("span", { class: "line" }, flight, perShard)),
    cell("Latency", make("div", { class: "line" }, spark, make("dl", { class: "percentiles" }, ...values.map((pair) => make("div", {}, ...pair))))),
    cell("Change", make("div", { class: "buttons" }, ...buttons)));
  node.show = (row) => {
    now = row;
    const { backend, pool, past } = row, { figures } = backend;
    put(name, backend.name);
    mark(node, "data-state", backend.state);
    put(address, (backend.address === backend.name ? "" : backend.address) + (backend.backup ? " · backup" : ""));
    turnSign(state.firstChild, signOf(backend.state));
    put(state.lastChild, asWords(backend.state));
    put(since, `for ${asAge(backend.since_s)}`);
    put(why, backend.why + (backend.share < 1 && backend.usable ? `; has ${asShare(backend.share)} of its weight yet` : ""));
    put(rate, asFigure(figures.requests_per_s));
    put(errors, asShare(figures.error_share));
    mark(errors, "class", `figure errors ${figures.error_share > 0.01 ? "many" : ""}`);
    put(flight, String(figures.in_flight));
    perShard.show(backend.in_flight_per_shard, past.mostInFlight);
    const points = past.of(keyOf(pool.name, backend.name));
    const rows = PERCENTILES.map(([key]) => points.map((point) => [point.at, point[key] === null ? null : Math.log(point[key])]));
    spark.show(rows, past.from, past.to, past.low, past.high);
    values.forEach(([, value], i) => put(value, asLength(figures[PERCENTILES[i][0]])));
    for (const one of buttons) put(one.lastChild, ` ${backend.name} of pool ${pool.name}`);
    put(weight, ` ${backend.weight}`);
    const out = backend.state === "draining" || backend.state === "maintenance";
    mark(buttons[0], "aria-disabled", out);
    mark(buttons[1], "aria-disabled", !out);
  };
  return node;
}

function shardRow() {
  const state = make("span", { class: "pill" }, sign("good"), make("span"));
  const number = make("th", { scope: "row" });
  const load = draw("svg", { class: "load", viewBox: "0 0 60 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("rect", { class: "back", width: 60, height: 8 }), draw("rect", { class: "bar", height: 8 }));
  const share = make("span"), plain = Array.from({ length: 8 }, () => make("td"));
  const node = make("tr", {}, number, make("td", {}, state), plain[0], plain[1], make("td", {}, make("span", { class: "line" }, load, share)), ...plain.slice(2));
  node.show = (shard) => {
    put(number, String(shard.number));
    turnSign(state.firstChild, signOf(shard.state));
    put(state.lastChild, shard.state);
    mark(load.lastChild, "width", Math.min(60, shard.load * 60));
    put(share, asShare(shard.load));
    const values = [
      asFigure(shard.connections), asFigure(shard.in_flight), asFigure(shard.turns_per_s), asFigure(shard.completions_per_turn),
      asLength(shard.stall_p50_us), asLength(shard.stall_p99_us), asLength(shard.view_age_p99_us), asFigure(shard.buffers_in_use),
    ];
    values.forEach((value, i) => put(plain[i], value));
  };
  return node;
}

function transitionRow() {
  const when = make("time"), who = make("b"), why = make("span", { class: "why soft" });
  const [from, to] = [0, 1].map(() => make("span", { class: "pill" }, sign("open"), make("span")));
  const node = make("li", {}, make("span", { class: "line" }, when, who, from, sign("arrow"), make("span", { class: "unseen" }, "then"), to), why);
  node.show = (it) => {
    put(when, asClock(it.at_ms));
    mark(when, "datetime", new Date(it.at_ms).toISOString());
    put(who, `${it.backend} of ${it.pool}`);
    for (const [pill, state] of [[from, it.from], [to, it.to]]) {
      turnSign(pill.firstChild, signOf(state));
      put(pill.lastChild, state === "" ? "not there" : asWords(state));
    }
    const lost = it.lost === 1 ? "1 exchange was" : `${it.lost} exchanges were`;
    const failover = it.failover_us === null ? "" : `. Failed over in ${asLength(it.failover_us)}; ${lost} lost`;
    put(why, it.why + failover);
  };
  return node;
}

/** One cause may stand behind several statuses. */
const causeOf = (refused) => `${refused.cause} ${refused.status}`;

function refusalRow(first) {
  const cells = [make("th", { scope: "row" }), make("td"), make("td"), make("td")];
  const node = make("tr", {}, ...cells);
  node.show = (it) => {
    const since = it.count - (first.get(causeOf(it)) ?? 0);
    const values = [asWords(it.cause), it.status === 0 ? "no answer" : String(it.status), asFigure(it.count), asFigure(since)];
    values.forEach((value, i) => put(cells[i], value));
  };
  return node;
}

/** A line for where a list is empty. */
function orNothing(parent, count, words, columns) {
  let line = parent.nothing;
  if (!line) {
    line = parent.nothing = columns ? make("tr", {}, make("td", { colspan: columns, class: "soft" }, words)) : make("li", { class: "soft" }, words);
  }
  if (count === 0) parent.append(line);
  else line.remove();
}
