"""The curves of ``python -m bench --sums`` as one picture: seconds above, errors below, a pair for each curve."""

import math
import textwrap

import numpy as np

from bench.picture import GREY, INK, dress
from bench.sum_curves import LONGEST, LONGEST_QUICK, RTOL

AXES = {"n": "samples n, and as many targets", "h": "bandwidth / Scott's", "d": "features d"}
COLUMNS = 3
# way: colour, marker, dash; gaussum's plans in blues, on a band that is the chosen one; Okabe and Ito's colours
BAND = "#A9D3F2"
PLANS = {
    "direct": ("#004B76", "v", (0, (1, 1.2))),
    "grid": ("#0072B2", "s", "-"),
    "tree": ("#0072B2", "^", (0, (4, 1.6))),
}
PEERS = {
    "scikit-learn": ("#E69F00", "D", "-"),
    "SciPy": ("#D55E00", "o", "-"),
    "mlpack": ("#009E73", "X", "-"),
    "KDEpy naive": ("#B8559A", "<", (0, (1, 1.2))),
    "KDEpy tree": ("#B8559A", ">", (0, (4, 1.6))),
    "KDEpy FFT": ("#7A3B9A", "*", "-"),
}
ANOTHER = ("#56B4E9", "h", "-.")
WIDTH = 58                  # letters of a line of the caption
LEAST, MOST = 1e-16, 1.0    # errors are drawn between: beyond, nothing is right


