"""The kernels of every instruction-set build: each in a process of its own, on one thread."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.timing import Result

BUILDS = ("baseline", "v3", "v4")


class BuildsCase:
    """Run `cases` with gaussum alone under ``GAUSSUM_BUILD=baseline``, ``v3`` and ``v4``."""

    group = "builds"
    name = "builds"

    def __init__(self, cases, quick=False):
        self.cases, self.quick = cases, quick

    def shrunk(self):
        return BuildsCase([case.shrunk() for case in self.cases], quick=True)

    def run(self, names, repeats):
        """Return a Result with notes {case: {build: median seconds, "operations": samples x components}}."""
        result = Result(self.name, self.group)
        if "gaussum" not in names:
            return result
        for build in BUILDS:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "out.json")
                command = [sys.executable, "-m", "bench", "--contenders", "gaussum", "--threads", "1"]
                command += ["--repeats", str(repeats), "--json", str(path)] + ["--quick"] * self.quick
                command += ["--cases", *(case.name for case in self.cases)]
                environment = os.environ | {"GAUSSUM_BUILD": build}
                run = subprocess.run(command, env=environment, capture_output=True, text=True)
                if not path.exists():  # no such build here, or this processor cannot run it
                    last = (run.stderr.strip().splitlines() or ["no output"])[-1]
                    result.reasons.append(f"{build} did not run: {last}")
                    continue
                report = json.loads(path.read_text())
            used = report["machine"]["build_info"]["build"]
            if used != build:
                result.status = "WRONG"
                result.reasons.append(f"{build} was asked for, {used} ran")
            for found in report["results"]:
                if found["status"] == "WRONG":
                    result.status = "WRONG"
                    result.reasons += [f"{build}, {found['case']}: {why}" for why in found["reasons"]]
                seconds = found["median_seconds"].get("gaussum")
                result.notes.setdefault(found["case"], {})[build] = seconds
        for case in self.cases:
            result.notes.get(case.name, {})["operations"] = case.operations
        return result
