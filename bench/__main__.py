"""``python -m bench``: run the cases, print the tables, end with status 1 if an answer was wrong."""

import argparse
import contextlib
import importlib.util
import json
import sys
import time

from bench import report
from bench.builds import BuildsCase
from bench.kernel_density import KDECase
from bench.memory import MemoryCase
from bench.mixtures import EMCase, FitCase, ScoreCase
from bench.timing import BUDGET, run_case, timed

MODULES = {
    "gaussum": "gaussum",
    "scikit-learn": "sklearn",
    "oneDAL": "daal4py",
    "SciPy": "scipy",
    "NumPy": "numpy",
}

EM = [
    EMCase(4_600, 1, 4),
    EMCase(1_000_000, 1, 4),
    EMCase(1_000_000, 2, 8),
    EMCase(500_000, 4, 8),
    EMCase(200_000, 10, 16),
    EMCase(200_000, 10, 16, "diag"),
    EMCase(50_000, 50, 10),
    EMCase(10_000, 200, 10),
    EMCase(20_000, 784, 10, "diag"),
]
SCORE = [ScoreCase(1_000_000, 2, 8), ScoreCase(200_000, 10, 16)]
FIT = [FitCase(4_600, 1, 4), FitCase(1_000_000, 2, 8)]
KDE = [
    KDECase(20_000, 20_000, 1, 0.15),
    KDECase(20_000, 20_000, 2, 0.2),
    KDECase(20_000, 20_000, 10, 0.5, tree_tolerance=1e-2),
]
BUILDS = BuildsCase([EM[1], EM[2], EM[4], EM[5], KDE[0], KDE[2]])
CASES = [*EM, *SCORE, *FIT, *KDE, BUILDS, MemoryCase(1_000_000, 2, 8)]


def installed():
    """Names of the contenders that can be imported, gaussum first."""
    return [name for name, module in MODULES.items() if importlib.util.find_spec(module)]


def parse(argv):
    """The command line, with `selected` cases and the number of `repeats` filled in."""
    parser = argparse.ArgumentParser("python -m bench", description="Time gaussum beside its peers, checked.")
    add = parser.add_argument
    add("--quick", action="store_true", help="small sizes, under a minute")
    add("--cases", nargs="+", metavar="NAME", help="only cases whose names begin so, for instance em or kde")
    add("--contenders", nargs="+", metavar="NAME", help=f"only these: {', '.join(MODULES)}")
    add("--repeats", type=int, help="rounds of every contender (5; with --quick 3)")
    add("--threads", type=int, help="threads of every contender (all cores)")
    add("--json", metavar="PATH", help="write machine, medians and every single time to this file")
    add("--list", action="store_true", help="print the names of the cases and end")
    args = parser.parse_args(argv)
    args.repeats = args.repeats or (3 if args.quick else 5)
    args.selected = [case.shrunk() if args.quick else case for case in CASES]
    if args.cases:
        exact = {case.name for case in args.selected} & set(args.cases)
        begin = tuple(set(args.cases) - exact)
        args.selected = [c for c in args.selected if c.name in exact or begin and c.name.startswith(begin)]
        if not args.selected:
            parser.error(f"no case begins with {', '.join(args.cases)}; see --list")
    unknown = set(args.contenders or ()) - set(MODULES)
    if unknown:
        parser.error(f"unknown contender {', '.join(sorted(unknown))}; expected some of {', '.join(MODULES)}")
    return args


def limited(threads):
    """Hold the peers' own thread pools to so many threads; gaussum is told by `n_threads`."""
    if threads is None:
        return contextlib.nullcontext()
    if importlib.util.find_spec("daal4py"):
        import daal4py

        daal4py.daalinit(nthreads=threads)
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads)


def main(argv=None):
    """Run and report; return the exit status, 1 when an answer was wrong."""
    args = parse(argv)
    if args.list:
        print("\n".join(case.name for case in args.selected))
        return 0
    names = [name for name in installed() if not args.contenders or name in args.contenders]
    facts = report.machine(names)
    print(report.headline(facts), flush=True)
    if "gaussum" not in names:
        print("gaussum takes no part (not installed, or not asked for): the peers alone")
    results, start = [], time.perf_counter()
    with limited(args.threads):
        for case in args.selected:
            if hasattr(case, "run"):  # in processes of its own
                seconds, result = timed(case.run, names, args.repeats)
            else:
                budget = BUDGET / 6 if args.quick else BUDGET
                seconds, result = timed(run_case, case, names, args.repeats, args.threads, budget)
            results.append(result)
            print(f"{case.name}: {result.status}, {seconds:.1f} s", file=sys.stderr, flush=True)
    print("\n" + report.text(results))
    if args.json:
        everything = {
            "machine": facts,
            "options": {"quick": args.quick, "threads": args.threads, "repeats": args.repeats},
            "seconds": time.perf_counter() - start,
            "results": [result.as_dict() for result in results],
        }
        with open(args.json, "w") as file:
            json.dump(everything, file, indent=1, default=str)
    return int(any(result.status == "WRONG" for result in results))


if __name__ == "__main__":
    sys.exit(main())
