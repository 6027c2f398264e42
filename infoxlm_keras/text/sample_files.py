"""Rows with named columns from files: tab-separated, CSV, JSON and Parquet; each row with its place in the file."""

import csv
import json
import pathlib
from collections.abc import Callable

from infoxlm_keras.errors import InputError
from infoxlm_keras.files.parser_errors import parsing
from infoxlm_keras.text.readers.chunks import LineStream, decode_lines, open_regular
from infoxlm_keras.text.readers.inputs import path_kind, plain_name, refuse_archive, refuse_compressed
from infoxlm_keras.text.readers.parquet import check_parquet

PARQUET_ROWS = 1024
LONGEST_CELL = 1 << 24  # characters; beyond the csv module's 128 kB


class SampleFile:
    """The rows of one file.

    Args:
        path: path. `.csv`, `.jsonl` or `.json` (an object a line, or one list of objects), `.parquet`; any other
            ending is tab-separated. All but Parquet may be compressed.
        wanted: callable, whether the column of this name (folded by `fold`) is needed. Others are not kept.

    Attributes:
        names: list of str, all columns; of JSON those of all rows.
        rows: list of (place, {folded name: value}); place is "PATH: line N" or "PATH: row N".

    Raises:
        InputError: for a file that is missing, empty, or damaged; a row that is broken; a needed column that comes
            twice.
    """

    def __init__(self, path: pathlib.Path, wanted: Callable[[str], bool]) -> None:
        kind = path_kind(path)
        if kind != "file":
            raise InputError(f"{path}: is a folder; give its files" if kind else f"{path}: no such file")
        refuse_archive(path)
        self.path = path
        self.wanted = wanted
        self._names: dict[str, None] = {}
        name = plain_name(path).lower()
        if name.endswith(".parquet"):
            refuse_compressed(path)
            self.rows = list(self._parquet_rows())
        elif name.endswith((".jsonl", ".json")):
            self.rows = list(self._json_rows())
        elif name.endswith(".csv"):
            self.rows = list(self._csv_rows())
        else:
            self.rows = list(self._tab_separated_rows())
        self.names = list(self._names)
        if not self.rows:
            raise InputError(f"{path}: holds no sample; rows follow a header, or are JSON objects")

    def _row(self, names, values, place):
        """The needed part of a row."""
        row = {}
        for name, value in zip(names, values, strict=True):
            self._names.setdefault(name)
            folded = fold(name)
            if self.wanted(folded):
                if folded in row:
                    raise InputError(f"{place}: column {folded} comes twice; rename or remove one of them")
                row[folded] = value
        return row

    def _tab_separated_rows(self):
        names = None
        for number, line in self._lines():
            if not line.strip(" "):
                continue
            cells, place = line.split("\t"), f"{self.path}: line {number}"
            if names is None:
                names = cells
                self._row(names, names, place)
                continue
            if len(cells) != len(names):
                quotes = "; quotes do not enclose cells here, name the file .csv if they do" * ('"' in line)
                raise InputError(
                    f"{place}: holds {len(cells)} columns, the header {len(names)} ({', '.join(names)}){quotes}"
                )
            yield place, self._row(names, cells, place)

    def _csv_rows(self):
        csv.field_size_limit(LONGEST_CELL)
        # Line ends inside quotes belong to the cell.
        reader = csv.reader((line + "\n" for _, line in self._lines()), strict=True)
        names, number = None, 1
        while True:
            place = f"{self.path}: line {number}"
            with parsing(place, "CSV", "enclose cells that hold commas, quotes or line ends in quotes"):
                cells = next(reader, None)
            number = reader.line_num + 1
            if cells is None:
                return
            if not cells:
                continue
            if names is None:
                names = cells
                self._row(names, names, place)
                continue
            if len(cells) != len(names):
                raise InputError(f"{place}: holds {len(cells)} columns, the header {len(names)} ({', '.join(names)})")
            yield place, self._row(names, cells, place)

    def _json_rows(self):
        lines = ((number, line) for number, line in self._lines() if line.strip())
        first = next(lines, None)
        if first is None:
            return
        if first[1].lstrip().startswith("[") and plain_name(self.path).lower().endswith(".json"):
            rows = self._json_value("\n".join([first[1], *(line for _, line in lines)]), str(self.path))
            yield from (self._json_row(row, f"{self.path}: row {number}") for number, row in enumerate(rows, start=1))
            return
        for number, line in (first, *lines):
            place = f"{self.path}: line {number}"
            yield self._json_row(self._json_value(line, place), place)

    def _json_value(self, text, place):
        with parsing(place, "JSON", "a line holds one whole object, or a .json file one list of them"):
            return json.loads(text, object_pairs_hook=_Object)

    def _json_row(self, row, place):
        if not isinstance(row, _Object):
            raise InputError(f'{place}: must be an object such as {{"label": ..., "text": ...}}')
        names, values = row.columns()
        return place, {name: _plain(value, place) for name, value in self._row(names, values, place).items()}

    def _parquet_rows(self):
        file = _open_parquet(self.path)
        with file:
            names = list(file.schema_arrow.names)
            self._row(names, names, str(self.path))
            needed = [name for name in names if self.wanted(fold(name))]
            with parsing(self.path, "a complete Parquet file", "fetch it again"):
                table = file.read(columns=needed)
        number = 0
        for batch in table.to_batches(PARQUET_ROWS) if needed else ():
            for row in _python_rows(batch, self.path, number + 1):
                number += 1
                place = f"{self.path}: row {number}"
                yield place, self._row(list(row), row.values(), place)

    def _lines(self):
        """Yields (number, line) without line ends."""
        number = 1
        with LineStream(str(self.path)) as stream:
            while body := stream.read_body():
                lines = decode_lines(body, str(self.path), number)
                yield from enumerate(lines, start=number)
                number += len(lines)


def parquet_names(path: pathlib.Path) -> list[str]:
    """The columns of a Parquet file, list of str; errors as of `SampleFile`."""
    with _open_parquet(path) as file:
        return list(file.schema_arrow.names)


def _open_parquet(path):
    """The `pyarrow.parquet.ParquetFile` of a path."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError(f'{path}: reading it needs pyarrow: pip install "infoxlm_keras[parquet]"') from None
    with open_regular(path) as head:
        check_parquet(head, path)
    with parsing(path, "a complete Parquet file", "fetch it again"):
        return pyarrow.parquet.ParquetFile(path)


def _python_rows(batch, path, first):
    """The rows of an Arrow batch as dicts; of one that cannot be read the error names the row."""
    try:
        return batch.to_pylist()
    except Exception:
        rows = []
        for number in range(len(batch)):
            with parsing(f"{path}: row {first + number}", "a row that can be read", "correct or remove it"):
                rows += batch.slice(number, 1).to_pylist()
        return rows


def fold(name: str) -> str:
    """The name of a column as it is looked up: whatever case and white space a file has it in."""
    return name.strip().casefold()


class _Object(list):
    """A JSON object as its list of (key, value): a dict would keep the last of two equal keys, and say nothing."""

    def columns(self):
        """(keys, values): two lists."""
        return [key for key, _ in self], [value for _, value in self]


def _plain(value, place):
    """A value with its objects as dicts."""
    if isinstance(value, _Object):
        found = {}
        for key, inner in value:
            if key in found:
                raise InputError(f"{place}: the key {key!r} comes twice; rename or remove one of them")
            found[key] = _plain(inner, place)
        return found
    return [_plain(inner, place) for inner in value] if isinstance(value, list) else value
