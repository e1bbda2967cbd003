"""Tables in: columns of numbers from CSV, NPY and Parquet files, with the place of every fault."""

import contextlib
import csv
import dataclasses
import io
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Protocol, TextIO

import numpy as np

from gaussum.typing import FloatArray, NDArray, SampleArray

_SNIFFED_ROWS = 100
_SCAN_ROWS = 1 << 16


class FileError(ValueError):
    """A file or a choice of columns that cannot be used; the message is one line for the person who asked."""


@dataclasses.dataclass
class Table:
    """Columns of numbers read from a file.

    Attributes
    ----------
    source : str
        The file's name, for messages.
    names : list of str
        The columns' names; ``x0``, ``x1``, ... where the file has none.
    values : ndarray, shape (n_samples, n_columns)
        Finite float32 or float64 values (memory-mapped where the file is an NPY file of such).
    weights : ndarray, shape (n_samples,), or None
        The column of weights, where one was chosen.
    left_out : list of str
        Words on columns that nobody chose and that were left out, such as an unnamed row index.
    """

    source: str
    names: list[str]
    values: SampleArray
    weights: FloatArray | None = None
    left_out: list[str] = dataclasses.field(default_factory=list)


class _Reader(Protocol):
    """What reads one kind of file."""

    names: list[str]

    def read(self, wanted: list[int]) -> SampleArray: ...

    def where(self, i: int) -> str: ...


def read_table(path: str | os.PathLike[str], columns: str | None = None, weights: str | None = None) -> Table:
    """Read columns of numbers from a CSV, NPY or Parquet file.

    The first bytes tell the kind. Text may be separated by commas, semicolons, tabs or blanks, and may hold
    quoted fields, blank lines and comments after ``#``; a first row that is not all numbers is the header.

    Parameters
    ----------
    path : str
        The file, or ``-`` for standard input.
    columns : str, optional
        Names, indices from 0, or ranges of indices such as ``2-4``, separated by commas. By default all but
        the column of weights and those that a header leaves unnamed (the row index of many programs).
    weights : str, optional
        Name or index of a column of weights.

    Returns
    -------
    Table

    Raises
    ------
    FileError
        Whatever is wrong with the file or the choice, in one line with the place of the fault.
    """
    source = _Source(path)
    reader = source.reader()
    chosen, weight, left_out = choose_columns(reader.names, columns, weights, source.name)
    wanted = chosen if weight is None else [*chosen, weight]
    values = reader.read(wanted)
    names = [reader.names[j] or f"x{j}" for j in wanted]
    if len(values) == 0:
        raise FileError(f"{source.name} holds no rows of data")
    for start in range(0, len(values), _SCAN_ROWS):
        bad = np.argwhere(~np.isfinite(values[start : start + _SCAN_ROWS]))
        if len(bad):
            i, j = start + int(bad[0, 0]), int(bad[0, 1])
            where = f"{source.name}, {reader.where(i)}, column {names[j]!r}"
            raise FileError(f"{where}: {values[i, j]}; expected a finite number")
    if weight is None:
        return Table(source.name, names, values, None, left_out)
    return Table(source.name, names[:-1], values[:, :-1], np.ascontiguousarray(values[:, -1]), left_out)


def choose_columns(
    names: list[str], columns: str | None, weights: str | None, source: str,
) -> tuple[list[int], int | None, list[str]]:
    """Indices of the chosen columns, index of the weights or None, and words on what was left out.

    Raises
    ------
    FileError
        A column does not exist, is ambiguous, or is chosen twice.
    """
    weight = None if weights is None else _find_column(names, weights, source)
    if columns is None:
        candidates = [j for j in range(len(names)) if j != weight]
        chosen = [j for j in candidates if names[j]]
        left_out = [f"column {j}, which has no name" for j in candidates if not names[j]]
    else:
        chosen, left_out = [], []
        for field in next(csv.reader([columns], skipinitialspace=True), []):
            field, span = field.strip(), re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", field)
            if span and field not in names:
                first, last = int(span[1]), int(span[2])
                if not first <= last < len(names):
                    raise FileError(_no_column(names, field, source))
                chosen.extend(range(first, last + 1))
            else:
                chosen.append(_find_column(names, field, source))
    if not chosen:
        raise FileError(f"{source}: no columns of data are left to read")
    if weight in chosen:
        raise FileError(f"column {weights!r} is chosen both as data and as weights")
    for j in chosen:
        if chosen.count(j) > 1:
            raise FileError(f"column {names[j] or j!r} is chosen twice")
    return chosen, weight, left_out


