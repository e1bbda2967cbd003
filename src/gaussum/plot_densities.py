"""Pictures of densities of one or two features, over their samples; several densities in one picture."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gaussum import drawing
from gaussum.base import shape_name
from gaussum.drawing import BLUES, COLORS, DASHES, GREYS, INK, MANY, Density
from gaussum.plot_arguments import check_bins, check_density, check_mixture, check_range, read_samples
from gaussum.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def density(
    estimator: Density, X: ArrayLike | None = None, *, bins: int | None = None, range: ArrayLike | None = None,
    components: bool = False, label: str | None = None, ax: "Axes | None" = None,
) -> "Axes":
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
    n_features = check_density(estimator, "estimator", X)
    mixture = check_mixture(estimator, "estimator") if components else None
    if n_features > 2:
        raise ValueError(f"estimator has {n_features} features; expected 1 or 2 (plot.pairs draws more)")
    X, names = read_samples(X, n_features)
    window = check_range(range, n_features) or drawing.default_windows(X, [estimator], n_features)
    bins = check_bins(bins, X)
    ax = drawing.own_axes(ax)
    fresh = not ax.has_data()
    if n_features == 1:
        peaks = [drawing.draw_histogram(ax, X, window[0], bins)]
        color = INK if fresh or not ax.lines else COLORS[(len(ax.lines) - 1) % len(COLORS)]
        peaks.append(drawing.draw_curve(ax, estimator, window[0], label or "density", color))
        if mixture is not None:
            drawing.fill_components(ax, mixture, window[0])
        return drawing.finish_curves(ax, fresh, window[0], peaks, names[0])
    image = X if X is not None and len(X) > MANY else None
    if image is not None:
        drawing.draw_image(ax, image, window)
    drawing.draw_regions(ax, estimator, window, GREYS if components else BLUES, filled=image is None, label=label)
    if X is not None and image is None:
        drawing.draw_samples(ax, X, "#333333", drawing.count_label(X, window))
    if mixture is not None:
        covariances = drawing.covariance_matrices(mixture)
        drawing.draw_ellipses(ax, mixture.means_, covariances, mixture.weights_, fill=0.0)
    return drawing.finish_plane(ax, fresh, window, names, ellipses=components)


def compare(
    estimators: Mapping[str, Density], X: ArrayLike | None = None, *, bins: int | None = None,
    range: ArrayLike | None = None, ax: "Axes | None" = None,
) -> "Axes":
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
        n_features = check_density(estimator, f"estimators[{label!r}]", X)
        if n_features != 1:
            raise ValueError(f"estimators[{label!r}] has {n_features} features; expected 1")
    X, names = read_samples(X, 1)
    (window,) = check_range(range, 1) or drawing.default_windows(X, list(estimators.values()), 1)
    bins = check_bins(bins, X)
    ax = drawing.own_axes(ax)
    fresh = not ax.has_data()
    peaks = [drawing.draw_histogram(ax, X, window, bins)]
    for i, (label, estimator) in enumerate(estimators.items()):
        color, dash = COLORS[(0, 4, 2, 1, 3, 5, 6, 7)[i % 8]], DASHES[i // 8 % 4]
        peaks.append(drawing.draw_curve(ax, estimator, window, str(label), color, dash))
    return drawing.finish_curves(ax, fresh, window, peaks, names[0])
