"""Pictures of a mixture's components: curves and ellipses, for all features two at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussum import drawing
from gaussum.drawing import COLORS, ELLIPSES, INK, MANY, Mixture
from gaussum.plot_arguments import check_bins, check_density, check_mixture, check_range, feature_names, read_samples
from gaussum.typing import ArrayLike, NDArray
from gaussum.validation import check_integer, check_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def components(
    mixture: Mixture, X: ArrayLike | None = None, *, bins: int | None = None, range: ArrayLike | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
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
    n_features = check_density(mixture, "mixture", X)
    check_mixture(mixture, "mixture")
    if n_features > 2:
        raise ValueError(f"mixture has {n_features} features; expected 1 or 2 (plot.pairs draws more)")
    X, names = read_samples(X, n_features)
    window = check_range(range, n_features) or drawing.default_windows(X, [mixture], n_features)
    bins = check_bins(bins, X)
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


def pairs(
    mixture: Mixture, X: ArrayLike, *, features: Sequence[str] | None = None, max_points: int = 5000,
) -> NDArray[Any]:
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
    d = check_density(mixture, "mixture", X)
    check_mixture(mixture, "mixture")
    max_points = check_integer(max_points, "max_points", minimum=1)
    names = feature_names(X, d)
    X = check_samples(X, n_features=d)
    if features is not None:
        if isinstance(features, str) or len(features) != d:
            raise ValueError(f"features is {features!r}; expected a sequence of {d} names, one a feature")
        names = [str(name) for name in features]
    windows = drawing.default_windows(X, [mixture], d)
    covariances = drawing.covariance_matrices(mixture)
    shown = drawing.subsample(X, max_points)
    colors = drawing.component_colors(mixture, shown)
    side = min(1.2 + 2.3 * d, 30.0)
    grid: NDArray[Any]
    figure, grid = drawing.pyplot().subplots(d, d, figsize=(side, side), squeeze=False, layout="constrained")
    for (row, column), ax in np.ndenumerate(grid):
        if row == column:
            marginal = mixture.weights_, mixture.means_[:, row], np.sqrt(covariances[:, row, row])
            drawing.draw_histogram(ax, X[:, [row]], windows[row], min(check_bins(None, X), 40))
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
