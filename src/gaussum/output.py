"""Results out: JSON, CSV and pictures, which appear whole or not at all; text for people, and progress."""

import contextlib
import csv
import json
import math
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussum import criteria
from gaussum.covariance import kernel_type
from gaussum.drawing import Mixture
from gaussum.files import FileError, Table
from gaussum.mixture import GaussianMixture
from gaussum.typing import ArrayLike, FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN_FEATURES = 4  # what fits on a line


def check_output(path: str, suffixes: Sequence[str], inputs: Sequence[str] = ()) -> None:
    """Refuse a path that could not be written, before the work whose result it should take.

    Raises
    ------
    FileError
        The suffix is none of `suffixes`, the folder cannot be written to, or the path is one of `inputs`.
    """
    if os.path.splitext(path)[1].lower() not in suffixes:
        raise FileError(f"cannot write {path}: expected a name that ends in {' or '.join(suffixes)}")
    if os.path.isdir(path):
        raise FileError(f"cannot write {path}: it is a directory")
    for other in inputs:
        if other != "-" and os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other):
            raise FileError(f"cannot write {path}: it is the file that is read")
    with contextlib.suppress(_Abandon), writing(path):
        raise _Abandon


class _Abandon(Exception):
    """Leaves `writing` without writing."""


@contextlib.contextmanager
def writing(path: str) -> Iterator[str]:
    """Yield the path of a new file beside `path` that takes its place if all goes well, and vanishes if not.

    Raises
    ------
    FileError
        The file cannot be written.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{os.getpid()}-{name}")
    try:
        with open(temporary, "wb"):
            pass
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from None


def write_json(path: str, value: Any) -> None:
    """Write plain values and arrays as JSON: every digit of a float, null for NaN and infinity.

    >>> print(to_json({"means": np.array([[0.1], [2.0]]), "score": float("nan")}))
    {
      "means": [
        [0.1],
        [2.0]
      ],
      "score": null
    }
    """
    with writing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(to_json(value) + "\n")


def to_json(value: Any, indent: str = "") -> str:
    """The JSON text of plain values and arrays; a list of numbers or words stays on one line."""
    inner = indent + "  "
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict):
        parts = [f"{json.dumps(str(key))}: {to_json(item, inner)}" for key, item in value.items()]
        brackets, plain = "{}", False
    elif isinstance(value, (list, tuple, range)):
        parts = [to_json(item, inner) for item in value]
        brackets, plain = "[]", not any(part[0] in "[{" for part in parts)
    elif isinstance(value, float) and not math.isfinite(value):
        return "null"
    else:
        return json.dumps(value, allow_nan=False)
    if not parts or plain:
        return brackets[0] + ", ".join(parts) + brackets[1]
    return brackets[0] + "\n" + ",\n".join(inner + part for part in parts) + "\n" + indent + brackets[1]


def write_csv(path: str, names: Sequence[str], blocks: Iterable[Sequence[ArrayLike]]) -> None:
    """Write columns as CSV, every digit of a float.

    Parameters
    ----------
    path : str
    names : list of str
        The header.
    blocks : iterable of lists of arrays
        Each a stretch of rows: one array of equal length a column.
    """
    with writing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for columns in blocks:
            writer.writerows(zip(*(np.asarray(column).tolist() for column in columns), strict=True))


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table with its columns aligned to the right.

    >>> print(text_table(["k", "mean"], [["1", "0.25"], ["2", "-10.5"]]))
    k   mean
    1   0.25
    2  -10.5
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in [header, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def describe_table(table: Table, options: Namespace) -> str:
    """Lines on what was read."""
    n, d = table.values.shape
    lines = [f"{table.source}: {n:,} samples of {', '.join(table.names) if d <= 10 else f'{d} columns'}"]
    lines += [f"left out: {what} (--columns chooses)" for what in table.left_out]
    if table.weights is not None:
        lines.append(f"weights: column {options.weights}, which adds up to {table.weights.sum():g}")
    return "\n".join(lines)


def mixture_results(mixture: GaussianMixture, n_samples: float, log_likelihood: float) -> dict[str, Any]:
    """A fitted mixture and how well it describes `n_samples` (or their total weight), as plain values."""
    p = int(mixture.n_parameters_)
    return {
        "n_components": len(mixture.weights_),
        "covariance_type": mixture.covariance_type,
        "converged": bool(mixture.converged_),
        "n_iter": int(mixture.n_iter_),
        "n_parameters": p,
        "log_likelihood": log_likelihood,
        "bic": criteria.bic(log_likelihood, p, n_samples),
        "aic": criteria.aic(log_likelihood, p),
        "weights": mixture.weights_,
        "means": mixture.means_,
        "covariances": mixture.covariances_,
    }


def describe_mixture(mixture: Mixture, names: Sequence[str], results: dict[str, Any]) -> str:
    """Lines on a fitted mixture: its likelihood and a table of its components."""
    k = results["n_components"]
    done = "converged" if results["converged"] else "NOT converged (more iterations are needed)"
    kind = f"{k} component{'s' * (k != 1)}, covariance type {results['covariance_type']}"
    lines = [
        f"Gaussian mixture: {kind}, {done}",
        f"log-likelihood {results['log_likelihood']:.3f}, {results['n_parameters']} parameters, "
        f"BIC {results['bic']:.2f}, AIC {results['aic']:.2f} (smaller is better)",
        "",
        components_table(mixture, names),
    ]
    if len(names) > _SHOWN_FEATURES:
        lines.append("(means and covariances of so many columns go to --output NAME.json)")
    return "\n".join(lines)


def components_table(mixture: Mixture, names: Sequence[str]) -> str:
    """A text table of weights, means and variances; of weights alone where the features are many."""
    shown = names if len(names) <= _SHOWN_FEATURES else []
    of = [f" {name}" if len(names) > 1 else "" for name in shown]
    header = ["component", "weight", *("mean" + name for name in of), *("variance" + name for name in of)]
    rows = []
    for k, (mean, variance) in enumerate(zip(mixture.means_, variances(mixture), strict=True)):
        cells = [f"{v:.5g}" for v in [*mean, *variance]] if shown else []
        rows.append([str(k), f"{mixture.weights_[k]:.4f}", *cells])
    return text_table(header, rows)


def variances(mixture: Mixture) -> FloatArray:
    """Variances of the components, shape (n_components, n_features), whatever the covariance type."""
    covariances, shape = np.asarray(mixture.covariances_), np.shape(mixture.means_)
    if covariances.ndim == 3:
        return np.diagonal(covariances, axis1=1, axis2=2)
    if kernel_type(mixture.covariance_type) == "tied":
        covariances = np.diagonal(covariances)
    elif covariances.ndim == 1:
        covariances = covariances[:, np.newaxis]
    return np.broadcast_to(covariances, shape)


def require_matplotlib(what: str) -> None:
    """Raise ImportError, in words for the person who asked for `what`, where there is no matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        hint = 'pip install "gaussum[plot]"'
        raise ImportError(f"{what} needs matplotlib, which is not installed: {hint}") from None


