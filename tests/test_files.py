"""Reading tables and writing results: what is read, what is refused, what is never half-written."""

import io
import json
import os
import sys
import threading

import numpy as np
import pytest

from gaussum.files import FileError, read_table
from gaussum.output import check_output, text_table, to_json, write_csv, write_json, writing

ROWS = [[1.0, 2.5], [-3.0, 4.0], [5e-3, 6.0]]


def save(tmp_path, content, name="data.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        "1,2.5\n-3,4\n5e-3,6\n",
        "1, 2.5\n-3, 4\n5e-3, 6",
        "1;2.5\n-3;4\n5e-3;6\n",
        "1\t2.5\n-3\t4\n5e-3\t6\n",
        "1 2.5\n-3   4\n  5e-3\t6  \n",
        '"1","2.5"\n"-3","4"\n"5e-3","6"\n',
        '1, "2.5"\n-3,"4"\n5e-3,6\n',
        "# a comment\n\n1,2.5\n-3,4 # here\n   \n5e-3,6\n# the end",
        "1,2.5\r\n-3,4\r\n5e-3,6\r\n",
        "1,2.5\r-3,4\r5e-3,6\r",
        "\ufeff1,2.5\n-3,4\n5e-3,6\n",
    ],
    ids="commas blanks semicolons tabs whitespace quotes mixed comments crlf cr bom".split(),
)
@pytest.mark.parametrize("header", [False, True])
def test_text_dialects(tmp_path, text, header):
    bom, text = text.startswith("\ufeff"), text.removeprefix("\ufeff")
    if header:
        separator = next((s for s in ";\t," if s in text.replace("5e-3\t6", "")), " ")
        end = "\r" if "\r" in text and "\n" not in text else "\n"
        text = f'"a"{separator}"the b"{end}{text}'
    table = read_table(save(tmp_path, "\ufeff" * bom + text))
    np.testing.assert_array_equal(table.values, ROWS)
    assert table.names == (["a", "the b"] if header else ["x0", "x1"])


def test_text_in_utf16(tmp_path):
    table = read_table(save(tmp_path, "größe\tb\r\n1\t2.5\r\n-3\t4\r\n5e-3\t6\r\n".encode("utf-16")))
    np.testing.assert_array_equal(table.values, ROWS)
    assert table.names == ["größe", "b"]


@pytest.mark.parametrize("text", ["v\n1\n2\n3\n", "1\n2\n3\n", '"v"\n"1"\n2\n\n3'])
def test_a_single_column(tmp_path, text):
    table = read_table(save(tmp_path, text))
    np.testing.assert_array_equal(table.values, [[1], [2], [3]])
    assert table.names == ["v" if "v" in text else "x0"]


def test_numbers_keep_every_digit(tmp_path):
    values = np.random.default_rng(0).normal(size=(200, 3)) * 10.0 ** np.arange(-150, 150, 100)
    write_csv(tmp_path / "a.csv", ["p", "q", "r"], [list(values[:120].T), list(values[120:].T)])
    np.testing.assert_array_equal(read_table(tmp_path / "a.csv").values, values)


def test_choosing_columns(tmp_path):
    path = save(tmp_path, 'kind,"a, b",c,d,w\nsome-x,1,2,3,1\n"other, y",4,5,6,2\n')
    np.testing.assert_array_equal(read_table(path, "c,1").values, [[2, 1], [5, 4]])
    np.testing.assert_array_equal(read_table(path, '"a, b",d').values, [[1, 3], [4, 6]])
    table = read_table(path, "1-3", weights="w")
    assert table.names == ["a, b", "c", "d"]
    np.testing.assert_array_equal(table.values, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(table.weights, [1, 2])
    with pytest.raises(FileError, match="line 2, column 'kind': 'some-x' is not a number"):
        read_table(path)


def test_names_that_look_like_indices_come_first(tmp_path):
    path = save(tmp_path, "c,1,0-1\nx,7,8\n")
    table = read_table(path, "1,0-1")
    assert table.names == ["1", "0-1"]
    np.testing.assert_array_equal(table.values, [[7, 8]])
    np.testing.assert_array_equal(read_table(path, "2").values, [[8]])


def test_an_unnamed_index_is_left_out(tmp_path):
    path = save(tmp_path, ",a,b\n0,1,2\n1,3,4\n")
    table = read_table(path)
    assert table.names == ["a", "b"] and "column 0" in table.left_out[0]
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(read_table(path, "0-2").values, [[0, 1, 2], [1, 3, 4]])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("zz", "no column 'zz'; expected one of 'a', 'b', 'b', or an index from 0 to 2"),
        ("3", "no column '3'"),
        ("1-3", "no column '1-3'"),
        ("-1", "no column '-1'"),
        ("a,0", "column 'a' is chosen twice"),
        ("b", "2 columns named 'b'; choose them by index"),
        ("", "no columns"),
    ],
)
def test_bad_choices_of_columns(tmp_path, columns, words):
    with pytest.raises(FileError, match=words):
        read_table(save(tmp_path, "a,b,b\n1,2,3\n"), columns)