def _find_column(names: list[str], field: str, source: str) -> int:
    same = names.count(field)
    if same > 1:
        raise FileError(f"{source} has {same} columns named {field!r}; choose them by index, from 0")
    if field and field in names:
        return names.index(field)
    if field.isdecimal() and int(field) < len(names):
        return int(field)
    raise FileError(_no_column(names, field, source))


def _no_column(names: list[str], field: str, source: str) -> str:
    shown = ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    last = len(names) - 1
    return f"{source} has no column {field!r}; expected one of {shown}, or an index from 0 to {last}"


class _Source:
    """A file that can be opened again and again; what cannot (standard input, a pipe) is kept in memory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = "standard input" if path == "-" else os.fspath(path)
        self.path = path
        self.data: bytes | None = None
        try:
            if path == "-" and sys.stdin is None:
                raise FileError("standard input is closed; expected a table")
            if path == "-":
                self.data = sys.stdin.buffer.read()
            with self.open() as file:
                if self.data is None and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    self.data = file.read()
                    self.head = self.data[:8192]
                else:
                    self.head = file.read(8192)
        except OSError as error:
            raise FileError(f"cannot read {self.name}: {error.strerror or error}") from None
        if not self.head:
            raise FileError(f"{self.name} is empty")
        self.encoding = "utf-16" if self.head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"

    def open(self) -> BinaryIO:
        return open(self.path, "rb") if self.data is None else io.BytesIO(self.data)

    def text(self) -> TextIO:
        return io.TextIOWrapper(self.open(), encoding=self.encoding)

    def reader(self) -> _Reader:
        suffix = os.path.splitext(self.name)[1].lower()
        if self.head.startswith(b"\x93NUMPY"):
            return _Npy(self)
        if self.head.startswith(b"PAR1"):
            return _Parquet(self)
        if suffix in (".npy", ".parquet"):
            kind = "NPY" if suffix == ".npy" else "Parquet"
            raise FileError(f"{self.name} is no {kind} file, whatever its name says")
        if b"\0" in self.head and self.encoding != "utf-16":
            raise FileError(f"{self.name} is binary data that is no table; expected CSV text, NPY or Parquet")
        return _Csv(self)


class _Csv:
    """Text in rows. NumPy's parser reads it; what that refuses is read row by row, to name the fault."""

    def __init__(self, source: _Source) -> None:
        self.source = source
        with self._decoding(), source.text() as text:
            lines = []
            for line in _without_comments(text):
                lines.append(line)
                if sum(map(bool, lines)) > _SNIFFED_ROWS:
                    break
        if not any(lines):
            raise FileError(f"{source.name} holds no data, only blank lines or comments")
        with self._decoding():
            self.delimiter = _sniff([line for line in lines if line])
            rows = self._rows(lines)
            header_line, first = next(rows)
            self.header = _is_header(first)
            self.skip = header_line if self.header else 0
            self.width, self.header_line = len(first), header_line
            self.empty = self.header and next(rows, None) is None
        self.names = first if self.header else [f"x{j}" for j in range(self.width)]

    @contextlib.contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            what = f"{self.source.name} is no UTF-8 text ({error.reason})"
            raise FileError(f"{what}; expected CSV, NPY or Parquet") from None
        except csv.Error as error:
            raise FileError(f"{self.source.name} is no readable CSV: {error}") from None

    def _rows(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Line number (from 1) and fields of every row that is not blank."""
        if self.delimiter is None:
            lines = (" ".join(line.split()) for line in lines)
        reader = csv.reader(lines, delimiter=self.delimiter or " ", skipinitialspace=True)
        for row in reader:
            if row:
                yield reader.line_num, [field.strip() for field in row]

    def read(self, wanted: list[int]) -> SampleArray:
        if self.empty:
            raise FileError(f"{self.source.name} holds a header but no rows of data")
        if sorted(wanted) == list(range(self.width)):
            dtype: Any = np.float64
        else:  # of the other columns a character is kept, so that rows of another length are still refused
            dtype = [(f"c{j}", np.float64 if j in wanted else "U1") for j in range(self.width)]
        try:
            values = self._loadtxt(dtype)
        except (ValueError, OSError):
            return self._read_rows(wanted)
        if dtype is np.float64:
            if values.shape[1] != self.width:
                return self._read_rows(wanted)
            return values if wanted == sorted(wanted) else values[:, wanted]
        return np.column_stack([values[f"c{j}"] for j in wanted])

    def _loadtxt(self, dtype: Any) -> NDArray[Any]:
        options: dict[str, Any] = dict(delimiter=self.delimiter, comments="#", quotechar='"', skiprows=self.skip)
        options.update(dtype=dtype, ndmin=2 if dtype is np.float64 else 1)
        values: NDArray[Any]
        if self.source.data is None:  # by its name: NumPy reads an open file line by line, at half the speed
            values = np.loadtxt(os.path.abspath(self.source.path), encoding=self.source.encoding, **options)
            return values
        with self.source.text() as text:
            values = np.loadtxt(text, **options)
            return values

    def _read_rows(self, wanted: list[int]) -> FloatArray:
        values = []
        with self._decoding(), self.source.text() as text:
            rows = self._rows(_without_comments(text))
            if self.header:
                next(rows)
            for line, row in rows:
                if len(row) != self.width:
                    raise FileError(
                        f"{self.source.name}, line {line}: {_fields(len(row))}, but line {self.header_line} "
                        f"has {_fields(self.width)}"
                    )
                values.append([self._number(row[j], line, j) for j in wanted])
        return np.array(values, dtype=np.float64)

    def _number(self, field: str, line: int, j: int) -> float:
        value = _parse(field)
        if value is None:
            what = f"{field[:40]!r} is not a number" if field else "the field is empty"
            hint = "; write decimals with a point" if re.fullmatch(r"[-+]?\d+,\d+", field) else ""
            name = self.names[j] or f"x{j}"
            where = f"{self.source.name}, line {line}, column {name!r}"
            raise FileError(f"{where}: {what}{hint} (--columns chooses among columns)")
        return value

    def where(self, i: int) -> str:
        """The line of sample `i`."""
        with self._decoding(), self.source.text() as text:
            rows = self._rows(_without_comments(text))
            for _ in range(i + self.header):
                next(rows)
            return f"line {next(rows)[0]}"


def _without_comments(text: Iterable[str]) -> Iterator[str]:
    """Lines stripped of comments; empty where nothing is left, so that line numbers hold."""
    for line in text:
        if "#" in line:
            pieces = line.split("#")
            line = pieces[0]
            for piece in pieces[1:]:
                if line.count('"') % 2 == 0:
                    break
                line += "#" + piece
        yield line.strip(" \r\n\f\v") if line.strip() else ""


def _sniff(lines: list[str]) -> str | None:
    """The separator that cuts most lines into as many fields, then into most numbers; None for blanks."""
    best: str | None = None
    score = (0.5, 0.0)
    for delimiter in ";\t,":
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
        widths = [len(row) for row in rows]
        width = max(set(widths), key=widths.count)
        fields = [field for row in rows for field in row]
        numbers = sum(_parse(field) is not None for field in fields) / max(1, len(fields))
        if width > 1 and (widths.count(width) / len(lines), numbers) > score:
            best, score = delimiter, (widths.count(width) / len(lines), numbers)
    return best


def _is_header(row: Sequence[str]) -> bool:
    """Whether a row holds a word that is neither a number nor a mark of a missing one."""
    words = [field.lower() for field in row if field and _parse(field) is None]
    return any(word not in ("na", "n/a", "null", "none") for word in words)


def _parse(field: str) -> float | None:
    try:
        return None if "_" in field else float(field)
    except ValueError:
        return None


def _fields(count: int) -> str:
    return f"{count} field{'s' * (count != 1)}"


class _Npy:
    """An array saved by NumPy: two dimensions, one, or one of named fields. Pickles stay shut."""

    def __init__(self, source: _Source) -> None:
        self.source = source
        try:
            if source.data is None:
                self.array = np.load(source.path, mmap_mode="r", allow_pickle=False)
            else:
                self.array = np.load(io.BytesIO(source.data), allow_pickle=False)
        except (ValueError, TypeError, SyntaxError, EOFError, OSError, OverflowError, MemoryError) as error:
            if "object" in str(error).lower():
                raise FileError(f"{source.name} holds pickled Python objects, which are not loaded") from None
            raise FileError(f"{source.name} is no readable NPY file: {error}") from None
        array = self.array
        if array.dtype.names is None and array.ndim == 1:
            self.array = array = array[:, np.newaxis]
        if array.ndim != (2 if array.dtype.names is None else 1):
            raise FileError(
                f"{source.name} holds an array of shape {array.shape}; "
                "expected (n_samples, n_columns), (n_samples,), or one dimension of named fields"
            )
        self.names = list(array.dtype.names or (f"x{j}" for j in range(array.shape[1])))

    def read(self, wanted: list[int]) -> SampleArray:
        if self.array.dtype.names is None:
            self._check(self.array.dtype, "")
            values = self.array if wanted == list(range(len(self.names))) else self.array[:, wanted]
            native = values.dtype.isnative and values.dtype in (np.float32, np.float64)
            return values if native else _as_float(values)
        for j in wanted:
            self._check(self.array.dtype[j], f", column {self.names[j]!r}")
        return np.column_stack([_as_float(self.array[self.names[j]]) for j in wanted])

    def _check(self, dtype: np.dtype[Any], column: str) -> None:
        if dtype.kind not in "fiub" or dtype.shape:
            raise FileError(f"{self.source.name}{column} holds {dtype} values; expected real numbers")

    def where(self, i: int) -> str:
        return f"row {i}"


class _Parquet:
    """A Parquet file, read by pyarrow."""

    def __init__(self, source: _Source) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise FileError(
                f'reading {source.name} needs pyarrow, which is not installed: pip install "gaussum[parquet]"'
            ) from None
        self.source = source
        try:
            data = source.path if source.data is None else pyarrow.BufferReader(source.data)
            self.file = pyarrow.parquet.ParquetFile(data)
            self.names = list(self.file.schema_arrow.names)
        except (pyarrow.ArrowException, OSError) as error:
            raise FileError(f"{source.name} is no readable Parquet file: {error}") from None
        for name in self.names:
            if self.names.count(name) > 1:
                raise FileError(f"{source.name} has several columns named {name!r}; expected different names")

    def read(self, wanted: list[int]) -> SampleArray:
        import pyarrow

        schema, names = self.file.schema_arrow, [self.names[j] for j in wanted]
        for j, name in zip(wanted, names, strict=True):
            kind, types = schema.field(j).type, pyarrow.types
            if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
                what = f"{self.source.name}, column {name!r} holds {kind} values"
                raise FileError(f"{what}; expected real numbers")
        try:
            table = self.file.read(columns=names)
        except (pyarrow.ArrowException, OSError) as error:
            raise FileError(f"{self.source.name} is no readable Parquet file: {error}") from None
        columns = [table.column(name) for name in names]
        for name, column in zip(names, columns, strict=True):
            if column.null_count:
                row = column.is_null().to_numpy().argmax()
                where = f"{self.source.name}, row {row}, column {name!r}"
                raise FileError(f"{where}: no value; expected a finite number")
        return np.column_stack([_as_float(column.to_numpy()) for column in columns])

    def where(self, i: int) -> str:
        return f"row {i}"


def _as_float(values: NDArray[Any]) -> SampleArray:
    """Native float32 or float64; what is wider than a double becomes infinite and is refused as such."""
    with np.errstate(over="ignore"):
        single = values.dtype.kind == "f" and values.dtype.itemsize == 4
        return np.asarray(values, dtype=np.float32 if single else np.float64)
