"""What the parts of a fitted kernel density know of the whole, which gaussum.kde puts together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from gaussum.folded import Axis
from gaussum.typing import ArrayLike, FloatArray


class Support(Protocol):
    """The bounded features, as gaussum.support.Support."""

    @property
    def axes(self) -> Sequence[Axis]:
        """In the order of the features."""


class Fitted:
    """The attributes and methods of gaussum.KernelDensity that its parts rely on."""

    kernel: str
    bounds: Any
    adaptive: Any
    n_threads: int | None
    bandwidth_: float | FloatArray
    n_features_in_: int
    source_weights_: FloatArray
    _sum: Any
    _support: Support | None

    if TYPE_CHECKING:

        @property
        def sources_(self) -> FloatArray: ...

        def _check_fitted(self) -> None: ...

        def _rtol(self) -> float: ...

        def _sum_of_factors(
            self, X: FloatArray, log_weights: FloatArray, h: FloatArray, factors: FloatArray
        ) -> Any: ...

        def get_params(self, deep: bool = True) -> dict[str, Any]: ...

        def set_params(self, **params: Any) -> Self: ...

        def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self: ...

        def score_samples(self, X: ArrayLike) -> FloatArray: ...

        def sample(self, n_samples: int = 1, random_state: Any = None) -> FloatArray: ...
