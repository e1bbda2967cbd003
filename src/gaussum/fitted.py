"""What the parts of a fitted kernel density know of the whole, which gaussum.kde puts together."""

from typing import Any, Self

from gaussum.base import Estimator
from gaussum.support import Support
from gaussum.typing import ArrayLike, FloatArray, RandomState, SampleArray


class Fitted(Estimator):
    """What gaussum.KernelDensity has that its parts rely on."""

    kernel: str
    bounds: Any
    adaptive: Any
    n_threads: int | None
    bandwidth_: float | FloatArray
    n_features_in_: int
    source_weights_: FloatArray
    _sum: Any
    _support: Support | None

    @property
    def sources_(self) -> FloatArray:
        """The samples of positive weight, shape (n_sources, n_features)."""
        raise NotImplementedError

    def _rtol(self) -> float:
        """The bound on relative errors."""
        raise NotImplementedError

    def _sum_of_factors(
        self, X: SampleArray, log_weights: FloatArray, h: FloatArray, factors: FloatArray
    ) -> Any:
        """The sum of Gaussians with these factors of the bandwidth."""
        raise NotImplementedError

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Keep the samples and settle the bandwidth."""
        raise NotImplementedError

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """The log density at every query, shape (n_samples,)."""
        raise NotImplementedError

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> FloatArray:
        """Draw new samples, shape (n_samples, n_features)."""
        raise NotImplementedError
