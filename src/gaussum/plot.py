"""Pictures of fitted densities with matplotlib (``pip install "gaussum[plot]"``).

Every function draws into `ax`, or into a figure of its own when `ax` is None, and returns the Axes. Titles
are the caller's. Nothing here shows a figure or changes matplotlib's settings. Estimators are known by their
public attributes only, so scikit-learn's mixtures and kernel densities can be drawn too.
"""

import math

import numpy as np

from gaussum import drawing
from gaussum.base import shape_name
from gaussum.drawing import (
    BLUES, COLORS, DASHES, ELLIPSES, GREY, GREYS, INK, LARGER_IS_BETTER, MANY, MARKERS, PALE, TITLES,
)
from gaussum.validation import check_choice, check_integer, check_number


def density(estimator, X=None, *, bins=None, range=None, components=False, label=None, ax=None):
    """Draw a density of one or two features, over its samples if they are given.

    One feature: the curve over a histogram. Two: the smallest regions that hold 50, 80 and 95 % of the
    probability (highest-density regions, Hyndman 1996, The American Statistician 50) under the samples.

    Parameters
    ----------
    estimator : fitted density
        Anything with `score_samples`.
    X : array_like, shape (n_samples, n_features) or (n_samples,), optional
        Samples to show; the columns' names label the axes when `X` has them.
    bins : int, optional
        Bins of the histogram. The default is 80, fewer when there are fewer than 700 samples. Heights are per
        sample of the whole `X`, so that they compare with the density even if `range` leaves samples out.
    range : (low, high), or one such pair a feature, optional
        What the axes span, in the units of `X`. The default leaves out a few far outliers, and says how many.
    components : bool
        Draw a mixture's weighted components too: filled curves, or ellipses at 1 and 2 standard deviations.
    label : str, optional
        The name of the density in the legend.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        More than two features (see `pairs`), or a bad argument, which the message names.
    NotFittedError
        `estimator` is not fitted.
    ImportError
        matplotlib is missing.

    Examples
    --------
    >>> import gaussum
    >>> model = gaussum.GaussianMixture(2, random_state=0).fit([0.0, 0.1, 0.3, 4.8, 5.0, 5.1])
    >>> gaussum.plot.density(model, components=True).get_ylabel()
    'density'
    """
    n_features = drawing.check_density(estimator, "estimator", X)
    if components:
        drawing.check_mixture(estimator, "estimator")
    if n_features > 2:
        raise ValueError(f"estimator has {n_features} features; expected 1 or 2 (plot.pairs draws more)")
    X, names = drawing.read_samples(X, n_features)
    window = drawing.check_range(range, n_features) or drawing.default_windows(X, [estimator], n_features)
    bins = drawing.check_bins(bins, X)
    ax = drawing.own_axes(ax)
    fresh = not ax.has_data()
    if n_features == 1:
        peaks = [drawing.draw_histogram(ax, X, window[0], bins)]
        color = INK if fresh or not ax.lines else COLORS[(len(ax.lines) - 1) % len(COLORS)]
        peaks.append(drawing.draw_curve(ax, estimator, window[0], label or "density", color))
        if components:
            drawing.fill_components(ax, estimator, window[0])
        return drawing.finish_curves(ax, fresh, window[0], peaks, names[0])
    image = X is not None and len(X) > MANY
    if image:
        drawing.draw_image(ax, X, window)
    drawing.draw_regions(ax, estimator, window, GREYS if components else BLUES, filled=not image, label=label)
    if X is not None and not image:
        drawing.draw_samples(ax, X, "#333333", drawing.count_label(X, window))
    if components:
        covariances = drawing.covariance_matrices(estimator)
        drawing.draw_ellipses(ax, estimator.means_, covariances, estimator.weights_, fill=0.0)
    return drawing.finish_plane(ax, fresh, window, names, ellipses=components)


