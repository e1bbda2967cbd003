"""Choosing the number of components and the covariance structure of a mixture by a criterion."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussum import covariance, criteria, likelihood, parallel
from gaussum.base import clone
from gaussum.mixture import GaussianMixture
from gaussum.mixture_base import TrainingData
from gaussum.progress import counted
from gaussum.rescue import SpuriousOptimumWarning
from gaussum.typing import ArrayLike, FloatArray, IndexArray, NDArray, RandomState, SampleArray
from gaussum.validation import check_choice, check_integer, check_random_state, check_samples, check_weights

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

CRITERIA = ("bic", "aic", "aicc", "icl")
# Computed only when asked for, and the only one that should be large.
CROSS_VALIDATION = "cv"

_DEFAULT_FOLDS = 5
# With more covariance types than this, a picture holds one criterion.
_FEW_TYPES = 4
# Samples scored together: bounds the memory.
_BLOCK_ROWS = 1 << 20


def select_mixture(
    X: ArrayLike,
    n_components: int | Iterable[int] = range(1, 10),
    covariance_type: str | Iterable[str] = "full",
    criterion: str = "bic",
    *,
    cv: int | None = None,
    sample_weight: ArrayLike | None = None,
    n_init: int = 5,
    random_state: RandomState = None,
    n_threads: int | None = None,
    progress: bool = False,
    callback: Callable[[int, int], object] | None = None,
    **mixture_params: Any,
) -> "SelectionResult":
    """Fit a mixture for every number of components and covariance type, and prefer one by a criterion.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        Training samples.
    n_components : int or iterable of int
        Numbers of components to try.
    covariance_type : str or iterable of str
        Covariance types to try, each with every number of components. "all" means all that differ: in one
        dimension, one variance for all components and one for each.
    criterion : {"bic", "aic", "aicc", "icl", "cv"}
        What chooses. The first four are always in the table, and small where a mixture is good; "cv", the
        mean log-likelihood of samples that the fit has not seen, is large.
    cv : int, optional
        Folds of the cross-validation (5 if `criterion` is "cv"; otherwise it is left out by default): the samples
        are divided at random, the same way for all candidates, and each part is scored by a mixture fitted to
        the others (Smyth 2000). It costs about as many times the work as there are folds.
    sample_weight : array_like, shape (n_samples,), optional
        Non-negative weights; a weight of 2 counts as two samples, in the criteria too.
    n_init : int
        Starts of every fit. Criteria compare maxima of the likelihood, which one start may miss.
    random_state : None, int or numpy.random.Generator
        Seeds the fits. A candidate's seed depends on it and on the number of components, not on what else is
        tried.
    n_threads : int, optional
        None means all processors. Small fits run side by side, large ones one after the other with all threads.
    progress : bool
        Show a bar (by tqdm: ``pip install "gaussum[progress]"``).
    callback : callable, optional
        Called as ``callback(done, total)`` after each fit, from the calling thread.
    **mixture_params
        Further parameters of `GaussianMixture`.

    Returns
    -------
    SelectionResult
        The fitted mixtures, the table of criteria, and the mixture preferred.

    Raises
    ------
    TypeError, ValueError
        Bad samples, weights or parameters; more components than samples; no fit succeeded, or the criterion
        is finite for none. One fit that fails among others is only warned about, and recorded in the table.
    ImportError
        `progress` is True, and tqdm is missing.

    See Also
    --------
    gaussum.criteria : the formulas and their sources.
    gaussum.bootstrap_test : tests for the number of components.
    gaussum.merge_components : makes clusters of components that overlap.

    References
    ----------
    P. Smyth, "Model selection for probabilistic clustering using cross-validated likelihood", Statistics and
    Computing 10 (2000) 63-72.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import select_mixture
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.normal(-4, 1, 300), rng.normal(4, 1, 300)])
    >>> result = select_mixture(x, n_components=range(1, 4), random_state=0)
    >>> result.best_.n_components
    2
    """
    check_choice(criterion, "criterion", (*CRITERIA, CROSS_VALIDATION))
    X = check_samples(X)
    weights = check_weights(sample_weight, X.shape[0])
    n_weighted = X.shape[0] if weights is None else int(np.count_nonzero(weights))
    if isinstance(n_components, range) and len(n_components) > n_weighted:
        n_components = [max(n_components[0], n_components[-1])]  # refused below, without listing millions
    numbers = _listed(n_components, "n_components")
    numbers = [check_integer(k, "n_components", minimum=1) for k in numbers]
    if isinstance(covariance_type, str) and covariance_type == "all":
        covariance_type = distinct_types(X.shape[1])
    types = _listed(covariance_type, "covariance_type")
    types = [check_choice(name, "covariance_type", covariance.STRUCTURES) for name in types]
    if max(numbers) > n_weighted:
        raise ValueError(
            f"n_components is {max(numbers)}; expected at most the number of samples, {n_weighted}"
        )
    n_folds = _DEFAULT_FOLDS if cv is None and criterion == CROSS_VALIDATION else cv
    if n_folds is not None and check_integer(n_folds, "cv", minimum=2) > n_weighted:
        raise ValueError(f"cv is {n_folds}; expected at most the number of samples, {n_weighted}")

    root = check_random_state(random_state).integers(2**32, size=4).tolist()
    candidates = [
        GaussianMixture(
            k,
            covariance_type=name,
            n_init=n_init,
            random_state=derived_seed(root, k),  # structures have their first partitions in common
            n_threads=n_threads,
            **mixture_params,
        )
        for name in types
        for k in numbers
    ]
    candidates[0].check_parameters(n_weighted, weights is not None)
    folds = [] if n_folds is None else _folds(X.shape[0], weights, n_folds, root)
    tasks = _Tasks(candidates, X, weights, folds)
    with counted(len(tasks), "fits", progress, callback) as advance:
        outcomes = tasks.run(n_threads, advance)
    table: list[dict[str, Any]] = []
    models: list[GaussianMixture | None] = []
    failures = []
    for model, outcome in zip(candidates, outcomes, strict=True):
        row = {"n_components": model.n_components, "covariance_type": model.covariance_type}
        # told of all together, below
        _keep_quiet_of_spurious(outcome)
        try:
            row |= outcome.result()
            models.append(model)
        except Exception as error:
            row |= _failed(error)
            models.append(None)
            failures.append(error)
        table.append(row)

    if len(failures) == len(table):
        first = failures[0]
        raise ValueError(f"none of the {len(table)} fits succeeded; the first: {first}") from first
    if failures:
        messages = [f"{r['n_components']} {r['covariance_type']}: {r['error']}" for r in table if r["error"]]
        parallel.warn(f"{len(failures)} of {len(table)} fits failed: {'; '.join(messages)}", UserWarning)
    if all(row["spurious"] for row in table if row["error"] is None):
        parallel.warn(
            "every candidate ended in a spurious optimum, where a component shrank onto few samples; try fewer "
            "components, a larger n_init, a prior or a larger reg_covar",
            SpuriousOptimumWarning,
        )
    if n_folds is not None:
        _add_cross_validation(table, tasks, n_folds)
    return SelectionResult(criterion, table, models)


class SelectionResult:
    """What `select_mixture` tried, and what it prefers.

    Fits that are spurious optima of the likelihood (a component that shrank onto a few samples) stay in the
    table, but are not preferred, unless all are.

    Attributes
    ----------
    best_ : GaussianMixture
        The fitted mixture that `criterion` prefers, the first of equals; a spurious one (see
        `GaussianMixture.spurious_`) only if there is no other.
    best_index_ : int
        Its place in `table` and `models`.
    criterion : str
        The criterion that chose it.
    criteria : tuple of str
        Those in the table.
    table : list of dict
        One row a candidate in the order tried: ``n_components, covariance_type, n_parameters,
        log_likelihood`` (total), ``bic, aic, aicc, icl, converged, spurious, n_iter, error``, and with
        cross-validation ``cv`` (the mean log-likelihood of unseen samples) and ``cv_error`` (its standard error, from
        the spread of the folds). Where a fit failed, ``error`` is its message, numbers are NaN, and the rest is None.
        ``pandas.DataFrame(result.table)`` reads it.
    models : list of GaussianMixture or None
        The fitted mixtures in the same order; None where a fit failed.
    """

    def __init__(
        self, criterion: str, table: list[dict[str, Any]], models: list[GaussianMixture | None],
    ) -> None:
        self.criterion = criterion
        self.table = table
        self.models = models
        self.criteria = tuple(name for name in (*CRITERIA, CROSS_VALIDATION) if name in table[0])
        self.best_index_ = self._best_index(criterion)
        self.best_ = self._model(self.best_index_)

    def best(self, criterion: str) -> GaussianMixture:
        """Return the fitted mixture preferred by another criterion: "bic", "aic", "aicc", "icl" or "cv"."""
        return self._model(self._best_index(self._check_criterion(criterion)))

    def top(self, n: int = 5, criterion: str | None = None) -> list[dict[str, Any]]:
        """The rows of the best few candidates, the best first, as a list of dict.

        Parameters
        ----------
        n : int
            How many rows, at most: fits that failed are left out, and spurious ones unless all are.
        criterion : str, optional
            What orders them; by default the one that chose.

        Returns
        -------
        list of dict
            With one key more than in `table`: ``difference`` from the best, never negative.
        """
        n = check_integer(n, "n", minimum=1)
        criterion = self.criterion if criterion is None else self._check_criterion(criterion)
        costs = _costs(self.table, criterion)
        order = [i for i in np.argsort(costs, kind="stable") if costs[i] < math.inf]
        return [self.table[i] | {"difference": costs[i] - costs[order[0]]} for i in order[:n]]

    def to_frame(self) -> "pandas.DataFrame":
        """The table as a pandas.DataFrame; needs pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas") from error
        return pandas.DataFrame(self.table)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the criterion that chose, and if there is room BIC and AIC; returns the matplotlib Axes.

        Needs matplotlib: ``pip install "gaussum[plot]"``.
        """
        from gaussum import plot

        crowded = len({row["covariance_type"] for row in self.table}) > _FEW_TYPES
        alone = crowded or self.criterion == CROSS_VALIDATION
        names = self.criterion if alone else tuple(dict.fromkeys((self.criterion, "bic", "aic")))
        return plot.criteria(self, criteria=names, ax=ax)

    def plot_all(self, n_top: int = 8) -> NDArray[Any]:
        """Draw every criterion in a panel of its own, and the best few candidates; returns the Axes.

        Needs matplotlib: ``pip install "gaussum[plot]"``. See `gaussum.plot.selection`.
        """
        from gaussum import plot

        return plot.selection(self, n_top=n_top)

    def _model(self, i: int) -> GaussianMixture:
        model = self.models[i]
        assert model is not None  # its criterion is finite
        return model

    def _check_criterion(self, criterion: str) -> str:
        check_choice(criterion, "criterion", (*CRITERIA, CROSS_VALIDATION))
        if criterion not in self.criteria:
            raise ValueError(f"criterion is {criterion!r}, which was not computed; call select_mixture with cv=5")
        return criterion

    def _best_index(self, criterion: str) -> int:
        costs = _costs(self.table, criterion)
        best = min(costs)
        if best == math.inf:
            raise ValueError(f"criterion {criterion!r} is finite for no candidate; expected more samples")
        return costs.index(best)

    def __repr__(self) -> str:
        best = {}
        for name in self.criteria:
            if min(_costs(self.table, name)) < math.inf:
                best[name] = self._best_index(name)
        lines = [["covariance", "K", "parameters", "log-likelihood", *map(str.upper, self.criteria), ""]]
        for i, row in enumerate(self.table):
            parameters = "" if row["n_parameters"] is None else str(row["n_parameters"])
            notes = [] if row["converged"] or row["error"] else ["not converged"]
            notes += ["failed"] * bool(row["error"]) + ["spurious"] * bool(row.get("spurious"))
            digits = {CROSS_VALIDATION: 5}
            values = [
                f"{row[name]:.{digits.get(name, 2)}f}" + (" *" if best.get(name) == i else "  ")
                for name in self.criteria
            ]
            model = [row["covariance_type"], str(row["n_components"]), parameters]
            lines.append([*model, f"{row['log_likelihood']:.2f}", *values, ", ".join(notes)])
        lines[0][4:-1] = [f"{title}  " for title in lines[0][4:-1]]
        widths = [max(map(len, column)) for column in zip(*lines)]
        chosen = self.table[self.best_index_]
        head = (
            f"SelectionResult: {self.criterion} prefers n_components={chosen['n_components']}, "
            f"covariance_type={chosen['covariance_type']!r} (* best of its column)"
        )
        text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
        return "\n".join([head, *text])


def distinct_types(n_features: int) -> list[str]:
    """The covariance types that differ from each other, for samples of so many features.

    Examples
    --------
    >>> from gaussum.selection import distinct_types
    >>> len(distinct_types(1))
    2
    """
    # in one dimension all that is left is whether components share their variance
    return ["E", "V"] if n_features == 1 else list(covariance.MCLUST_NAMES)


def _costs(table: list[dict[str, Any]], criterion: str) -> list[float]:
    """What a choice minimises, for every row: infinity for what must not be chosen.

    That is where spurious optima are kept out, as long as there is anything else.
    """
    sign = -1.0 if criterion == CROSS_VALIDATION else 1.0
    costs = [sign * row[criterion] if math.isfinite(row[criterion]) else math.inf for row in table]
    sound = [math.inf if row.get("spurious") else cost for row, cost in zip(table, costs, strict=True)]
    return sound if min(sound) < math.inf else costs


def _listed(value: Any, name: str) -> list[Any]:
    """A single value or an iterable of them as a list without repeats; never empty."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [value]
    values = list(dict.fromkeys(value))
    if not values:
        raise ValueError(f"{name} is empty; expected at least one value")
    return values


