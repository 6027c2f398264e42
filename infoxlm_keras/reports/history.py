"""`history.csv`: the numbers of a run, one row for each step with numbers."""

import csv
import io
import pathlib
import re
from collections.abc import Callable
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.written_files import is_special, whole_file

# Names of a run's numbers: `mmlm_loss`, `retrieval_zh_Hant`, `retrieval_pt-BR`.
_NAME = re.compile(r"[^\W\d][\w.-]*")


# Columns that depend on the machine: model FLOPs by `infoxlm_keras.models.flops`; `mfu` is their share of the peak.
SPEEDS = ("tokens_per_second", "tflop_per_second", "mfu")


class HistoryFile:
    """Writes `history.csv`, with `step` as the first column and one row a step. The file is valid after each row.

    A resumed run keeps the rows up to its start unchanged and removes the later ones, so the file equals that of a run
    without interruption. If the file is damaged, the run keeps the intact rows, reports the others, and keeps the
    damaged file as `damaged-history.csv`.

    Args:
        path: str or path.
        start_step: int, rows of later steps are removed; 0 removes all.
        report: called with one line if the file is damaged.
    """

    def __init__(self, path: PathLike, start_step: int = 0, report: Callable[[str], object] = print) -> None:
        self.path = pathlib.Path(path)
        rows, problems = _read(self.path) if start_step else ([], [])
        if problems:
            aside = self.path.with_name(f"damaged-{self.path.name}")
            report(
                f"warning: {self.path}: {problems[0]}"
                + (f", and {len(problems) - 1} more lines" if len(problems) > 1 else "")
                + f": {len(rows)} intact rows are kept, and the damaged file is kept as {aside.name}; the training "
                "itself is not affected"
            )
            self.path.rename(aside)
        self.rows = [row for row in rows if int(row["step"]) <= start_step]
        self.names = _names(self.rows)
        if self.rows:
            self._rewrite()
        elif not is_special(self.path):
            self.path.unlink(missing_ok=True)

    def write(self, record: dict[str, Any]) -> None:
        """Adds `record`, a dict of name to number with `step`; numbers of one step share a row."""
        row = {name: str(value) for name, value in record.items()}
        if self.rows and self.rows[-1]["step"] == row["step"]:
            self.rows[-1].update(row)
            self.names = _names([dict.fromkeys(self.names), row])
            self._rewrite()
            return
        self.rows.append(row)
        if set(row) <= set(self.names):
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                file.write(_lines(self.names, [row]))
        else:
            self.names = _names([dict.fromkeys(self.names), row])
            self._rewrite()

    def close(self) -> None:
        """Does nothing: no file stays open between rows."""

    def _rewrite(self):
        with whole_file(self.path) as file:
            file.write(_lines(self.names, [dict(zip(self.names, self.names, strict=True)), *self.rows]).encode())


def read_rows(path: PathLike) -> list[dict[str, float]]:
    """List of dicts of name to float (`step`: int) of a run's `history.csv`; empty if there is no file.

    Raises:
        InputError: if the file is damaged (names the line).
    """
    rows, problems = _read(pathlib.Path(path))
    if problems:
        raise InputError(f"{path}: {problems[0]}; repair the line or move the file away, and run this again")
    rows = [{name: float(value) for name, value in row.items()} for row in rows]
    return [{**row, "step": int(row["step"])} for row in rows]


def _read(path):
    """(rows, problems): intact rows as dicts of name to text, without empty cells; a message for each damaged line."""
    if not path.is_file():
        return [], []
    data = path.read_bytes()
    # A last line without a line end was cut when the run was killed. Its step is later than the newest checkpoint.
    lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
    if not lines:
        return [], []
    names = _cells(lines[0])
    if names is None or names[0] != "step" or not all(map(_NAME.fullmatch, names)) or len(set(names)) < len(names):
        return [], ["line 1: is not a header `step,...`, so no row can be read"]
    rows: list[dict[str, str]] = []
    problems = []
    for number, line in enumerate(lines[1:], start=2):
        cells = _cells(line)
        if cells is None or len(cells) != len(names) or not all(map(_is_cell, cells)):
            problems.append(f"line {number}: is not a number for each of the {len(names)} columns")
        elif not re.fullmatch(r"[0-9]{1,18}", cells[0]) or (rows and int(cells[0]) <= int(rows[-1]["step"])):
            problems.append(f"line {number}: its step {cells[0]!r} does not follow the step before it")
        else:
            rows.append({name: cell for name, cell in zip(names, cells, strict=True) if cell})
    return rows, problems


def _cells(line):
    """The cells of one line (bytes); None if it is not UTF-8. The cells of a run hold no commas or quotation marks."""
    try:
        return line.removesuffix(b"\r").decode("utf-8").split(",")
    except UnicodeDecodeError:
        return None


def _is_cell(text):
    try:
        # A loss may be infinite or NaN, and is written as such.
        return not text or isinstance(float(text), float)
    except ValueError:
        return False


def _names(rows):
    return list(dict.fromkeys(name for row in rows for name in row))


def _lines(names, rows):
    text = io.StringIO()
    csv.DictWriter(text, names, lineterminator="\n").writerows(rows)
    return text.getvalue()
