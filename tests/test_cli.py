"""The command line: results on stdout and in files, every error one line and exit status 2."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import gaussum
from gaussum import GaussianMixture, KernelDensity, cli, commands

PNG = b"\x89PNG\r\n"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder to work in with data.csv: two clusters in the plane and a column of words."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    X = np.vstack([rng.normal(0, 1, (60, 2)), rng.normal(8, 1, (40, 2)), [[30.0, -30.0]]])
    with open("data.csv", "w") as file:
        file.write("a,b,kind,w\n")
        file.writelines(f"{a!r},{b!r},k{i % 2},{1 + i % 3}\n" for i, (a, b) in enumerate(X.tolist()))
    return X


@pytest.fixture
def run(capsys):
    def run(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def refused(result, *words):
    """One line on stderr, exit status 2."""
    status, _, err = result
    assert status == 2
    assert err.startswith("gaussum: error: ") and err.count("\n") == 1 and err.endswith("\n")
    for word in words:
        assert word in err
    return err


def read_csv(path):
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    return header, np.array(rows, dtype=float)


def test_fit(data, run):
    arguments = ["fit", "data.csv", "--columns", "a,b", "-k", 2, "--n-init", 3, "--seed", 5]
    arguments += ["--output", "m.json", "--output", "s.csv", "--plot", "p.png"]
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert "data.csv: 101 samples of a, b" in out and "mean a" in out and "wrote m.json, s.csv, p.png" in out
    mixture = GaussianMixture(2, n_init=3, random_state=5).fit(data)
    with open("m.json") as file:
        document = json.load(file)
    assert document["columns"] == ["a", "b"] and document["n_samples"] == 101
    assert document["converged"] is True
    np.testing.assert_allclose(document["means"], mixture.means_, rtol=1e-12)
    np.testing.assert_allclose(document["covariances"], mixture.covariances_, rtol=1e-12)
    assert document["bic"] == pytest.approx(mixture.bic(data), rel=1e-12)
    assert document["parameters"]["n_init"] == 3
    header, rows = read_csv("s.csv")
    assert header == ["component", "log_density", "probability_0", "probability_1"]
    np.testing.assert_array_equal(rows[:, 0], mixture.predict(data))
    np.testing.assert_allclose(rows[:, 1], mixture.score_samples(data), rtol=1e-12)
    np.testing.assert_allclose(rows[:, 2:], mixture.predict_proba(data), atol=1e-12)
    with open("p.png", "rb") as file:
        assert file.read(6) == PNG
    assert sorted(os.listdir()) == ["data.csv", "m.json", "p.png", "s.csv"]


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_fit_tells_variances_of_every_covariance_type(data, run, kind):
    arguments = ["fit", "data.csv", "--columns", "a,b", "-k", 2, "--n-init", 1]
    status, out, _ = run(*arguments, "--covariance-type", kind)
    assert status == 0
    mixture = GaussianMixture(2, covariance_type=kind, random_state=0).fit(data)
    covariances = mixture.covariances_
    expected = {
        "full": lambda: covariances[0, 1, 1],
        "tied": lambda: covariances[1, 1],
        "diag": lambda: covariances[0, 1],
        "spherical": lambda: covariances[0],
    }[kind]()
    assert out.splitlines()[-2].split()[-1] == f"{expected:.5g}"


def test_weights_count(data, run):
    arguments = ["fit", "data.csv", "--columns", "a,b", "-k", 1]
    status, out, _ = run(*arguments, "--weights", "w", "--output", "m.json")
    w = 1 + np.arange(101) % 3
    assert status == 0 and f"adds up to {w.sum()}" in out
    with open("m.json") as file:
        document = json.load(file)
    np.testing.assert_allclose(document["means"], [np.average(data, axis=0, weights=w)])
    assert document["n_samples"] == 101 and document["weights_column"] == "w"


def test_quiet_says_nothing(data, run):
    assert run("fit", "data.csv", "--columns", "0", "-k", 1, "--quiet", "--output", "m.json") == (0, "", "")
    assert os.path.exists("m.json")


def test_same_bits_again(data, run):
    for name in ("one.json", "two.json"):
        assert run("fit", "data.csv", "--columns", "0,1", "-k", 3, "--output", name)[0] == 0
    with open("one.json") as one, open("two.json") as two:
        assert one.read() == two.read()


def test_an_early_end_is_told(data, run):
    status, out, err = run("fit", "data.csv", "--columns", "a,b", "-k", 3, "--max-iter", 1, "--n-init", 1)
    assert status == 0 and "NOT converged" in out
    assert err.startswith("gaussum: warning: ") and err.count("\n") == 1


def test_kde(data, run):
    np.save("at.npy", data[:7, :1] + 0.5)
    arguments = ["kde", "data.csv", "--columns", "a", "--bandwidth", 0.3]
    status, out, err = run(*arguments, "--output", "k.json", "--output", "k.csv", "--plot", "k.png")
    assert (status, err) == (0, "") and "bandwidth: a 0.3" in out
    density = KernelDensity(0.3).fit(data[:, 0])
    header, rows = read_csv("k.csv")
    assert header == ["log_density"]
    np.testing.assert_allclose(rows[:, 0], density.score_samples(data[:, 0]), rtol=1e-12)
    with open("k.json") as file:
        assert json.load(file)["bandwidth"] == 0.3
    np.savetxt("at.csv", data[:7, 0] + 0.5, header="a", comments="")
    assert run(*arguments, "--at", "at.csv", "--output", "at_scores.csv")[0] == 0
    np.testing.assert_allclose(read_csv("at_scores.csv")[1][:, 0], density.score_samples(data[:7, 0] + 0.5))
    refused(run(*arguments, "--at", "at.npy"), "at.npy has no column 'a'")
    refused(run(*arguments, "--at", "data.csv", "--output", "data.csv"), "it is the file that is read")


def test_kde_bandwidths(data, run):
    for value in ("auto", "scott", "silverman", "isj", "sj", "plug_in", "lscv", "lcv", "scott_matrix", "0.5,2"):
        status, out, _ = run("kde", "data.csv", "--columns", "a,b", "--bandwidth", value)
        assert status == 0
    assert "a 0.5, b 2" in out
    for value in ("lscv", "lcv"):
        assert run("kde", "data.csv", "--columns", "a", "--bandwidth", value)[0] == 0
    refused(run("kde", "data.csv", "--columns", "a,b", "--bandwidth", "wide"), "--bandwidth", "'wide'", "isj")
    refused(run("kde", "data.csv", "--columns", "a,b", "--bandwidth", "0"), "bandwidth")
    refused(run("kde", "data.csv", "--columns", "a,b", "--bandwidth", "1,2,3"), "bandwidth")


def test_kde_of_many_samples_is_evaluated_only_if_asked(data, run, monkeypatch):
    monkeypatch.setattr(commands, "_FEW_SAMPLES", 50)
    status, out, _ = run("kde", "data.csv", "--columns", "a")
    assert status == 0 and "not evaluated" in out


def test_outliers(data, run):
    arguments = ["outliers", "data.csv", "--columns", "a,b"]
    mixture = ["-k", 2, "--covariance-type", "tied", "--output", "o.json", "--output", "o.csv"]
    rules = {"--contamination": 0.02, "--threshold": -12, "--p-value": 1e-4}
    for option, value in rules.items():
        status, out, err = run(*arguments, *mixture, option, value)
        assert (status, err) == (0, "") and "a mixture of 2 Gaussians" in out
        with open("o.json") as file:
            document = json.load(file)
        header, rows = read_csv("o.csv")
        assert header == ["log_density", "outlier"]
        np.testing.assert_array_equal(np.flatnonzero(rows[:, 1]), document["outliers"])
        np.testing.assert_array_equal(rows[:, 1] == 1, rows[:, 0] < document["offset"])
        assert 100 in document["outliers"] and len(document["outliers"]) < 6
    status, out, err = run(*arguments, "--plot", "o.png")
    assert (status, err) == (0, "") and "a kernel density" in out and "(--contamination 0.1)" in out


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--density", "mixture"], "needs --components"),
        (["--density", "kde", "-k", 2], "not for --density kde"),
        (["--contamination", 0.6], "--contamination is 0.6"),
        (["--contamination", 0], "--contamination is 0"),
        (["--p-value", 2], "--p-value is 2"),
        (["--p-value", 1e-9], "--p-value is 1e-09"),
        (["--threshold", "nan"], "--threshold is nan"),
        (["--threshold", -9, "--p-value", 0.1], "not allowed with"),
    ],
)
def test_bad_rules_for_outliers(data, run, options, word):
    refused(run("outliers", "data.csv", "--columns", "a,b", *options), word)


def test_select_by_cross_validation(data, run):
    arguments = ["select", "data.csv", "--columns", "a,b", "--n-init", 1, "--max-components", 3]
    status, out, _ = run(*arguments, "--covariance-types", "all", "--criterion", "cv", "--cv", 3, "--output", "s.json")
    assert status == 0 and "cv prefers" in out
    with open("s.json") as file:
        candidates = json.load(file)["candidates"]
    assert len(candidates) >= 12 and all(row["cv"] < 0 for row in candidates)


def test_select(data, run):
    arguments = ["select", "data.csv", "--columns", "a,b", "--n-init", 2]
    status, out, err = run(
        *arguments, "-k", "1-2,4", "--covariance-types", "full,tied", "--output", "s.json", "--plot", "s.png"
    )
    assert (status, err) == (0, "") and "preferred by BIC" in out
    with open("s.json") as file:
        document = json.load(file)
    tried = [(row["n_components"], row["covariance_type"]) for row in document["candidates"]]
    assert sorted(tried) == sorted((k, kind) for k in (1, 2, 4) for kind in ("full", "tied"))
    assert document["best"]["bic"] == pytest.approx(min(row["bic"] for row in document["candidates"]))
    status, out, _ = run(*arguments, "--max-components", 2, "--criterion", "icl", "--output", "s.csv")
    assert status == 0 and "preferred by ICL" in out
    assert read_csv("s.csv")[0][:2] == ["component", "log_density"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--components", "3-1"], "'3-1'"),
        (["--components", "1,1"], "'1,1'"),
        (["--components", "a"], "'a'"),
        (["--max-components", 0], "'0'"),
        (["--max-components", 200], "--max-components is 200"),
        (["--criterion", "dic"], "criterion"),
        (["--cv", 1], "cv is 1"),
        (["--covariance-types", "full,round"], "covariance_type"),
    ],
)
def test_bad_candidates(data, run, options, word):
    refused(run("select", "data.csv", "--columns", "a,b", *options), word)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-k", 0], ["--components", "'0'"]),
        ([], ["--components"]),
        (["-k", 102], ["--components is 102", "101 samples"]),
        (["-k", 2, "--covariance-type", "round"], ["covariance_type", "'round'"]),
        (["-k", 2, "--tol", "nan"], ["tol"]),
        (["-k", 2, "--tol", "x"], ["--tol"]),
        (["-k", 2, "--max-iter", -1], ["--max-iter"]),
        (["-k", 2, "--init", "magic"], ["init_params", "'magic'"]),
        (["-k", 2, "--seed", -1], ["--seed", "-1"]),
        (["-k", 2, "--threads", 0], ["--threads"]),
        (["-k", 2, "--frobnicate"], ["--frobnicate"]),
        (["-k", 2, "--columns", "a,c"], ["no column 'c'"]),
        (["-k", 2, "--columns", "kind"], ["line 2, column 'kind'"]),
        (["-k", 2, "--weights", "kind"], ["line 2, column 'kind'"]),
        (["-k", 2, "--output", "m.txt"], ["m.txt", ".json or .csv"]),
        (["-k", 2, "--output", "no/m.json"], ["no/m.json"]),
        (["-k", 2, "--output", "data.csv"], ["it is the file that is read"]),
        (["-k", 2, "--output", "m.json", "--output", "m.json"], ["twice"]),
        (["-k", 2, "--plot", "p.gif"], ["p.gif"]),
    ],
)
def test_errors_are_one_line_and_leave_nothing(data, run, options, words):
    columns = [] if "--columns" in options else ["--columns", "a,b"]
    refused(run("fit", "data.csv", *columns, *options), *words)
    assert os.listdir() == ["data.csv"]


@pytest.mark.parametrize("command", [["fit", "-k", 2], ["kde"], ["outliers"], ["select"]])
def test_unreadable_files(data, run, command, tmp_path):
    name, *options = command
    refused(run(name, "none.csv", *options, "--output", "m.json"), "none.csv", "No such file")
    refused(run(name, tmp_path, *options, "--output", "m.json"), "directory")
    (tmp_path / "garbage.csv").write_bytes(bytes(range(256)))
    refused(run(name, "garbage.csv", *options, "--output", "m.json"), "garbage.csv", "binary")
    assert not os.path.exists("m.json")


def test_a_failure_while_writing_leaves_nothing(data, run, monkeypatch):
    def fail(draw, path, kind):
        with open(path, "w") as file:
            file.write("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(commands, "save_picture", fail)
    arguments = ["fit", "data.csv", "--columns", "a", "-k", 1]
    refused(run(*arguments, "--output", "m.json", "--plot", "p.png"), "No space")
    assert os.listdir() == ["data.csv"]


def test_without_matplotlib(data, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    arguments = ["fit", "data.csv", "--columns", "a", "-k", 1]
    refused(run(*arguments, "--plot", "p.png"), 'pip install "gaussum[plot]"')
    assert run(*arguments)[0] == 0


def test_pictures_of_many_columns(data, run):
    rng = np.random.default_rng(0)
    np.save("wide.npy", rng.normal(size=(60, 12)))
    assert run("fit", "wide.npy", "--columns", "0-2", "-k", 2, "--plot", "p.png")[0] == 0
    refused(run("fit", "wide.npy", "-k", 2, "--plot", "q.png"), "up to 10 columns, not 12")
    refused(run("kde", "wide.npy", "--columns", "0-2", "--plot", "q.png"), "up to 2 columns, not 3")
    status, out, _ = run("fit", "wide.npy", "-k", 1, "--n-init", 1)
    assert status == 0 and "12 columns" in out
    assert not os.path.exists("q.png")


def test_interrupted(data, run, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "read_table", interrupt)
    status, _, err = run("fit", "data.csv", "-k", 1)
    assert status == 130 and err.count("\n") == 1


def test_progress_on_a_terminal_only(data, run, monkeypatch, capsys):
    from gaussum import output

    now = iter(range(1000))
    monkeypatch.setattr(output.time, "monotonic", lambda: next(now))
    assert run("select", "data.csv", "--columns", "a,b", "--max-components", 2)[2] == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _, _, err = run("select", "data.csv", "--columns", "a,b", "--max-components", 2)
    assert "50%" in err and err.endswith("\r") and err.rsplit("\r", 2)[1].strip() == ""
    _, _, err = run("fit", "data.csv", "--columns", "a,b", "-k", 2)
    assert "EM start 1, iteration" in err
    assert run("fit", "data.csv", "--columns", "a,b", "-k", 2, "--quiet")[2] == ""


def test_help_version_and_info(run):
    status, out, _ = run("--version")
    assert status == 0 and out == f"gaussum {gaussum.__version__}\n"
    status, out, _ = run("--help")
    assert status == 0 and "exit status: 0" in out
    for name in ("demo", "fit", "kde", "outliers", "select", "info"):
        assert name in out
        assert run(name, "--help")[0] == 0
    status, out, _ = run("info")
    assert status == 0 and gaussum.__version__ in out
    refused(run(), "COMMAND")
    refused(run("frobnicate"), "frobnicate")


def command(*arguments, **options):
    arguments = [sys.executable, "-m", "gaussum", *map(str, arguments)]
    return subprocess.run(arguments, capture_output=True, **options)


def test_as_a_process(data):
    with open("data.csv", "rb") as file:
        content = file.read()
    done = command("fit", "-", "--columns", "a,b", "-k", 2, "--output", "m.json", input=content)
    assert done.returncode == 0 and done.stderr == b"" and b"standard input: 101 samples" in done.stdout
    done = command("fit", "none.csv", "-k", 2)
    assert done.returncode == 2 and done.stdout == b""
    assert done.stderr == b"gaussum: error: cannot read none.csv: No such file or directory\n"


def test_a_reader_that_leaves(data):
    read, write = os.pipe()
    os.close(read)
    arguments = [sys.executable, "-m", "gaussum", "fit", "data.csv", "--columns", "a,b", "-k", "2"]
    done = subprocess.run(arguments, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 141 and done.stderr == b""
