"""What was measured: the machine, aligned tables that are also Markdown, and JSON."""

import importlib.metadata
import os
import platform

from bench.mixtures import REACHED

PEERS = ("gaussum float64", "scikit-learn", "oneDAL", "SciPy", "KDEpy", "NumPy")


def machine(names):
    """Processor, cores, load, versions and gaussum's build, as a dict."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ["gaussum", "numpy", "scipy", "scikit-learn", "scikit-learn-intelex", "KDEpy", "mlpack", "threadpoolctl"]
    facts = {
        "cpu": _cpu(),
        "cores": cores,
        "platform": platform.platform(),
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }
    if "gaussum" in names:
        from gaussum import build_info

        facts["build_info"] = build_info()
    try:
        from threadpoolctl import threadpool_info

        keys = ("internal_api", "version", "num_threads")
        facts["thread_pools"] = [{key: pool.get(key) for key in keys} for pool in threadpool_info()]
    except ImportError:
        pass
    return facts


def _cpu():
    """The processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def headline(facts):
    """The machine in a few lines of text."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if version)
    lines = [f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}", versions]
    if (facts["load_at_start"] or 0.0) > 0.5:
        lines.append(f"Load at the start: {facts['load_at_start']:.1f}. Ratios taken beside other work are not final.")
    if "build_info" in facts:
        lines.append(f"gaussum build: {facts['build_info']}")
    return "\n".join(lines)


def table(rows):
    """Markdown table with aligned columns from rows of strings; the first row is the heading."""
    widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        lines.append("| " + " | ".join(cells) + " |")
    rules = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], "|" + "|".join(rules) + "|", *lines[1:]])


def duration(seconds):
    """Three figures with a unit; a dash for None."""
    if seconds is None:
        return "–"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def number(value):
    """Three figures; a dash for None."""
    return "–" if value is None else f"{value:.3g}"


def ratio(peer, ours):
    """Times faster than the peer."""
    return "–" if not peer or not ours else f"{peer / ours:.3g}×"


def times_table(results, differences=True):
    """One row a case: gaussum's time, every peer's time and ratio, and the largest disagreement."""
    peers = [peer for peer in PEERS if any(peer in result.notes for result in results)]
    ours = any("gaussum" in result.notes for result in results)
    head = ["case"] + ["gaussum"] * ours
    for peer in peers:
        head += [peer] + ["ratio"] * ours
    rows = [head + ["differ by"] * differences]
    for result in results:
        row = [result.case]
        wrong = result.status == "WRONG"
        fast = result.median("gaussum")
        row += (["WRONG" if wrong else duration(fast)]) * ours
        for peer in peers:
            slow = result.median(peer)
            row += ["WRONG" if wrong else duration(slow)] + [ratio(slow, fast)] * ours
        rows.append(row + [f"{result.worst_difference():.0e}"] * differences)
    return table(rows)


def notes_table(results, key, heading, form):
    """One row a case and contender for a number kept in the notes, of those that keep it."""
    rows = [["case", "contender", heading]]
    for result in results:
        rows += [
            [result.case, name, form.format(note[key]) if note[key] is not None else "–"]
            for name, note in result.notes.items()
            if key in note
        ]
    return table(rows)


def losses_table(results):
    """One row a case and contender: how far the likelihood it reached in float32 is from that of float64."""
    rows = [["case", "contender", "likelihood off by"]]
    for result in results:
        seen = {name: found[REACHED] for name, found in result.differences.items() if REACHED in found}
        rows += [[result.case, name, f"{value:.0e}"] for name, value in seen.items()]
    return table(rows) if len(rows) > 1 else ""


def errors_table(results):
    """One row a case and contender: what its densities are off by, each in its own measure."""
    rows = [["case", "contender", "measure", "off by"]]
    for result in results:
        for name, found in result.differences.items():
            rows += [[result.case, name, what, f"{value:.0e}"] for what, value in found.items()]
    return table(rows)


def builds_table(result):
    """One row a case: time of each build on one thread, nanoseconds a pair, and how many times the best's."""
    builds = [b for b in ("baseline", "v3", "v4") if any(note.get(b) for note in result.notes.values())]
    rows = [["case (1 thread)"]]
    for build in builds:
        rows[0] += [build, "ns", "ratio"]
    for case, note in result.notes.items():
        best = min((note[build] for build in builds if note.get(build)), default=None)
        rows.append([case])
        for build in builds:
            seconds = note.get(build)
            nanoseconds = number(seconds and 1e9 * seconds / note["operations"])
            rows[-1] += [duration(seconds), nanoseconds, ratio(seconds, best)]
    return table(rows)


