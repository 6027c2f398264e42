"""Where the numbers of a run go: `history.csv`, TensorBoard, and a progress bar."""

import csv
import pathlib
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class HistoryFile:
    """`history.csv`: one row an interval, first column `step`. A resumed run drops the rows after its start.

    Args:
        path: str or path.
        start_step: int, rows of later steps are removed.
    """

    def __init__(self, path, start_step=0):
        self.path = pathlib.Path(path)
        self.rows = [row for row in _read_rows(self.path) if row["step"] <= start_step] if start_step else []

    def write(self, record):
        """Adds `record`, a dict of name to number with `step`; the file is complete after each row."""
        self.rows.append(record)
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        temporary = self.path.with_name(f".{self.path.name}.partial")
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        temporary.replace(self.path)

    def close(self):
        """Nothing is left open."""


def _read_rows(path):
    """List of dicts of name to float (`step`: int) of a `history.csv` of ours; empty if there is no file."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [{**row, "step": int(row["step"])} for row in rows]


class TensorBoardLog:
    """TensorBoard scalars in `directory`, without TensorFlow: the names of history.csv, a task's under its name."""

    def __init__(self, directory):
        self.writer = EventFileWriter(str(directory))

    def write(self, record):
        """Adds the scalars of `record` at its `step`."""
        values = [
            Summary.Value(tag=_tag(name), simple_value=value) for name, value in record.items() if name != "step"
        ]
        self.writer.add_event(Event(wall_time=time.time(), step=record["step"], summary=Summary(value=values)))
        self.writer.flush()

    def close(self):
        """Closes the event file."""
        self.writer.close()


def _tag(name):
    task, _, quantity = name.partition("_")
    return f"{task}/{quantity}" if task in ("mmlm", "tlm", "xlco") else f"run/{name}"


class ProgressBar:
    """One line on the terminal: steps, tokens a second, losses, time left. Without a terminal, a line an interval.

    Args:
        total_steps: int.
        start_step: int.
    """

    def __init__(self, total_steps, start_step=0):
        console = Console()
        self.total_steps = total_steps
        self.console = console
        self.progress = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[summary]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.bar = self.progress.add_task("training", total=total_steps, completed=start_step, summary="compiling")
        self.progress.start()

    def advance(self, step):
        """Moves the bar to `step`."""
        self.progress.update(self.bar, completed=step)

    def write(self, record):
        """Shows the figures of `record`."""
        parts = [f"{record['tokens_per_second']:,.0f} tokens/s"]
        for name, label in (("mmlm_loss", "MMLM"), ("tlm_loss", "TLM"), ("xlco_loss", "XLCO")):
            if name in record:
                parts.append(f"{label} {record[name]:.2f}")
        if "xlco_mi_lower_bound" in record:
            parts.append(f"MI >= {record['xlco_mi_lower_bound']:.2f} nats")
        summary = "  ".join(parts)
        self.progress.update(self.bar, completed=record["step"], summary=summary)
        if not self.console.is_terminal:
            print(f"step {record['step']}/{self.total_steps}  {summary}", flush=True)

    def close(self):
        """Leaves the last state of the line on the screen."""
        self.progress.stop()
