"""What the pictures of `gaussum.plot` are made of: artists, default limits, and where legends go."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from scipy.special import ndtri

from gaussum.covariance import kernel_type
from gaussum.typing import ArrayLike, FloatArray, NDArray, SampleArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What an axis spans; the weights, means and standard deviations of a univariate mixture.
Window: TypeAlias = tuple[float, float]
Parts: TypeAlias = tuple[FloatArray, FloatArray, FloatArray]

# Okabe and Ito's colours, safe for colour-blind readers, and two more: component k has colour k everywhere.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#882255", "#999933")
DASHES = ("-", "--", "-.", ":")
INK, PALE, GREY = "#222222", "#DADADA", "#8A8A8A"
REGIONS = (0.5, 0.8, 0.95)
BLUES, GREYS = ("#5B9BC8", "#97C0DE", "#CFE2F0"), ("#A9A9A9", "#C9C9C9", "#E6E6E6")
ELLIPSES = "ellipses: 1 and 2 standard deviations"
MANY = 20_000  # points of a scatter; above it a two-dimensional histogram, or a subsample


class Density(Protocol):
    """What can be drawn: a fitted density of this package, of scikit-learn's, or alike."""

    def score_samples(self, X: Any, /) -> FloatArray: ...


class Mixture(Density, Protocol):
    """What components can be drawn of."""

    covariance_type: str
    weights_: FloatArray
    means_: FloatArray

    @property
    def covariances_(self) -> FloatArray: ...

    def predict(self, X: Any, /) -> NDArray[Any]: ...


# ---- what is drawn -----------------------------------------------------------------------------------------


def draw_histogram(ax: "Axes", X: SampleArray | None, window: Window, bins: int) -> float:
    """Bars whose area is the fraction of all samples, also of those outside; returns the highest."""
    if X is None:
        return 0.0
    counts, edges = np.histogram(X[:, 0], bins=bins, range=window)
    heights = counts / (len(X) * np.diff(edges))
    ax.stairs(heights, edges, fill=True, color=PALE, label=count_label(X[:, :1], [window]))
    return float(heights.max())


def draw_curve(ax: "Axes", estimator: Density, window: Window, label: str, color: str, dash: str = "-") -> float:
    x = curve_points(window, _univariate_parts(estimator), getattr(estimator, "bandwidth_", None))
    y = np.exp(estimator.score_samples(x[:, np.newaxis]))
    ax.plot(x, y, color=color, ls=dash, lw=1.8, label=label)
    return float(y.max())


def fill_components(ax: "Axes", mixture: Mixture, window: Window) -> float:
    weights, means, scales = parts = _mixture_parts(mixture)
    x = curve_points(window, parts)
    curves = normal_curves(x, *parts)
    for k, curve in enumerate(curves):
        digits = int(np.clip(math.floor(math.log10(abs(means[k]) / scales[k] + 1e-9)) + 3, 1, 12))
        label = f"component {k}: {weights[k]:.1%}, mean {means[k]:.{digits}g}, s.d. {scales[k]:.3g}"
        color = COLORS[k % len(COLORS)]
        face, hatch = (color, 0.4), "//" if k >= len(COLORS) else None
        ax.fill_between(x, curve, facecolor=face, edgecolor=color, lw=1.2, hatch=hatch, label=label)
    return float(curves.max())


def draw_ellipses(
    ax: "Axes", means: FloatArray, covariances: FloatArray, weights: FloatArray, fill: float = 0.25,
) -> None:
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


def draw_regions(
    ax: "Axes", estimator: Density, window: Sequence[Window], shades: Sequence[str], *, filled: bool,
    label: str | None,
) -> None:
    """Smallest regions of given probability: sort the grid's cells by density and add them up."""
    gx, gy, log_density = evaluate_plane(estimator, window)
    p = np.exp(log_density)
    cells = np.sort(p, axis=None)[::-1]
    mass = np.cumsum(cells) * (gx[1] - gx[0]) * (gy[1] - gy[0])
    mass /= max(mass[-1], 1.0)
    wanted: list[tuple[float, float, str]] = []
    inner = math.inf
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
        line: dict[str, Any] = dict(ls=DASHES[REGIONS.index(r)], lw=1.2, color=INK)
        patch: dict[str, Any] = dict(ls="", marker="s", ms=9, color=color)
        ax.plot([], [], label=f"{label or 'density'}: densest {r:.0%}", **(patch if filled else line))