def threads_table(results):
    """One row a case: the time on every number of threads, and how many times faster than on one."""
    names = list(dict.fromkeys(name for result in results for name in result.notes))
    rows = [["case", *names[:1], *(cell for name in names[1:] for cell in (name, "ratio"))]]
    for result in results:
        one, *more = (result.median(name) for name in names)
        rows.append([result.case, duration(one)])
        for seconds in more:
            rows[-1] += [duration(seconds), ratio(one, seconds)]
    return table(rows)


def limits_table(result):
    """What the machine does, then one row a case: its needs, and time, nearer limit and their ratio by threads."""
    machine = result.notes["machine"]
    threads = [f"{count} thread{'s' * (count > 1)}" for count in machine["threads"]]
    lines = [
        f"{name}: matrix product {matrix / 1e9:.3g} G operations/s, memory {memory / 1e9:.3g} GB/s"
        for name, matrix, memory in zip(threads, machine["matrix"], machine["memory"])
    ]
    if machine["exp"]:
        at_rate = machine["exp"] * machine["matrix"][0]
        taken = f"{1e9 * machine['exp']:.3g} ns, the time of {at_rate:.3g} operations"
        lines.append(f"1 thread: an exponential, in log_densities, {taken}")
    rows = [["case", "M operations", "MB"]]
    for name in threads:
        rows[0] += [name, "limit", "by", "ratio"]
    for case, note in result.notes.items():
        if case == "machine":
            continue
        rows.append([case, f"{note['operations'] / 1e6:.4g}", f"{note['bytes'] / 1e6:.3g}"])
        for seconds, arithmetic, memory in zip(note["seconds"], note["arithmetic"], note["memory"]):
            limit = max(arithmetic, memory)
            by = "arithmetic" if limit == arithmetic else "memory"
            rows[-1] += [duration(seconds), duration(limit), by, ratio(seconds, limit)]
    return "\n".join(f"- {line}" for line in lines) + "\n\n" + table(rows)


def acceleration_table(results):
    """One row a case: passes, time and targets reached of every method, and the passes over gaussum's."""
    names = list(dict.fromkeys(name for result in results for name in result.notes))
    rows = [["case", *(cell for name in names for cell in (name, "time", "reach"))]]
    for result in results:
        rows.append([result.case])
        for name in names:
            note = result.notes[name]
            rows[-1] += [f"{note['passes']:,}", duration(note["seconds"]), str(note["reached"])]
    return table(rows)


def scaling_table(result):
    """One row a point of the curve: gaussum's time, every peer's and its ratio."""
    curve = result.notes["curve"]
    notes = {name: note for name, note in result.notes.items() if name != "curve"}
    points = {name: dict(zip(note["values"], note["seconds"])) for name, note in notes.items()}
    peers = [name for name in PEERS if name in points]
    ours = points.get("gaussum", {})
    rows = [[curve["axis"], "gaussum", *(cell for peer in peers for cell in (peer, "ratio"))]]
    for value in sorted({value for times in points.values() for value in times}):
        rows.append([f"{value:,}", duration(ours.get(value))])
        for peer in peers:
            rows[-1] += [duration(points[peer].get(value)), ratio(points[peer].get(value), ours.get(value))]
    return table(rows)


