"""The kernels of every instruction-set build: each case in a process of its own for each, on one thread."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.timing import Result

BUILDS = ("baseline", "v3", "v4")
ROUNDS = 3
FEW = slice(2, 6, 2)  # cases of --quick


class BuildsCase:
    """Run `cases` with gaussum alone under ``GAUSSUM_BUILD=baseline``, ``v3`` and ``v4``.

    The builds take turns case by case, so that a ratio compares runs a few seconds apart.
    """

    group = "builds"
    name = "builds"

    def __init__(self, cases, quick=False):
        self.cases, self.quick = cases, quick

    def shrunk(self):
        return BuildsCase([case.shrunk() for case in self.cases[FEW]], quick=True)

    def run(self, names, repeats, threads=None):
        """Return a Result with notes {case: {build: median seconds, "operations": samples x components}}."""
        result = Result(self.name, self.group)
        if "gaussum" not in names:
            return result
        missing = {}
        for case in self.cases:
            note = result.notes[case.name] = {}
            for build in BUILDS:
                if build not in missing:
                    report, error = _run(case, build, min(repeats, ROUNDS), self.quick)
                    if report is None:  # no such build here, or this processor cannot run it
                        missing[build] = error
                    else:
                        note[build] = _seconds(report, build, result)
            note["operations"] = case.operations
        result.reasons += [f"{build} did not run: {error}" for build, error in missing.items()]
        return result


def _run(case, build, repeats, quick):
    """The report of one case under one build, or None; and the last line on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.json")
        command = [sys.executable, "-m", "bench", "--contenders", "gaussum", "--threads", "1"]
        command += ["--repeats", str(repeats), "--json", str(path), "--cases", case.name] + ["--quick"] * quick
        environment = os.environ | {"GAUSSUM_BUILD": build}
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        error = (run.stderr.strip().splitlines() or ["no output"])[-1]
        return (json.loads(path.read_text()) if path.exists() else None), error


def _seconds(report, build, result):
    """Median seconds; what is wrong with the report goes to the result."""
    used, (found,) = report["machine"]["build_info"]["build"], report["results"]
    if used != build:
        result.status = "WRONG"
        result.reasons.append(f"{build} was asked for, {used} ran")
    if found["status"] == "WRONG":
        result.status = "WRONG"
    result.reasons += [f"{build}, {found['case']}: {why}" for why in found["reasons"]]
    return found["median_seconds"].get("gaussum")
