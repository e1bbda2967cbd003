"""``python -m bench``: run the cases, print the tables, end with status 1 if an answer was wrong."""

import argparse
import contextlib
import importlib.util
import json
import sys
import time

from bench import picture, report
from bench.cases import CASES, CURVES, QUICK, SUM_CURVES
from bench.timing import BUDGET, run_case, timed

MODULES = {
    "gaussum": "gaussum",
    "scikit-learn": "sklearn",
    "oneDAL": "daal4py",
    "SciPy": "scipy",
    "KDEpy": "KDEpy",
    "mlpack": "mlpack",
    "NumPy": "numpy",
}


def installed():
    """Names of the contenders that can be imported, gaussum first."""
    return [name for name, module in MODULES.items() if importlib.util.find_spec(module)]


def parse(argv):
    """The command line, with `selected` cases and the number of `repeats` filled in."""
    parser = argparse.ArgumentParser("python -m bench", description="Time gaussum beside its peers, checked.")
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer cases of small sizes, under a minute")
    add("--cases", nargs="+", metavar="NAME", help="only cases whose names begin so, for instance em or kde")
    add("--contenders", nargs="+", metavar="NAME", help=f"only these: {', '.join(MODULES)}")
    add("--repeats", type=int, help="rounds of every contender (5; with --quick 3)")
    add("--threads", type=int, help="threads of every contender (all cores)")
    add("--scaling", action="store_true", help="curves of an EM iteration over n, d and K instead of the cases")
    add("--sums", action="store_true", help="curves of a kernel density over n, h and d, by every plan, and its errors")
    add("--json", metavar="PATH", help="write machine, medians and every single time to this file")
    add("--plot", metavar="FILE", help="draw the curves; without --scaling or --sums, those in the file of --json")
    add("--list", action="store_true", help="print the names of the cases and end")
    args = parser.parse_args(argv)
    args.curves = SUM_CURVES if args.sums else CURVES if args.scaling else []
    if args.scaling and args.sums:
        parser.error("--scaling and --sums are both given; expected one of them")
    if args.plot and not args.curves and not args.json:
        parser.error("--plot draws what --scaling or --sums measures, or the file that --json names; none is given")
    args.repeats = args.repeats or (3 if args.quick else 5)
    if args.curves:
        args.selected = [curve.shrunk() for curve in args.curves] if args.quick else args.curves
    else:
        args.selected = [case.shrunk() for case in QUICK] if args.quick else CASES
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


def limited(threads, names):
    """Hold the peers' own thread pools to so many threads; gaussum is told by `n_threads`."""
    if threads is None:
        return contextlib.nullcontext()
    if "oneDAL" in names:
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
    if args.plot and not args.curves:
        with open(args.json) as file:
            picture.draw(json.load(file), args.plot)
        return 0
    names = [name for name in installed() if not args.contenders or name in args.contenders]
    facts = report.machine(names)
    print(report.headline(facts), flush=True)
    if "gaussum" not in names:
        print("gaussum takes no part (not installed, or not asked for): the peers alone")
    results, start = [], time.perf_counter()
    with limited(args.threads, names):
        for case in args.selected:
            if hasattr(case, "run"):  # measures on its own terms
                seconds, result = timed(case.run, names, args.repeats, args.threads)
            else:
                budget = BUDGET / 6 if args.quick else BUDGET
                seconds, result = timed(run_case, case, names, args.repeats, args.threads, budget)
            results.append(result)
            print(f"{case.name}: {result.status}, {seconds:.1f} s", file=sys.stderr, flush=True)
    print("\n" + report.text(results))
    everything = {
        "machine": facts,
        "options": {"quick": args.quick, "threads": args.threads, "repeats": args.repeats},
        "seconds": time.perf_counter() - start,
        "results": [result.as_dict() for result in results],
    }
    if args.json:
        with open(args.json, "w") as file:
            json.dump(everything, file, indent=1, default=str)
    wrong = any(result.status == "WRONG" for result in results)
    if args.plot and not wrong:
        picture.draw(everything, args.plot)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