def test_weights_are_not_data(tmp_path):
    path = save(tmp_path, "a,w\n1,2\n3,4\n")
    assert read_table(path, weights="w").names == ["a"]
    for columns, weights, words in [("a,w", "w", "both as data"), (None, "v", "no column 'v'")]:
        with pytest.raises(FileError, match=words):
            read_table(path, columns, weights)
    with pytest.raises(FileError, match="no columns of data"):
        read_table(save(tmp_path, "w\n1\n"), weights="w")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\n\n# nothing\n", "no data"),
        ("a,b\n", "a header but no rows"),
        ("a,b\n1,2\n\n3,x\n", "line 4, column 'b': 'x' is not a number"),
        ("1,2\n3,x\n", "line 2, column 'x1': 'x' is not a number"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 fields, but line 1 has 2"),
        ("a,b\n1,2\n3\n", "line 3: 1 field, but line 1 has 2"),
        ("a,b\n1,2\n3,\n", "line 3, column 'b': the field is empty"),
        ("1,NA\n1,2\n", "line 1, column 'x1': 'NA' is not a number"),
        ("a,b\n# note\n1,2\n3,nan\n", "line 4, column 'b': nan; expected a finite number"),
        ("a,b\n1,-inf\n", "line 2, column 'b': -inf"),
        ("a\n1e999\n", "line 2, column 'a': inf"),
        ("a;b\n1,5;2\n", "line 2, column 'a': '1,5' is not a number; write decimals with a point"),
        ("a\n1_000\n", "'1_000' is not a number"),
        ("gr\xf6\xdfe\n1\n".encode("latin-1"), "no UTF-8 text"),
        (b"a,b\n" + b"1,2\n" * 9000 + b"\xff,3\n", "no UTF-8 text"),
        (bytes(range(256)) * 40, "binary data"),
        (b"PK\x03\x04\0\0", "binary data"),
        (b"PAR1 and no more", "no readable Parquet file"),
        (b"\x93NUMPY\x01\x00", "no readable NPY file"),
        ('a,b\n1,"2\n3,4\n', "line 3"),
    ],
)
def test_bad_text_is_named_by_place(tmp_path, content, words):
    with pytest.raises(FileError, match=words) as caught:
        read_table(save(tmp_path, content))
    assert "data.csv" in str(caught.value)


def test_ragged_rows_are_refused_whichever_columns_are_chosen(tmp_path):
    with pytest.raises(FileError, match="line 3: 3 fields"):
        read_table(save(tmp_path, "a,b\n1,2\n3,4,5\n"), "a")


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(FileError, match="directory"):
        read_table(tmp_path)


def test_standard_input_and_pipes(tmp_path, monkeypatch):
    content = b"a,b\n1,2.5\n-3,4\n5e-3,6\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    table = read_table("-", "b")
    np.testing.assert_array_equal(table.values, np.array(ROWS)[:, 1:])
    assert table.source == "standard input"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    np.testing.assert_array_equal(read_table(pipe).values, ROWS)
    writer.join()


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "f2", "i4", "u1", "?"])
def test_npy_dtypes(tmp_path, dtype):
    values = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    table = read_table(tmp_path / "a.npy", "2,0")
    np.testing.assert_array_equal(table.values, values[:, [2, 0]].astype("f8"))
    assert table.values.dtype == ("f4" if dtype == "f4" else "f8")