def draw(report, curves, path):
    """Draw the notes of some curves, of a report as ``--json`` writes it, into a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(curves) + 1)
    rows = math.ceil((len(curves) + 1) / columns)       # one place is the legend's
    figure = Figure(figsize=(3.7 * columns, 4.6 * rows), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.05, hspace=0.03)
    blocks = figure.subfigures(rows, columns, squeeze=False, hspace=0.02).ravel()
    limits = _limits(curves)
    for k, (block, notes) in enumerate(zip(blocks, curves)):
        above, below = block.subplots(2, 1, sharex=True, height_ratios=[2.4, 1.0])
        _draw_seconds(above, notes, limits, k % columns == 0)
        _draw_errors(below, notes, k % columns == 0)
    _legend(blocks[len(curves)], curves, _caption(report))
    figure.savefig(path)


def style(name):
    """Colour, marker and dash; for a plan that is not listed too."""
    return PEERS.get(name) or PLANS.get(name, ANOTHER)


def _ways(notes):
    return [name for name in notes if name not in ("curve", "gaussum")]


def _limits(curves):
    """From the least to the longest time of all curves, with some room."""
    seconds = [s for notes in curves for name, note in notes.items() if name != "curve"
               for s in note["seconds"] if s is not None]
    return 0.6 * min(seconds), 1.7 * max(seconds)


def _draw_seconds(ax, notes, limits, first):
    from matplotlib.ticker import FuncFormatter, LogLocator

    fixed = notes["curve"]
    _lines(ax, notes, "seconds")
    given = [f"{key} = {fixed[key]:,}" for key in ("n", "d") if key in fixed]
    ax.set_title(", ".join(given + ["Scott's bandwidth"] * (fixed["axis"] != "h")), fontsize=10, color=INK, loc="left")
    ax.set(xscale="log", yscale="log", ylim=limits)
    dress(ax)
    ax.tick_params(labelbottom=False)
    ax.yaxis.set_major_locator(LogLocator(base=10))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _duration(seconds)))
    if first:
        ax.set_ylabel("time of fit and score", color=INK)


def _draw_errors(ax, notes, first):
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    axis = notes["curve"]["axis"]
    _lines(ax, notes, "errors")
    ax.axhline(RTOL, color=INK, lw=0.8, ls=(0, (2, 2)), zorder=1)
    ax.set(xscale="log", yscale="log", ylim=(0.3 * LEAST, 30 * MOST))
    ax.set_xlabel(AXES[axis], color=INK)
    dress(ax)
    ax.yaxis.set_major_locator(FixedLocator([1e-15, 1e-10, RTOL, MOST]))
    ax.yaxis.set_major_formatter(FuncFormatter(
        lambda error, _: "≥ 1" if error == MOST else f"$10^{{{round(math.log10(error))}}}$"))
    ax.yaxis.set_minor_locator(NullLocator())
    if axis == "n":
        ax.xaxis.set_major_locator(LogLocator(base=10))
    else:
        ticks = [1 / 30, 1 / 10, 1 / 3, 1, 3] if axis == "h" else [1, 2, 3, 4, 6, 10]
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"1/{1 / v:.0f}" if v < 1 else f"{v:.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
    if first:
        ax.set_ylabel("largest error of\nthe log density", color=INK)


def _lines(ax, notes, what):
    """The plan that is chosen as a band, and a line for every way upon it; hollow where a part was timed."""
    for name in ["gaussum"] * ("gaussum" in notes) + _ways(notes):
        x, y, whole = _points(notes[name], what)
        if name == "gaussum":
            ax.plot(x, y, color=BAND, lw=8, solid_capstyle="round", zorder=1.5)
            continue
        color, marker, dash = style(name)
        size = 7.5 if marker == "*" else 4.5
        ours = name not in PEERS
        ax.plot(x, y, color=color, lw=1.6 if ours else 1.1, ls=dash, zorder=3 if ours else 2)
        for part, face in ((whole, color), (~whole, "white")):
            ax.plot(x[part], y[part], color=color, ls="", marker=marker, ms=size, mfc=face, mew=1.0,
                    zorder=3.1 if ours else 2.1)


def _points(note, what):
    """Values, seconds or errors that can be drawn, and whether all targets were timed."""
    y = np.array([np.nan if v is None else v for v in note[what]], dtype=float)
    if what == "errors":
        y = np.clip(y, LEAST, MOST)
    return np.array(note["values"], dtype=float), y, np.array(note["whole"], dtype=bool)


def _legend(block, curves, caption):
    from matplotlib.lines import Line2D

    names = dict.fromkeys(name for notes in curves for name in _ways(notes))
    handles = {"gaussum, the plan it chooses": Line2D([], [], color=BAND, lw=8, solid_capstyle="round")}
    for name in names:
        color, marker, dash = style(name)
        label = f"gaussum, {name}" if name not in PEERS else name
        handles[label] = Line2D([], [], color=color, ls=dash, marker=marker, ms=7.5 if marker == "*" else 4.5)
    handles["from part of the targets, scaled up"] = Line2D([], [], color=GREY, ls="", marker="o", mfc="white")
    ax = block.subplots()
    ax.axis("off")
    ax.legend(handles.values(), handles, loc="upper left", frameon=False, fontsize=9.5, labelcolor=INK,
              handlelength=3.2, labelspacing=0.55, bbox_to_anchor=(0.0, 1.0))
    ax.text(0.02, 0.0, caption, fontsize=8, color=GREY, va="bottom", linespacing=1.4, transform=ax.transAxes)


def _duration(seconds):
    """A power of ten with its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.999 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:g} s"


def _caption(report):
    machine = report["machine"]
    threads = report["options"]["threads"] or machine["cores"]
    longest = LONGEST_QUICK if report["options"]["quick"] else LONGEST
    return textwrap.fill(
        f"float64, {threads} core{'s' * (threads > 1)} ({machine['cpu'].strip()}); sources and targets normal. "
        f"gaussum, scikit-learn and mlpack are asked for rtol = {RTOL:g} (dashed). Errors: at 100 targets, among them "
        "the 50 farthest out; from 1 on at the upper edge, infinite ones too. KDEpy's FFT: at as many points of a "
        f"grid, all that it serves. A curve ends where a point would take more than about {longest:g} s, or that part "
        "of it that is timed for a hollow one; the grid serves up to three features.", WIDTH)
