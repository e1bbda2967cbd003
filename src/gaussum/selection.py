"""Choosing the number of components and the covariance structure of a mixture by an information criterion."""

import math
from functools import partial

import numpy as np

from gaussum import criteria, likelihood, parallel
from gaussum.covariance import COVARIANCE_TYPES
from gaussum.mixture import GaussianMixture
from gaussum.rescue import SpuriousOptimumWarning
from gaussum.validation import check_choice, check_integer, check_random_state, check_samples, check_weights

CRITERIA = ("bic", "aic", "aicc", "icl")

# Samples scored together: bounds the responsibilities that ICL needs.
_BLOCK_ROWS = 1 << 15


def select_mixture(
    X,
    n_components=range(1, 10),
    covariance_type="full",
    criterion="bic",
    *,
    sample_weight=None,
    n_init=5,
    random_state=None,
    n_threads=None,
    callback=None,
    **mixture_params,
):
    """Fit a mixture for every number of components and covariance type, and prefer one by a criterion.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        Training samples.
    n_components : int or iterable of int
        Numbers of components to try.
    covariance_type : str or iterable of str
        Covariance types to try, each with every number of components.
    criterion : {"bic", "aic", "aicc", "icl"}
        What to minimise; all four are in the table.
    sample_weight : array_like, shape (n_samples,), optional
        Non-negative weights; a weight of 2 counts as two samples, in the criteria too.
    n_init : int
        Restarts of every fit. Criteria compare maxima of the likelihood, which one start may miss.
    random_state : None, int or numpy.random.Generator
        Seeds the fits. A candidate's seed depends on it and on the candidate, not on the others that are
        tried.
    n_threads : int, optional
        None means all processors. Small fits run side by side, large ones one after the other with all threads.
    callback : callable, optional
        Called as ``callback(done, total)`` after each fit, from the calling thread, for a progress bar.
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

    See Also
    --------
    gaussum.criteria : the formulas and their sources.

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
    check_choice(criterion, "criterion", CRITERIA)
    X = check_samples(X)
    weights = check_weights(sample_weight, X.shape[0])
    n_weighted = X.shape[0] if weights is None else np.count_nonzero(weights)
    if isinstance(n_components, range) and len(n_components) > n_weighted:
        n_components = [max(n_components)]  # refused below, without listing millions
    numbers = _listed(n_components, "n_components")
    numbers = [check_integer(k, "n_components", minimum=1) for k in numbers]
    types = _listed(covariance_type, "covariance_type")
    types = [check_choice(name, "covariance_type", COVARIANCE_TYPES) for name in types]
    if max(numbers) > n_weighted:
        raise ValueError(
            f"n_components is {max(numbers)}; expected at most the number of samples, {n_weighted}"
        )

    root = check_random_state(random_state).integers(2**32, size=4).tolist()
    candidates = [
        GaussianMixture(
            k,
            covariance_type=name,
            n_init=n_init,
            random_state=_seed(root, k, name),
            n_threads=n_threads,
            **mixture_params,
        )
        for name in types
        for k in numbers
    ]
    candidates[0].check_parameters(n_weighted, weights is not None)
    outcomes = _fit_all(candidates, X, weights, n_threads, callback)
    table, failures = [], []
    for i, (model, outcome) in enumerate(zip(candidates, outcomes, strict=True)):
        row = {"n_components": model.n_components, "covariance_type": model.covariance_type}
        # told of all together, below
        outcome.warnings = [given for given in outcome.warnings if given[1] is not SpuriousOptimumWarning]
        try:
            row |= outcome.result()
        except Exception as error:
            row |= _failed(error)
            candidates[i] = None
            failures.append(error)
        table.append(row)

    if len(failures) == len(candidates):
        first = failures[0]
        raise ValueError(f"none of the {len(table)} fits succeeded; the first: {first}") from first
    if failures:
        messages = [f"{r['n_components']} {r['covariance_type']}: {r['error']}" for r in table if r["error"]]
        parallel.warn(f"{len(failures)} of {len(table)} fits failed: {'; '.join(messages)}", UserWarning)
    result = SelectionResult(criterion, table, candidates)
    if result.best_.spurious_:
        parallel.warn(
            "every candidate ended in a spurious optimum, where a component shrank onto few samples; try fewer "
            "components, a larger n_init, a prior or a larger reg_covar",
            SpuriousOptimumWarning,
        )
    return result


class SelectionResult:
    """What `select_mixture` tried, and what it prefers.

    Attributes
    ----------
    best_ : GaussianMixture
        The fitted mixture with the smallest `criterion`, the first of equals; a spurious one (see
        `GaussianMixture.spurious_`) only if there is no other.
    best_index_ : int
        Its place in `table` and `models`.
    criterion : str
        The criterion that chose it.
    table : list of dict
        One row a candidate in the order tried: ``n_components, covariance_type, n_parameters,
        log_likelihood`` (total), ``bic, aic, aicc, icl, converged, n_iter, error``. Where a fit failed,
        ``error`` is its message, numbers are NaN, and the rest is None. ``pandas.DataFrame(result.table)`` reads it.
    models : list of GaussianMixture or None
        The fitted mixtures in the same order; None where a fit failed.
    """

    def __init__(self, criterion, table, models):
        self.criterion = criterion
        self.table = table
        self.models = models
        self.best_index_ = self._best_index(criterion)
        self.best_ = models[self.best_index_]

    def best(self, criterion):
        """Return the fitted mixture preferred by another criterion: "bic", "aic", "aicc" or "icl"."""
        return self.models[self._best_index(check_choice(criterion, "criterion", CRITERIA))]

    def plot(self, ax=None):
        """Draw the criteria against the number of components; returns the matplotlib Axes.

        Needs matplotlib: ``pip install "gaussum[plot]"``.
        """
        from gaussum import plot

        return plot.criteria(self, criteria=tuple(dict.fromkeys((self.criterion, "bic", "aic"))), ax=ax)

    def _best_index(self, criterion):
        values = [row[criterion] if math.isfinite(row[criterion]) else math.inf for row in self.table]
        sound = [v for v, model in zip(values, self.models, strict=True) if model is not None and not model.spurious_]
        best = min(sound, default=math.inf)
        best = min(values) if best == math.inf else best
        if best == math.inf:
            raise ValueError(f"criterion {criterion!r} is finite for no candidate; expected more samples")
        return values.index(best)

    def __repr__(self):
        best = {}
        for name in CRITERIA:
            if any(math.isfinite(row[name]) for row in self.table):
                best[name] = self._best_index(name)
        lines = [["covariance", "K", "parameters", "log-likelihood", *map(str.upper, CRITERIA), ""]]
        for i, row in enumerate(self.table):
            parameters = "" if row["n_parameters"] is None else str(row["n_parameters"])
            note = "failed" if row["error"] else "" if row["converged"] else "not converged"
            values = [f"{row[name]:.2f}" + (" *" if best.get(name) == i else "  ") for name in CRITERIA]
            model = [row["covariance_type"], str(row["n_components"]), parameters]
            lines.append([*model, f"{row['log_likelihood']:.2f}", *values, note])
        lines[0][4:8] = [f"{title}  " for title in lines[0][4:8]]
        widths = [max(map(len, column)) for column in zip(*lines)]
        chosen = self.table[self.best_index_]
        head = (
            f"SelectionResult: {self.criterion} prefers n_components={chosen['n_components']}, "
            f"covariance_type={chosen['covariance_type']!r} (* smallest of its column)"
        )
        text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
        return "\n".join([head, *text])


def _listed(value, name):
    """A single value or an iterable of them as a list without repeats; never empty."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [value]
    values = list(dict.fromkeys(value))
    if not values:
        raise ValueError(f"{name} is empty; expected at least one value")
    return values


