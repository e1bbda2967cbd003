"""The story: what `gaussum demo` computes, against what is known of its data."""

import json
import os
import sys

import numpy as np
import pytest

from gaussum import cli, demo
from gaussum.files import FileError

PICTURES = [
    "mixture.png",
    "criteria.png",
    "outliers.png",
    "kernel-density.png",
    "new-samples.png",
    "faithful.png",
    "galaxies.png",
]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The printed text, the summary as read back, and the folder."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    lines = []
    demo.run(str(folder), say=lines.append)
    with open(folder / "summary.json") as file:
        return "\n".join(lines), json.load(file), folder


def test_samples_are_those_of_the_story():
    x, y, true_outliers = demo.make_samples()
    state = np.random.get_state()
    try:
        np.random.seed(2)
        parts = [np.random.normal(*of) for of in ((0, 2, 2000), (5, 5, 2000), (3, 0.5, 600))]
        np.testing.assert_array_equal(x, np.concatenate(parts))
        np.random.seed(0)
        np.testing.assert_array_equal(true_outliers, np.sort(np.random.randint(0, len(x), 20)))
        moved = x.copy()
        moved[true_outliers] += 50 * np.random.randn(20)
        np.testing.assert_array_equal(y, moved)
    finally:
        np.random.set_state(state)


def test_mixture_of_four(story):
    _, summary, _ = story
    mixture = summary["mixture"]
    assert mixture["converged"] and mixture["n_components"] == 4
    assert mixture["log_likelihood"] >= -12801.278
    assert mixture["bic"] == pytest.approx(-2 * mixture["log_likelihood"] + 11 * np.log(4600))


def test_criteria(story):
    text, summary, _ = story
    table = {row["n_components"]: row for row in summary["criteria"]["table"]}
    assert sorted(table) == list(range(1, 10)) and all(row["converged"] for row in table.values())
    assert table[3]["log_likelihood"] == pytest.approx(-12802.840, abs=2e-3)
    assert table[4]["log_likelihood"] >= -12801.278
    assert all(table[k]["log_likelihood"] < table[k + 1]["log_likelihood"] + 1 for k in range(1, 9))
    preferred = summary["criteria"]["preferred"]
    assert preferred["bic"] == 3
    assert preferred["aic"] == min(table, key=lambda k: table[k]["aic"])
    assert f"BIC prefers 3 components, AIC {preferred['aic']}" in text


def test_outliers(story):
    text, summary, _ = story
    outliers = summary["outliers"]
    assert outliers["mixture"]["log_likelihood"] == pytest.approx(-12931.156, abs=2e-3)
    assert len(outliers["true"]) == 20 and len(outliers["flagged"]) == 15
    assert outliers["spurious"] == [2724, 3067]
    assert outliers["missed"] == [1033, 1701, 1871, 2222, 2599, 2607, 3264]
    assert sorted(outliers["detected"] + outliers["spurious"]) == outliers["flagged"]
    assert "2724 3067" in text and "1033 1701 1871 2222 2599 2607 3264" in text


def test_kernel_density_and_new_samples(story):
    _, summary, _ = story
    x = demo.make_samples()[0]
    density = summary["kernel_density"]
    at = np.array(density["at"])
    direct = np.exp(-0.5 * ((at[:, np.newaxis] - x) / 0.15) ** 2).mean(axis=1) / (0.15 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(density["density"], direct, rtol=1e-10)
    np.testing.assert_allclose(density["mixture"], density["truth"], atol=0.01)
    for drawn in summary["new_samples"].values():
        assert drawn["samples"] == 4600
        assert drawn["mean"] == pytest.approx(x.mean(), abs=0.3)
        assert drawn["variance"] == pytest.approx(x.var(), rel=0.1)


def test_real_data(story):
    _, summary, _ = story
    faithful = {(row["n_components"], row["covariance_type"]): row for row in summary["faithful"]["table"]}
    # mclust 6.0.0 reaches -1130.264 with two full covariances (VVV)
    assert faithful[2, "full"]["log_likelihood"] == pytest.approx(-1130.264, abs=1e-2)
    galaxies = {(row["n_components"], row["covariance_type"]): row for row in summary["galaxies"]["table"]}
    assert galaxies[3, "full"]["log_likelihood"] == pytest.approx(-203.179, abs=1e-2)
    for name, table in (("faithful", faithful), ("galaxies", galaxies)):
        assert summary[name]["preferred"]["bic"] == pytest.approx(min(row["bic"] for row in table.values()))


def test_pictures(story):
    text, summary, folder = story
    assert summary["pictures"] == PICTURES
    assert sorted(os.listdir(folder)) == sorted([*PICTURES, "summary.json"])
    for name in PICTURES:
        content = (folder / name).read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) > 10_000
        assert name in text


def test_without_matplotlib(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(demo.STARTS, "n_init", 2)
    assert cli.main(["demo", "--output", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "No pictures: drawing needs matplotlib" in out and err == ""
    assert os.listdir(tmp_path / "out") == ["summary.json"]


def test_a_folder_that_cannot_be(tmp_path, capsys):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FileError, match="cannot write"):
            demo.run(str(folder), say=print)
        assert cli.main(["demo", "--output", str(folder)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith("gaussum: error: cannot write")
