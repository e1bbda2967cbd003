"""Parameters that scikit-learn's KernelDensity has: what they ask for here, and a clear answer where nothing can."""

from typing import Any, Protocol

from gaussum import parallel
from gaussum.base import shape_name
from gaussum.validation import check_choice, check_flag, check_integer, check_number

METRICS = ("euclidean", "l2", "minkowski", "p")
LEAF_SIZE = 40


class HasConventions(Protocol):
    """The parameters in question."""

    metric: str
    metric_params: dict[str, Any] | None
    atol: float
    breadth_first: bool
    leaf_size: int


def check_conventions(density: HasConventions) -> None:
    """Check `metric`, `metric_params`, `atol`, `breadth_first` and `leaf_size` of a KernelDensity.

    Raises
    ------
    ValueError, TypeError
        They make no sense, or ask for another distance than the Euclidean.

    Warns
    -----
    UserWarning
        `breadth_first` or `leaf_size` are set: here they change nothing.
    """
    if isinstance(density.metric, str) and density.metric not in METRICS:
        raise ValueError(
            f"metric is {density.metric!r}; expected 'euclidean' ('l2', or 'minkowski' with p = 2): kernels here are "
            "functions of the Euclidean distance. Transform the data so that this distance is the one meant, or use "
            "scikit-learn's KernelDensity"
        )
    check_choice(density.metric, "metric", METRICS)
    params = density.metric_params
    if params is not None and not isinstance(params, dict):
        raise TypeError(f"metric_params is {shape_name(params)}; expected None or a dict")
    allowed = [{}, {"p": 2}] if density.metric in ("minkowski", "p") else [{}]
    if params is not None and params not in allowed:
        raise ValueError(
            f"metric_params is {params!r}; expected None: distances are Euclidean. To weigh features, scale the data "
            "or give one bandwidth a feature"
        )
    check_number(density.atol, "atol", minimum=0.0)
    check_flag(density.breadth_first, "breadth_first")
    check_integer(density.leaf_size, "leaf_size", minimum=1)
    for name, default in (("breadth_first", True), ("leaf_size", LEAF_SIZE)):
        value = getattr(density, name)
        if value != default:
            parallel.warn(
                f"{name}={value!r} changes nothing: how a tree is gone through is fixed here, its leaves hold 64 to "
                f"128 samples, and explain(X) tells whether there is one; leave {name} at {default!r}",
                UserWarning,
            )