def draw_image(ax: "Axes", X: SampleArray, window: Sequence[Window]) -> None:
    counts, gx, gy = np.histogram2d(X[:, 0], X[:, 1], bins=120, range=window)
    shade = np.ma.log(np.ma.masked_equal(counts.T, 0))
    darkest = 1.6 * shade.max() + 1.0  # keeps the lines on top readable
    ax.pcolormesh(gx, gy, shade, cmap="Blues", vmin=-1.0, vmax=darkest, rasterized=True, zorder=0.6)
    ax.plot([], [], ls="", marker="s", ms=9, color=BLUES[1], label=count_label(X, window))


def draw_samples(ax: "Axes", X: SampleArray, colors: str | NDArray[Any], label: str | None = None) -> None:
    if label:
        ax.scatter([], [], s=16, color=GREY, label=label)
    ax.scatter(X[:, 0], X[:, 1], s=point_size(len(X)), c=colors, alpha=0.6, lw=0, rasterized=len(X) > 2000)


# ---- numbers behind the drawing ----------------------------------------------------------------------------


def covariance_matrices(mixture: Mixture) -> FloatArray:
    """Covariance matrices, shape (n_components, n_features, n_features), of any covariance type."""
    n_components, d = np.shape(mixture.means_)
    c = np.asarray(mixture.covariances_)
    match kernel_type(mixture.covariance_type):
        case "tied":
            return np.broadcast_to(c, (n_components, d, d))
        case "diag":
            return c[:, :, np.newaxis] * np.eye(d)
        case "spherical":
            return c[:, np.newaxis, np.newaxis] * np.eye(d)
    return c


def _univariate_parts(estimator: Any) -> Parts | None:
    """Weights, means and standard deviations of a univariate mixture; None for another density."""
    if not hasattr(estimator, "means_"):
        return None
    return _mixture_parts(estimator)


def _mixture_parts(mixture: Mixture) -> Parts:
    return mixture.weights_, mixture.means_[:, 0], np.sqrt(covariance_matrices(mixture)[:, 0, 0])