def _seed(root, n_components, covariance_type):
    """An integer seed from the root and the candidate itself, whatever else is tried."""
    key = (n_components, *covariance_type.encode())
    return int(np.random.SeedSequence(root, spawn_key=key).generate_state(1)[0])


def _fit_all(candidates, X, weights, n_threads, callback):
    """The outcomes of fitting the candidates: each the numbers of a row of the table.

    The fits of small problems run side by side, or their restarts do, whichever keeps more threads busy.
    """
    outcomes = [None] * len(candidates)
    largest = max(candidates, key=lambda model: model.n_components)
    work = likelihood.seconds(*X.shape, largest.n_components, largest.covariance_type)
    beside, restarts = (parallel.threads_beside(n, len(X), work, n_threads) for n in (len(candidates), largest.n_init))
    order = list(range(len(candidates)))
    if beside < restarts or largest.verbose:
        beside = 1
    if beside > 1:
        # the longest first, so that all end at about the same time
        order.sort(key=lambda i: -candidates[i].n_components)

    def fit(model):
        model.fit(X, sample_weight=weights)
        return _evaluate(model, X, weights)

    def receive(number, outcome):
        outcomes[order[number]] = outcome
        if callback is not None:
            callback(sum(o is not None for o in outcomes), len(candidates))

    parallel.side_by_side([partial(fit, candidates[i]) for i in order], beside, receive)
    return outcomes


def _evaluate(model, X, weights):
    """The numbers of a row of the table, from a fitted mixture."""
    log_likelihood = classification = 0.0
    for start in range(0, X.shape[0], _BLOCK_ROWS):
        block = X[start : start + _BLOCK_ROWS]
        w = np.ones(block.shape[0]) if weights is None else weights[start : start + _BLOCK_ROWS]
        if not w.all():
            block, w = block[w > 0], w[w > 0]
        if w.size:
            log_likelihood += float(w @ model.score_samples(block))
            classification += float(w @ np.log(model.predict_proba(block).max(axis=1)))
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
        "n_iter": int(model.n_iter_),
        "error": None,
    }


def _failed(error):
    """The numbers of a row for a fit that raised `error`."""
    nan = dict.fromkeys(("log_likelihood", *CRITERIA), math.nan)
    message = str(error) or type(error).__name__
    return {"n_parameters": None} | nan | {"converged": None, "n_iter": None, "error": message}
