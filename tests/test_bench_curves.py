"""The bench's curves, picture, limits, threads and builds, on the smallest of problems."""

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
PNG = b"\x89PNG"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    names = ("mixtures", "predictions", "threads", "builds", "limits", "scaling", "picture", "cases", "report")
    names += ("timing", "solvers", "sum_curves", "sum_picture", "__main__")
    modules = {name.strip("_"): importlib.import_module(f"bench.{name}") for name in names}
    monkeypatch.setattr(modules["mixtures"], "TARGET_SECONDS", 1e-3)
    monkeypatch.setattr(modules["timing"], "SHORTEST", 1e-4)
    return SimpleNamespace(**modules)


@pytest.fixture
def curves(bench, monkeypatch):
    curves = [
        bench.scaling.Curve("n", [200, 400], d=2, K=2),
        bench.scaling.Curve("d", [1, 2], n=200, K=2),
        bench.scaling.Curve("K", [1, 4], n=200, d=2),
    ]
    monkeypatch.setattr(bench.main, "CURVES", curves)
    # so small a difference may be lost in noise
    monkeypatch.setattr(bench.mixtures, "seconds_per_iteration", lambda run, few, many: 1e-4)
    return curves


def test_curves_are_measured_and_drawn_and_drawn_again_from_the_file(bench, curves, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    measured, first, again = (str(tmp_path / name) for name in ("curves.json", "first.png", "again.png"))
    assert bench.main.main(["--scaling", "--repeats", "1", "--json", measured, "--plot", first]) == 0
    results = json.loads(Path(measured).read_text())["results"]
    assert [result["notes"]["gaussum"]["values"] for result in results] == [[200, 400], [1, 2], [1, 4]]
    out = capsys.readouterr().out
    assert all(curve.name in out for curve in curves) and "| 400 " in out
    assert bench.main.main(["--json", measured, "--plot", again]) == 0
    assert Path(first).read_bytes() == Path(again).read_bytes() and Path(first).read_bytes().startswith(PNG)


def test_a_picture_needs_curves(bench, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        bench.main.main(["--plot", "curves.png"])
    assert "--scaling" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--scaling"):
        bench.picture.draw({"results": []}, tmp_path / "curves.png")


def test_a_slow_curve_ends_early(bench, curves, monkeypatch):
    monkeypatch.setattr(bench.scaling, "LONGEST", 0.0)
    name = next((name for name in bench.main.installed() if name in bench.scaling.CONTENDERS[1:]), None)
    if name is None:
        pytest.skip("no peer is installed")
    notes = curves[0].run(["gaussum", name], 1).notes
    assert notes["gaussum"]["values"] == [200, 400]
    assert notes[name]["values"] == [200] and notes[name]["ended_at"] == 0.0


def test_a_wrong_point_takes_its_curve(bench, curves, monkeypatch):
    def wrong(name, X, start, iterations, threads):
        answer = right(name, X, start, iterations, threads)
        answer.parameters.means += len(X) == 400
        return answer

    right = bench.solvers.run_estimator
    monkeypatch.setattr(bench.solvers, "run_estimator", wrong)
    result = curves[0].run(["gaussum"], 1)
    assert result.status == "WRONG" and result.notes == {} and "means" in result.reasons[0]


@pytest.fixture
def sums(bench, monkeypatch):
    curves = [
        bench.sum_curves.SumCurve("n", [400, 900], d=1),
        bench.sum_curves.SumCurve("h", [0.1, 1.0], n=400, d=2),
        bench.sum_curves.SumCurve("d", [1, 4], n=400),
    ]
    monkeypatch.setattr(bench.main, "SUM_CURVES", curves)
    return curves


def test_sums_are_measured_with_their_errors_and_drawn_again(bench, sums, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    measured, first, again = (str(tmp_path / name) for name in ("sums.json", "first.png", "again.png"))
    assert bench.main.main(["--sums", "--repeats", "1", "--json", measured, "--plot", first]) == 0
    results = json.loads(Path(measured).read_text())["results"]
    there = bench.sum_curves.ways(bench.main.installed())
    for curve, result in zip(sums, results):
        assert {"gaussum", "direct", "grid", "tree"} <= set(result["notes"]) <= {"curve", *there}
        for name, note in result["notes"].items():
            if name == "curve":
                continue
            assert note["values"] == (curve.values[:1] if name in ("grid", "KDEpy FFT") and curve.axis == "d"
                                      else curve.values), name
            assert all(seconds > 0 for seconds in note["seconds"]) and all(note["whole"])
            if there[name].package == "gaussum":
                assert max(note["errors"]) <= 1e-6
            if name == "direct":
                assert max(note["errors"]) < 1e-9
            if name in ("scikit-learn", "SciPy", "mlpack", "KDEpy naive") and curve.axis == "n":
                assert max(note["errors"]) < 2e-6, name
    out = capsys.readouterr().out
    assert all(curve.name in out for curve in sums) and "| 900 " in out
    assert bench.main.main(["--json", measured, "--plot", again]) == 0
    assert Path(first).read_bytes() == Path(again).read_bytes() and Path(first).read_bytes().startswith(PNG)


def test_wrong_sums_end_in_status_1(bench, sums, monkeypatch, tmp_path, capsys):
    right, picture = bench.sum_curves._gaussum, tmp_path / "sums.png"

    def wrong(sources, bandwidth, threads, algorithm):
        score = right(sources, bandwidth, threads, algorithm)
        return lambda targets: score(targets) + 2e-6 * (algorithm == "tree" and len(sources) == 900)

    monkeypatch.setattr(bench.sum_curves, "_gaussum", wrong)
    arguments = ["--sums", "--repeats", "1", "--contenders", "gaussum", "--cases", sums[0].name]
    assert bench.main.main([*arguments, "--plot", str(picture)]) == 1
    assert "WRONG, sums-900-d1-h1: tree" in capsys.readouterr().out and not picture.exists()


def test_a_peer_that_is_wrong_is_shown_not_refused(bench, sums, monkeypatch):
    monkeypatch.setattr(bench.sum_curves, "_scipy", lambda sources, h, threads: lambda X: np.full(len(X), np.nan))
    result = sums[0].run(["gaussum", "SciPy"], 1)
    assert result.status == "agreed" and result.notes["SciPy"]["errors"] == [np.inf, np.inf]
    assert "inf" in bench.report.text([result])


def test_slow_sums_are_timed_in_part_or_end(bench, monkeypatch):
    monkeypatch.setattr(bench.sum_curves, "FEWEST", 100)
    case = bench.sum_curves.SumCase(900, 1)
    way = bench.sum_curves.ways(["gaussum"])["direct"]
    asked = []
    counted = bench.sum_curves.Way(
        "gaussum", lambda *a: lambda X: asked.append(len(X)) or way.make(*a)(X), by_target=True)
    assert case.part == 9
    answer = case.measure(counted, part=9)[1]
    assert asked == [100, 100]          # those timed, those checked
    assert case.differences("direct", answer)["log densities"][0] < 1e-12
    seconds = {True: 2.0, False: 9.0}
    monkeypatch.setattr(bench.sum_curves.SumCurve, "_expected", lambda self, case, way, *_: seconds[way.by_target])
    monkeypatch.setattr(bench.sum_curves, "LONGEST", 1.0)
    curve = bench.sum_curves.SumCurve("n", [900], d=1)
    notes = curve.run(["gaussum"], 1).notes
    assert set(notes) == {"curve", "gaussum", "direct"}
    assert notes["gaussum"]["whole"] == [True] and notes["direct"]["whole"] == [False]
    assert "~" in bench.report.sums_table(SimpleNamespace(notes=notes))
    seconds[True] = 10.0
    assert set(curve.run(["gaussum"], 1).notes) == {"curve", "gaussum"}


def test_what_is_expected_follows_the_points_before(bench):
    curve = bench.sum_curves.SumCurve("n", [100, 200, 400], d=1)
    case = bench.sum_curves.SumCase(400, 1)
    assert curve._expected(case, None, {"values": [200], "seconds": [1.0]}, None) == 2.0
    assert curve._expected(case, None, {"values": [100, 200], "seconds": [1.0, 4.0]}, None) == 16.0


def test_grids_for_an_fft_hold_the_samples(bench):
    case = bench.sum_curves.SumCase(1000, 2)
    sources, targets = case._problem()
    axes, grid = bench.sum_curves._grid(sources, 1000, 2)
    assert grid.shape == (32 * 32, 2)
    assert (grid.min(axis=0) < sources.min(axis=0)).all() and (grid.max(axis=0) > sources.max(axis=0)).all()
    inside = targets[(np.abs(targets) < 2).all(axis=1)]
    away = ((grid[:, np.newaxis] - inside) ** 2).sum(axis=2)
    assert (bench.sum_curves._nearest(axes, inside) == away.argmin(axis=0)).all()


def test_operations_are_counted(bench):
    count = bench.limits.operations
    # of many features, both steps are half of a full product: n K d (d + 1) operations together
    assert count(10, 500, 3, "full") == pytest.approx(10 * 3 * 500 * 501, rel=0.015)
    assert count(10, 500, 3, "diag") == pytest.approx(10 * 3 * 7 * 500, rel=0.015)
    one = bench.limits.EXP + bench.limits.LOG + 6
    assert count(1, 1, 1, "full") == one + 7 and count(1, 1, 1, "diag") == one + 7


def test_limits_are_below_what_is_measured(bench):
    cases = [bench.mixtures.EMCase(2000, 2, 3), bench.mixtures.EMCase(2000, 3, 2, "diag")]
    result = bench.limits.LimitsCase(cases, quick=True).run(["gaussum"], 1)
    machine = result.notes["machine"]
    assert result.status == "agreed" and machine["threads"][0] == 1
    assert machine["exp"] is None or 1e-11 < machine["exp"] < 1e-7
    for case in cases:
        note = result.notes[case.name]
        for seconds, *limits in zip(note["seconds"], note["arithmetic"], note["memory"], strict=True):
            assert seconds is None or seconds > 0.5 * max(limits) > 0.0
    text = bench.report.text([result])
    assert "arithmetic" in text and all(case.name in text for case in cases)


def test_threads_double_up_to_sixteen(bench):
    assert [bench.threads.counts(most) for most in (1, 2, 6, 16, 64)] == [
        [1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8, 16], [1, 2, 4, 8, 16]]
    case = bench.threads.ThreadsCase(bench.mixtures.EMCase(300, 2, 2))
    assert list(case.contenders(["gaussum"], 2)) == ["1 thread", "2 threads"]
    assert case.contenders(["NumPy"], 2) == {}


def test_wrong_predictions_are_refused(bench):
    for method, change in (("score_samples", 1e-6), ("predict", 1), ("predict_proba", 1e-6)):
        case = bench.predictions.PredictionCase(300, 2, 2, method)
        answer = case.contenders(["NumPy"])["NumPy"].warm()
        assert all(found <= allowed for found, allowed in case.differences("NumPy", answer).values())
        wrong = (answer + 1) % 2 if method == "predict" else answer + change
        assert all(found > allowed for found, allowed in case.differences("NumPy", wrong).values())


def test_float32_is_held_to_the_likelihood_of_float64(bench):
    case = bench.mixtures.EMCase(2000, 2, 3, dtype="float32")
    contenders = case.contenders(["gaussum"])
    assert list(contenders) == ["gaussum", "gaussum float64"]
    assert case.data()[0].dtype == np.float32
    answer = contenders["gaussum"].warm()
    found = case.differences("gaussum", answer)
    assert found["log-likelihoods reached"][1] == 1e-5
    assert all(difference <= allowed for difference, allowed in found.values())
    answer.parameters.covariances *= 1.01
    difference, allowed = case.differences("gaussum", answer)["log-likelihoods reached"]
    assert difference > allowed
    assert case.differences("gaussum float64", contenders["gaussum float64"].warm())["means"][1] == 1e-8


def test_another_build_than_asked_for_is_refused(bench):
    result = bench.timing.Result("builds", "builds")
    found = {"case": "em", "status": "agreed", "reasons": [], "median_seconds": {"gaussum": 2e-3}}
    report = {"machine": {"build_info": {"build": "v3"}}, "results": [found]}
    assert bench.builds._seconds(report, "v3", result) == 2e-3 and result.status == "agreed"
    bench.builds._seconds(report, "v4", result)
    assert result.status == "WRONG" and "v4 was asked for, v3 ran" in result.reasons


def test_builds_are_compared_with_the_best(bench):
    result = bench.timing.Result("builds", "builds")
    result.notes["em"] = {"baseline": 4e-3, "v3": 2e-3, "v4": 1e-3, "operations": 1_000_000}
    row = bench.report.builds_table(result).splitlines()[-1]
    assert row.replace(" ", "") == "|em|4ms|4|4×|2ms|2|2×|1ms|1|1×|"
    assert len(bench.cases.OTHERS[0].cases) >= 9
