"""Sums of kernels other than the Gaussian, under the same contract and with the same methods.

Two plans: the direct sum, and a tree of boxes. For a kernel that ends at some distance the tree only leaves out zeros;
a box that lies within reach as a whole is taken at once where its moments give its sum: tophat and Epanechnikov, and
all kernels in one dimension. For the exponential, which has no end, it leaves out what comes to no more than rtol.
"""

import math
from typing import Any

import numpy as np
from scipy.special import logsumexp

from gaussum import parallel, radial
from gaussum.radial_line import RadialLine
from gaussum.radial_pass import RadialPass
from gaussum.decay import CompactDecay, Decay, ExponentialDecay
from gaussum.plans import ALGORITHMS, TREE_SECONDS, TREE_SHARE, Plan, asked_for, cheapest, direct
from gaussum.samples import Samples
from gaussum.tree import TreeSum, build_seconds
from gaussum.typing import FloatArray, IndexArray, SampleArray

_BLOCK = 128
_GROUP = 32
# A pair of a direct sum costs about this many seconds on one thread, and this many more a feature.
_PAIR_SECONDS = {
    "tophat": 0.06e-9, "epanechnikov": 0.06e-9, "linear": 0.25e-9, "cosine": 0.25e-9, "exponential": 0.5e-9,
}
_FEATURE_SECONDS = 0.05e-9
# Sources of smaller weight than this come into the sum where no others do, in units of their own.
_LIGHT = -300.0
_LATE = -570.0
# Distances beyond the square root of the largest double are taken in this unit.
_FAR = 2.0**600


class RadialTree(TreeSum):
    """The sums of given sources at any targets, by a tree.

    Parameters
    ----------
    kernel : str
    reach : float
    sources, log_weights, scale, n_threads
        As those of a TreeSum, `scale` in place of its inverse bandwidths.
    """

    def __init__(
        self, kernel: str, reach: float, sources: FloatArray, log_weights: FloatArray, scale: FloatArray,
        n_threads: int | None
    ) -> None:
        super().__init__(sources, log_weights, scale, n_threads)
        starts = np.array(self._pass.starts(), dtype=np.intp)
        weights = np.exp(log_weights[self._order])
        moments = _moments(kernel, reach, scale, sources[:, self._order].T, weights, starts, self._boxes)
        self._pass = RadialPass(        # type: ignore[assignment]  # has what a TreeSum asks of its pass from here on
            kernel, reach, scale, weights, log_weights[self._order], self._leaves, starts, self._boxes, moments
        )


def _moments(
    kernel: str, reach: float, scale: FloatArray, points: FloatArray, weights: FloatArray, starts: IndexArray,
    boxes: FloatArray
) -> FloatArray:
    """What RadialPass asks for, of all nodes: those of leaves from their points, those of others from their children's.

    Parameters
    ----------
    points : ndarray, shape (n_sources, n_features)
        In the order of the tree, as are the weights.
    starts : ndarray, shape (n_leaves + 1,)
    boxes : ndarray, shape (2 n_leaves, 2, n_features)

    Returns
    -------
    ndarray, shape (2 n_leaves, 3 + n_features)
    """
    n_leaves = len(starts) - 1
    moments = np.zeros((2 * n_leaves, 3 + points.shape[1]))
    # a point's own: it is its own centre and both ends of its box
    parts = np.column_stack([weights, np.zeros((len(points), 2)), points])
    if kernel == "exponential":
        parts[:, 1:3] = weights[:, np.newaxis]
    elif kernel == "cosine":
        parts[:, 1] = weights
    ends = np.stack([points, points], axis=1)
    first = n_leaves
    with np.errstate(all="ignore"):                     # boxes so wide that their moments are never looked at
        while True:
            level = slice(first, 2 * first)
            moments[level] = _merged(kernel, reach, scale, parts, ends, starts, boxes[level])
            if first == 1:
                return moments
            parts, ends, first = moments[level], boxes[level], first // 2
            starts = np.arange(0, 2 * first + 1, 2)


