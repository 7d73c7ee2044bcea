"""The order of the runs: scenarios, rounds, proxies; one sample for each.

All proxies stay up; a round lets each of them run once, and each round begins with another, so that whatever
disturbs the machine for a while hits all alike. Not here: the arithmetic over samples (`report`).
"""
import sys
import time

from . import answers, processes, proxies, scenarios

SETTLE_S = 0.05  # connections of the run before are closed in that time


class Bench:
    """Holds what all scenarios share, and collects samples: scenario → proxy → list of figures."""

    def __init__(self, args, loads, backends, folder, chosen):
        self.args = args
        self.backends = backends
        self.folder = folder
        self.chosen = chosen
        self.loads = loads
        self.samples = {}
        self.notes = []

    def note(self, scenario, proxy, what):
        """Something went wrong with one proxy: the others go on, the report says so."""
        self.notes.append(f"{scenario.name}, {proxy.name}: {what}")
        print(f"\n! {self.notes[-1]}", file=sys.stderr)

    def run(self, scenario):
        print(f"{scenario.name} ", end="", file=sys.stderr, flush=True)
        ready = [proxy for proxy in self.chosen if proxy.serves(scenario) and self.prepared(scenario, proxy)]
        rounds = 1 if scenario.idle else self.args.rounds
        for number in range(rounds):
            first = number % max(1, len(ready))
            for proxy in ready[first:] + ready[:first]:
                try:
                    sample = self.idle(proxy) if scenario.idle else self.loaded(scenario, proxy)
                except processes.Failed as error:
                    self.note(scenario, proxy, str(error))
                    continue
                self.samples.setdefault(scenario.name, {}).setdefault(proxy.name, []).append(sample)
                print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)

    def prepared(self, scenario, proxy):
        """Running, answering rightly, and warm."""
        try:
            if scenario.idle or not proxy.alive() or proxy.listener != scenario.listener:
                proxy.start(self.folder, self.args.core, self.backends, scenario.listener)
            answers.check(proxy, scenario, self.backends.ports, self.loads[scenario.load])
            if not scenario.idle:
                self.loads[scenario.load].run(proxy.port, scenario, 1)
            return True
        except processes.Failed as error:
            self.note(scenario, proxy, str(error))
            return False

    def loaded(self, scenario, proxy):
        """One run: CPU time per request, latency, memory in the middle of it, and what else used the cores."""
        memory = []
        cores = (self.args.core, self.args.load_core)
        proxy.before_run()
        time.sleep(SETTLE_S)
        began = time.monotonic_ns()
        cpu, backend_cpu = proxy.program.cpu_ns(), self.backends.program.cpu_ns()
        busy = [processes.core_busy_ns(core) for core in cores]
        sample = self.loads[scenario.load].run(
            proxy.port, scenario, self.args.seconds, lambda: memory.append(proxy.program.rss_bytes())
        )
        time.sleep(SETTLE_S)
        cpu = proxy.program.cpu_ns() - cpu
        backend_cpu = self.backends.program.cpu_ns() - backend_cpu
        busy = [processes.core_busy_ns(core) - was for core, was in zip(cores, busy)]
        lasted = time.monotonic_ns() - began
        requests = sample["requests"]
        if requests == 0:
            raise processes.Failed(f"no request was answered: {sample}")
        sample.update(
            per_s=requests / sample["duration_us"] * 1e6,
            cpu_us=cpu / requests / 1000,
            core_pct=100 * cpu / lasted,
            load_core_pct=100 * busy[1] / lasted,
            foreign_pct=100 * max(0, busy[0] - cpu) / lasted,
            load_foreign_pct=100 * max(0, busy[1] - backend_cpu - sample["load_cpu_ns"]) / lasted,
            rss=max(memory, default=proxy.program.rss_bytes()),
        )
        return sample

    def idle(self, proxy):
        """A proxy that has just served: its idle CPU, then thousands of idle connections: their memory and CPU."""
        warm = [scenario for scenario in scenarios.ALL if scenario.name in ("16k-64", "128b-64")]
        for scenario in warm:  # first-touch of buffers and pools is no cost of a connection
            self.loads[scenario.load].run(proxy.port, scenario, 1)
        time.sleep(0.5)
        idle_none = self.watched_pct(proxy)
        before = proxy.program.rss_bytes()
        count = min(self.args.idle_connections, proxies.connections())
        with answers.IdleConnections(proxy.port, count) as connections:
            after = proxy.program.rss_bytes()
            time.sleep(0.5)
            idle = self.watched_pct(proxy)
            gone = connections.closed_by_peer()
        proxy.program.cpu_ns()  # raises if it died of it
        return {
            "connections": count,
            "rss_before": before,
            "rss_after": after,
            "bytes_each": (after - before) / count,
            "idle_none_pct": idle_none,
            "idle_pct": idle,
            "errors": gone,
        }

    def watched_pct(self, proxy):
        """CPU of a proxy that nobody talks to, in % of a core."""
        cpu, began = proxy.program.cpu_ns(), time.monotonic_ns()
        time.sleep(self.args.idle_seconds)
        return 100 * (proxy.program.cpu_ns() - cpu) / (time.monotonic_ns() - began)
