"""What a kernel density knows of its slopes: gradients, modes, and the basin of each sample."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gaussum.extension import Extension
from gaussum.fitted import Fitted
from gaussum.mean_shift import find_modes
from gaussum.modes import Modes, SumWithGradient, among
from gaussum.typing import ArrayLike, FloatArray, IndexArray, SampleArray
from gaussum.validation import check_flag, check_integer, check_number, check_samples
from gaussum.window_shift import find_window_modes

# Of the factors of adaptive widths, the quantile that is the unit of steps.
_NARROW = 0.1


class Slopes(Fitted):
    """The part of KernelDensity that follows the density uphill."""

    def score_and_gradient(self, X: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The log density at every query and its gradient, for little more than the cost of the one.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)

        Returns
        -------
        log_density : ndarray, shape (n_samples,)
            In nats.
        gradient : ndarray, shape (n_samples, n_features)
            Of the log density, in nats per unit of each feature; NaN out of bounds, 0 where no kernel reaches.
            Bandwidth times gradient, the way to the mean of the sources around a query in bandwidths (Fukunaga and
            Hostetler 1975), is right within 2 rtol (1 + r), where r is the root mean square distance, in bandwidths
            too, of the sources that make the density there. The gradient is finite in the farthest tails, where it
            points to the nearest source.
        """
        self._check_fitted()
        queries = check_samples(X, n_features=self.n_features_in_)
        logs: FloatArray
        gradient: FloatArray
        logs, gradient = self._sum.log_density_and_gradient(queries, rtol=self._rtol(), n_threads=self.n_threads)
        return logs, gradient

    def gradient(self, X: ArrayLike, *, log: bool = True) -> FloatArray:
        """The gradient at every query, shape (n_samples, n_features).

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
        log : bool
            Of the log density, in nats per unit of each feature; else of the density itself, which is that times the
            density, and 0 in the tails where the density is below the smallest number.

        Examples
        --------
        >>> from gaussum import KernelDensity
        >>> kde = KernelDensity(2.0).fit([[0.0]])
        >>> float(kde.gradient([[3.0]])[0, 0])          # -x / h^2
        -0.75
        """
        log_density, gradient = self.score_and_gradient(X)
        if check_flag(log, "log"):
            return gradient
        with np.errstate(divide="ignore", over="ignore"):
            slope: FloatArray = np.sign(gradient) * np.exp(log_density[:, np.newaxis] + np.log(np.abs(gradient)))
        return slope

    def modes(self, X: ArrayLike | None = None, *, merge_tol: float = 0.1, max_iter: int = 500) -> Modes:
        """The local maxima of the density, and the one to which each sample climbs: clustering by mean shift.

        Points follow the gradient of the log density, in units of the bandwidth, as mean shift does in many small steps
        (Fukunaga and Hostetler 1975; Comaniciu and Meer 2002). Modes are right to a gradient below 1e-8 in units of
        1 / bandwidth (of the narrower ones, where they are adaptive), whatever `rtol` is. With bounds a mode may lie at
        one that reflects, and basins go round a periodic axis. With Epanechnikov kernels points move to the mean of the
        samples within reach until that is the same (flat kernel mean shift); modes are then right to some 1e-9
        bandwidths.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features), optional
            Where to begin, within the bounds; the samples of positive weight (`sources_`) by default. A mode that no
            point climbs to is not found.
        merge_tol : float
            Modes no farther apart than so many bandwidths are one, as are those with no valley between them.
        max_iter : int
            The most steps of a point; some tens are usual.

        Returns
        -------
        gaussum.modes.Modes
            `modes`, the highest first, `log_density`, `labels`, `sizes`, `weights`, `converged`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            Points that make no sense, or out of bounds; a density that is not climbed here.

        Examples
        --------
        >>> import numpy as np
        >>> from gaussum import KernelDensity
        >>> rng = np.random.default_rng(0)
        >>> x = np.concatenate([rng.normal(-3, 1, 300), rng.normal(3, 1, 700)])
        >>> found = KernelDensity(1.0).fit(x).modes()
        >>> found.modes.round().tolist(), found.weights.round(1).tolist()
        ([[3.0], [-3.0]], [0.7, 0.3])
        """
        density, find, options = self._with_gradient(), self._finder(), self._climbing(merge_tol, max_iter)
        weights = self.source_weights_ if X is None else None
        points = self.sources_ if X is None else self._starts(X)
        if not hasattr(self._sum, "whiten"):
            return find(density, points, weights, **options)
        # in whitened coordinates, in which the kernel is round
        found = find(density, self._sum.whiten(points), weights, **options)
        return replace(found, modes=self._sum.unwhiten(found.modes), log_density=found.log_density - self._sum.log_det)

    def predict_basin(
        self, X: ArrayLike, modes: Modes | ArrayLike, *, merge_tol: float = 0.1, max_iter: int = 500
    ) -> IndexArray:
        """The mode to which each query climbs, shape (n_samples,), as a row of `modes`; -1 where it is none of them.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Within the bounds.
        modes : gaussum.modes.Modes or array_like, shape (n_modes, n_features)
            From `modes`.
        merge_tol, max_iter : float, int
            As of `modes`.
        """
        density, find, options = self._with_gradient(), self._finder(), self._climbing(merge_tol, max_iter)
        points = self._starts(X)
        given: ArrayLike = modes.modes if isinstance(modes, Modes) else modes
        places = check_samples(given, name="modes", n_features=self.n_features_in_)
        if hasattr(self._sum, "whiten"):
            points, places = self._sum.whiten(points), self._sum.whiten(places)
        return among(density, places, find(density, points, **options), merge_tol)

    def _starts(self, X: ArrayLike) -> SampleArray:
        """Checked points that have a density to climb."""
        points = check_samples(X, n_features=self.n_features_in_)
        if self._support is not None:
            self._support.check(points, None)
        return points

    def _with_gradient(self) -> SumWithGradient:
        """The density as mean shift asks for it, in whitened coordinates if there are some."""
        self._check_fitted()
        total, axes = _inner(self._sum), () if self._support is None else self._support.axes
        if self.adaptive is None and not axes and self.kernel in ("gaussian", "epanechnikov"):
            plain: SumWithGradient = total
            return plain
        factors = getattr(self._sum, "factors", None)
        if (
            self.kernel != "gaussian" or (self.adaptive is not None and factors is None)
            or any(axis.boundary == "linear" for axis in axes)
        ):
            raise ValueError(
                f"{_what(self)} is not climbed here; expected Gaussian kernels, of one width or of one a source, with "
                "bounds that reflect or are periodic, or Epanechnikov kernels without bounds"
            )
        h = np.asarray(self.bandwidth_)
        if h.ndim == 2:
            h = np.ones(len(h)) if hasattr(self._sum, "whiten") else np.sqrt(np.diagonal(h))
        # in steps that are small for most of the narrower kernels too
        unit = 1.0 if factors is None else min(1.0, float(np.quantile(factors, _NARROW)))
        return Extension(total, np.broadcast_to(h, self.n_features_in_) * unit, axes)

    def _finder(self) -> Callable[..., Modes]:
        """The mean shift of the kernel."""
        return find_window_modes if self.kernel == "epanechnikov" else find_modes

    def _climbing(self, merge_tol: float, max_iter: int) -> dict[str, Any]:
        """Checked options of `find_modes`."""
        check_number(merge_tol, "merge_tol", minimum=0.0, open_minimum=True)
        check_integer(max_iter, "max_iter", minimum=1)
        return {"merge_tol": merge_tol, "max_iter": max_iter, "n_threads": self.n_threads}


def _inner(total: Any) -> Any:
    """The sum itself, or the one in whitened coordinates."""
    return getattr(total, "inner", total)


def _what(density: Fitted) -> str:
    """What makes a density more than a sum of Gaussians of one width."""
    for name, plain in (("kernel", "gaussian"), ("adaptive", None), ("bounds", None)):
        value = getattr(density, name)
        if value is not plain and value != plain:
            return f"a density with {name}={value!r}"
    return "this density"
