"""The bench runs its smallest cases, with whatever peers are installed, and refuses a wrong answer."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.skipif(not (ROOT / "bench").is_dir(), reason="bench is not part of this copy"),
    pytest.mark.filterwarnings("ignore"),  # the peers' own
]


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    names = ("mixtures", "predictions", "kernel_density", "threads", "limits", "scaling", "picture", "cases", "builds")
    names += ("radial_kernels", "grid", "acceleration", "selection", "bayesian", "timing", "report", "solvers")
    names += ("reference", "__main__")
    modules = {name.strip("_"): importlib.import_module(f"bench.{name}") for name in names}
    return SimpleNamespace(**modules)


@pytest.fixture
def small(bench, monkeypatch):
    cases = [
        bench.mixtures.EMCase(500, 2, 3),
        bench.mixtures.EMCase(500, 3, 2, "diag"),
        bench.mixtures.EMCase(500, 2, 2, "tied"),
        bench.mixtures.EMCase(500, 2, 2, "spherical"),
        bench.mixtures.EMCase(500, 2, 3, dtype="float32"),
        bench.mixtures.EMCase(500, 2, 9, spacing=20.0),
        bench.bayesian.BayesCase(500, 2, 3),
        bench.bayesian.BayesCase(500, 3, 2, "tied"),
        bench.bayesian.BayesCase(500, 3, 2, "diag"),
        bench.bayesian.BayesCase(500, 1, 2, "spherical"),
        bench.predictions.PredictionCase(500, 2, 3),
        bench.predictions.PredictionCase(500, 2, 3, "predict"),
        bench.predictions.PredictionCase(500, 2, 3, "predict_proba"),
        bench.threads.ThreadsCase(bench.mixtures.EMCase(500, 2, 3)),
        bench.mixtures.FitCase(500, 1, 2),
        bench.selection.SelectionCase(patient=False),
        bench.radial_kernels.RadialCase(300, 200, 1, "tophat"),
        bench.radial_kernels.RadialCase(300, 200, 2, "exponential"),
        bench.kernel_density.KDECase(300, 200, 1, 0.2),
        bench.grid.GridCase(300, 2, 80),
        bench.kernel_density.KDECase(300, 200, 3, 0.4),
    ]
    monkeypatch.setattr(bench.main, "CASES", cases)
    monkeypatch.setattr(bench.mixtures, "TARGET_SECONDS", 1e-3)
    return cases


def test_small_cases_agree_and_are_reported(bench, small, tmp_path, capsys):
    path = tmp_path / "bench.json"
    assert bench.main.main(["--repeats", "1", "--json", str(path)]) == 0, capsys.readouterr().out
    found = json.loads(path.read_text())
    assert [result["case"] for result in found["results"]] == [case.name for case in small]
    assert all(result["median_seconds"] for result in found["results"])
    assert found["machine"]["cores"] >= 1
    out = capsys.readouterr().out
    assert all(case.name in out for case in small)
    assert "WRONG" not in out


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_accelerations_meet(bench, structure):
    case = bench.acceleration.AccelerationCase("faithful", structure, 3)
    result = bench.timing.timed(case.run, ["gaussum"], 1)[1]
    assert result.status == "agreed"
    assert {note["reached"] for note in result.notes.values()} == {2}
    assert result.notes["gaussum"]["passes"] < result.notes["plain EM"]["passes"]
    assert case.name in bench.report.text([result])


def test_selectors_are_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("bench.marron_wand")
    grid = np.linspace(-8, 8, 8_001)
    for name, components in module.DENSITIES.items():
        f = module.density(components, grid)
        assert f.sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-6), name
        x = module.draw(components, 50, np.random.default_rng(0))
        error = module.SquaredError(components, x)
        for h in (0.05, 0.3):
            fitted = np.exp(-0.5 * ((grid[:, None] - x) / h) ** 2).mean(axis=1) / (np.sqrt(2 * np.pi) * h)
            assert error(h) == pytest.approx(((fitted - f) ** 2).sum() * (grid[1] - grid[0]), rel=1e-4), name
        h, least = error.least()
        assert least <= min(error(0.9 * h), error(1.1 * h))
    few = {name: module.DENSITIES[name] for name in ("Gaussian", "claw")}
    ratios = module.measure(2, sizes=(100,), densities=few)
    assert all((found["auto"] >= 1 - 1e-9).all() for found in ratios.values())
    assert "| claw |" in module.table(ratios)


def test_runs_without_peers(bench, small, capsys):
    assert bench.main.main(["--repeats", "1", "--contenders", "NumPy", "--cases", "em", "kde"]) == 0
    assert "scikit-learn |" not in capsys.readouterr().out


@pytest.mark.parametrize("part", ["weights", "means", "covariances"])
def test_wrong_parameters_are_refused(bench, small, monkeypatch, capsys, part):
    right = bench.solvers.run_numpy

    def wrong(X, start, iterations):
        answer = right(X, start, iterations)
        getattr(answer.parameters, part).flat[0] += 1e-6
        return answer

    monkeypatch.setattr(bench.solvers, "run_numpy", wrong)
    assert bench.main.main(["--repeats", "1", "--contenders", "NumPy", "--cases", small[0].name]) == 1
    out = capsys.readouterr().out
    assert f"WRONG, NumPy: {part} differ" in out
    assert " ms " not in out and " µs " not in out


def test_wrong_likelihood_nan_and_failure_are_refused(bench, small):
    def run(answer):
        contender = bench.timing.Contender(lambda: answer, lambda: (1.0, None))
        case = SimpleNamespace(name="x", group="g", contenders=lambda names, threads: {"NumPy": contender})
        case.differences = small[0].differences
        return bench.timing.run_case(case, ["NumPy"], 1)

    X, start = small[0].data()
    answer = bench.solvers.run_numpy(X, start, bench.mixtures.CHECK_ITERATIONS)
    assert run(answer).median("NumPy") == 1.0
    answer.log_likelihood = np.nan
    assert run(answer).status == "WRONG"
    assert run("no answer").seconds == {}


def test_wrong_densities_are_refused_after_timing_too(bench, small, monkeypatch):
    case = small[-1]
    def wrong(score, targets, note):
        return 1.0, (1, score(targets) + 1e-6)

    monkeypatch.setattr(bench.kernel_density, "_all", wrong)
    result = bench.timing.run_case(case, ["NumPy"], 2)
    assert result.status == "WRONG" and result.seconds == {}


def test_unknown_names_are_named(bench, capsys):
    for arguments in (["--cases", "nothing"], ["--contenders", "nobody"]):
        with pytest.raises(SystemExit, match="2"):
            bench.main.main(arguments)
        assert arguments[1] in capsys.readouterr().err


def test_optima_are_counted(bench, monkeypatch):
    optima = importlib.import_module("bench.optima")
    cases = [case for case in optima.problems() if case[0] in ("faithful K=2 full", "galaxies K=3 full")]
    monkeypatch.setattr(optima, "problems", lambda: cases)
    result = optima.OptimaCase(seeds=2).run(["gaussum", "NumPy"], 1)
    assert list(result.notes) == ["gaussum"]
    everything = result.notes["gaussum"]["all"]
    assert everything["fits"] == 4 and everything["sound"] == everything["any"] == 1.0
    assert "100 %" in bench.report.text([result])
