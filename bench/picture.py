"""Curves as one picture: ``python -m bench --plot FILE.png``, measured now or read from ``--json``."""

import numpy as np

AXES = {"n": "samples n", "d": "features d", "K": "components K"}
# contender: colour, width, marker, dash; gaussum in Okabe and Ito's blue, its peers in greys, told apart by dashes too
STYLES = {
    "scikit-learn": ("#8A8A8A", 1.4, "s", (0, (4, 1.6))),
    "oneDAL": ("#5F5F5F", 1.4, "^", (0, (1, 1.2))),
    "gaussum": ("#0072B2", 2.4, "o", "-"),
}
INK, PALE, GREY = "#222222", "#E4E4E4", "#6A6A6A"
BASELINE = 27.0  # pixels that two labels at the right edge keep apart at 150 dots an inch


def draw(report, path):
    """Draw the curves of a report, the dict that ``--json`` writes, into a file.

    Raises
    ------
    ValueError
        The report holds no curves.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves, sums = (
        [result["notes"] for result in report["results"] if result["group"] == group and result["notes"]]
        for group in ("scaling", "sums")
    )
    if sums:
        from bench import sum_picture

        return sum_picture.draw(report, sums, path)
    if not curves:
        raise ValueError("the report holds no curves; measure them with --scaling or --sums")
    figure = Figure(figsize=(3.9 * len(curves), 3.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for ax, notes in zip(axes, curves):
        _draw_curve(ax, notes)
    axes[0].set_ylabel("milliseconds per EM iteration", color=INK)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    figure.supxlabel(_caption(report, curves), fontsize=8, color=GREY)
    figure.draw_without_rendering()
    _label(axes[-1], curves[-1])
    figure.savefig(path)


def _draw_curve(ax, notes):
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    fixed = notes["curve"]
    for name, (color, width, marker, dash) in STYLES.items():
        if name in notes:
            x, y = notes[name]["values"], 1e3 * np.array(notes[name]["seconds"])
            ax.plot(x, y, color=color, lw=width, ls=dash, marker=marker, ms=4.5, label=name, solid_capstyle="round")
    ax.set(xscale="log", yscale="log")
    ax.set_xlabel(AXES[fixed["axis"]], color=INK)
    given = ", ".join(f"{key} = {fixed[key]:,}" for key in ("n", "d", "K") if key in fixed)
    ax.set_title(given, fontsize=10, color=INK, loc="left")
    plain = FuncFormatter(lambda value, _: f"{value:,.10g}")
    if fixed["axis"] == "K":
        ax.xaxis.set_major_locator(LogLocator(base=4))
    if fixed["axis"] != "n":
        ax.xaxis.set_major_formatter(plain)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(plain)
    dress(ax)


def dress(ax):
    """Grid, ticks and spines of every panel."""
    ax.grid(color=PALE, lw=0.7)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", length=0, colors=INK, labelsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)


def _label(ax, notes):
    """Names at the ends of the curves, moved apart where they would overlap."""
    ends = []
    for name, (color, *_) in STYLES.items():
        if name in notes and notes[name]["values"]:
            point = notes[name]["values"][-1], 1e3 * notes[name]["seconds"][-1]
            ends.append([ax.transData.transform(point), name, color, point])
    ends.sort(key=lambda end: end[0][1])
    lowest = -np.inf
    for pixel, name, color, point in ends:
        shift = max(0.0, lowest + BASELINE - pixel[1])
        lowest = pixel[1] + shift
        weight = "bold" if name == "gaussum" else "normal"
        ax.annotate(name, point, (8, shift * 72 / 150), textcoords="offset points", color=color, va="center",
                    weight=weight, fontsize=9.5, annotation_clip=False)


def _caption(report, curves):
    machine = report["machine"]
    threads = report["options"]["threads"] or machine["cores"]
    ended = {note["ended_at"] for notes in curves for note in notes.values() if "ended_at" in note}
    told = f"Full covariances, float64, {threads} core{'s' * (threads > 1)} ({machine['cpu'].strip()})."
    if ended:
        told += f" A peer's curve ends where one iteration would take more than about {max(ended):g} s."
    return told