def components(mixture, X=None, *, bins=None, range=None, ax=None):
    """Draw the components of a Gaussian mixture of one or two features.

    One feature: each weighted component as a filled curve, over a histogram of `X`. Two: ellipses at 1 and 2
    standard deviations (39 and 86 % of it), over the samples in the colour of their most probable component.

    Parameters, errors and the returned Axes are those of `density`; `mixture` needs `weights_`, `means_`,
    `covariances_` and `covariance_type`.

    Examples
    --------
    >>> import gaussum
    >>> model = gaussum.GaussianMixture(2, random_state=0).fit([0.0, 0.1, 0.3, 4.8, 5.0, 5.1])
    >>> len(gaussum.plot.components(model).collections)
    2
    """
    drawing.check_density(mixture, "mixture", X)
    n_features = drawing.check_mixture(mixture, "mixture")
    if n_features > 2:
        raise ValueError(f"mixture has {n_features} features; expected 1 or 2 (plot.pairs draws more)")
    X, names = drawing.read_samples(X, n_features)
    window = drawing.check_range(range, n_features) or drawing.default_windows(X, [mixture], n_features)
    bins = drawing.check_bins(bins, X)
    ax = drawing.own_axes(ax)
    fresh = not ax.has_data()
    if n_features == 1:
        peaks = [drawing.draw_histogram(ax, X, window[0], bins)]
        peaks.append(drawing.fill_components(ax, mixture, window[0]))
        return drawing.finish_curves(ax, fresh, window[0], peaks, names[0])
    if X is not None:
        shown = drawing.subsample(X, MANY)
        label = drawing.count_label(X, window, len(shown))
        drawing.draw_samples(ax, shown, drawing.component_colors(mixture, shown), label)
    drawing.draw_ellipses(ax, mixture.means_, drawing.covariance_matrices(mixture), mixture.weights_)
    return drawing.finish_plane(ax, fresh, window, names, ellipses=True)


def pairs(mixture, X, *, features=None, max_points=5000):
    """Draw a mixture of any number of features two at a time.

    On the diagonal the marginal densities over histograms of all samples, off it the samples, coloured by
    their most probable component, and the components' ellipses at 1 and 2 standard deviations. A marginal of
    a mixture is the mixture of the sub-blocks of its means and covariances.

    Parameters
    ----------
    mixture : fitted mixture of Gaussians
    X : array_like, shape (n_samples, n_features)
    features : sequence of n_features str, optional
        Names for the axes; by default the columns' names of `X` if it has them.
    max_points : int
        Samples drawn in a scatter; of more, a random subset (always the same one).

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (n_features, n_features)
        Of a new figure.

    Raises
    ------
    ValueError, TypeError
        A bad argument, which the message names.
    NotFittedError, ImportError
        `mixture` is not fitted; matplotlib is missing.

    Examples
    --------
    >>> import gaussum, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> gaussum.plot.pairs(gaussum.GaussianMixture(1).fit(X), X).shape
    (3, 3)
    """
    drawing.check_density(mixture, "mixture", X)
    d = drawing.check_mixture(mixture, "mixture")
    max_points = check_integer(max_points, "max_points", minimum=1)
    X, names = drawing.read_samples(X, d, required=True)
    if features is not None:
        if isinstance(features, str) or len(features) != d:
            raise ValueError(f"features is {features!r}; expected a sequence of {d} names, one a feature")
        names = [str(name) for name in features]
    windows = drawing.default_windows(X, [mixture], d)
    covariances = drawing.covariance_matrices(mixture)
    shown = drawing.subsample(X, max_points)
    colors = drawing.component_colors(mixture, shown)
    side = min(1.2 + 2.3 * d, 30.0)
    figure, grid = drawing.pyplot().subplots(d, d, figsize=(side, side), squeeze=False, layout="constrained")
    for (row, column), ax in np.ndenumerate(grid):
        if row == column:
            marginal = mixture.weights_, mixture.means_[:, row], np.sqrt(covariances[:, row, row])
            drawing.draw_histogram(ax, X[:, [row]], windows[row], min(drawing.check_bins(None, X), 40))
            x = drawing.curve_points(windows[row], marginal)
            parts = drawing.normal_curves(x, *marginal)
            for k, part in enumerate(parts):
                ax.fill_between(x, part, color=COLORS[k % len(COLORS)], alpha=0.4, lw=0,
                                label=f"component {k}: {mixture.weights_[k]:.1%}")
            ax.plot(x, parts.sum(axis=0), color=INK, lw=1.3, label="density")
            ax.set_ylim(0, None)
            ax.set_yticks([])  # heights differ in unit from the row's other axes
        else:
            block = [column, row]
            drawing.draw_samples(ax, shown[:, block], colors)
            blocks = covariances[:, block][:, :, block]
            drawing.draw_ellipses(ax, mixture.means_[:, block], blocks, mixture.weights_)
            ax.set_ylim(windows[row])
        ax.set_xlim(windows[column])
        ax.spines[["top", "right"]].set_visible(False)
        corner = row == 0 and column == d - 1 > 0  # the first row's heights are read on its far side
        if corner:
            ax.yaxis.tick_right()
            ax.spines[["left", "right"]].set_visible(False)
            ax.spines["right"].set_visible(True)
        ax.tick_params(labelbottom=row == d - 1, labelleft=column == 0 and row != 0, labelright=corner,
                       labelsize="small")
        if row == d - 1:
            ax.set_xlabel(names[column])
        if column == 0 and d > 1:
            ax.set_ylabel(names[row])
    figure.align_labels()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(2, min(len(handles), 2 * d - 1)),
                  frameon=False, fontsize="small", title=ELLIPSES if d > 1 else None, title_fontsize="small")
    return grid


