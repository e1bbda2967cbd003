"""The EM loop: iterations, convergence, acceleration. Knows likelihoods, not estimators.

Converged means that the gain in the mean log-likelihood that is still to come is estimated to be below `tol`. The last
change says little: plain EM converges linearly, often at a rate of 0.999, and then a thousand times the last change
is to come. Plain iterations use Aitken's extrapolation of the last three values (Boehning et al. 1994; McNicholas
et al. 2010). Accelerated ones use their model's own prediction; models are wrong on plateaus, so the gradient, scaled
to have no units, has to be below `tol` as well, and plain iterations to confirm: one, where the gradient is so small
that less than `tol` would be left on any but the flattest plateau.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gaussum import acceleration, constrained, parallel
from gaussum.acceleration import ROUNDING
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.rescue import CollapseError, SpuriousOptimumWarning
from gaussum.spurious import effective_samples, spurious_components
from gaussum.statistics import SufficientStatistics

# The criterion has to hold this many times running: early on, a slow mode hides behind fast ones.
_IN_A_ROW = 3
# The same for accelerated iterations, and for the plain ones that confirm them. Of both, one is enough where the
# gradient g is sure: with no curvature below this part of the complete data's, g^2 / (2 curvature) is to come at most.
_ACCELERATED, _CONFIRM = 2, 2
_LEAST_CURVATURE = 1e-6
# Plain iterations before the acceleration starts: EM is fast and safe far from the optimum.
_WARM_UP = 5
# Starts whose objectives differ by less ended in the same optimum, and the first is as good.
_TIE = 1e-9
# Slow modes hide behind fast ones: plain changes have to be this small a part of `tol` (measured on 60 slow problems:
# with 1, 38 % of the stops at 1e-3 and 65 % at 1e-4 are honest, with 1e-3 88 and 98 %). A large `tol` asks for less.
_HIDDEN = 1e-3
# Accelerated iterations without a lower gradient, where the objective tells nothing any more, that show it is rounding.
_IDLE = 5

_Start = Callable[[], MixtureParameters]
# Called with (iteration, objective), and with (iteration, objective, change, remaining).
_Callback = Callable[[int, float], object]
_Progress = Callable[[int, float, float, float], object]


class ConvergenceWarning(UserWarning):
    """A fit was ended by `max_iter` before it had converged, or one of its starts failed."""


@dataclass
class EMResult:
    """How a run of EM ended.

    Attributes
    ----------
    parameters : MixtureParameters
    log_likelihood : float
        The mean log-likelihood of `parameters`, without the penalty.
    objectives : list of float
        What was maximised, the mean penalised log-likelihood, at every iteration; never falls.
    converged : bool
    n_iter : int
    n_passes : int
        Passes over the data: one E-step and one accumulation each.
    remaining : float
        The estimate of what is left to gain.
    gradient_norm : float
        Of the mean penalised log-likelihood at `parameters` (see acceleration.gradient_norm).
    spurious : tuple of int
        The components that make the optimum spurious; `best_of` fills it in.
    """

    parameters: MixtureParameters
    log_likelihood: float
    objectives: list[float] = field(repr=False)
    converged: bool
    n_iter: int
    n_passes: int
    remaining: float
    gradient_norm: float
    spurious: tuple[int, ...] = ()


def best_of(
    likelihood: MixtureLikelihood, starts: Sequence[_Start], *, reserve: Sequence[_Start] = (),
    report: Callable[[str], object] | None = None, callback: _Callback | None = None,
    progress: _Progress | None = None, objective: str | None = None, **options: Any,
) -> EMResult:
    """Run EM from several starts and return the EMResult with the highest objective that is not spurious.

    Of objectives that differ by rounding the first counts, and if all are spurious, the highest of all, with a
    SpuriousOptimumWarning (see gaussum.spurious). Small problems run side by side, with the same results.

    Parameters
    ----------
    likelihood : gaussum.likelihood.MixtureLikelihood
    starts : sequence of callables
        Each returns first parameters. One that fails does not end the others.
    reserve : sequence of callables
        Further starts, one after the other, for as long as there is nothing but spurious optima.
    report : callable, optional
        Takes a line of text a start, in their order.
    callback : callable, optional
        Called with (iteration, objective); the starts then run one after the other.
    progress : callable, optional
        Likewise, with (iteration, objective, change, remaining).
    objective : str, optional
        What messages call the objective, where it is no mean log-likelihood.
    **options
        Of `maximize`.

    Raises
    ------
    ValueError
        Every start failed.
    """
    n_threads = 1 if callback or progress else likelihood.threads_beside(len(starts))
    best: EMResult | None = None
    failure: CollapseError | None = None
    number = 0
    n_effective = effective_samples(likelihood.sample_weight, likelihood.X.shape[0])

    def run(start: _Start) -> EMResult:
        own = likelihood if n_threads == 1 else likelihood.alone()
        result = maximize(own, start(), callback=callback, progress=progress, **options)
        result.spurious = spurious_components(result.parameters, n_effective, likelihood.prior_mass)
        return result

    def receive(outcome: parallel.Outcome[EMResult]) -> None:
        nonlocal best, failure, number
        number += 1
        try:
            result = outcome.result()
        except CollapseError as error:
            failure = error
            parallel.warn(f"start {number} failed: {error}", ConvergenceWarning)
            return
        if report is not None:
            state = "converged" if result.converged else "not converged"
            reached = f"{objective} {result.objectives[-1]:.9g}"
            if objective is None:
                reached = f"mean log-likelihood {result.log_likelihood:.9g}"
            spurious = ", spurious" if result.spurious else ""
            report(f"start {number}: {result.n_iter} iterations, {state}, {reached}{spurious}")
        if best is None or _better(result, best):
            best = result

    parallel.side_by_side([partial(run, start) for start in starts], n_threads, parallel.in_order(receive))
    n_threads = 1
    for start in reserve:
        if best is None or not best.spurious:
            break
        parallel.side_by_side([partial(run, start)], 1, parallel.in_order(receive))
    if best is None:
        raise ValueError(f"no start led to a mixture ({failure}); try a larger reg_covar or fewer components")
    if not best.converged:
        gain = f"an estimated {best.remaining:.2g}" if math.isfinite(best.remaining) else "an unknown amount"
        parallel.warn(
            f"the fit did not converge in max_iter={options['max_iter']} iterations; {gain} of "
            f"{objective or 'mean log-likelihood'} is still to gain "
            f"(tol={options['tol']:g}): raise max_iter or tol, or try another start",
            ConvergenceWarning,
        )
    elif best.spurious:
        parallel.warn(
            f"{'the fit' if number == 1 else f'each of the {number} starts'} ended in a spurious optimum: component(s) "
            f"{', '.join(map(str, best.spurious))} shrank onto few samples, which raises the likelihood without bound; "
            "fewer components, more starts (n_init), a prior or a larger reg_covar avoid this",
            SpuriousOptimumWarning,
        )
    return best


def _better(result: EMResult, best: EMResult) -> bool:
    if bool(result.spurious) != bool(best.spurious):
        return not result.spurious
    return result.objectives[-1] > best.objectives[-1] + _TIE


def maximize(
    likelihood: MixtureLikelihood, parameters: MixtureParameters, *, tol: float, max_iter: int,
    accelerate: bool = True, callback: _Callback | None = None, progress: _Progress | None = None,
) -> EMResult:
    """Run EM from the given parameters.

    Parameters
    ----------
    likelihood : gaussum.likelihood.MixtureLikelihood
    parameters : MixtureParameters
    tol : float
        Bound on the estimated remaining gain in the mean penalised log-likelihood; 0 runs until rounding.
    max_iter : int
    accelerate : bool
        Whether a quasi-Newton method drives the iteration after a few plain ones.
    callback : callable, optional
        Called with (iteration, objective).
    progress : callable, optional
        Called with (iteration, objective, change, remaining), the last being infinite where nothing is known yet.

    Returns
    -------
    EMResult

    Raises
    ------
    CollapseError
        The log-likelihood is no longer finite, or no component is left.
    """
    likelihood.restart()
    with likelihood.exclusive_blas():
        return _maximize(likelihood, parameters, tol, max_iter, accelerate, callback, progress)


def _maximize(
    likelihood: MixtureLikelihood, parameters: MixtureParameters, tol: float, max_iter: int, accelerate: bool,
    callback: _Callback | None, progress: _Progress | None,
) -> EMResult:
    statistics, objective = likelihood.evaluate(parameters)
    objectives: list[float] = []
    changes: list[float] = []
    model = _model(likelihood) if accelerate else None
    remaining, held, converged, n_iter, plain = math.inf, 0, False, 0, _WARM_UP
    lost, needed = 0.0, _IN_A_ROW
    lowest, idle = math.inf, 0
    while n_iter < max_iter:
        n_iter += 1
        step = None
        # where plain steps gain nothing, none are accelerated
        if model is not None and plain == 0 and not (held > 0 and changes and remaining == 0.0):
            step = model.step(parameters, statistics, objective)
        if step is not None:
            after, after_statistics, after_objective = step.parameters, step.statistics, step.objective
            remaining = step.remaining
            changes.clear()
        else:
            n_rescues, exact = likelihood.n_rescues, likelihood.noise == 0.0
            after = likelihood.maximize(statistics)
            after_statistics, after_objective = likelihood.evaluate(after)
            plain = max(plain - 1, 0)
            if exact and likelihood.n_rescues == n_rescues:
                # an EM step cannot lose: what it does lose is rounding
                lost = max(lost, objective - after_objective)
            changes.append(after_objective - objective)
            remaining = _aitken(changes)
        change = after_objective - objective
        rounding = max(lost, max(ROUNDING, likelihood.noise) * max(1.0, abs(after_objective)))
        if not math.isfinite(after_objective):
            raise CollapseError(f"the log-likelihood became {after_objective} at iteration {n_iter}")
        parameters, statistics, objective = after, after_statistics, after_objective
        objectives.append(objective)
        if callback is not None:
            callback(n_iter, objective)
        flat = True
        if step is not None:
            # the gradient still tells where the objective is rounding
            idle = 0 if step.gradient_norm < 0.5 * lowest or abs(change) > rounding else idle + 1
            lowest = min(lowest, step.gradient_norm)
            flat = step.gradient_norm < tol or idle >= _IDLE or likelihood.noise > 0.0
        if abs(change) <= rounding and flat:
            remaining = 0.0
        small = change < (tol * min(1.0, max(_HIDDEN, tol)) if step is None else tol)
        if progress is not None:
            progress(n_iter, objective, change, remaining)
        held = held + 1 if flat and (remaining == 0.0 or remaining < tol and small) else 0
        # steps that lose show that rounding is larger than it was taken for
        blind = likelihood.noise > 0.0 and change < -rounding
        sure = step is not None and step.gradient_norm**2 < 2.0 * _LEAST_CURVATURE * tol and likelihood.noise == 0.0
        if held < (needed if step is None else 1 if sure else _ACCELERATED) and not blind:
            continue
        if likelihood.noise > 0.0:
            # as far as float32 can see
            statistics, objective = _exactly(likelihood, parameters, objectives)
        elif step is None:
            norm = _gradient_norm(likelihood, parameters, statistics) if accelerate else 0.0
            if norm < tol or not norm < 0.5 * lowest:
                converged = True
                break
            # plain steps that only seem to rest: the objective does not tell any more, the gradient does
            lowest, held, plain = norm, 0, 0
            continue
        # plain steps have to confirm: at a saddle they grow, which the quasi-Newton model does not see
        held, needed, plain = 0, 1 if sure else _CONFIRM, _CONFIRM + 2
        model = _model(likelihood) if accelerate else None
        changes.clear()
    if likelihood.noise > 0.0:
        statistics, objective = _exactly(likelihood, parameters, objectives)
    return EMResult(
        parameters, likelihood.log_likelihood(parameters, statistics), objectives, converged, n_iter,
        likelihood.n_passes, float(remaining), _gradient_norm(likelihood, parameters, statistics),
    )


def _model(likelihood: MixtureLikelihood) -> acceleration.QuasiNewton:
    """What accelerates the iteration."""
    if likelihood.m_step is None:
        return acceleration.QuasiNewton(likelihood)
    return constrained.ConstrainedQuasiNewton(likelihood)


def _gradient_norm(
    likelihood: MixtureLikelihood, parameters: MixtureParameters, statistics: SufficientStatistics,
) -> float:
    """Along the constraints, if there are any."""
    norm = acceleration.gradient_norm if likelihood.m_step is None else constrained.gradient_norm
    return norm(likelihood, parameters, statistics)


def _exactly(
    likelihood: MixtureLikelihood, parameters: MixtureParameters, objectives: list[float],
) -> tuple[SufficientStatistics, float]:
    """Go on in float64: the statistics and the objective, which takes the place of the last one."""
    likelihood.exact = True
    statistics, objective = likelihood.evaluate(parameters)
    objectives[-1:] = [objective]
    return statistics, objective


def _aitken(changes: list[float]) -> float:
    """The sum of all changes to come, if they go on falling in the ratio of the last two."""
    if len(changes) < 2 or changes[-2] <= 0 or changes[-1] < 0:
        return math.inf
    rate = changes[-1] / changes[-2]
    return changes[-1] * rate / (1.0 - rate) if rate < 1.0 else math.inf