def _merged(
    kernel: str, reach: float, scale: FloatArray, parts: FloatArray, ends: FloatArray, starts: IndexArray,
    boxes: FloatArray
) -> FloatArray:
    """The moments of nodes from those of their parts, which lie one after the other from `starts`."""
    node = np.repeat(np.arange(len(boxes)), np.diff(starts))

    def total(values: FloatArray) -> FloatArray:
        return np.add.reduceat(values, starts[:-1], axis=0)

    merged = np.zeros((len(boxes), parts.shape[1]))
    weight, low = parts[:, 0], boxes[:, 0]
    merged[:, 0] = total(weight)
    merged[:, 3:] = low + total(weight[:, np.newaxis] * (parts[:, 3:] - low[node])) / merged[:, :1]
    z = (parts[:, 3:] - merged[node, 3:]) * scale
    if kernel == "epanechnikov":
        merged[:, 1] = total(parts[:, 1] + weight * (z**2).sum(axis=1))
    elif kernel == "cosine":
        cosine, sine = np.cos(0.5 * math.pi / reach * z[:, 0]), np.sin(0.5 * math.pi / reach * z[:, 0])
        merged[:, 1] = total(parts[:, 1] * cosine - parts[:, 2] * sine)
        merged[:, 2] = total(parts[:, 2] * cosine + parts[:, 1] * sine)
    elif kernel == "exponential":
        to_left, to_right = ((ends - boxes[node])[:, :, 0] * scale[0]).T
        merged[:, 1] = total(parts[:, 1] * np.exp(to_right))
        merged[:, 2] = total(parts[:, 2] * np.exp(-to_left))
    return merged


