"""The command `gaussum`: the package's main job on a file, and the demo."""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import gaussum
from gaussum import commands
from gaussum.selectors import NAMES
from gaussum.files import FileError

_MANY = 10_000
_SELECTORS = ", ".join(name for name in NAMES if name not in ("improved_sheather_jones", "sj"))

_EXIT_STATUS = (
    "exit status: 0 all went well; 2 an error, told in one line on stderr; 130 interrupted by Ctrl-C; "
    "141 nobody reads the output any more"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments (default `sys.argv`) and return its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for category in (UserWarning, RuntimeWarning):
            warnings.simplefilter("always", category)
        warnings.showwarning = lambda message, *_, **__: _complain("warning", message)
        if sys.stdout is None:  # closed by the caller
            sys.stdout = open(os.devnull, "w")
        stdout: Any = sys.stdout
        with contextlib.suppress(AttributeError, ValueError):
            stdout.reconfigure(errors="replace")  # a name may hold what the terminal lacks
        try:
            options = _parser().parse_args(argv)
            options.run(options)
            sys.stdout.flush()
            return 0
        except SystemExit as end:  # of --help and --version
            return int(end.code or 0)
        except BrokenPipeError:
            _discard_stdout()
            return 141
        except KeyboardInterrupt:
            _complain("interrupted", "nothing is left half-written")
            return 130
        except MemoryError:
            _complain("error", "the data and the work on them do not fit in memory")
        except OSError as error:  # of standard output: files.py and output.py tell their own
            _complain("error", error.strerror or error)
            _discard_stdout()
        except (ValueError, ImportError) as error:
            _complain("error", error)
        return 2


def _complain(kind: str, message: object) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        blank = "\r\x1b[K" if sys.stderr.isatty() else ""  # over a line of progress
        print(f"{blank}gaussum: {kind}: {' '.join(str(message).split())}", file=sys.stderr, flush=True)


def _discard_stdout() -> None:
    """Let nothing more reach a standard output that is gone, not even from the interpreter as it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FileError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="gaussum", description="Densities made of Gaussians.", epilog=_EXIT_STATUS)
    parser.add_argument("--version", action="version", version=f"gaussum {gaussum.__version__}")
    group = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        name = run.__name__
        child = group.add_parser(name, help=text, description=text, epilog=_EXIT_STATUS, allow_abbrev=False)
        child.set_defaults(run=run, command=name)
        return child

    demo = command(commands.demo, "Replay the story of a mixture and its outliers, and two real data sets.")
    text = "folder for pictures and summary.json (default: %(default)s)"
    demo.add_argument("--output", default="gaussum-demo", metavar="DIR", help=text)
    _add_common(demo)

    fit = command(commands.fit, "Fit a Gaussian mixture to the samples in a file.")
    _add_files(fit)
    fit.add_argument("-k", "--components", type=_count, required=True, metavar="K", help="number of them")
    _add_covariance_type(fit)
    _add_em(fit)
    _add_common(fit)

    kde = command(commands.kde, "Estimate a density by a Gaussian on every sample in a file.")
    _add_files(kde)
    _add_bandwidth(kde)
    text = "evaluate at the samples in this file instead of those in FILE"
    kde.add_argument("--at", metavar="FILE2", help=text)
    _add_common(kde)

    outliers = command(commands.outliers, "Flag the samples in a file where their density is low.")
    _add_files(outliers)
    rule = outliers.add_mutually_exclusive_group()
    rule.add_argument("--contamination", type=float, metavar="F", help="fraction to flag (default: 0.1)")
    rule.add_argument("--threshold", type=float, metavar="L", help="flag log densities below this")
    rule.add_argument("--p-value", type=float, metavar="P", help="flag this fraction of clean data")
    text = "mixture if --components is given, else kde, by default"
    outliers.add_argument("--density", choices=("mixture", "kde"), help=text)
    _add_bandwidth(outliers)
    outliers.add_argument("-k", "--components", type=_count, metavar="K", help="components of a mixture")
    _add_covariance_type(outliers)
    _add_em(outliers)
    _add_common(outliers)

    select = command(commands.select, "Choose a mixture by an information criterion.")
    _add_files(select)
    number = select.add_mutually_exclusive_group()
    number.add_argument("--max-components", type=_count, metavar="K", help="try 1 to K (default: 9)")
    number.add_argument("-k", "--components", type=_counts, metavar="LIST", help="to try, as in 1-4,6")
    text = "types to try, as of fit, separated by commas, or all (default: full)"
    select.add_argument("--covariance-types", default="full", metavar="LIST", help=text)
    text = "bic (default), aic, aicc, icl, or cv, the log-likelihood of unseen samples"
    select.add_argument("--criterion", default="bic", metavar="NAME", help=text)
    text = "folds of a cross-validation (default: 5 for --criterion cv, else none)"
    select.add_argument("--cv", type=_count, metavar="K", help=text)
    _add_em(select)
    _add_common(select)

    command(commands.info, "Tell how this gaussum was built.")
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    text = "CSV, NPY or Parquet file, one sample a row; - reads standard input"
    parser.add_argument("file", metavar="FILE", help=text)
    text = "names, indices from 0, or ranges such as 0-2 (default: all)"
    parser.add_argument("--columns", metavar="LIST", help=text)
    parser.add_argument("--weights", metavar="COLUMN", help="name or index of a column of sample weights")
    text = (
        "write results: parameters to a name that ends in .json, one line a sample to one in .csv; "
        "may be given twice"
    )
    parser.add_argument("--output", metavar="PATH", action="append", default=[], help=text)
    text = "draw a picture (.png, .pdf or .svg; needs matplotlib)"
    parser.add_argument("--plot", metavar="PATH", help=text)


def _add_covariance_type(parser: argparse.ArgumentParser) -> None:
    text = "full (default), tied, diag, spherical, or a name of mclust's, EII to VVV, E, V"
    parser.add_argument("--covariance-type", default="full", metavar="TYPE", help=text)


def _add_bandwidth(parser: argparse.ArgumentParser) -> None:
    text = f"number, numbers separated by commas (one a column), or a selector: {_SELECTORS} (default: auto)"
    parser.add_argument("--bandwidth", type=_bandwidth, default="auto", metavar="H", help=text)


def _add_em(parser: argparse.ArgumentParser) -> None:
    em = parser.add_argument_group("EM")
    em.add_argument("--n-init", type=_count, default=10, metavar="N", help="restarts (default: 10)")
    em.add_argument("--tol", type=float, default=1e-8, metavar="T", help="tolerance (default: 1e-8)")
    text = "most iterations (default: 10000)"
    em.add_argument("--max-iter", type=_count, default=10_000, metavar="N", help=text)
    text = "auto (default), small-em, kmeans, k-means++, random, random_from_data, whitened or hierarchical"
    em.add_argument("--init", default="auto", metavar="METHOD", help=text)
    em.add_argument("--seed", type=_seed, default=0, metavar="S", help="seed (default: 0)")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=_count, metavar="N", help="threads (default: one a core)")
    parser.add_argument("--quiet", action="store_true", help="no summary and no progress")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no integer >= 1")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no integer >= 0")
    return int(text)


def _counts(text: str) -> list[int]:
    numbers: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        first = _count(low.strip())
        last = _count(high.strip()) if "-" in part else first
        if last - first >= _MANY:
            raise argparse.ArgumentTypeError(f"{text!r} names more than {_MANY} numbers")
        numbers.extend(range(first, last + 1))
    if not numbers or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of different numbers such as 1-4,6")
    return numbers


def _bandwidth(text: str) -> str | float | list[float]:
    if text in NAMES:
        return text
    try:
        widths = [float(part) for part in text.split(",")]
    except ValueError:
        expected = f"a number, numbers separated by commas, or one of {_SELECTORS}"
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from None
    return widths[0] if len(widths) == 1 else widths