def normal_curves(x: FloatArray, weights: FloatArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    z = (x - means[:, np.newaxis]) / scales[:, np.newaxis]
    return (weights / (scales * math.sqrt(2 * math.pi)))[:, np.newaxis] * np.exp(-0.5 * z * z)


def curve_points(window: Window, parts: Parts | None, bandwidth: ArrayLike | None = None) -> FloatArray:
    """Where to evaluate a curve: evenly, finer for a small bandwidth, and closely about narrow components."""
    low, high = window
    n_points = 1000
    if bandwidth is not None:
        width = np.sqrt(np.min(bandwidth)) if np.ndim(bandwidth) == 2 else np.min(bandwidth)     # a variance or not
        n_points = int(np.clip(8 * (high - low) / width, 1000, 8000))
    x = np.linspace(low, high, n_points)
    if parts is not None:
        near = (parts[1] + np.linspace(-4, 4, 49)[:, np.newaxis] * parts[2]).ravel()
        x = np.union1d(x, near[(near > low) & (near < high)])
    return x


def evaluate_plane(
    estimator: Density, window: Sequence[Window], n_points: int = 150,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log densities on a grid, shape (n_points, n_points) with rows along the second feature."""
    gx, gy = (np.linspace(*limits, n_points) for limits in window)
    points = np.column_stack([axis.ravel() for axis in np.meshgrid(gx, gy)])
    return gx, gy, np.asarray(estimator.score_samples(points)).reshape(n_points, n_points)


def _window(values: NDArray[Any], weights: FloatArray | None = None, reach: float = 0.0) -> Window:
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


def default_windows(
    X: NDArray[Any] | None, estimators: Sequence[Density], n_features: int, reach: float = 0.0,
) -> list[Window]:
    """Default limits, one pair a feature: of the samples, or of the densities where there are none."""
    limits = []
    for j in range(n_features):
        low, high = math.nan, math.nan
        if X is not None:
            low, high = _window(X[:, j], reach=reach)
            spread = max((2.5 * _bandwidth(e, j) for e in estimators), default=0.0)
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


def _own_window(estimator: Any, j: int) -> Window | None:
    if hasattr(estimator, "means_"):
        z = ndtri((np.arange(200) + 0.5) / 200)[:, np.newaxis]
        spread = estimator.means_[:, j] + z * np.sqrt(covariance_matrices(estimator)[:, j, j])
        return _window(spread.ravel(), np.tile(np.asarray(estimator.weights_) / len(z), len(z)))
    if hasattr(estimator, "sources_"):
        low, high = _window(estimator.sources_[:, j], estimator.source_weights_)
        spread = 2.5 * _bandwidth(estimator, j)
        return low - spread, high + spread
    return _own_window(estimator.estimator_, j) if hasattr(estimator, "estimator_") else None


def _bandwidth(estimator: Density, j: int) -> float:
    h = np.ravel(getattr(getattr(estimator, "estimator_", estimator), "bandwidth_", 0.0))
    return float(h[min(j, len(h) - 1)])


def subsample(rows: NDArray[Any], max_points: int) -> NDArray[Any]:
    if len(rows) <= max_points:
        return rows
    return rows[np.sort(np.random.default_rng(0).choice(len(rows), max_points, replace=False))]


def component_colors(mixture: Mixture, X: SampleArray) -> NDArray[Any]:
    colors: NDArray[Any] = np.array(COLORS)[np.asarray(mixture.predict(X)) % len(COLORS)]
    return colors


def point_size(n_points: int) -> float:
    return float(np.clip(500 / math.sqrt(max(n_points, 1)), 4, 20))


def count_label(X: SampleArray, window: Sequence[Window], n_shown: int | None = None) -> str:
    low, high = np.transpose(window)
    outside = np.count_nonzero(((X < low) | (X > high)).any(axis=1))
    shown = f", {n_shown:,} shown" if n_shown not in (None, len(X)) else ""
    return f"samples (n = {len(X):,}{shown}" + (f", {outside:,} beyond the axes)" if outside else ")")


# ---- axes --------------------------------------------------------------------------------------------------


def pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('gaussum.plot needs matplotlib: pip install "gaussum[plot]"') from error
    return plt


def own_axes(ax: "Axes | None") -> "Axes":
    return pyplot().subplots(figsize=(7.2, 4.6), layout="constrained")[1] if ax is None else ax


def finish_curves(ax: "Axes", fresh: bool, window: Window, peaks: Sequence[float], name: str) -> "Axes":
    bars, *curves = peaks
    # one lonely spike, of the histogram or of the density, must not flatten all the rest
    top = 1.06 * (max(min(bars, 3 * max(curves)), min(max(curves), 3 * bars)) if bars else max(curves))
    if not fresh:
        window = min(window[0], ax.get_xlim()[0]), max(window[1], ax.get_xlim()[1])
        top = max(top, ax.get_ylim()[1])
    ax.set(xlim=window, ylim=(0, top), xlabel=name, ylabel="density")
    return finish(ax)


def finish_plane(
    ax: "Axes", fresh: bool, window: Sequence[Window], names: Sequence[str], *, ellipses: bool,
) -> "Axes":
    if not fresh:
        seen = ax.get_xlim(), ax.get_ylim()
        window = [(min(w[0], s[0]), max(w[1], s[1])) for w, s in zip(window, seen, strict=True)]
    ax.set(xlim=window[0], ylim=window[1], xlabel=names[0], ylabel=names[1])
    return finish(ax, title=ELLIPSES if ellipses else None)


def finish(ax: "Axes", title: str | None = None) -> "Axes":
    """Legend where it covers nothing: a free place, or else room above."""
    ax.spines[["top", "right"]].set_visible(False)
    figure = ax.figure.canvas.figure
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)  # or the legend is measured against axes that will grow
    many = len(ax.get_legend_handles_labels()[0]) > 12
    legend: Any = ax.legend(
        loc="upper right", fontsize="xx-small" if many else "small", ncols=2 if many else 1, title=title,
        title_fontsize="small", framealpha=0.85, edgecolor="none", alignment="left",
    )
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
    side = min(skyline, key=lambda side: skyline[side])
    low, high = ax.get_ylim()
    legend.set_loc(f"upper {side}")
    ax.set_ylim(low, low + (high - low) * max(1.0, skyline[side] / max(1 - h, 0.3)))
    return ax


def _drawn(ax: "Axes") -> FloatArray:
    """Points of everything in the axes, in fractions of their width and height, cut at the limits."""
    found = [np.empty((0, 2))]
    lines: list[Any] = [*ax.lines, *ax.patches]
    for line in lines:
        path = line.get_path()
        if len(path.vertices):
            path = path if len(path.vertices) > 200 else path.interpolated(40)
            found.append(line.get_transform().transform(path.vertices))
    collections: list[Any] = [*ax.collections]
    for collection in collections:
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