def criteria(result, criteria=("bic", "aic"), ax=None):
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
        styles = {}
        for t, kind in enumerate(types):
            style = i if len(names) > 1 else t // len(COLORS)
            styles[kind] = dict(ls=DASHES[style % len(DASHES)], marker=MARKERS[style % len(MARKERS)], ms=5.5, lw=1.6,
                                color=COLORS[(t if several else i) % len(COLORS)])
        key, = ax.plot([], [], **styles[types[0]] | ({"color": INK} if several else {}))
        best = drawing.draw_criterion(ax, rows[name], name, types, styles)
        chosen = f"{best['n_components']}" + (f", {best['covariance_type']}" if several else "")
        key.set_label(f"{TITLES[name]}: best {chosen}")
    for kind in types if several else ():
        look = styles[kind] if len(names) == 1 else {"color": styles[kind]["color"], "lw": 4}
        ax.plot([], [], label=kind, **look)
    _explain_marks(ax, rows, names)
    ax.xaxis.get_major_locator().set_params(integer=True)
    larger = names[0] in LARGER_IS_BETTER
    label = "mean log-likelihood (unseen samples)" if larger else "criterion (smaller is better)"
    ax.set(xlabel="number of components", ylabel=label)
    ax.margins(y=0.08)
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    if len(types) > len(COLORS):
        values = [row[name] for name in names for row in rows[name]]
        ax.set_ylim(drawing.near_best(values, larger))
    ax.set_ylim(ax.get_ylim())
    return drawing.finish(ax)


def selection(result, *, n_top=8):
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
    panels = grid.ravel()
    for ax in panels[n_panels:]:
        ax.remove()
    panels = panels[:n_panels]
    for ax, name in zip(panels, finite, strict=False):
        best = drawing.draw_criterion(ax, rows[name], name, types, styles)
        chosen = f"{best['n_components']}" + (f", {best['covariance_type']}" if len(types) > 1 else "")
        ax.set_title(f"{TITLES[name]}: {chosen}", fontsize="medium")
        ax.set_ylim(drawing.near_best([row[name] for row in rows[name]], name in LARGER_IS_BETTER))
        ax.xaxis.get_major_locator().set_params(integer=True)
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


def bootstrap(test, *, axes=None):
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
    axes = np.ravel(axes)
    if len(axes) != n:
        raise ValueError(f"axes holds {len(axes)}; expected {n}, one a hypothesis")
    for ax, row, replicates in zip(axes, test.table, test.replicates, strict=True):
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
    return axes


def entropy(merging, *, ax=None):
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
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="number of clusters", ylabel="entropy of the classification (nats)")
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    return drawing.finish(ax)


