"""What the subcommands of `gaussum` do: read a table, do the package's main job on it, tell, write."""

import math
import os
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import gaussum
from gaussum import plot
from gaussum.drawing import Density
from gaussum.files import FileError, Table, read_table
from gaussum.kde import KernelDensity
from gaussum.mixture import GaussianMixture
from gaussum.outliers import OutlierDetector
from gaussum.output import (
    Progress,
    check_output,
    describe_mixture,
    describe_table,
    mixture_results,
    require_matplotlib,
    save_picture,
    text_table,
    write_csv,
    write_json,
    writing,
)
from gaussum.selection import select_mixture
from gaussum.typing import FloatArray, NDArray, SampleArray
from gaussum.validation import check_number, check_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Say: TypeAlias = Callable[[object], object]
_Draw: TypeAlias = "Callable[[Axes], object]"
# What makes the blocks of a CSV file: of each, its columns.
_Blocks: TypeAlias = Callable[[], Iterable[Sequence[NDArray[Any]]]]

_PICTURES = (".png", ".pdf", ".svg")

# Rows scored or written together, and pairs of samples in one call for a kernel density.
_BLOCK_ROWS = 1 << 16
_BLOCK_PAIRS = 1 << 31
# A kernel density costs n evaluations a sample: more samples than this are scored only if asked for.
_FEW_SAMPLES = 20_000
_SHOWN_OUTLIERS = 20
_LEAST_P_VALUE = 1e-6  # needs 20 million draws


def _prepare(options: Namespace) -> tuple[Table, _Say, Progress]:
    """Check what is to be written, then read: the table, a printer and the progress."""
    inputs = [path for path in (options.file, getattr(options, "at", None)) if path is not None]
    for path in options.output:
        check_output(path, (".json", ".csv"), inputs)
    if len({os.path.realpath(path) for path in options.output}) < len(options.output):
        raise FileError(f"--output {options.output[-1]} is given twice")
    if options.plot is not None:
        check_output(options.plot, _PICTURES, inputs)
        require_matplotlib("--plot")
    table = read_table(options.file, options.columns, options.weights)
    check_weights(table.weights, len(table.values), name=f"--weights {options.weights}")
    say = _printer(options)
    say(describe_table(table, options))
    return table, say, Progress(options.quiet)


def _printer(options: Namespace) -> _Say:
    return (lambda *_: None) if options.quiet else print


def _mixture(options: Namespace, table: Table, progress: Progress) -> GaussianMixture:
    """The mixture that the options describe, fitted."""
    if options.components > len(table.values):
        n = len(table.values)
        raise FileError(f"--components is {options.components}, but {table.source} has {n} samples")
    mixture = GaussianMixture(
        options.components,
        covariance_type=options.covariance_type,
        tol=options.tol,
        max_iter=options.max_iter,
        n_init=options.n_init,
        init_params=options.init,
        random_state=options.seed,
        n_threads=options.threads,
    )
    mixture.fit(table.values, sample_weight=table.weights, callback=progress.iteration if progress.active else None)
    progress.clear()
    return mixture


