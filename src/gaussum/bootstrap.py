"""A test for the number of components: the likelihood ratio, judged by samples drawn from the fitted mixture."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gaussum import likelihood, parallel
from gaussum.mixture import GaussianMixture
from gaussum.mixture_base import TrainingData
from gaussum.progress import counted
from gaussum.selection import derived_seed
from gaussum.typing import ArrayLike, FloatArray, NDArray, RandomState
from gaussum.validation import check_integer, check_number, check_random_state, check_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bootstrap_test(
    X: ArrayLike,
    n_components: int | Sequence[int] = range(1, 9),
    *,
    covariance_type: str = "full",
    n_bootstrap: int = 99,
    level: float = 0.05,
    n_init: int = 5,
    random_state: RandomState = None,
    n_threads: int | None = None,
    progress: bool = False,
    callback: Callable[[int, int], object] | None = None,
    **mixture_params: Any,
) -> "BootstrapTest":
    """Test a number of components against one more by the likelihood ratio, with a parametric bootstrap.

    Twice the gain in log-likelihood from one component more does not follow a chi-squared distribution, since the
    smaller mixture lies on the border of the larger. So samples of the same size are drawn from the smaller mixture as
    fitted, and both mixtures are fitted to each of them in the very same way as to the data: the p-value is
    (1 + number of gains as large as the data's) / (1 + `n_bootstrap`).

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
    n_components : int or increasing sequence of int
        Null hypotheses. Of several, each is tested after the one before has been rejected; the first that is not
        rejected ends the tests.
    covariance_type : str
        Of `GaussianMixture`.
    n_bootstrap : int
        Samples drawn for each hypothesis. 99 can just reject at the level 0.01.
    level : float
        Hypotheses with p-values up to this are rejected.
    n_init : int
        Starts of every fit.
    random_state : None, int or numpy.random.Generator
        Seeds the fits and the samples drawn; the results are the same for any number of threads.
    n_threads : int, optional
        None means all processors. Replicates run side by side where they are small.
    progress : bool
        Show a bar for each hypothesis (by tqdm: ``pip install "gaussum[progress]"``).
    callback : callable, optional
        Called as ``callback(done, n_bootstrap)`` after each replicate.
    **mixture_params
        Further parameters of `GaussianMixture`.

    Returns
    -------
    BootstrapTest

    Raises
    ------
    TypeError, ValueError
        Bad samples or parameters; no start of a fit to the data led to a mixture.

    Notes
    -----
    A larger mixture contains the smaller one, so a fit of it that ends lower has missed the maximum and counts as no
    gain at all. A replicate of which a fit failed counts as one with the larger gain, which makes the test reject less,
    not more; the table says how many there were, and a warning is given.

    There is no `sample_weight`: a replicate needs a sampling model of the data, which weights in general do not give.
    Where they are whole numbers of like samples, test ``np.repeat(X, sample_weight, axis=0)``; where they correct for
    how samples were drawn, or how precise they are, draw the replicates in that way.

    References
    ----------
    G. J. McLachlan, "On bootstrapping the likelihood ratio test statistic for the number of components in a normal
    mixture", Applied Statistics 36 (1987) 318-324.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import bootstrap_test
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.normal(-3, 1, 100), rng.normal(3, 1, 100)])
    >>> test = bootstrap_test(x, n_bootstrap=19, n_init=2, random_state=0)
    >>> test.n_components_
    2
    """
    if "sample_weight" in mixture_params:
        raise TypeError(
            "bootstrap_test takes no sample_weight: replicates of weighted samples cannot be drawn without a model of "
            "the weights; for whole numbers, test np.repeat(X, sample_weight, axis=0)"
        )
    X = check_samples(X)
    numbers = _hypotheses(n_components, len(X))
    check_integer(n_bootstrap, "n_bootstrap", minimum=1)
    check_number(level, "level", minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True)
    if not math.floor(level * (1 + n_bootstrap) * (1 + 1e-12)):
        raise ValueError(
            f"n_bootstrap is {n_bootstrap}, with which no p-value is below {1 / (1 + n_bootstrap):.2g}; "
            f"expected at least {math.ceil(1 / level - 1e-9) - 1} for the level {level:g}"
        )
    root = check_random_state(random_state).integers(2**32, size=4).tolist()
    params = mixture_params | {"covariance_type": covariance_type, "n_init": n_init, "n_threads": n_threads}
    GaussianMixture(numbers[-1] + 1, **params).check_parameters(len(X))
    data = TrainingData(*GaussianMixture()._check_data(X, None))
    fitted: dict[int, GaussianMixture] = {}
    table: list[dict[str, Any]] = []
    replicates: list[FloatArray] = []
    for k in numbers:
        for K in (k, k + 1):
            if K not in fitted:
                fitted[K] = GaussianMixture(K, random_state=derived_seed(root, K), **params).fit(data)
        null, alternative = fitted[k], fitted[k + 1]
        statistic = _statistic(len(X), null, alternative)
        tasks = [partial(_replicate, null, len(X), params, root, b) for b in range(n_bootstrap)]
        with counted(n_bootstrap, f"{k} or {k + 1} components", progress, callback) as advance:
            outcomes = _run(tasks, X.shape, k + 1, alternative, n_threads, advance)
        row, found = _judge(k, statistic, outcomes)
        row["spurious"] = bool(alternative.spurious_)
        table.append(row)
        replicates.append(found)
        if row["p_value"] > level:
            break
    return BootstrapTest(level, table, replicates, fitted)


class BootstrapTest:
    """What `bootstrap_test` found.

    Attributes
    ----------
    n_components_ : int
        The first number of components that was not rejected; one more than the last, if all were.
    best_ : GaussianMixture
        The mixture of so many components, fitted to the data.
    level : float
    table : list of dict
        One row a hypothesis: ``n_components, statistic`` (twice the gain in log-likelihood), ``p_value,
        n_replicates``, and of these ``n_failed`` (a fit failed), ``n_spurious`` (a fit ended at a spurious optimum)
        and ``n_not_converged``; ``spurious``: the data's own larger mixture is a spurious optimum, so that a rejection
        means little. ``pandas.DataFrame(test.table)`` reads it.
    replicates : list of ndarray
        The statistics of the samples drawn for each hypothesis; NaN where a fit failed.
    models : dict of int to GaussianMixture
        The mixtures fitted to the data, by number of components.
    """

    def __init__(
        self, level: float, table: list[dict[str, Any]], replicates: list[FloatArray],
        models: dict[int, GaussianMixture],
    ) -> None:
        self.level = level
        self.table = table
        self.replicates = replicates
        self.models = models
        last = table[-1]
        self.n_components_: int = last["n_components"] + (last["p_value"] <= level)
        self.best_ = models[self.n_components_]

    def plot(self, axes: "Sequence[Axes] | NDArray[Any] | None" = None) -> NDArray[Any]:
        """Draw each hypothesis' replicates and the data's statistic; returns the Axes as an array.

        Needs matplotlib: ``pip install "gaussum[plot]"``. See `gaussum.plot.bootstrap`.
        """
        from gaussum import plot

        return plot.bootstrap(self, axes=axes)

    def __repr__(self) -> str:
        lines = [["components", "against", "statistic", "p-value", ""]]
        for row in self.table:
            notes = [f"{row[key]} {word}" for key, word in _NOTES.items() if row[key]]
            notes += ["the larger fit is spurious"] * row["spurious"]
            k = row["n_components"]
            cells = [str(k), str(k + 1), f"{row['statistic']:.2f}", f"{row['p_value']:.4f}"]
            lines.append([*cells, ", ".join(notes)])
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = ["  ".join(map(str.rjust, line, widths)).rstrip() for line in lines]
        head = f"BootstrapTest: {self.n_components_} components at level {self.level:g}"
        return "\n".join([f"{head} ({self.table[0]['n_replicates']} replicates a row)", *text])


# A replicate's statistic, whether a fit was spurious, and whether one had not converged.
_Replicate: TypeAlias = tuple[float, bool, bool]

_NOTES = {
    "n_failed": "replicates failed", "n_spurious": "spurious replicates", "n_not_converged": "replicates not converged",
}


def _hypotheses(n_components: int | Sequence[int], n_samples: int) -> list[int]:
    """The numbers to test, in increasing order."""
    if isinstance(n_components, str) or not hasattr(n_components, "__iter__"):
        numbers = [check_integer(n_components, "n_components", minimum=1)]
    else:
        if isinstance(n_components, range) and len(n_components) >= n_samples:
            n_components = [max(n_components[0], n_components[-1])]  # refused below
        numbers = [check_integer(k, "n_components", minimum=1) for k in n_components]
        if not numbers:
            raise ValueError("n_components is empty; expected at least one number")
        if any(a >= b for a, b in zip(numbers, numbers[1:], strict=False)):
            raise ValueError(f"n_components is {numbers}; expected increasing numbers")
    if numbers[-1] >= n_samples:
        raise ValueError(
            f"n_components is {numbers[-1]}, to be tested against {numbers[-1] + 1}, but X has {n_samples} samples; "
            "expected fewer components than samples"
        )
    return numbers


def _statistic(n_samples: int, null: GaussianMixture, alternative: GaussianMixture) -> float:
    # a gain below zero means that the larger mixture's maximum was missed: it contains the smaller one
    return max(0.0, 2.0 * n_samples * (alternative.lower_bound_ - null.lower_bound_))


def _replicate(
    null: GaussianMixture, n_samples: int, params: dict[str, Any], root: list[int], b: int,
) -> _Replicate:
    """The statistic of samples drawn from the null, and whether a fit was spurious or had not converged."""
    k = len(null.weights_)
    sample, _ = null.sample(n_samples, random_state=derived_seed(root, k, b))
    data = TrainingData(*null._check_data(sample, None))
    models = [GaussianMixture(K, random_state=derived_seed(root, k, b, K), **params).fit(data) for K in (k, k + 1)]
    spurious = any(model.spurious_ for model in models)
    return _statistic(n_samples, *models), spurious, not all(model.converged_ for model in models)


def _run(
    tasks: Sequence[Callable[[], _Replicate]], shape: tuple[int, int], largest: int, model: GaussianMixture,
    n_threads: int | None, advance: Callable[[], None],
) -> "list[parallel.Outcome[_Replicate]]":
    """The outcomes of all replicates, side by side where they are small."""
    work = likelihood.seconds(shape[0], shape[1], largest, model._structure())
    beside, starts = (parallel.threads_beside(n, shape[0], work, n_threads) for n in (len(tasks), model.n_init))
    outcomes: dict[int, parallel.Outcome[_Replicate]] = {}

    def receive(b: int, outcome: parallel.Outcome[_Replicate]) -> None:
        outcomes[b] = outcome
        advance()

    parallel.side_by_side(tasks, beside if beside >= starts and not model.verbose else 1, receive)
    return [outcomes[b] for b in range(len(tasks))]


def _judge(
    k: int, statistic: float, outcomes: "Sequence[parallel.Outcome[_Replicate]]",
) -> tuple[dict[str, Any], FloatArray]:
    """The row of a hypothesis, and the replicates' statistics."""
    values, n_spurious, n_not_converged, failure = [], 0, 0, None
    for outcome in outcomes:
        outcome.warnings.clear()  # counted instead
        try:
            value, spurious, pending = outcome.result()
        except (ArithmeticError, ValueError) as error:
            value, spurious, pending, failure = math.nan, False, False, error
        values.append(value)
        n_spurious += spurious
        n_not_converged += pending
    found = np.array(values)
    n_failed = int(np.isnan(found).sum())
    if n_failed:
        parallel.warn(
            f"{n_failed} of {len(found)} replicates failed for {k} against {k + 1} components ({failure}); they count "
            "as larger than the data's statistic, so the p-value may be too large",
            UserWarning,
        )
    n_larger = int((found >= statistic).sum()) + n_failed
    row = {
        "n_components": k, "statistic": statistic, "p_value": (1 + n_larger) / (1 + len(found)),
        "n_replicates": len(found), "n_failed": n_failed, "n_spurious": n_spurious,
        "n_not_converged": n_not_converged,
    }
    return row, found
