"""What a kernel density knows of its slopes: gradients, modes, and the basin of each sample."""

from dataclasses import replace

import numpy as np

from gaussum.mean_shift import assign, find_modes
from gaussum.summation import GaussianSum
from gaussum.validation import check_flag, check_integer, check_number, check_samples


class Slopes:
    """The part of KernelDensity that follows the density uphill."""

    def score_and_gradient(self, X):
        """The log density at every query and its gradient, for little more than the cost of the one.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)

        Returns
        -------
        log_density : ndarray, shape (n_samples,)
            In nats.
        gradient : ndarray, shape (n_samples, n_features)
            Of the log density, in nats per unit of each feature. Bandwidth times gradient, the way to the mean of the
            sources around a query in bandwidths (Fukunaga and Hostetler 1975), is right within 2 rtol (1 + r), where r
            is the root mean square distance, in bandwidths too, of the sources that make the density there. The
            gradient is finite in the farthest tails, where it points to the nearest source.
        """
        self._check_fitted()
        if not hasattr(_inner(self._sum), "log_density_and_gradient"):
            raise ValueError(f"{_what(self)} has no gradients here; expected Gaussian kernels of one width")
        X = check_samples(X, n_features=self.n_features_in_)
        return self._sum.log_density_and_gradient(X, rtol=self._rtol(), n_threads=self.n_threads)

    def gradient(self, X, *, log=True):
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
            return np.sign(gradient) * np.exp(log_density[:, np.newaxis] + np.log(np.abs(gradient)))

    def modes(self, X=None, *, merge_tol=0.1, max_iter=500):
        """The local maxima of the density, and the one to which each sample climbs: clustering by mean shift.

        Points follow the gradient of the log density, in units of the bandwidth, as mean shift does in many small steps
        (Fukunaga and Hostetler 1975; Comaniciu and Meer 2002). Modes are right to a gradient below 1e-8 in units of
        1 / bandwidth, whatever `rtol` is.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features), optional
            Where to begin; the samples of positive weight (`sources_`) by default. A mode that no point climbs to is
            not found.
        merge_tol : float
            Modes no farther apart than so many bandwidths are one, as are those with no valley between them.
        max_iter : int
            The most steps of a point; some tens are usual.

        Returns
        -------
        gaussum.mean_shift.Modes
            `modes`, the highest first, `log_density`, `labels`, `sizes`, `weights`, `converged`.

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
        total, options = self._hills(), self._climbing(merge_tol, max_iter)
        weights = self.source_weights_ if X is None else None
        X = self.sources_ if X is None else check_samples(X, n_features=self.n_features_in_)
        if total is self._sum:
            return find_modes(total, X, weights, **options)
        # in whitened coordinates, in which the kernel is round
        found = find_modes(total, self._sum.whiten(X), weights, **options)
        return replace(found, modes=self._sum.unwhiten(found.modes), log_density=found.log_density - self._sum.log_det)

    def predict_basin(self, X, modes, *, merge_tol=0.1, max_iter=500):
        """The mode to which each query climbs, shape (n_samples,), as a row of `modes`; -1 where it is none of them.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
        modes : gaussum.mean_shift.Modes or array_like, shape (n_modes, n_features)
            From `modes`.
        merge_tol, max_iter : float, int
            As of `modes`.
        """
        total, options = self._hills(), self._climbing(merge_tol, max_iter)
        X = check_samples(X, n_features=self.n_features_in_)
        modes = check_samples(getattr(modes, "modes", modes), name="modes", n_features=self.n_features_in_)
        if total is not self._sum:
            X, modes = self._sum.whiten(X), self._sum.whiten(modes)
        return assign(total, modes, X, **options)

    def _hills(self):
        """The sum of round Gaussians whose modes are those of the density."""
        self._check_fitted()
        total = _inner(self._sum)
        if type(total) is not GaussianSum:
            raise ValueError(f"{_what(self)} is not climbed here; expected Gaussian kernels of one width, no bounds")
        return total

    def _climbing(self, merge_tol, max_iter):
        """Checked options of `find_modes`."""
        check_number(merge_tol, "merge_tol", minimum=0.0, open_minimum=True)
        check_integer(max_iter, "max_iter", minimum=1)
        return {"merge_tol": merge_tol, "max_iter": max_iter, "n_threads": self.n_threads}


def _inner(total):
    """The sum itself, or the one in whitened coordinates."""
    return getattr(total, "inner", total)


def _what(density):
    """What makes a density more than a sum of Gaussians of one width."""
    for name, plain in (("kernel", "gaussian"), ("adaptive", None), ("bounds", None)):
        value = getattr(density, name)
        if value is not plain and value != plain:
            return f"a density with {name}={value!r}"
    return "this density"
