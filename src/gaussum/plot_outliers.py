"""Pictures of outliers: samples whose log density lies below a threshold."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussum import drawing
from gaussum.drawing import COLORS, GREY, INK, MANY, Density
from gaussum.plot_arguments import check_density, check_indices, feature_names
from gaussum.typing import ArrayLike, MaskArray
from gaussum.validation import check_number, check_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def outliers(
    estimator: Density, X: ArrayLike, *, threshold: float | None = None, true_outliers: ArrayLike | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
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
    d = check_density(estimator, "estimator", X)
    if threshold is None:
        threshold = getattr(estimator, "offset_", None)
        if threshold is None:
            raise ValueError("threshold is None and estimator has no offset_; expected a log density")
    threshold = check_number(threshold, "threshold")
    names = feature_names(X, d)
    X = check_samples(X, n_features=d)
    truth = check_indices(true_outliers, len(X))
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
    ax.scatter(shown[:, 0], shown[:, 1], s=drawing.point_size(len(shown)), color=GREY, alpha=0.55, lw=0,
               rasterized=len(shown) > 2000, label=f"ordinary ({len(ordinary):,})")
    groups: list[tuple[MaskArray, str, dict[str, Any]]]
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
        ax.scatter(points[group, 0], points[group, 1], lw=1.4 if name == "missed" else 0.6, zorder=3 + z, clip_on=False,
                   label=f"{name} ({np.count_nonzero(group):,})", **style)
    line: dict[str, Any] = dict(color=INK, ls="--", lw=1.1)
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
