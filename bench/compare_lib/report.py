"""Samples to Markdown: medians, ratios to the best peer, targets met or missed. Pure but for `machine`.

The text is ready for bench/RESULTS.md.
"""
import os
import platform
import statistics

from . import scenarios

NOISE_PCT = 5  # others' share of a core above which the report warns


def machine():
    """Processor, kernel, cores."""
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpu": model, "kernel": platform.release(), "cores": os.cpu_count()}


def median(samples, key):
    """None where a sample has no such figure."""
    figures = [sample.get(key) for sample in samples]
    return None if None in figures else statistics.median(figures)


def best_peer(rows, key, peers):
    """The lowest median among the peers, and whose it is; None without peers."""
    figures = [(median(samples, key), name) for name, samples in rows.items() if name in peers]
    figures = [(value, name) for value, name in figures if value is not None]
    return min(figures) if figures else None


def figure(value):
    """Three significant digits or more, thousands separated; a dash for what a load's program does not tell."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head, rows):
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def loaded_table(rows, peers):
    """A scenario with load."""
    best = best_peer(rows, "cpu_us", peers)
    head = ["proxy", "requests/s", "CPU µs/request", "min–max", "to best peer", "p50 µs", "p99 µs"]
    head += ["proxy core / load core busy", "RSS MiB", "errors"]
    lines = []
    for name, samples in rows.items():
        cpu = [sample["cpu_us"] for sample in samples]
        ratio = f"{median(samples, 'cpu_us') / best[0]:.2f}" if best else "–"
        lines.append(
            [
                name,
                figure(median(samples, "per_s")),
                figure(median(samples, "cpu_us")),
                f"{figure(min(cpu))}–{figure(max(cpu))}",
                ratio,
                figure(median(samples, "p50_us")),
                figure(median(samples, "p99_us")),
                f"{median(samples, 'core_pct'):.0f} / {median(samples, 'load_core_pct'):.0f} %",
                figure(median(samples, "rss") / 2**20),
                str(sum(sample["errors"] for sample in samples)),
            ]
        )
    return table(head, lines)


def idle_table(rows):
    """The idle scenario."""
    head = ["proxy", "connections", "RSS before, MiB", "after, MiB", "bytes per connection", "CPU %, no connection"]
    head += ["CPU %, with them", "closed by proxy"]
    lines = []
    for name, samples in rows.items():
        get = lambda key: median(samples, key)  # noqa: E731
        memory = [figure(get("rss_before") / 2**20), figure(get("rss_after") / 2**20), figure(get("bytes_each"))]
        cpu = [f"{get('idle_none_pct'):.3f}", f"{get('idle_pct'):.3f}"]
        lines.append([name, figure(get("connections")), *memory, *cpu, str(sum(sample["errors"] for sample in samples))])
    return table(head, lines)


def targets_table(samples, peers):
    """weir against the targets; None when weir was not measured."""
    lines = []
    for target in scenarios.TARGETS:
        rows = samples.get(target.scenario, {})
        best = best_peer(rows, target.key, peers)
        if target.row not in rows or not (best or target.absolute):
            continue
        value = median(rows[target.row], target.key)
        peer = f"{figure(best[0])} ({best[1]})" if best else "–"
        ratio = value / best[0] if best and best[0] > 0 else None
        judged = value if target.absolute else ratio
        if judged is None:
            continue
        limit = figure(target.at_most) if target.absolute else f"{target.at_most:.2f} × peer"
        verdict = "met" if judged <= target.at_most else "**missed**"
        shown = f"{ratio:.2f}" if ratio is not None else "–"
        lines.append([target.measure, figure(value), peer, shown, limit, verdict])
    errors = [
        sample["errors"]
        for rows in samples.values()
        for name, runs in rows.items()
        if name.startswith("weir")
        for sample in runs
    ]
    if not errors:
        return None
    lines.append(["errors, all scenarios", str(sum(errors)), "–", "–", "0", "**missed**" if sum(errors) else "met"])
    return table(["measure", "weir", "best peer", "ratio", "target: at most", "met / missed"], lines)


def noise(samples):
    """A line on what else used the two cores while something was measured."""
    runs = [run for rows in samples.values() for runs in rows.values() for run in runs if "foreign_pct" in run]
    if not runs:
        return None
    here, there = median(runs, "foreign_pct"), median(runs, "load_foreign_pct")
    worst = max(run["foreign_pct"] for run in runs)
    text = (
        f"Others on the proxies' core: {here:.1f} % of its time (median over runs; worst {worst:.0f} %); "
        f"on the load's core: {there:.1f} %."
    )
    if worst > NOISE_PCT or there > NOISE_PCT:
        text += " **The machine was not quiet: do not quote these figures, run again.**"
    return text


def markdown(result):
    """The whole report."""
    about, samples = result["about"], result["samples"]
    machine_of = about["machine"]
    versions = [name if name.endswith(told) else f"{name} {told}" for name, told in about["versions"].items()]
    parts = [
        f"## {about['date'][:16].replace('T', ' ')}",
        f"`{about['command']}`",
        f"{machine_of['cpu']}, {machine_of['cores']} cores, Linux {machine_of['kernel']}; proxies on core "
        f"{about['cores'][0]}, load and backends on core {about['cores'][1]}; medians of {about['rounds']} "
        f"interleaved rounds of {about['seconds']} s.",
        "Versions: " + ", ".join(versions) + ".",
    ]
    targets = targets_table(samples, about["peers"])
    if targets:
        parts += ["### Targets", targets]
    for scenario in scenarios.ALL:
        rows = samples.get(scenario.name)
        if rows:
            parts += [f"### {scenario.title}", idle_table(rows) if scenario.idle else loaded_table(rows, about["peers"])]
    quiet = noise(samples)
    if quiet:
        parts.append(quiet)
    if result["notes"]:
        parts += ["### Went wrong", "\n".join(f"- {note}" for note in result["notes"])]
    return "\n\n".join(parts)
