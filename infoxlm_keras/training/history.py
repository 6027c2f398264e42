"""`history.csv`: the numbers of a run, one row a step at which some were written."""

import csv
import io
import os
import pathlib


class HistoryFile:
    """Writes `history.csv`, first column `step`, one row a step; complete after each row.

    A resumed run keeps the rows up to its start as they are, text for text, and drops those after it: together with
    the checkpoint the file becomes the one of a run without interruption.

    Args:
        path: str or path.
        start_step: int, rows of later steps are removed; 0 removes all.
    """

    def __init__(self, path, start_step=0):
        self.path = pathlib.Path(path)
        rows = _read(self.path) if start_step else []
        self.rows = [row for row in rows if int(row["step"]) <= start_step]
        self.names = _names(self.rows)
        if self.rows:
            self._rewrite()
        else:
            self.path.unlink(missing_ok=True)

    def write(self, record):
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

    def close(self):
        """Nothing is left open."""

    def _rewrite(self):
        temporary = self.path.with_name(f".{self.path.name}.partial-{os.getpid()}")
        try:
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                file.write(_lines(self.names, [dict(zip(self.names, self.names, strict=True)), *self.rows]))
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)


def read_rows(path):
    """List of dicts of name to float (`step`: int) of a run's `history.csv`; empty if there is no file."""
    rows = [{name: float(value) for name, value in row.items()} for row in _read(pathlib.Path(path))]
    return [{**row, "step": int(row["step"])} for row in rows]


def _read(path):
    """List of dicts of name to text, cells without text left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    # A line without its end was cut by a kill: it is of a step that the newest checkpoint does not hold.
    text = text[: text.rfind("\n") + 1]
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(io.StringIO(text))]


def _names(rows):
    return list(dict.fromkeys(name for row in rows for name in row))


def _lines(names, rows):
    text = io.StringIO()
    csv.DictWriter(text, names, lineterminator="\n").writerows(rows)
    return text.getvalue()
