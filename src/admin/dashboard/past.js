// What was: the slots that weir keeps of the last ten minutes, and each second since this page opened. A sparkline
// shows the slots, and behind them the last minute by the second.

const TEN_MINUTES_MS = 600000;
const BY_THE_SECOND = 60;

class Past {
  bounds = [];
  slotMs = 10000;
  slots = [];
  seconds = [];

  /** Everything that weir knows, as a connection begins: what was kept here is older or the same. */
  begin({ bounds_us, slot_s, slots }) {
    this.bounds = bounds_us;
    this.slotMs = slot_s * 1000;
    this.slots = slots;
    this.seconds = [];
  }

  addSlot(slot) {
    this.slots.push(slot);
  }

  /** A second more; what is shown from now on ends with it. */
  addSecond(live) {
    this.seconds.push(live);
    if (this.seconds.length > BY_THE_SECOND) this.seconds.shift();
    this.slots = this.slots.filter((slot) => slot.at_ms + this.slotMs > live.at_ms - TEN_MINUTES_MS);
    this.to = live.at_ms;
    const known = this.to - Math.min(this.slots[0]?.at_ms ?? this.to, this.seconds[0].at_ms);
    // In whole minutes, so that a young weir's pictures are not a sliver at the edge, and do not stretch all the time.
    const minutes = Math.min(10, Math.max(1, Math.ceil(known / 60000)));
    this.from = this.to - minutes * 60000;
    this.words = `${minutes} min`;
    this.#arrange();
  }

  #arrange() {
    this.backends = new Map();
    this.totals = [];
    const first = this.seconds[0].at_ms;
    const add = (at, pool, backend, figures) => {
      const key = keyOf(pool, backend);
      if (!this.backends.has(key)) this.backends.set(key, []);
      this.backends.get(key).push({ at, ...figures });
    };
    for (const slot of this.slots) {
      const at = slot.at_ms + this.slotMs;
      if (at >= first || at < this.from) continue;
      for (const { pool, backend, figures } of slot.backends) add(at, pool, backend, figures);
      this.totals.push(this.#totalOf(at, slot));
    }
    for (const live of this.seconds) {
      if (live.at_ms < this.from) continue;
      for (const pool of live.pools) {
        for (const { name, figures } of pool.backends) add(live.at_ms, pool.name, name, figures);
      }
      this.totals.push({ at: live.at_ms, ...live.total, refusals_per_s: live.refusals_per_s });
    }
    // One scale for all backends, or the eye would compare what cannot be compared.
    const lengths = [...this.backends.values()].flat().flatMap((point) => [point.p50_us, point.p99_9_us]).filter((us) => us > 0);
    this.low = Math.log(lengths.reduce((a, b) => Math.min(a, b), Infinity));
    this.high = Math.log(lengths.reduce((a, b) => Math.max(a, b), 1));
    const last = this.seconds.at(-1).pools.flatMap((pool) => pool.backends).flatMap((backend) => backend.in_flight_per_shard);
    this.mostInFlight = last.reduce((a, b) => Math.max(a, b), 4);
  }

  #totalOf(at, slot) {
    const figures = slot.backends.map((backend) => backend.figures);
    const sum = (of) => figures.reduce((sum, one) => sum + of(one), 0);
    const rate = sum((one) => one.requests_per_s);
    const whole = this.countsOf(slot, "whole");
    return {
      at, requests_per_s: rate, in_flight: sum((one) => one.in_flight), refusals_per_s: null,
      error_share: rate > 0 ? sum((one) => one.error_share * one.requests_per_s) / rate : 0,
      p50_us: percentileOf(whole, this.bounds, 0.5), p99_us: percentileOf(whole, this.bounds, 0.99),
    };
  }

  countsOf(slot, phase) {
    return slot.phases.find((one) => one.phase === phase)?.counts ?? [];
  }

  /** A backend's points, oldest first. */
  of(key) {
    return this.backends.get(key) ?? [];
  }

  /** What the heat map shows of a phase. */
  columns(phase) {
    const columns = this.slots.map((slot) => ({ at: slot.at_ms, counts: this.countsOf(slot, phase) }));
    return { columns: columns.filter(({ at }) => at + this.slotMs > this.from), bounds: this.bounds, from: this.from, to: this.to, slotMs: this.slotMs };
  }

  /** All of a phase that is known, as counts. */
  together(phase) {
    const all = new Array(this.bounds.length + 1).fill(0);
    for (const slot of this.slots) this.countsOf(slot, phase).forEach((count, i) => (all[i] += count));
    return all;
  }
}
