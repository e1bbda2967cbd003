"""Pictures of fitted densities with matplotlib (``pip install "gaussum[plot]"``).

Every function draws into `ax`, or into a figure of its own when `ax` is None, and returns the Axes. Titles
are the caller's. Nothing here shows a figure or changes matplotlib's settings. Estimators are known by their
public attributes only, so scikit-learn's mixtures and kernel densities can be drawn too.
"""

import math

import numpy as np
from scipy.special import ndtri

from gaussum.base import NotFittedError, is_fitted, shape_name
from gaussum.validation import check_array, check_choice, check_integer, check_number, check_samples

# Okabe and Ito's colours, safe for colour-blind readers, and two more: component k has colour k everywhere.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#882255", "#999933")
DASHES = ("-", "--", "-.", ":")
INK, PALE, GREY = "#222222", "#DADADA", "#8A8A8A"
REGIONS = (0.5, 0.8, 0.95)
BLUES, GREYS = ("#5B9BC8", "#97C0DE", "#CFE2F0"), ("#A9A9A9", "#C9C9C9", "#E6E6E6")
TITLES = {"bic": "BIC", "aic": "AIC", "aicc": "AICc", "icl": "ICL"}
ELLIPSES = "ellipses: 1 and 2 standard deviations"
MANY = 20_000  # points of a scatter; above it a two-dimensional histogram, or a subsample


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
    n_features = _check_density(estimator, "estimator", X)
    if components:
        _check_mixture(estimator, "estimator")
    if n_features > 2:
        raise ValueError(f"estimator has {n_features} features; expected 1 or 2 (plot.pairs draws more)")
    X, names = _samples(X, n_features)
    window = _check_range(range, n_features) or _windows(X, [estimator], n_features)
    bins = _check_bins(bins, X)
    ax = _axes(ax)
    fresh = not ax.has_data()
    if n_features == 1:
        peaks = [_draw_histogram(ax, X, window[0], bins)]
        color = INK if fresh or not ax.lines else COLORS[(len(ax.lines) - 1) % len(COLORS)]
        peaks.append(_draw_curve(ax, estimator, window[0], label or "density", color))
        if components:
            _fill_components(ax, estimator, window[0])
        return _finish_curves(ax, fresh, window[0], peaks, names[0])
    image = X is not None and len(X) > MANY
    if image:
        _draw_image(ax, X, window)
    _draw_regions(ax, estimator, window, GREYS if components else BLUES, filled=not image, label=label)
    if X is not None and not image:
        _scatter(ax, X, "#333333", _count_label(X, window))
    if components:
        _draw_ellipses(ax, estimator.means_, _covariances(estimator), estimator.weights_, fill=0.0)
    return _finish_plane(ax, fresh, window, names, ellipses=components)


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
    _check_density(mixture, "mixture", X)
    n_features = _check_mixture(mixture, "mixture")
    if n_features > 2:
        raise ValueError(f"mixture has {n_features} features; expected 1 or 2 (plot.pairs draws more)")
    X, names = _samples(X, n_features)
    window = _check_range(range, n_features) or _windows(X, [mixture], n_features)
    bins = _check_bins(bins, X)
    ax = _axes(ax)
    fresh = not ax.has_data()
    if n_features == 1:
        peaks = [_draw_histogram(ax, X, window[0], bins)]
        peaks.append(_fill_components(ax, mixture, window[0]))
        return _finish_curves(ax, fresh, window[0], peaks, names[0])
    if X is not None:
        shown = _subsample(X, MANY)
        _scatter(ax, shown, _component_colors(mixture, shown), _count_label(X, window, len(shown)))
    _draw_ellipses(ax, mixture.means_, _covariances(mixture), mixture.weights_)
    return _finish_plane(ax, fresh, window, names, ellipses=True)


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
    _check_density(mixture, "mixture", X)
    d = _check_mixture(mixture, "mixture")
    max_points = check_integer(max_points, "max_points", minimum=1)
    X, names = _samples(X, d, required=True)
    if features is not None:
        if isinstance(features, str) or len(features) != d:
            raise ValueError(f"features is {features!r}; expected a sequence of {d} names, one a feature")
        names = [str(name) for name in features]
    windows = _windows(X, [mixture], d)
    covariances = _covariances(mixture)
    shown = _subsample(X, max_points)
    colors = _component_colors(mixture, shown)
    side = min(1.2 + 2.3 * d, 30.0)
    figure, grid = _pyplot().subplots(d, d, figsize=(side, side), squeeze=False, layout="constrained")
    for (row, column), ax in np.ndenumerate(grid):
        if row == column:
            marginal = mixture.weights_, mixture.means_[:, row], np.sqrt(covariances[:, row, row])
            _draw_histogram(ax, X[:, [row]], windows[row], min(_check_bins(None, X), 40))
            x = _curve_points(windows[row], marginal)
            parts = _normal_curves(x, *marginal)
            for k, part in enumerate(parts):
                ax.fill_between(x, part, color=COLORS[k % len(COLORS)], alpha=0.4, lw=0,
                                label=f"component {k}: {mixture.weights_[k]:.1%}")
            ax.plot(x, parts.sum(axis=0), color=INK, lw=1.3, label="density")
            ax.set_ylim(0, None)
            ax.set_yticks([])  # heights differ in unit from the row's other axes
        else:
            block = [column, row]
            _scatter(ax, shown[:, block], colors)
            _draw_ellipses(ax, mixture.means_[:, block], covariances[:, block][:, :, block], mixture.weights_)
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
    criteria : sequence of "bic", "aic", "aicc", "icl", or one of them
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        One line a criterion and covariance type; hollow points are fits that had not converged.

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
        raise ValueError("criteria is empty; expected at least one of 'bic', 'aic', 'aicc', 'icl'")
    table = getattr(result, "table", result)
    if not isinstance(table, (list, tuple)) or not all(isinstance(row, dict) for row in table):
        raise TypeError(f"result is {shape_name(result)}; expected a SelectionResult or its table")
    rows = {name: [row for row in table if math.isfinite(row.get(name, math.nan))] for name in names}
    for name in names:
        if not rows[name]:
            raise ValueError(f"result holds no finite {name!r}; expected at least one fit that has it")
    types = list(dict.fromkeys(row["covariance_type"] for row in table))
    ax = _axes(ax)
    for i, name in enumerate(names):
        style = dict(ls=DASHES[i], marker="osD^"[i], ms=5.5, lw=1.6)
        best = min(rows[name], key=lambda row: row[name])
        chosen = f"{best['n_components']}" + (f", {best['covariance_type']}" if len(types) > 1 else "")
        color = INK if len(types) > 1 else COLORS[i]
        ax.plot([], [], color=color, label=f"{TITLES[name]}: best {chosen}", **style)
        for t, covariance_type in enumerate(types):
            line = [r for r in rows[name] if r["covariance_type"] == covariance_type]
            line.sort(key=lambda row: row["n_components"])
            k, y = [r["n_components"] for r in line], [r[name] for r in line]
            color = COLORS[(t if len(types) > 1 else i) % len(COLORS)]
            ax.plot(k, y, color=color, **style)
            pending = [j for j, r in enumerate(line) if not r.get("converged", True)]
            ax.plot([k[j] for j in pending], [y[j] for j in pending], ls="", marker=style["marker"], ms=5.5,
                    color=color, mfc="white", zorder=3)
            if best in line:
                ax.plot(best["n_components"], best[name], marker="*", ms=17, color=color, mec=INK, zorder=4)
    for t, covariance_type in enumerate(types if len(types) > 1 else ()):
        ax.plot([], [], color=COLORS[t % len(COLORS)], lw=4, label=covariance_type)
    ax.plot([], [], ls="", marker="*", ms=11, color="white", mec=INK, label="best (smallest)")
    if not all(row.get("converged", True) for name in names for row in rows[name]):
        ax.plot([], [], ls="", marker="o", ms=5.5, color=INK, mfc="white", label="not converged")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="number of components", ylabel="criterion (smaller is better)")
    ax.margins(y=0.08)
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    ax.set_ylim(ax.get_ylim())
    return _finish(ax)


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
    d = _check_density(estimator, "estimator", X)
    if threshold is None:
        threshold = getattr(estimator, "offset_", None)
        if threshold is None:
            raise ValueError("threshold is None and estimator has no offset_; expected a log density")
    threshold = check_number(threshold, "threshold")
    names = _names(X, d)
    X, _ = _samples(X, d, required=True)
    truth = _check_indices(true_outliers, len(X))
    scores = np.asarray(estimator.score_samples(X), dtype=np.float64)
    flagged = scores < threshold

    if d == 2:
        across, up = X.T
        xlim, ylim = _window(across, reach=10.0), _window(up, reach=10.0)
    else:
        across, up = X[:, 0] if d == 1 else np.arange(len(X)), scores
        xlim = _window(across, reach=10.0)
        top, bottom = max(scores.max(), threshold), min(scores.min(), threshold)
        floor = threshold - 3 * max(top - threshold, 1.0)  # a far outlier must not flatten the rest
        pad = 0.05 * (top - max(bottom, floor))
        ylim = floor if bottom < floor else bottom - pad, top + pad
    if not xlim[0] < xlim[1]:
        xlim = xlim[0] - 0.5, xlim[1] + 0.5
    if not ylim[0] < ylim[1]:
        ylim = ylim[0] - 0.5, ylim[1] + 0.5
    points = np.column_stack([np.clip(across, *xlim), np.clip(up, *ylim)])
    n_clipped = np.count_nonzero((points != np.column_stack([across, up])).any(axis=1))

    ax = _axes(ax)
    known = truth if truth is not None else np.zeros(len(X), dtype=bool)
    ordinary = np.flatnonzero(~flagged & ~known)
    shown = points[_subsample(ordinary, MANY)]
    ax.scatter(*shown.T, s=_point_size(len(shown)), color=GREY, alpha=0.55, lw=0,
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
        gx, gy, values = _plane(estimator, (xlim, ylim))
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
    return _finish(ax)


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
        n_features = _check_density(estimator, f"estimators[{label!r}]", X)
        if n_features != 1:
            raise ValueError(f"estimators[{label!r}] has {n_features} features; expected 1")
    X, names = _samples(X, 1)
    (window,) = _check_range(range, 1) or _windows(X, list(estimators.values()), 1)
    bins = _check_bins(bins, X)
    ax = _axes(ax)
    fresh = not ax.has_data()
    peaks = [_draw_histogram(ax, X, window, bins)]
    for i, (label, estimator) in enumerate(estimators.items()):
        color, dash = COLORS[(0, 4, 2, 1, 3, 5, 6, 7)[i % 8]], DASHES[i // 8 % 4]
        peaks.append(_draw_curve(ax, estimator, window, str(label), color, dash))
    return _finish_curves(ax, fresh, window, peaks, names[0])


# ---- what is drawn -----------------------------------------------------------------------------------------


def _draw_histogram(ax, X, window, bins):
    """Bars whose area is the fraction of all samples, also of those outside; returns the highest."""
    if X is None:
        return 0.0
    counts, edges = np.histogram(X[:, 0], bins=bins, range=window)
    heights = counts / (len(X) * np.diff(edges))
    ax.stairs(heights, edges, fill=True, color=PALE, label=_count_label(X[:, :1], [window]))
    return heights.max()


def _draw_curve(ax, estimator, window, label, color, dash="-"):
    x = _curve_points(window, _univariate_parts(estimator), getattr(estimator, "bandwidth_", None))
    y = np.exp(estimator.score_samples(x[:, np.newaxis]))
    ax.plot(x, y, color=color, ls=dash, lw=1.8, label=label)
    return y.max()


def _fill_components(ax, mixture, window):
    weights, means, scales = parts = _univariate_parts(mixture)
    x = _curve_points(window, parts)
    curves = _normal_curves(x, *parts)
    for k, curve in enumerate(curves):
        digits = int(np.clip(math.floor(math.log10(abs(means[k]) / scales[k] + 1e-9)) + 3, 1, 12))
        label = f"component {k}: {weights[k]:.1%}, mean {means[k]:.{digits}g}, s.d. {scales[k]:.3g}"
        color = COLORS[k % len(COLORS)]
        face, hatch = (color, 0.4), "//" if k >= len(COLORS) else None
        ax.fill_between(x, curve, facecolor=face, edgecolor=color, lw=1.2, hatch=hatch, label=label)
    return curves.max()


def _draw_ellipses(ax, means, covariances, weights, fill=0.25):
    from matplotlib.patches import Ellipse

    for k, (mean, covariance, weight) in enumerate(zip(means, covariances, weights, strict=True)):
        variances, axes = np.linalg.eigh(covariance)
        height, width = 2 * np.sqrt(np.maximum(variances, 0.0))
        angle = math.degrees(math.atan2(axes[1, 1], axes[0, 1]))
        color, dash = COLORS[k % len(COLORS)], DASHES[k // len(COLORS) % 4]
        for size, alpha in (1, fill), (2, 0.4 * fill):
            label = f"component {k}: {weight:.1%}" if size == 1 else None
            ax.add_patch(Ellipse(mean, size * width, size * height, angle=angle, facecolor=(color, alpha),
                                 edgecolor=color, lw=1.4, ls=dash, zorder=2.5, label=label))
        ax.plot(*mean, marker="+", ms=8, mew=1.6, color=INK, zorder=2.6)


def _draw_regions(ax, estimator, window, shades, *, filled, label):
    """Smallest regions of given probability: sort the grid's cells by density and add them up."""
    gx, gy, log_density = _plane(estimator, window)
    p = np.exp(log_density)
    cells = np.sort(p, axis=None)[::-1]
    mass = np.cumsum(cells) * (gx[1] - gx[0]) * (gy[1] - gy[0])
    mass /= max(mass[-1], 1.0)
    wanted, inner = [], math.inf
    for r, shade in zip(REGIONS, shades, strict=True):
        level = cells[np.searchsorted(mass, r)] if r < mass[-1] else 0.0
        if 0 < level < inner:
            wanted.insert(0, (inner := level, r, shade))
    if not wanted:
        return
    levels, _, colors = zip(*wanted, strict=True)
    if filled:
        ax.contourf(gx, gy, p, levels=[*levels, max(p.max(), levels[-1]) * 1.01], colors=colors, zorder=0.5)
    else:  # over an image of the samples
        dashes = [DASHES[REGIONS.index(r)] for _, r, _ in wanted]
        ax.contour(gx, gy, p, levels=levels, colors=INK, linestyles=dashes, linewidths=1.2)
    for _, r, color in wanted[::-1]:
        line = dict(ls=DASHES[REGIONS.index(r)], lw=1.2, color=INK)
        patch = dict(ls="", marker="s", ms=9, color=color)
        ax.plot([], [], label=f"{label or 'density'}: densest {r:.0%}", **(patch if filled else line))


def _draw_image(ax, X, window):
    counts, gx, gy = np.histogram2d(*X.T, bins=120, range=window)
    shade = np.ma.log(np.ma.masked_equal(counts.T, 0))
    darkest = 1.6 * shade.max() + 1.0  # keeps the lines on top readable
    ax.pcolormesh(gx, gy, shade, cmap="Blues", vmin=-1.0, vmax=darkest, rasterized=True, zorder=0.6)
    ax.plot([], [], ls="", marker="s", ms=9, color=BLUES[1], label=_count_label(X, window))


def _scatter(ax, X, colors, label=None):
    if label:
        ax.scatter([], [], s=16, color=GREY, label=label)
    ax.scatter(*X.T, s=_point_size(len(X)), c=colors, alpha=0.6, lw=0, rasterized=len(X) > 2000)


# ---- numbers behind the drawing ----------------------------------------------------------------------------


def _covariances(mixture):
    """Covariance matrices, shape (n_components, n_features, n_features), of any covariance type."""
    n_components, d = np.shape(mixture.means_)
    c = np.asarray(mixture.covariances_)
    match mixture.covariance_type:
        case "tied":
            return np.broadcast_to(c, (n_components, d, d))
        case "diag":
            return c[:, :, np.newaxis] * np.eye(d)
        case "spherical":
            return c[:, np.newaxis, np.newaxis] * np.eye(d)
    return c


def _univariate_parts(estimator):
    """Weights, means and standard deviations of a univariate mixture; None for another density."""
    if not hasattr(estimator, "means_"):
        return None
    return estimator.weights_, estimator.means_[:, 0], np.sqrt(_covariances(estimator)[:, 0, 0])


def _normal_curves(x, weights, means, scales):
    z = (x - means[:, np.newaxis]) / scales[:, np.newaxis]
    return (weights / (scales * math.sqrt(2 * math.pi)))[:, np.newaxis] * np.exp(-0.5 * z * z)


def _curve_points(window, parts, bandwidth=None):
    """Where to evaluate a curve: evenly, finer for a small bandwidth, and closely about narrow components."""
    low, high = window
    n_points = 1000
    if bandwidth is not None:
        n_points = int(np.clip(8 * (high - low) / np.min(bandwidth), 1000, 8000))
    x = np.linspace(low, high, n_points)
    if parts is not None:
        near = (parts[1] + np.linspace(-4, 4, 49)[:, np.newaxis] * parts[2]).ravel()
        x = np.union1d(x, near[(near > low) & (near < high)])
    return x


def _plane(estimator, window, n_points=150):
    """Log densities on a grid, shape (n_points, n_points) with rows along the second feature."""
    gx, gy = (np.linspace(*limits, n_points) for limits in window)
    points = np.column_stack([axis.ravel() for axis in np.meshgrid(gx, gy)])
    return gx, gy, np.asarray(estimator.score_samples(points)).reshape(n_points, n_points)


def _window(values, weights=None, reach=0.0):
    """Limits that leave out but a few far values: 99 %, and three interquartile ranges about the middle half.

    With `reach`, that many times its own width more on both sides, as far as there are values.
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(values)
    mass = np.cumsum(np.ones(len(values)) if weights is None else weights[order])
    low, q1, q3, high = np.interp([0.005, 0.25, 0.75, 0.995], mass / mass[-1], values[order])
    low, high = min(low, q1 - 3 * (q3 - q1)), max(high, q3 + 3 * (q3 - q1))
    low, high = low - reach * (high - low) if reach else low, high + reach * (high - low) if reach else high
    least, most = values[order[0]], values[order[-1]]
    if most - least > 1.6 * (high - low):  # to the outermost values within, as whiskers of a box plot go
        inside = values[(values >= low) & (values <= high)]
        least, most = inside.min(), inside.max()
    pad = 0.08 * (most - least)
    return least - pad, most + pad


def _windows(X, estimators, n_features):
    """Default limits, one pair a feature: of the samples, or of the densities where there are none."""
    limits = []
    for j in np.arange(n_features):
        low, high = math.nan, math.nan
        if X is not None:
            low, high = _window(X[:, j])
            spread = max(2.5 * _bandwidth(e, j) for e in estimators)
            spread = min(spread, 0.5 * (high - low)) if low < high else spread
            low, high = low - spread, high + spread
        if not low < high:  # no samples, or all alike
            own = [pair for e in estimators if (pair := _own_window(e, j)) is not None]
            if not own and X is None:
                raise ValueError("X and range are None; expected one of them for such a density")
            own += [(low, high)] if X is not None else []
            low, high = min(pair[0] for pair in own), max(pair[1] for pair in own)
        if not low < high:
            low, high = low - max(0.5, 0.01 * abs(low)), high + max(0.5, 0.01 * abs(high))
        limits.append((float(low), float(high)))
    return limits


def _own_window(estimator, j):
    if hasattr(estimator, "means_"):
        z = ndtri((np.arange(200) + 0.5) / 200)[:, np.newaxis]
        spread = estimator.means_[:, j] + z * np.sqrt(_covariances(estimator)[:, j, j])
        return _window(spread.ravel(), np.tile(np.asarray(estimator.weights_) / len(z), len(z)))
    if hasattr(estimator, "sources_"):
        low, high = _window(estimator.sources_[:, j], estimator.source_weights_)
        spread = 2.5 * _bandwidth(estimator, j)
        return low - spread, high + spread
    return _own_window(estimator.estimator_, j) if hasattr(estimator, "estimator_") else None


def _bandwidth(estimator, j):
    h = np.ravel(getattr(getattr(estimator, "estimator_", estimator), "bandwidth_", 0.0))
    return float(h[min(j, len(h) - 1)])


def _subsample(rows, max_points):
    if len(rows) <= max_points:
        return rows
    return rows[np.sort(np.random.default_rng(0).choice(len(rows), max_points, replace=False))]


def _component_colors(mixture, X):
    return np.array(COLORS)[np.asarray(mixture.predict(X)) % len(COLORS)]


def _point_size(n_points):
    return float(np.clip(500 / math.sqrt(max(n_points, 1)), 4, 20))


def _count_label(X, window, n_shown=None):
    low, high = np.transpose(window)
    outside = np.count_nonzero(((X < low) | (X > high)).any(axis=1))
    shown = f", {n_shown:,} shown" if n_shown not in (None, len(X)) else ""
    return f"samples (n = {len(X):,}{shown}" + (f", {outside:,} beyond the axes)" if outside else ")")


# ---- checks of arguments -----------------------------------------------------------------------------------


def _check_density(estimator, name, X):
    """The number of features of a fitted density."""
    if not callable(getattr(estimator, "score_samples", None)) or isinstance(estimator, type):
        raise TypeError(f"{name} is {shape_name(estimator)}; expected a fitted density, with score_samples")
    if hasattr(estimator, "fit") and not is_fitted(estimator):
        raise NotFittedError(f"{name} is not fitted yet; call fit of this {type(estimator).__name__} first")
    n_features = getattr(estimator, "n_features_in_", None)
    if n_features is None and hasattr(estimator, "means_"):
        n_features = np.shape(estimator.means_)[1]
    if n_features is None:
        n_features = 1 if X is None or np.ndim(X) < 2 else np.shape(X)[1]
    return int(n_features)


def _check_mixture(mixture, name):
    for attribute in ("weights_", "means_", "covariances_", "covariance_type"):
        if not hasattr(mixture, attribute):
            what = shape_name(mixture)
            raise TypeError(f"{name} is {what}, without {attribute}; expected a fitted Gaussian mixture")
    return np.shape(mixture.means_)[1]


def _samples(X, n_features, *, required=False):
    names = _names(X, n_features)
    if X is not None or required:
        X = check_samples(X, n_features=n_features)
    return X, names


def _names(X, n_features):
    """Names for the axes: those of a data frame's columns, or plain ones."""
    columns = getattr(X, "columns", None)
    if columns is None and getattr(X, "name", None) is not None:
        columns = [X.name]
    if columns is not None and len(columns) == n_features:
        return [str(c) for c in columns]
    return ["value"] if n_features == 1 else [f"feature {j}" for j in np.arange(n_features)]


def _check_bins(bins, X):
    if bins is not None:
        return check_integer(bins, "bins", minimum=1)
    return 80 if X is None else max(5, min(80, round(3 * math.sqrt(len(X)))))


def _check_range(limits, n_features):
    """Pairs of limits, one a feature; None for None."""
    if limits is None:
        return None
    shape = (2,) if n_features == 1 and np.ndim(limits) == 1 else (n_features, 2)
    limits = check_array(limits, "range", shape).reshape(n_features, 2)
    if not (limits[:, 0] < limits[:, 1]).all():
        raise ValueError(f"range is {limits.tolist()}; expected low < high")
    return [(float(low), float(high)) for low, high in limits]


def _check_indices(indices, n_samples):
    """A mask of the samples with these indices; None for None."""
    if indices is None:
        return None
    array = np.asarray(indices)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"true_outliers holds {array.dtype} values; expected integer indices of samples")
    if array.ndim != 1:
        raise ValueError(f"true_outliers has shape {array.shape}; expected one dimension, indices of samples")
    if array.size and (array.min() < 0 or array.max() >= n_samples):
        bad = array[(array < 0) | (array >= n_samples)][0]
        raise ValueError(f"true_outliers holds {bad}; expected indices from 0 to {n_samples - 1}")
    mask = np.zeros(n_samples, dtype=bool)
    mask[array.astype(np.intp)] = True
    return mask


# ---- axes --------------------------------------------------------------------------------------------------


def _pyplot():
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('gaussum.plot needs matplotlib: pip install "gaussum[plot]"') from error
    return plt


def _axes(ax):
    return _pyplot().subplots(figsize=(7.2, 4.6), layout="constrained")[1] if ax is None else ax


def _finish_curves(ax, fresh, window, peaks, name):
    bars, *curves = peaks
    # one lonely spike, of the histogram or of the density, must not flatten all the rest
    top = 1.06 * (max(min(bars, 3 * max(curves)), min(max(curves), 3 * bars)) if bars else max(curves))
    if not fresh:
        window = min(window[0], ax.get_xlim()[0]), max(window[1], ax.get_xlim()[1])
        top = max(top, ax.get_ylim()[1])
    ax.set(xlim=window, ylim=(0, top), xlabel=name, ylabel="density")
    return _finish(ax)


def _finish_plane(ax, fresh, window, names, *, ellipses):
    if not fresh:
        seen = ax.get_xlim(), ax.get_ylim()
        window = [(min(w[0], s[0]), max(w[1], s[1])) for w, s in zip(window, seen, strict=True)]
    ax.set(xlim=window[0], ylim=window[1], xlabel=names[0], ylabel=names[1])
    return _finish(ax, title=ELLIPSES if ellipses else None)


def _finish(ax, title=None):
    """Legend where it covers nothing: a free place, or else room above."""
    ax.spines[["top", "right"]].set_visible(False)
    figure = ax.figure.canvas.figure
    if figure.get_layout_engine() is not None:
        figure.get_layout_engine().execute(figure)  # or the legend is measured against axes that will grow
    legend = ax.legend(loc="upper right", fontsize="small", title=title, title_fontsize="small",
                       framealpha=0.85, edgecolor="none", alignment="left")
    extent = legend.get_window_extent()
    pad = 0.02
    w, h = extent.width / ax.bbox.width + pad, extent.height / ax.bbox.height + 2 * pad
    x, y = _drawn(ax).T
    sides = {"right": 1 - w, "left": 0.0, "center": (1 - w) / 2}
    heights = {"upper": 1 - h, "lower": 0.0, "center": (1 - h) / 2}
    for vertical, bottom in heights.items():
        for side, left in sides.items():
            if not ((x >= left) & (x <= left + w) & (y >= bottom) & (y <= bottom + h)).any():
                legend.set_loc("center" if vertical == side else f"{vertical} {side}")
                return ax
    # nowhere: raise the top above the lowest skyline
    skyline = {side: y[(x >= left) & (x <= left + w)].max(initial=0.0) for side, left in sides.items()}
    side = min(skyline, key=skyline.get)
    low, high = ax.get_ylim()
    legend.set_loc(f"upper {side}")
    ax.set_ylim(low, low + (high - low) * max(1.0, skyline[side] / max(1 - h, 0.3)))
    return ax


def _drawn(ax):
    """Points of everything in the axes, in fractions of their width and height, cut at the limits."""
    found = [np.empty((0, 2))]
    for line in [*ax.lines, *ax.patches]:
        path = line.get_path()
        if len(path.vertices):
            path = path if len(path.vertices) > 200 else path.interpolated(40)
            found.append(line.get_transform().transform(path.vertices))
    for collection in ax.collections:
        if hasattr(collection, "get_coordinates"):  # an image: its filled cells
            corners = np.asarray(collection.get_coordinates())[:-1, :-1]
            filled = ~np.ma.getmaskarray(collection.get_array()).reshape(corners.shape[:2])
            found.append(collection.get_transform().transform(corners[filled]))
            continue
        offsets = np.ma.filled(collection.get_offsets(), np.nan)
        if np.any(offsets):  # a scatter
            found.append(collection.get_offset_transform().transform(offsets))
        else:
            found += [collection.get_transform().transform(path.vertices) for path in collection.get_paths()]
    points = ax.transAxes.inverted().transform(np.concatenate(found))
    return points[((points >= 0) & (points <= 1)).all(axis=1)]