def _table(result):
    table = getattr(result, "table", result)
    if not isinstance(table, (list, tuple)) or not all(isinstance(row, dict) for row in table):
        raise TypeError(f"result is {shape_name(result)}; expected a SelectionResult or its table")
    return table


def _rows(result, names):
    """The rows of a table that have a finite value, by criterion."""
    rows = {name: [row for row in _table(result) if math.isfinite(row.get(name, math.nan))] for name in names}
    for name in names:
        if not rows[name]:
            raise ValueError(f"result holds no finite {name!r}; expected at least one fit that has it")
    return rows


def _explain_marks(ax, rows, names):
    ax.plot([], [], ls="", marker="*", ms=11, color="white", mec=INK, label="best")
    shown = [row for name in names for row in rows[name]]
    if not all(row.get("converged", True) for row in shown):
        ax.plot([], [], ls="", marker="o", ms=5.5, color=INK, mfc="white", label="not converged")
    if any(row.get("spurious") for row in shown):
        ax.plot([], [], ls="", marker="x", ms=9, mew=1.8, color=INK, label="spurious optimum")


def outliers(estimator, X, *, threshold=None, true_outliers=None, ax=None):
    """Mark the samples whose log density lies below a threshold.

    One feature: log density against value. Two: the samples in the plane, with the threshold's contour. More:
    log density against the sample's index. The axes reach far, but not without end: samples beyond them are
    drawn on their edge, and counted in the legend.

    Parameters
    ----------
    estimator : fitted OutlierDetector or density
    X : array_like, shape (n_samples, n_features) or (n_samples,)
    threshold : float, optional
        A log density; samples below it are outliers. The default is the detector's `offset_`.
    true_outliers : array_like of int, optional
        Indices of the true outliers; then detected, missed and spurious ones are told apart and counted.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        A density without `threshold`, indices outside `X`, or another bad argument, which the message names.
    NotFittedError, ImportError
        `estimator` is not fitted; matplotlib is missing.

    Examples
    --------
    >>> import gaussum
    >>> X = [0.0, 0.1, 0.3, 0.2, 2.5]
    >>> kde = gaussum.KernelDensity(0.5).fit(X[:4])
    >>> [t.get_text() for t in gaussum.plot.outliers(kde, X, threshold=-5).get_legend().get_texts()]
    ['ordinary (4)', 'outliers (1)', 'threshold -5']
    """
    d = drawing.check_density(estimator, "estimator", X)
    if threshold is None:
        threshold = getattr(estimator, "offset_", None)
        if threshold is None:
            raise ValueError("threshold is None and estimator has no offset_; expected a log density")
    threshold = check_number(threshold, "threshold")
    names = drawing.feature_names(X, d)
    X, _ = drawing.read_samples(X, d, required=True)
    truth = drawing.check_indices(true_outliers, len(X))
    scores = np.asarray(estimator.score_samples(X), dtype=np.float64)
    flagged = scores < threshold

    if d == 2:
        across, up = X.T
        xlim, ylim = drawing.default_windows(X, [estimator], 2, reach=10.0)
    else:
        across, up = X[:, 0] if d == 1 else np.arange(len(X)), scores
        xlim = drawing.default_windows(across[:, np.newaxis], [], 1, reach=10.0)[0]
        top, bottom = max(scores.max(), threshold), min(scores.min(), threshold)
        floor = threshold - 3 * max(top - threshold, 1.0)  # a far outlier must not flatten the rest
        pad = 0.05 * (top - max(bottom, floor)) or 0.5
        ylim = floor if bottom < floor else bottom - pad, top + pad
    points = np.column_stack([np.clip(across, *xlim), np.clip(up, *ylim)])
    n_clipped = np.count_nonzero((points != np.column_stack([across, up])).any(axis=1))

    ax = drawing.own_axes(ax)
    known = truth if truth is not None else np.zeros(len(X), dtype=bool)
    ordinary = np.flatnonzero(~flagged & ~known)
    shown = points[drawing.subsample(ordinary, MANY)]
    ax.scatter(*shown.T, s=drawing.point_size(len(shown)), color=GREY, alpha=0.55, lw=0,
               rasterized=len(shown) > 2000, label=f"ordinary ({len(ordinary):,})")
    if truth is None:
        groups = [(flagged, "outliers", dict(marker="o", color=COLORS[4], edgecolors="white", s=46))]
    else:
        groups = [
            (flagged & truth, "detected", dict(marker="o", color=COLORS[4], edgecolors="white", s=46)),
            (~flagged & truth, "missed", dict(marker="v", facecolors="white", edgecolors=COLORS[0], s=50)),
            (flagged & ~truth, "spurious", dict(marker="X", color=COLORS[3], edgecolors=INK, s=56)),
        ]
    for z, (group, name, style) in enumerate(groups):
        style["s"] *= float(np.clip(12 / math.sqrt(group.sum() + 1), 0.3, 1.0))
        ax.scatter(*points[group].T, lw=1.4 if name == "missed" else 0.6, zorder=3 + z, clip_on=False,
                   label=f"{name} ({np.count_nonzero(group):,})", **style)
    line = dict(color=INK, ls="--", lw=1.1)
    if d == 2:
        gx, gy, values = drawing.evaluate_plane(estimator, (xlim, ylim))
        if values.min() < threshold < values.max():
            ax.contour(gx, gy, values, levels=[threshold], colors=INK, linestyles="--", linewidths=1.1)
        ax.plot([], [], label=f"threshold {threshold:.4g}", **line)
    else:
        ax.axhline(threshold, label=f"threshold {threshold:.4g}", **line)
        ax.axhspan(ylim[0], threshold, color=COLORS[4], alpha=0.05, lw=0)
    if n_clipped:
        ax.plot([], [], ls="", label=f"{n_clipped:,} beyond the axes, drawn on the edge")
    ax.set(xlim=xlim, ylim=ylim, xlabel=names[0] if d <= 2 else "sample index",
           ylabel=names[1] if d == 2 else "log density")
    return drawing.finish(ax)


