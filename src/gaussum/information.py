"""The observed information of a mixture: exact second derivatives of its penalised log-likelihood."""

import numpy as np

from gaussum import parallel
from gaussum.information_pass import InformationPass
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.typing import FloatArray

# What a pass for the information may cost, in E-steps, to be worth it.
_MOST_PASSES = 6.0


class ObservedInformation:
    """Second derivatives of mixtures of one shape, given samples (Louis 1982).

    Parameters
    ----------
    samples, structure, n_components, sample_weight, n_parts, ridge
        As of gaussum.mixture_pass.MixturePass.

    Attributes
    ----------
    cost : int
        That of one pass, in E-steps.
    """

    def __init__(
        self, samples: Samples, structure: str, n_components: int, sample_weight: FloatArray | None, n_parts: int,
        ridge: FloatArray,
    ) -> None:
        self._pass = InformationPass(samples, structure, n_components, sample_weight, n_parts, ridge)
        self._ridge = ridge
        K, d = n_components, samples.d
        q = 2 * d + 1
        self.cost = round(self.passes(K, d))
        # where the derivatives of component k with respect to weight, means and scales stand among all
        first = q * np.arange(K)[:, np.newaxis]
        self._a, self._z, self._e = first, first + np.arange(1, 1 + d), first + np.arange(1 + d, q)
        order = np.concatenate([self._a.ravel(), self._z.ravel(), self._e.ravel()])
        self._order = np.ix_(order, order)

    @staticmethod
    def passes(n_components: int, n_features: int) -> float:
        """The time of one pass, in E-steps, roughly (measured)."""
        q = 2 * n_features + 1
        return 2.5 + 0.5 * n_components * q * q / (20 + 4 * n_features)

    @classmethod
    def applies(cls, structure: str, n_components: int, n_features: int) -> bool:
        """Whether there is one variance a component and feature, and a pass is worth its time."""
        axes = structure == "diag" or n_features == 1 and structure != "tied"
        return axes and cls.passes(n_components, n_features) <= _MOST_PASSES

    def at(self, parameters: MixtureParameters, n_threads: int) -> FloatArray:
        """Minus the second derivatives in the coordinates of kernels/coordinates.pxd, shape (p, p).

        In their order: the logarithms of all weights, all means, the logarithms of all scales.
        """
        K, d = parameters.means.shape
        q, weights, u = 2 * d + 1, parameters.weights, parameters.precisions_chol.reshape(K, d)
        total = self._moments(parameters, n_threads)
        parts = total[: K * (1 + q + q * q)].reshape(K, -1)
        mass, first, second = parts[:, 0], parts[:, 1 : 1 + q], parts[:, 1 + q :].reshape(K, q, q)
        squares = mass[:, np.newaxis] - first[:, 1 + d :]
        information = total[-((K * q) ** 2) :].reshape(K * q, K * q)
        k = np.arange(K)
        information.reshape(K, q, K, q)[k, :, k] -= second
        a, z, e = self._a, self._z, self._e
        # only upper triangles are filled so far
        information[z, e] -= 2.0 * first[:, 1 : 1 + d]
        information = np.triu(information) + np.triu(information, 1).T
        information[z, z] += mass[:, np.newaxis]
        information[e, e] += 2.0 * (squares + self._ridge * u**2)
        information[a, a.T] -= mass.sum() * np.outer(weights, weights)
        information[a, a] += mass.sum() * weights[:, np.newaxis]
        ordered: FloatArray = information[self._order]
        return ordered

    def _moments(self, parameters: MixtureParameters, n_threads: int) -> FloatArray:
        compute = self._pass
        total = np.zeros(compute.moments_size)
        if n_threads == 1:
            parallel.check()
            compute.moments(0, compute.n_parts, parameters.buffer, total, np.empty(compute.scratch_size))
            return total
        scratch = [np.empty(compute.scratch_size) for _ in range(min(n_threads, compute.n_parts))]

        def work(part: int, slot: int) -> FloatArray:
            own = np.zeros_like(total)
            compute.moments(part, part + 1, parameters.buffer, own, scratch[slot])
            return own

        parallel.run(compute.n_parts, len(scratch), work, lambda own: np.add(total, own, out=total))
        return total