class KernelSum:
    """A normalised weighted sum of radial kernels on given sources.

    Parameters
    ----------
    X : ndarray, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    bandwidths : ndarray of float64, shape (n_features,)
        By which differences are divided before their distance is taken.
    kernel : {"tophat", "epanechnikov", "exponential", "linear", "cosine"}
    algorithm : str
        The plan, one of gaussum.plans.ALGORITHMS; there is no grid.
    """

    def __init__(
        self, X: SampleArray, log_weights: FloatArray, bandwidths: FloatArray, kernel: str, algorithm: str = "auto"
    ) -> None:
        if algorithm == "grid":
            raise ValueError(
                f"algorithm is 'grid', but only Gaussian kernels have one, and kernel is {kernel!r}; expected 'auto', "
                "'tree' or 'direct'"
            )
        self._sources = np.array(X.T, dtype=np.float64, order="C")
        self._log_weights = log_weights
        self._weights = np.exp(log_weights)
        self._bandwidths = bandwidths
        self._kernel = kernel
        self._algorithm = algorithm
        self._scale, self._reach = 1.0 / bandwidths, 1.0
        if kernel != "exponential" and (bandwidths == bandwidths[0]).all():
            # powers of two scale without rounding: distances compare with the reach as they do in the data's own units
            power = math.ldexp(1.0, min(-math.frexp(bandwidths[0])[1], 1023))
            self._scale, self._reach = np.full(len(bandwidths), power), float(bandwidths[0] * power)
        height = {"epanechnikov": 2, "linear": 1}.get(kernel, 0) * math.log(self._reach)
        self._log_norm = float(-np.log(bandwidths).sum() - radial.log_volume(kernel, len(bandwidths)) - height)
        self._tree: RadialTree | None = None
        self._light: KernelSum | None = None
        self._windows: tuple[FloatArray, FloatArray, list[KernelSum]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # what can be made again is not kept
        return self.__dict__ | {"_tree": None, "_light": None, "_windows": None}

    def sources(self, index: IndexArray | slice = slice(None)) -> FloatArray:
        """The sources themselves, shape (n_sources, n_features), or those at an index."""
        return self._sources[:, index].T

    def draw(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        """A sample of the kernel of each source of an index, shape (n_samples, n_features)."""
        centres = self.sources(index)
        return centres + self.steps(index, rng) * self._bandwidths

    def distribution(self) -> RadialLine:
        """The distribution functions of this density of one feature, a gaussum.radial_line.RadialLine."""
        if len(self._bandwidths) > 1:
            raise ValueError(
                f"kernel is {self._kernel!r}, under which boxes of {len(self._bandwidths)} features have no simple "
                "probabilities; expected 'gaussian', or one feature"
            )
        return RadialLine(self._sources[0], self._log_weights, float(self._bandwidths[0]), self._kernel)

    def steps(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        """How far such a sample is from its source, in bandwidths, shape (n_samples, n_features)."""
        return radial.draw(self._kernel, len(index), len(self._bandwidths), rng)

    @property
    def decay(self) -> Decay:
        """How its kernels fall off."""
        d = len(self._bandwidths)
        log_peak = float(-np.log(self._bandwidths).sum() - radial.log_volume(self._kernel, d))
        return ExponentialDecay(log_peak, d) if self._kernel == "exponential" else CompactDecay(log_peak)

    def plan(self, X: SampleArray, rtol: float = 0.0, *, n_threads: int | None = None) -> Plan:
        """The plan for targets, "direct" or "tree".

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n_targets, n_features)
        rtol : float
        n_threads : int or None
            For the tree, if there has to be one to know what it costs; the plan does not depend on it.

        Returns
        -------
        gaussum.plans.Plan
        """
        (m, d), n = X.shape, len(self._weights)
        exact = n * m * self._pair_seconds()
        if rtol == 0.0:
            return direct(exact)
        costs = {"direct": exact}
        build = TREE_SECONDS + build_seconds(n, d)
        only = ALGORITHMS[self._algorithm]
        if only is not None:
            if only == "tree":
                costs["tree"] = build + self._tree_for(n_threads).seconds(X, rtol)
            return asked_for(self._algorithm, costs)
        if TREE_SHARE * exact > build:
            costs["tree"] = build + self._tree_for(n_threads).seconds(X, rtol)
        return cheapest(costs, {
            "direct": f"{n:,} sources x {m:,} targets cost least pair by pair",
            "tree": "most sources are too far from a target to count, or near in boxes that count as one",
        })

    def log_density(self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """log sum_s w_s K(t - s) for every row of `X`; -inf where no source reaches.

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n_targets, n_features)
        rtol : float
            Bound on the relative error of every density; 0 is the direct sum.
        n_threads : int or None

        Returns
        -------
        ndarray, shape (n_targets,)
        """
        return self._log_sums(X, rtol, None, n_threads) + self._log_norm

    @property
    def bandwidths(self) -> FloatArray:
        """One a feature, shape (n_features,)."""
        return self._bandwidths

    def window_means(self, X: SampleArray, n_threads: int | None = None) -> tuple[FloatArray, FloatArray]:
        """The log density with a flat kernel, and the mean of the sources within reach, at every row of `X`.

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n_targets, n_features)
        n_threads : int or None

        Returns
        -------
        log_density : ndarray, shape (n_targets,)
        mean : ndarray, shape (n_targets, n_features)
            NaN where no source is within reach.
        """
        if self._windows is None:
            # weights of first moments about a point on the left of all sources, so that all of them are positive
            least, X0 = self._sources.min(axis=1), self._sources.T
            low = np.minimum(least - self._bandwidths, np.nextafter(least, -np.inf))
            moments = self._log_weights[:, np.newaxis] + np.log(X0 - low)
            totals = logsumexp(moments, axis=0)
            self._windows = low, totals, [
                KernelSum(X0, logs, self._bandwidths, "tophat") for logs in [self._log_weights, *(moments - totals).T]
            ]
        low, totals, sums = self._windows
        logs = [window.log_density(X, rtol=1e-15, n_threads=n_threads) for window in sums]
        with np.errstate(invalid="ignore"):
            mean = np.stack([a + np.exp(b + one - logs[0]) for a, b, one in zip(low, totals, logs[1:])], axis=1)
        return logs[0], mean

    def log_density_and_gradient(
        self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """The log density at every row of `X` and its gradient, 0 where no kernel reaches; of Epanechnikov kernels.

        The sum of 1 - r^2 has a slope of 2 / h^2 towards the mean of the sources within reach, times their weight.
        """
        if self._kernel != "epanechnikov":
            raise ValueError(f"kernel is {self._kernel!r}, which has no gradient here; expected 'epanechnikov' or "
                             "'gaussian'")
        log_density, (flat, mean) = self.log_density(X, rtol=rtol, n_threads=n_threads), self.window_means(X, n_threads)
        d = len(self._bandwidths)
        with np.errstate(invalid="ignore", over="ignore"):
            weight = flat - log_density + radial.log_volume("tophat", d) - radial.log_volume("epanechnikov", d)
            gradient: FloatArray = 2.0 * np.exp(weight)[:, np.newaxis] * (mean - X) / self._bandwidths**2
        gradient[log_density == -np.inf] = 0.0
        return log_density, gradient

    def leave_one_out(self, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """log sum_{s != i} w_s K(x_i - s) at every source i; the weights stay as they are.

        Returns
        -------
        ndarray, shape (n_sources,)
        """
        own = np.arange(self._sources.shape[1])
        return self._log_sums(self._sources.T, rtol, own, n_threads) + self._log_norm

    def log_density_without(
        self, own: IndexArray, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> FloatArray:
        """log sum_{s != own_t} w_s K(x_t - s) for every row of `X`; the weights stay as they are.

        Parameters
        ----------
        own : ndarray of int, shape (n_targets,)
            The source that each target leaves out.
        X : ndarray of float64, shape (n_targets, n_features)
        rtol, n_threads : as those of `log_density`

        Returns
        -------
        ndarray, shape (n_targets,)
        """
        return self._log_sums(X, rtol, own, n_threads) + self._log_norm

    def _log_sums(self, X: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None) -> FloatArray:
        out = self._by(self.plan(X, rtol, n_threads=n_threads).name, X, rtol, own, n_threads)
        if self._kernel == "exponential":
            far = np.flatnonzero(out == -np.inf)
            if far.size:
                out[far] = self._direct(X[far], None if own is None else own[far], n_threads, _FAR)
        elif self._log_weights.min() < _LIGHT:
            late = np.flatnonzero(out < _LATE)
            if late.size:
                out[late] = self._by_light_sources(X[late], rtol, None if own is None else own[late], n_threads)
        return out

    def _by(
        self, name: str, X: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None
    ) -> FloatArray:
        """The log sums by a plan."""
        if name == "direct":
            return self._direct(X, own, n_threads)
        return self._tree_for(n_threads).log_density(X, rtol, own=own, n_threads=n_threads)

    def _by_light_sources(
        self, X: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None
    ) -> FloatArray:
        """The log sums at targets that only sources of tiny weight reach."""
        light = np.flatnonzero(self._log_weights < _LIGHT)
        total = float(logsumexp(self._log_weights[light]))
        if self._light is None:
            self._light = KernelSum(self.sources(light), self._log_weights[light] - total, self._bandwidths,
                                    self._kernel, self._algorithm)
        if own is not None:
            places = np.full(len(self._weights), -1)
            places[light] = np.arange(light.size)
            own = places[own]
        return self._light._log_sums(X, rtol, own, n_threads) + total

    def _tree_for(self, n_threads: int | None) -> RadialTree:
        if self._tree is None:
            self._tree = RadialTree(self._kernel, self._reach, self._sources, self._log_weights, self._scale, n_threads)
        return self._tree

    def _pair_seconds(self) -> float:
        return _PAIR_SECONDS[self._kernel] + _FEATURE_SECONDS * len(self._scale)

    def _direct(
        self, X: SampleArray, own: IndexArray | None, n_threads: int | None, unit: float = 1.0
    ) -> FloatArray:
        (m, d), n = X.shape, len(self._weights)
        whole = n // _BLOCK
        blocks = np.concatenate([
            self._sources[:, : whole * _BLOCK].reshape(d, whole, _BLOCK).swapaxes(0, 1).ravel(),
            self._sources[:, whole * _BLOCK :].ravel(),
        ])
        starts = np.append(np.arange(0, n, _BLOCK), n)
        sums = RadialPass(self._kernel, self._reach, self._scale / unit, self._weights, self._log_weights, blocks,
                          starts, unit=unit)
        seconds = n * m * self._pair_seconds()
        n_groups = -(-m // _GROUP)
        n_parts = parallel.n_parts(n_groups, seconds, smallest=1)
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        scratch = [np.empty(sums.scratch_size) for _ in range(n_threads)]
        out, targets, order = np.empty(m), Samples(X), np.arange(m)
        parallel.run(n_parts, n_threads, lambda part, slot: sums.log_density(
            targets, order, part * n_groups // n_parts, (part + 1) * n_groups // n_parts, own, -math.inf, 0.0, out,
            scratch[slot]
        ))
        return out
