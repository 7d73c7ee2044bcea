// What stands out, in words. Only what the figures bear out: each rule says what was seen, and none guesses at a
// cause that weir does not see. How many servers are enough nobody can read off here; that they take longer with
// the load as it was, or are all needed, is seen.

const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0);

function medianOf(values) {
  const sorted = values.filter((value) => value !== null && value !== undefined).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
}

/** Pairs of a sign and a sentence, what is worst first. */
function notesOf(live, past) {
  const notes = [];
  if (!live.ready) notes.push(["bad", `Not ready: ${live.why ?? "weir does not say why"}.`]);
  for (const pool of live.pools) notes.push(...notesOfPool(pool));
  const lately = past.seconds.slice(-10);
  const errors = mean(lately.map((second) => second.total.error_share));
  if (errors > 0.01) notes.push(["bad", `${asShare(errors)} of attempts failed or were answered with 500 or more, over the last ${lately.length} s.`]);
  notes.push(...notesOfRefusals(lately), ...notesOfLatency(past), ...notesOfShards(lately));
  const order = ["bad", "warn", "open"];
  return notes.sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
}

function notesOfPool({ name, usable, panic, backends }) {
  const notes = [];
  if (panic) notes.push(["warn", `Pool ${name} is in panic: so few of its backends are healthy that the others get traffic too.`]);
  const ill = backends.filter((backend) => backend.state === "down" || backend.state === "ejected");
  if (ill.length > 3) notes.push(["warn", `${ill.length} of ${backends.length} backends of pool ${name} are down or ejected.`]);
  else for (const it of ill) notes.push(["warn", `${it.name} of pool ${name} is ${it.state}: ${it.why}.`]);
  const primary = backends.filter((backend) => !backend.backup);
  if (usable === 0) notes.push(["bad", `Pool ${name} has no usable backend.`]);
  else if (usable === 1 && backends.length > 1) notes.push(["warn", `Pool ${name} has one usable backend left: when that fails, none is.`]);
  else if (primary.length > 0 && primary.every((backend) => !backend.usable)) notes.push(["warn", `Pool ${name} is served by its backups alone.`]);
  return notes;
}

function notesOfRefusals(lately) {
  const rate = mean(lately.map((second) => second.refusals_per_s));
  if (lately.length < 2 || rate < 0.05) return [];
  const before = new Map(lately[0].refusals.map((it) => [causeOf(it), it.count]));
  const grown = lately.at(-1).refusals.map((it) => [it.count - (before.get(causeOf(it)) ?? 0), it]).sort((a, b) => b[0] - a[0]);
  const most = grown.length && grown[0][0] > 0 ? `, most of them for ${asWords(grown[0][1].cause)}` : "";
  return [["warn", `weir refuses ${asFigure(rate)} requests a second by itself${most}.`]];
}

/** The last half minute against the minutes before, once there are enough of both. */
function notesOfLatency(past) {
  const now = past.seconds.slice(-30), before = past.totals.filter((point) => point.at < past.to - 60000);
  if (now.length < 15 || before.length < 6) return [];
  const notes = [];
  const p99 = [medianOf(now.map((second) => second.total.p99_us)), medianOf(before.map((point) => point.p99_us))];
  const slower = p99[1] > 0 ? p99[0] / p99[1] : 0;
  if (slower > 2 && p99[0] > 1000) {
    notes.push(["warn", `p99 is ${asLength(p99[0])}, ${fewDigits(slower)} times its median of the minutes before (${asLength(p99[1])}).`]);
  }
  const flight = [mean(now.map((second) => second.total.in_flight)), mean(before.map((point) => point.in_flight))];
  const rate = [mean(now.map((second) => second.total.requests_per_s)), mean(before.map((point) => point.requests_per_s))];
  if (flight[0] > 8 && flight[0] > 2 * flight[1]) {
    const more = rate[1] > 0 ? rate[0] / rate[1] : Infinity;
    if (more < 1.25) notes.push(["warn", `Backends hold ${asFigure(flight[0])} requests in flight where they held ${asFigure(flight[1])}, at no higher rate: they have become slower.`]);
    else if (slower > 2) notes.push(["warn", `The rate is up ${Number.isFinite(more) ? fewDigits(more) + " times" : "from nothing"} and latency with it: if this load stays, it is worth more backends.`]);
  }
  return notes;
}

function notesOfShards(lately) {
  const notes = [];
  for (const shard of lately.at(-1).shards) {
    if (shard.state !== "serving") notes.push(["bad", `Shard ${shard.number} is ${shard.state}.`]);
    const waits = medianOf(lately.map((second) => second.shards.find((one) => one.number === shard.number)?.stall_p99_us));
    if (waits > 10000) notes.push(["warn", `What completes on shard ${shard.number} waits up to ${asLength(waits)} for its turn (p99): it has too little of its core.`]);
  }
  return notes;
}