def derived_seed(root: list[int], *key: int) -> int:
    """An integer seed from the root and what it is for, whatever else is seeded from the root."""
    return int(np.random.SeedSequence(root, spawn_key=key).generate_state(1)[0])


def _folds(n_samples: int, weights: FloatArray | None, n_folds: int, root: list[int]) -> list[IndexArray]:
    """The indices of the samples of each fold, in order; those of no weight are in none."""
    # no number of components is 0
    rng = np.random.default_rng(np.random.SeedSequence(root, spawn_key=(0,)))
    index = np.arange(n_samples) if weights is None else np.flatnonzero(weights)
    return [np.sort(part) for part in np.array_split(rng.permutation(index), n_folds)]


class _Tasks:
    """All fits: of every candidate to all samples, and to all but those of each fold."""

    def __init__(
        self, candidates: Sequence[GaussianMixture], X: SampleArray, weights: FloatArray | None,
        folds: list[IndexArray],
    ) -> None:
        self.candidates, self.X, self.weights, self.folds = candidates, X, weights, folds
        self._data = TrainingData(*candidates[0]._check_data(X, weights))
        self._of_folds: list[parallel.Outcome[Any]] = []

    def __len__(self) -> int:
        return len(self.candidates) * (1 + len(self.folds))

    def run(self, n_threads: int | None, advance: Callable[[], None]) -> "list[parallel.Outcome[Any]]":
        """Run them; returns the outcomes of the fits to all samples, each the numbers of a row of the table.

        The fits of small problems run side by side, or their starts do, whichever keeps more threads busy.
        """
        candidates, X = self.candidates, self.X
        tasks: list[Callable[[], Any]] = [partial(self._fit, model) for model in candidates]
        tasks += [partial(self._held_out, model, fold) for fold in self.folds for model in candidates]
        outcomes: dict[int, parallel.Outcome[Any]] = {}
        largest = max(candidates, key=lambda model: model.n_components)
        kind = covariance.kernel_type(largest.covariance_type)
        work = likelihood.seconds(X.shape[0], X.shape[1], largest.n_components, kind)
        beside, starts = (parallel.threads_beside(n, len(X), work, n_threads) for n in (len(tasks), largest.n_init))
        order = list(range(len(tasks)))
        if beside < starts or largest.verbose:
            beside = 1
        if beside > 1:
            # of each covariance type the longest first, so that all end at about the same time; those that share their
            # first partitions do not stand side by side, or one would wait for the other
            n_numbers = sum(model.covariance_type == candidates[0].covariance_type for model in candidates)
            order.sort(key=lambda i: (i // n_numbers, -candidates[i % len(candidates)].n_components))

        def receive(number: int, outcome: parallel.Outcome[Any]) -> None:
            outcomes[order[number]] = outcome
            advance()

        parallel.side_by_side([tasks[i] for i in order], beside, receive)
        in_order = [outcomes[i] for i in range(len(tasks))]
        self._of_folds = in_order[len(candidates) :]
        return in_order[: len(candidates)]

    def of_folds(self, i: int) -> "list[parallel.Outcome[Any]]":
        """The outcomes of one candidate's fits to all but the samples of each fold."""
        return self._of_folds[i :: len(self.candidates)]

    def _fit(self, model: GaussianMixture) -> dict[str, Any]:
        model.fit(self._data)
        return _evaluate(model, self.X, self.weights)

    def _held_out(self, model: GaussianMixture, fold: IndexArray) -> tuple[float, float]:
        """The log-likelihood of a fold, under a fit to the other samples, and its weight."""
        rest = np.ones(len(self.X), dtype=bool) if self.weights is None else self.weights > 0
        rest[fold] = False
        weights = None if self.weights is None else self.weights[rest]
        fitted = clone(model).fit(self.X[rest], sample_weight=weights)
        scores = fitted.score_samples(self.X[fold])
        weights = np.ones(len(fold)) if self.weights is None else self.weights[fold]
        return float(weights @ scores), float(weights.sum())


def _add_cross_validation(table: list[dict[str, Any]], tasks: _Tasks, n_folds: int) -> None:
    """The mean log-likelihood of held-out samples, in every row; NaN where a fit failed."""
    failures = []
    for i, row in enumerate(table):
        last = {key: row.pop(key) for key in ("converged", "spurious", "n_iter", "error")}
        row |= {"cv": math.nan, "cv_error": math.nan} | last
        if row["error"]:
            continue
        outcomes = tasks.of_folds(i)
        for outcome in outcomes:
            # unseen samples tell of it
            _keep_quiet_of_spurious(outcome)
        try:
            totals, weights = np.array([outcome.result() for outcome in outcomes]).T
        except Exception as error:
            failures.append(f"{row['n_components']} {row['covariance_type']}: {error}")
            continue
        row["cv"] = float(totals.sum() / weights.sum())
        row["cv_error"] = float(np.std(totals / weights, ddof=1) / math.sqrt(n_folds))
    if failures:
        parallel.warn(
            f"the cross-validation of {len(failures)} of {len(table)} candidates failed: {'; '.join(failures)}",
            UserWarning,
        )


def _keep_quiet_of_spurious(outcome: parallel.Outcome[Any]) -> None:
    """Take the warnings of spurious optima out of an outcome: the table tells of them."""
    outcome.warnings = [given for given in outcome.warnings if given[1] is not SpuriousOptimumWarning]


def _evaluate(model: GaussianMixture, X: SampleArray, weights: FloatArray | None) -> dict[str, Any]:
    """The numbers of a row of the table, from a fitted mixture."""
    log_likelihood = classification = 0.0
    for start in range(0, X.shape[0], _BLOCK_ROWS):
        block = X[start : start + _BLOCK_ROWS]
        log_density, log_largest = np.empty(len(block)), np.empty(len(block))
        model._predict(block, log_density=log_density, log_largest=log_largest)
        w = np.ones(len(block)) if weights is None else weights[start : start + _BLOCK_ROWS]
        counts = w > 0
        log_likelihood += float(w[counts] @ log_density[counts])
        classification += float(w[counts] @ log_largest[counts])
    if not math.isfinite(log_likelihood):
        raise ValueError(f"the log-likelihood is {log_likelihood}; expected a finite number")
    n = X.shape[0] if weights is None else float(weights.sum())
    p = int(model.n_parameters_)
    return {
        "n_parameters": p,
        "log_likelihood": log_likelihood,
        "bic": criteria.bic(log_likelihood, p, n),
        "aic": criteria.aic(log_likelihood, p),
        "aicc": criteria.aicc(log_likelihood, p, n),
        "icl": criteria.icl(log_likelihood, p, n, classification),
        "converged": bool(model.converged_),
        "spurious": bool(model.spurious_),
        "n_iter": int(model.n_iter_),
        "error": None,
    }


def _failed(error: Exception) -> dict[str, Any]:
    """The numbers of a row for a fit that raised `error`."""
    nan = dict.fromkeys(("log_likelihood", *CRITERIA), math.nan)
    message = str(error) or type(error).__name__
    rest = {"converged": None, "spurious": None, "n_iter": None, "error": message}
    return {"n_parameters": None} | nan | rest