def sums_table(result):
    """One row a point of the curve: every way's seconds, with ~ where a part stands for all, and its error."""
    curve = result.notes["curve"]
    ways = {name: note for name, note in result.notes.items() if name != "curve"}
    points = {name: dict(zip(note["values"], zip(note["seconds"], note["whole"], note["errors"])))
              for name, note in ways.items()}
    plans = dict(zip(ways["gaussum"]["values"], ways["gaussum"]["plans"])) if "gaussum" in ways else {}
    rows = [[curve["axis"], *["plan"] * bool(plans), *(cell for name in ways for cell in (name, "error"))]]
    for value in sorted({value for found in points.values() for value in found}):
        rows.append([f"{value:,.3g}" if value < 100 else f"{value:,}", *[plans.get(value, "–")] * bool(plans)])
        for name in ways:
            seconds, whole, error = points[name].get(value, (None, True, None))
            rows[-1] += ["~" * (not whole) + duration(seconds), "–" if error is None else f"{error:.0e}"]
    return table(rows)


def optima_table(result):
    """One row a set of problems and contender: the parts of fits that ended near the best, and the mean time."""
    rows = [["problems", "contender", "fits", "near the best", "near the best, spurious ones too", "spurious", "time"]]
    for group in dict.fromkeys(group for note in result.notes.values() for group in note if group != "all"):
        rows += [_optima_row(group, name, note) for name, note in result.notes.items() if group in note]
    rows += [_optima_row("all", name, note) for name, note in result.notes.items()]
    return table(rows)


def _optima_row(group, name, note):
    found = note[group]
    parts = [f"{100 * found[which]:.0f} %" for which in ("sound", "any", "spurious")]
    return [group, name, str(found["fits"]), *parts, duration(1e-3 * found["milliseconds"])]


def text(results):
    """All tables."""
    parts = []
    groups = {}
    for result in results:
        if result.notes or result.reasons:  # somebody took part
            groups.setdefault(result.group, []).append(result)
    for group, members in groups.items():
        parts.append(f"**{group}**")
        if group == "memory":
            sizes = {r.case: n["samples_by_components_mb"] for r in members for n in r.notes.values()}
            array = ", ".join(f"{size:.0f} MB" for size in sizes.values())
            parts.append(f"Growth of the peak during one fit; an n × K array would take {array}.")
            parts.append(notes_table(members, "peak_growth_mb", "peak growth", "{:.1f} MB"))
        elif group == "builds":
            parts.append("Nanoseconds a sample and component, or source and target; ratio to the best build.")
            parts += [builds_table(result) for result in members if result.notes]
        elif group == "threads":
            parts.append(threads_table(members))
        elif group == "limits":
            parts.append("An operation is an addition, a multiplication or a fused multiply-add.")
            parts += [limits_table(result) for result in members if result.notes]
        elif group == "acceleration":
            parts.append("Passes to the same log-likelihood from the same starts, K = 2 to 9; how many fits reach it.")
            parts.append(acceleration_table(members))
        elif group == "optima":
            parts.append("Fits at the defaults that end within 1e-3 of the best known mean log-likelihood.")
            parts += [optima_table(result) for result in members if result.notes]
        elif group == "sums":
            parts.append("Fit and score, and the largest error of the log density; ~: from part of the targets.")
            parts += [f"{result.case}\n\n{sums_table(result)}" for result in members if result.notes]
        elif group == "scaling":
            parts += [f"{result.case}\n\n{scaling_table(result)}" for result in members if result.notes]
        else:
            parts.append(times_table(members, differences=group not in ("whole fit", "selection")))
            if losses := losses_table(members):
                parts.append(losses)
            if group == "kernel density on a grid":
                parts.append(errors_table(members))
            if group == "selection":
                parts.append(notes_table(members, "chosen", "components chosen", "{}"))
            if group == "whole fit":
                parts.append(notes_table(members, "mean_log_likelihood", "mean log-likelihood", "{:.6f}"))
                if any("initialisation_share" in note for result in members for note in result.notes.values()):
                    parts.append(notes_table(members, "initialisation_share", "share before EM", "{:.1%}"))
        reasons = [(r.case, "WRONG, " * (r.status == "WRONG") + why) for r in members for why in r.reasons]
        if reasons:
            parts.append("\n".join(f"- {case}: {why}" for case, why in reasons))
    return "\n\n".join(parts)