def _score(density: Density, X: SampleArray, progress: Progress) -> FloatArray:
    """Log densities, in blocks so that the progress shows."""
    sources = getattr(density, "sources_", None)
    rows = _BLOCK_ROWS if sources is None else max(1024, _BLOCK_PAIRS // len(sources))
    scores = []
    for start in range(0, len(X), rows):
        scores.append(density.score_samples(X[start : start + rows]))
        progress.share(min(start + rows, len(X)), len(X))
    progress.clear()
    return np.concatenate(scores)


def _document(options: Namespace, table: Table, **results: Any) -> dict[str, Any]:
    """The JSON document of a command."""
    return {
        "command": options.command,
        "gaussum": gaussum.__version__,
        "file": table.source,
        "columns": table.names,
        "weights_column": options.weights,
        "n_samples": len(table.values),
        **results,
    }


def _deliver(
    options: Namespace, say: _Say, document: dict[str, Any], names: list[str], blocks: _Blocks, draw: _Draw,
) -> None:
    """Write what was asked for: the picture first, since the most can go wrong there."""
    if options.plot:
        with writing(options.plot) as temporary:
            save_picture(draw, temporary, os.path.splitext(options.plot)[1][1:].lower())
    for path in options.output:
        if path.lower().endswith(".json"):
            write_json(path, document)
        else:
            write_csv(path, names, blocks())
    written = [*options.output, *([options.plot] if options.plot else [])]
    if written:
        say("")
        say(f"wrote {', '.join(written)}")


class _Scored:
    """A fitted density that shows its progress and keeps the log densities of the samples it scored last."""

    def __init__(self, density: GaussianMixture | KernelDensity, progress: Progress) -> None:
        self.density, self.progress, self.n_features_in_ = density, progress, density.n_features_in_
        self.last: SampleArray | None = None
        self.scores: FloatArray = np.empty(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.density, name)

    def score_samples(self, X: SampleArray) -> FloatArray:
        if X is not self.last:
            self.last, self.scores = X, _score(self.density, X, self.progress)
        return self.scores


def _total(table: Table, scores: FloatArray) -> tuple[float, float]:
    """The number of samples, or their weight, and the log-likelihood."""
    if table.weights is None:
        return len(scores), float(scores.sum())
    return float(table.weights.sum()), float(table.weights @ scores)


def _assignments(mixture: GaussianMixture, X: SampleArray, scores: FloatArray) -> tuple[list[str], _Blocks]:
    """Names and blocks of the CSV of a mixture: component, log density and probabilities of every sample."""

    def blocks() -> Iterator[Sequence[NDArray[Any]]]:
        for start in range(0, len(X), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            probabilities = mixture.predict_proba(X[rows])
            yield [probabilities.argmax(axis=1), scores[rows], *probabilities.T]

    return ["component", "log_density", *(f"probability_{k}" for k in range(len(mixture.weights_)))], blocks


def _draw_mixture(mixture: GaussianMixture, table: Table) -> _Draw:
    """How to draw a mixture over its samples; many columns two at a time, in a figure of its own."""
    if len(table.names) > 2:
        return lambda ax: plot.pairs(mixture, table.values, features=table.names)
    return lambda ax: _label(plot.density(mixture, table.values, components=True, ax=ax), table)


def _label(ax: "Axes", table: Table) -> "Axes":
    """Name the axes that show columns."""
    if len(table.names) <= 2:
        ax.set_xlabel(table.names[0])
    if len(table.names) == 2:
        ax.set_ylabel(table.names[1])
    return ax


def _check_plot(options: Namespace, table: Table, limit: int, what: str) -> None:
    if options.plot and len(table.names) > limit:
        n = len(table.names)
        raise FileError(f"--plot shows {what} of up to {limit} columns, not {n}; --columns chooses them")


def fit(options: Namespace) -> None:
    table, say, progress = _prepare(options)
    _check_plot(options, table, 10, "a mixture")
    mixture = _mixture(options, table, progress)
    scores = _score(mixture, table.values, progress)
    results = mixture_results(mixture, *_total(table, scores))
    say(describe_mixture(mixture, table.names, results))
    document = _document(options, table, **results, parameters=mixture.get_params())
    names, blocks = _assignments(mixture, table.values, scores)
    _deliver(options, say, document, names, blocks, _draw_mixture(mixture, table))


def kde(options: Namespace) -> None:
    table, say, progress = _prepare(options)
    _check_plot(options, table, 2, "a kernel density")
    at = table
    if options.at is not None:
        columns = options.columns if options.columns is not None else _quoted(table.names)
        at = read_table(options.at, columns)
    density = KernelDensity(options.bandwidth, n_threads=options.threads)
    density.fit(table.values, sample_weight=table.weights)
    results: dict[str, Any] = {"bandwidth": density.bandwidth_}
    h = density.bandwidth_
    widths = np.sqrt(np.diagonal(h)) if np.ndim(h) == 2 else np.broadcast_to(h, len(table.names))
    shown = ", ".join(f"{name} {width:.6g}" for name, width in zip(table.names, widths, strict=True))
    say(f"Gaussian kernel density, bandwidth: {shown if len(widths) <= 10 else 'one a column'}")
    scores: FloatArray = np.empty(0)
    if options.at is not None or options.output or len(at.values) <= _FEW_SAMPLES:
        scores = _score(density, at.values, progress)
        results |= {"evaluated_at": at.source, "n_evaluated": len(scores), "mean_log_density": scores.mean()}
        say(f"log density at the {len(scores):,} samples of {at.source}:")
        say(f"mean {scores.mean():.6g}, from {scores.min():.6g} to {scores.max():.6g}")
    else:
        say(f"not evaluated at all {len(at.values):,} samples, which takes a while: --output PATH does it")
    document = _document(options, table, **results)
    _deliver(
        options,
        say,
        document,
        ["log_density"],
        lambda: ([scores[i : i + _BLOCK_ROWS]] for i in range(0, len(scores), _BLOCK_ROWS)),
        lambda ax: _label(plot.density(density, table.values, ax=ax), table),
    )


def _quoted(names: Sequence[str]) -> str:
    """Names as --columns reads them."""
    return ",".join('"' + name.replace('"', '""') + '"' for name in names)


def outliers(options: Namespace) -> None:
    kind = options.density or ("kde" if options.components is None else "mixture")
    if kind == "mixture" and options.components is None:
        raise FileError("--density mixture needs --components K")
    if kind == "kde" and options.components is not None:
        raise FileError("--components K is for a mixture, not for --density kde")
    rule = {name: getattr(options, name) for name in ("contamination", "threshold", "p_value")}
    rule = {name: value for name, value in rule.items() if value is not None} or {"contamination": 0.1}
    limits: dict[str, dict[str, Any]] = {
        "contamination": {"minimum": 0.0, "open_minimum": True, "maximum": 0.5},
        "p_value": {"minimum": _LEAST_P_VALUE, "maximum": 1.0, "open_maximum": True},
        "threshold": {},
    }
    for name, value in rule.items():
        check_number(value, f"--{name.replace('_', '-')}", **limits[name])
    table, say, progress = _prepare(options)
    density: GaussianMixture | KernelDensity
    if kind == "mixture":
        density = _mixture(options, table, progress)
    else:
        density = KernelDensity(options.bandwidth, n_threads=options.threads)
        density.fit(table.values, sample_weight=table.weights)
    n_draws = max(100_000, math.ceil(20 / rule.get("p_value", 1.0)))
    scored = _Scored(density, progress)
    detector = OutlierDetector(scored, **rule, n_draws=n_draws, random_state=options.seed)
    detector.fit(table.values, sample_weight=table.weights)
    scores = scored.score_samples(table.values)
    flagged = np.flatnonzero(scores < detector.offset_)
    of = f"a mixture of {options.components} Gaussians" if kind == "mixture" else "a kernel density"
    (name, value), n = next(iter(rule.items())), len(scores)
    say(f"density: {of}")
    limit = f"{detector.offset_:.6g} (--{name.replace('_', '-')} {value:g})"
    say(f"flagged: {len(flagged):,} of {n:,} samples, those with a log density below {limit}")
    if len(flagged):
        lowest = flagged[np.argsort(scores[flagged], kind="stable")][:_SHOWN_OUTLIERS]
        say("" if len(lowest) == len(flagged) else f"\nthe {len(lowest)} of lowest density:")
        shown = table.names[:6]
        values = table.values[lowest, : len(shown)]
        rows = [
            [str(i), *(f"{v:.6g}" for v in row), f"{scores[i]:.4f}"]
            for i, row in zip(lowest, values, strict=True)
        ]
        say(text_table(["sample", *shown, "log density"], rows))
        say("(samples count from 0)")
    document = _document(
        options, table, density=kind, rule=name, value=value, offset=detector.offset_, outliers=flagged
    )
    _deliver(
        options,
        say,
        document,
        ["log_density", "outlier"],
        lambda: [[scores, (scores < detector.offset_).astype(int)]],
        lambda ax: _label(plot.outliers(detector, table.values, ax=ax), table),
    )


def select(options: Namespace) -> None:
    listed = [name.strip() for name in options.covariance_types.split(",")]
    types: str | list[str] = "all" if listed == ["all"] else listed
    table, say, progress = _prepare(options)
    most = options.max_components or min(9, len(table.values))
    numbers = options.components or range(1, most + 1)
    if max(numbers) > len(table.values):
        what = f"--components goes up to {max(numbers)}" if options.components else f"--max-components is {most}"
        raise FileError(f"{what}, but {table.source} has {len(table.values)} samples")
    result = select_mixture(
        table.values,
        numbers,
        types,
        options.criterion,
        cv=options.cv,
        sample_weight=table.weights,
        n_init=options.n_init,
        random_state=options.seed,
        n_threads=options.threads,
        callback=progress.share,
        tol=options.tol,
        max_iter=options.max_iter,
        init_params=options.init,
    )
    progress.clear()
    say("")
    say(result)
    best = result.best_
    scores = _score(best, table.values, progress)
    results = mixture_results(best, *_total(table, scores))
    say(f"\npreferred by {options.criterion.upper()}:")
    say(describe_mixture(best, table.names, results))
    document = _document(options, table, criterion=options.criterion, candidates=result.table, best=results)
    names, blocks = _assignments(best, table.values, scores)
    _deliver(options, say, document, names, blocks, lambda ax: result.plot(ax=ax))


def demo(options: Namespace) -> None:
    from gaussum import demo

    progress = Progress(options.quiet)
    demo.run(options.output, say=_printer(options), progress=progress, n_threads=options.threads)


def info(options: Namespace) -> None:
    print(f"gaussum {gaussum.__version__}")
    for key, value in gaussum.build_info().items():
        print(f"{key}: {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