def test_npy_shapes(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(ROWS))
    table = read_table(path)
    assert isinstance(table.values, np.memmap)  # whole files are not copied
    np.testing.assert_array_equal(table.values, ROWS)
    np.save(path, np.arange(4.0))
    assert read_table(path).values.shape == (4, 1)
    fields = np.array([("p", 1.5, 2), ("q", 3.0, 4)], dtype=[("name", "U3"), ("a", "f8"), ("b", "i2")])
    np.save(path, fields)
    np.testing.assert_array_equal(read_table(path, "b,a").values, [[2, 1.5], [4, 3]])
    with pytest.raises(FileError, match="column 'name' holds <U3 values"):
        read_table(path)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([1, None, "x"], dtype=object), "pickled Python objects"),
        (np.ones((2, 2), dtype=complex), "holds complex128"),
        (np.array(["a"]), "holds <U1"),
        (np.ones((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.float64(3), r"shape \(\)"),
        (np.ones((0, 2)), "no rows"),
        (np.ones((2, 0)), "no columns"),
        (np.array([[1, np.nan]]), "row 0, column 'x1': nan"),
        (np.array([1], dtype="M8[s]"), "datetime64"),
    ],
)
def test_bad_npy(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(FileError, match=words):
        read_table(tmp_path / "a.npy")


def test_names_that_lie(tmp_path):
    for name in ("a.npy", "a.parquet"):
        with pytest.raises(FileError, match="whatever its name says"):
            read_table(save(tmp_path, "1,2\n", name))
    np.save(tmp_path / "a.npy", np.array(ROWS))
    os.rename(tmp_path / "a.npy", tmp_path / "a.csv")
    np.testing.assert_array_equal(read_table(tmp_path / "a.csv").values, ROWS)
    content = (tmp_path / "a.csv").read_bytes()
    with pytest.raises(FileError, match="no readable NPY"):
        read_table(save(tmp_path, content[:-9], "cut.npy"))


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    columns = {"a": [1.0, 3.0], "kind": ["x", "y"], "n": [1, 2], "gap": [1.0, None]}
    parquet.write_table(pyarrow.table(columns), path)
    np.testing.assert_array_equal(read_table(path, "n,a").values, [[1, 1], [2, 3]])
    with pytest.raises(FileError, match="column 'kind' holds string"):
        read_table(path)
    with pytest.raises(FileError, match="row 1, column 'gap': no value"):
        read_table(path, "gap")
    with pytest.raises(FileError, match="no column 'b'"):
        read_table(path, "b")


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FileError, match=r'pip install "gaussum\[parquet\]"'):
        read_table(save(tmp_path, b"PAR1", "a.parquet"))


def test_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("before")
    with pytest.raises(RuntimeError), writing(path) as temporary:
        with open(temporary, "w") as file:
            file.write("half of")
        raise RuntimeError
    with pytest.raises(TypeError):
        write_json(path, {"no JSON": object()})
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["out.json"]
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1} and os.listdir(tmp_path) == ["out.json"]


def test_writing_follows_links_and_the_umask(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real" / "a.json")
    write_json(link, [1])
    assert link.is_symlink() and (tmp_path / "real" / "a.json").read_text() == "[1]\n"
    (tmp_path / "plain").touch()
    assert (tmp_path / "real" / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_outputs_are_checked_first(tmp_path):
    data = save(tmp_path, "1\n")
    for path, words in [
        (tmp_path / "a.txt", "ends in .json or .csv"),
        (tmp_path / "no" / "a.csv", "No such file"),
        (data, "it is the file that is read"),
    ]:
        with pytest.raises(FileError, match=words):
            check_output(path, (".json", ".csv"), [data])
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(FileError, match="directory"):
        check_output(tmp_path / "dir.csv", (".csv",))
    check_output(tmp_path / "a.csv", (".csv",))
    assert sorted(os.listdir(tmp_path)) == ["data.csv", "dir.csv"]


def test_json_holds_every_digit_and_no_nan():
    value = {
        "x": np.array([0.1, np.nan, -np.inf, 1 / 3]),
        "m": np.eye(2),
        1: [np.float32(0.5), np.int64(3), None, True, "ü"],
        "empty": [],
    }
    text = to_json(value)
    assert json.loads(text) == {
        "x": [0.1, None, None, 1 / 3],
        "m": [[1, 0], [0, 1]],
        "1": [0.5, 3, None, True, "ü"],
        "empty": [],
    }
    assert "NaN" not in text and "Infinity" not in text and "[0.1, null, null," in text


def test_text_table_aligns():
    assert text_table(["a", "bb"], [["1.5", "2"]]) == "  a  bb\n1.5   2"


def test_parquet_with_two_columns_of_one_name(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    column = pyarrow.array([1.0, 2.0])
    parquet.write_table(pyarrow.Table.from_arrays([column, column], ["a", "a"]), path)
    with pytest.raises(FileError, match="several columns named 'a'"):
        read_table(str(path))


def test_a_field_too_long_for_csv(tmp_path):
    path = save(tmp_path, "a\n" + '"' + "1" * 200_000 + '"\n2\n')
    with pytest.raises(FileError, match="no readable CSV"):
        read_table(path)