def compare(estimators, X=None, *, bins=None, range=None, ax=None):
    """Draw several univariate densities as curves over one histogram.

    Parameters
    ----------
    estimators : dict of str to fitted density
        Legend labels and univariate densities, drawn in this order.
    X, bins, range, ax
        As in `density`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        `estimators` is empty, no dict, or holds a density of several features; another bad argument.
    NotFittedError, ImportError
        One of `estimators` is not fitted; matplotlib is missing.

    Examples
    --------
    >>> import gaussum
    >>> X = [0.0, 0.1, 0.3, 4.8, 5.0, 5.1]
    >>> fits = {"narrow": gaussum.KernelDensity(0.2).fit(X), "wide": gaussum.KernelDensity(1.0).fit(X)}
    >>> [line.get_label() for line in gaussum.plot.compare(fits, X).lines]
    ['narrow', 'wide']
    """
    if not hasattr(estimators, "items"):
        raise TypeError(f"estimators is {shape_name(estimators)}; expected a dict of fitted densities")
    if not estimators:
        raise ValueError("estimators is empty; expected at least one fitted density")
    for label, estimator in estimators.items():
        n_features = drawing.check_density(estimator, f"estimators[{label!r}]", X)
        if n_features != 1:
            raise ValueError(f"estimators[{label!r}] has {n_features} features; expected 1")
    X, names = drawing.read_samples(X, 1)
    (window,) = drawing.check_range(range, 1) or drawing.default_windows(X, list(estimators.values()), 1)
    bins = drawing.check_bins(bins, X)
    ax = drawing.own_axes(ax)
    fresh = not ax.has_data()
    peaks = [drawing.draw_histogram(ax, X, window, bins)]
    for i, (label, estimator) in enumerate(estimators.items()):
        color, dash = COLORS[(0, 4, 2, 1, 3, 5, 6, 7)[i % 8]], DASHES[i // 8 % 4]
        peaks.append(drawing.draw_curve(ax, estimator, window, str(label), color, dash))
    return drawing.finish_curves(ax, fresh, window, peaks, names[0])
