"""Pictures of what chooses the number of components: criteria, candidates, bootstrap tests, entropies of mergings."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussum import drawing
from gaussum.base import shape_name
from gaussum.bootstrap import BootstrapTest
from gaussum.drawing import COLORS, DASHES, GREY, INK, PALE
from gaussum.merging import ComponentMerging
from gaussum.selection import SelectionResult
from gaussum.typing import ArrayLike, NDArray
from gaussum.validation import check_choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {"bic": "BIC", "aic": "AIC", "aicc": "AICc", "icl": "ICL", "cv": "cross-validated log-likelihood"}
LARGER_IS_BETTER = ("cv",)
MARKERS = "osD^vP"


def criteria(
    result: SelectionResult | Sequence[dict[str, Any]], criteria: str | Sequence[str] = ("bic", "aic"),
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw information criteria against the number of components, with the best of each marked.

    Parameters
    ----------
    result : SelectionResult, or its table (a list of dicts)
    criteria : sequence of "bic", "aic", "aicc", "icl", or one of them, or "cv"
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        One line a criterion and covariance type; hollow points are fits that had not converged, crosses spurious
        optima. With many covariance types, values far from the best are left out.

    Raises
    ------
    TypeError, ValueError
        `result` is no table, or holds no finite value of a criterion; an unknown name in `criteria`.
    ImportError
        matplotlib is missing.

    Examples
    --------
    >>> import gaussum
    >>> rows = [(1, 9.0), (2, 7.0), (3, 8.0)]
    >>> table = [{"n_components": k, "covariance_type": "full", "bic": b} for k, b in rows]
    >>> gaussum.plot.criteria(table, "bic").get_legend().get_texts()[0].get_text()
    'BIC: best 2'
    """
    names = (criteria,) if isinstance(criteria, str) else tuple(criteria)
    for name in names:
        check_choice(name, "criteria", tuple(TITLES))
    if not names:
        raise ValueError("criteria is empty; expected at least one of 'bic', 'aic', 'aicc', 'icl', 'cv'")
    if len(set(names) - set(LARGER_IS_BETTER)) not in (0, len(names)):
        raise ValueError(f"criteria is {names}; 'cv' has a scale of its own, so expected it alone")
    rows = _rows(result, names)
    types = list(dict.fromkeys(row["covariance_type"] for row in _table(result)))
    ax = drawing.own_axes(ax)
    several = len(types) > 1
    for i, name in enumerate(names):
        styles: dict[str, dict[str, Any]] = {}
        for t, kind in enumerate(types):
            style = i if len(names) > 1 else t // len(COLORS)
            styles[kind] = dict(ls=DASHES[style % len(DASHES)], marker=MARKERS[style % len(MARKERS)], ms=5.5, lw=1.6,
                                color=COLORS[(t if several else i) % len(COLORS)])
        key, = ax.plot([], [], **styles[types[0]] | ({"color": INK} if several else {}))
        best = draw_criterion(ax, rows[name], name, types, styles)
        chosen = f"{best['n_components']}" + (f", {best['covariance_type']}" if several else "")
        key.set_label(f"{TITLES[name]}: best {chosen}")
    for kind in types if several else ():
        look: dict[str, Any] = styles[kind] if len(names) == 1 else {"color": styles[kind]["color"], "lw": 4}
        ax.plot([], [], label=kind, **look)
    _explain_marks(ax, rows, names)
    ax.locator_params(axis="x", integer=True)
    larger = names[0] in LARGER_IS_BETTER
    label = "mean log-likelihood (unseen samples)" if larger else "criterion (smaller is better)"
    ax.set(xlabel="number of components", ylabel=label)
    ax.margins(y=0.08)
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    if len(types) > len(COLORS):
        values = [row[name] for name in names for row in rows[name]]
        ax.set_ylim(near_best(values, larger))
    ax.set_ylim(ax.get_ylim())
    return drawing.finish(ax)