def save_picture(draw: "Callable[[Axes], object]", path: str, kind: str = "png") -> None:
    """Draw on axes of a new figure and save it, without a window; `draw` may return axes of another."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.use("agg")
    own = Figure(figsize=(8, 5), layout="constrained")
    ax = own.add_subplot()
    drawn = draw(ax)
    figure: Any = own if drawn is None else np.ravel(np.asarray(drawn, dtype=object))[0].figure
    figure.savefig(path, format=kind, dpi=120)
    if figure is not own:
        import matplotlib.pyplot

        matplotlib.pyplot.close(figure)


class Progress:
    """A line about long work on a terminal's standard error, rewritten in place; silent elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self.stream = sys.stderr
        self.active = not quiet and self.stream is not None and self.stream.isatty()
        self.next = time.monotonic() + 0.5  # quick work shows nothing
        self.width = 0
        self.start, self.last = 0, 0

    def show(self, text: str) -> None:
        """Replace the line by `text`, at most ten times a second."""
        if self.active and time.monotonic() >= self.next:
            self.next = time.monotonic() + 0.1
            self.stream.write("\r" + text.ljust(self.width))
            self.stream.flush()
            self.width = len(text)

    def share(self, done: int, total: int) -> None:
        """Draw how much of the work is done."""
        filled = 30 * done // max(1, total)
        self.show(f"[{'#' * filled}{'.' * (30 - filled)}] {100 * done // max(1, total):3d}%")

    def iteration(self, iteration: int, lower_bound: float) -> None:
        """Tell how far a fit has come; iterations that begin anew are another start."""
        self.start += self.start == 0 or iteration <= self.last
        self.last = iteration
        self.show(f"EM start {self.start}, iteration {iteration}, mean log-likelihood {lower_bound:.6f}")

    def clear(self) -> None:
        """Leave an empty line for what is printed next."""
        self.start = 0
        if self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.stream.flush()
            self.width = 0