def selection(result: SelectionResult, *, n_top: int = 8) -> NDArray[Any]:
    """Draw every criterion of a selection in a panel of its own, and the best few candidates.

    In each panel the criterion against the number of components, a line a covariance type, with the best marked; values
    far from the best are left out. In the last one, how much worse than the best the best few candidates are, by the
    criterion that chose.

    Parameters
    ----------
    result : SelectionResult
    n_top : int
        Candidates in the last panel, at most.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (n_criteria + 1,)
        Of a new figure.

    Raises
    ------
    TypeError, ValueError
        `result` is no SelectionResult; a bad number.
    ImportError
        matplotlib is missing.

    Examples
    --------
    >>> import gaussum
    >>> x = [0.0, 0.1, 0.3, 4.8, 5.0, 5.1, 5.2]
    >>> result = gaussum.select_mixture(x, [1, 2], ["full", "tied"], random_state=0)
    >>> [ax.get_title() for ax in gaussum.plot.selection(result)]
    ['BIC: 2, tied', 'AIC: 2, tied', 'AICc: 2, tied', 'ICL: 2, tied', 'best 4 by BIC']
    """
    if not hasattr(result, "top"):
        raise TypeError(f"result is {shape_name(result)}; expected a SelectionResult")
    top = result.top(n_top)
    types = list(dict.fromkeys(row["covariance_type"] for row in result.table))
    finite = [name for name in result.criteria if any(math.isfinite(row[name]) for row in result.table)]
    rows = _rows(result, finite)
    styles = {
        kind: dict(color=COLORS[t % len(COLORS)], ls=DASHES[t // len(COLORS) % 4],
                   marker=MARKERS[t // len(COLORS) % len(MARKERS)], ms=4.5, lw=1.5)
        for t, kind in enumerate(types)
    }
    n_panels = len(finite) + 1
    n_columns = 3 if n_panels > 4 else 2
    n_rows = -(-n_panels // n_columns)
    size = (4.2 * n_columns, 3.4 * n_rows + 0.5)
    figure, grid = drawing.pyplot().subplots(n_rows, n_columns, figsize=size, squeeze=False, layout="constrained")
    panels: NDArray[Any] = grid.ravel()
    for ax in panels[n_panels:]:
        ax.remove()
    panels = panels[:n_panels]
    for ax, name in zip(panels, finite, strict=False):
        best = draw_criterion(ax, rows[name], name, types, styles)
        chosen = f"{best['n_components']}" + (f", {best['covariance_type']}" if len(types) > 1 else "")
        ax.set_title(f"{TITLES[name]}: {chosen}", fontsize="medium")
        ax.set_ylim(near_best([row[name] for row in rows[name]], name in LARGER_IS_BETTER))
        ax.locator_params(axis="x", integer=True)
        ax.set_xlabel("number of components")
        ax.grid(axis="y", color="#EEEEEE")
    ax = panels[-1]
    for i, row in enumerate(top):
        style = styles[row["covariance_type"]]
        ax.plot([0, row["difference"]], [i, i], color=style["color"], lw=1.5, ls=style["ls"])
        ax.plot(row["difference"], i, ls="", marker="*" if i == 0 else style["marker"], ms=14 if i == 0 else 7,
                color=style["color"], mec=INK)
    ax.set_yticks(range(len(top)), [f"{row['n_components']}, {row['covariance_type']}" for row in top])
    ax.invert_yaxis()
    ax.set_title(f"best {len(top)} by {TITLES[result.criterion]}", fontsize="medium")
    ax.set_xlabel("worse than the best by")
    ax.grid(axis="x", color="#EEEEEE")
    for ax in panels:
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    for kind in types if len(types) > 1 else ():
        panels[0].plot([], [], label=kind, **styles[kind])
    _explain_marks(panels[0], rows, finite)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False,
                  fontsize="small")
    return panels


def bootstrap(
    test: BootstrapTest, *, axes: "Sequence[Axes] | NDArray[Any] | None" = None,
) -> NDArray[Any]:
    """Draw the bootstrap tests for the number of components: replicates of the statistic, and that of the data.

    Parameters
    ----------
    test : BootstrapTest
    axes : sequence of matplotlib.axes.Axes, optional
        One a hypothesis; by default of a new figure.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (n_hypotheses,)

    Raises
    ------
    TypeError, ValueError
        `test` is no BootstrapTest; too few axes.
    ImportError
        matplotlib is missing.

    Examples
    --------
    >>> import gaussum
    >>> x = [0.1 * i + 5 * (i % 2) for i in range(60)]
    >>> test = gaussum.bootstrap_test(x, 2, n_bootstrap=19, n_init=1, random_state=0)
    >>> len(gaussum.plot.bootstrap(test))
    1
    """
    if not hasattr(test, "replicates"):
        raise TypeError(f"test is {shape_name(test)}; expected a BootstrapTest")
    n = len(test.table)
    if axes is None:
        n_columns = min(n, 3)
        size = (4.2 * n_columns, 3.2 * -(-n // n_columns))
        grid = drawing.pyplot().subplots(-(-n // n_columns), n_columns, figsize=size, squeeze=False,
                                         layout="constrained")[1].ravel()
        for ax in grid[n:]:
            ax.remove()
        axes = grid[:n]
    panels = np.ravel(np.asarray(axes, dtype=object))
    if len(panels) != n:
        raise ValueError(f"axes holds {len(panels)}; expected {n}, one a hypothesis")
    for ax, row, replicates in zip(panels, test.table, test.replicates, strict=True):
        found = replicates[np.isfinite(replicates)]
        color = COLORS[4] if row["p_value"] <= test.level else COLORS[0]
        ax.hist(found, bins=max(5, min(40, round(2 * math.sqrt(len(found) + 1)))), color=PALE,
                label=f"replicates ({len(found)})")
        ax.axvline(row["statistic"], color=color, lw=2, label=f"data: {row['statistic']:.4g}")
        k = row["n_components"]
        verdict = "rejected" if row["p_value"] <= test.level else "not rejected"
        ax.set_title(f"{k} against {k + 1}: p = {row['p_value']:.3g}, {verdict}", fontsize="medium")
        ax.set_xlabel("likelihood-ratio statistic")
        drawing.finish(ax)
    return panels


def entropy(merging: ComponentMerging, *, ax: "Axes | None" = None) -> "Axes":
    """Draw the entropy of the classification against the number of clusters, with the elbow's two lines.

    There are none where all clusters overlap so much that one is suggested.

    Parameters
    ----------
    merging : ComponentMerging
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        `merging` is no ComponentMerging.
    ImportError
        matplotlib is missing.

    Examples
    --------
    >>> import gaussum
    >>> x = [0.1 * i + 5 * (i % 2) for i in range(60)]
    >>> mixture = gaussum.GaussianMixture(3, random_state=0).fit(x)
    >>> gaussum.plot.entropy(gaussum.merge_components(mixture, x)).get_xlabel()
    'number of clusters'
    """
    if not hasattr(merging, "entropies"):
        raise TypeError(f"merging is {shape_name(merging)}; expected a ComponentMerging")
    values, K, elbow = merging.entropies, merging.n_components, merging.n_clusters_
    ax = drawing.own_axes(ax)
    n = np.arange(1, K + 1)
    if K > 2 and elbow > 1:
        for part in (slice(0, elbow), slice(elbow - 1, K)):
            line = np.polyfit(n[part], values[part], 1) if len(n[part]) > 1 else [0.0, values[elbow - 1]]
            ax.plot(n[part], np.polyval(line, n[part]), color=GREY, ls="--", lw=1.2)
    ax.plot(n, values, color=COLORS[0], marker="o", ms=5.5, lw=1.6, label="entropy")
    ax.plot(elbow, values[elbow - 1], marker="*", ms=17, ls="", color=COLORS[0], mec=INK, zorder=4,
            label=f"elbow: {elbow} clusters" if elbow > 1 else "one cluster: they overlap")
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="number of clusters", ylabel="entropy of the classification (nats)")
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    return drawing.finish(ax)


def draw_criterion(
    ax: "Axes", rows: list[dict[str, Any]], name: str, types: Sequence[str], styles: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """A criterion against the number of components, a line a covariance type; returns the best row.

    Hollow points had not converged; crosses are spurious, and never the best.
    """
    sound = [row for row in rows if not row.get("spurious")] or rows
    best = (max if name in LARGER_IS_BETTER else min)(sound, key=lambda row: row[name])
    for covariance_type in types:
        line = [row for row in rows if row["covariance_type"] == covariance_type]
        line.sort(key=lambda row: row["n_components"])
        k, y = [row["n_components"] for row in line], [row[name] for row in line]
        style = styles[covariance_type]
        ax.plot(k, y, **style)
        for pending, mark in (
            ([not row.get("converged", True) for row in line], {"marker": style["marker"], "mfc": "white"}),
            ([bool(row.get("spurious")) for row in line], {"marker": "x", "ms": 9, "mew": 1.8, "color": INK}),
        ):
            ax.plot(np.array(k)[pending], np.array(y)[pending], ls="", zorder=3,
                    **{"ms": style["ms"], "color": style["color"]} | mark)
        if best in line:
            ax.plot(best["n_components"], best[name], marker="*", ms=17, color=style["color"], mec=INK, zorder=4)
    return best


def near_best(values: ArrayLike, larger_is_better: bool) -> tuple[float, float]:
    """Limits about the better values: a few hopeless ones must not flatten the rest."""
    values = np.sort(-np.asarray(values) if larger_is_better else values)
    best, middle = values[0], np.median(values)
    worst = min(values[-1], best + 2.5 * (middle - best)) if middle > best else values[-1]
    pad = 0.08 * (worst - best) or 0.5
    low, high = best - pad, worst + pad
    return (-high, -low) if larger_is_better else (low, high)


def _table(result: object) -> Sequence[dict[str, Any]]:
    table = getattr(result, "table", result)
    if not isinstance(table, (list, tuple)) or not all(isinstance(row, dict) for row in table):
        raise TypeError(f"result is {shape_name(result)}; expected a SelectionResult or its table")
    return table


def _rows(result: object, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The rows of a table that have a finite value, by criterion."""
    rows = {name: [row for row in _table(result) if math.isfinite(row.get(name, math.nan))] for name in names}
    for name in names:
        if not rows[name]:
            raise ValueError(f"result holds no finite {name!r}; expected at least one fit that has it")
    return rows


def _explain_marks(ax: "Axes", rows: dict[str, list[dict[str, Any]]], names: Sequence[str]) -> None:
    ax.plot([], [], ls="", marker="*", ms=11, color="white", mec=INK, label="best")
    shown = [row for name in names for row in rows[name]]
    if not all(row.get("converged", True) for row in shown):
        ax.plot([], [], ls="", marker="o", ms=5.5, color=INK, mfc="white", label="not converged")
    if any(row.get("spurious") for row in shown):
        ax.plot([], [], ls="", marker="x", ms=9, mew=1.8, color=INK, label="spurious optimum")
