"""Writers of a run's numbers besides `history.csv`: TensorBoard and the console; `Recorder` calls all writers."""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.evaluation.registry import evaluation_classes

if TYPE_CHECKING:
    from infoxlm_keras.tasks.pretext_task import PretextTask


class Recorder:
    """Passes every record to all writers and keeps the newest step's numbers.

    Args:
        writers: list of objects with `write(record)` and `close()`; one may also have `advance(step)`. The list is
            empty in a process that writes nothing.
    """

    def __init__(self, writers: Iterable[Any] = ()) -> None:
        self.writers = list(writers)
        self.newest = {"step": None}

    def write(self, record: dict[str, Any]) -> None:
        """Writes `record`, a dict of name to number with `step`."""
        self.newest = {**self.newest, **record} if self.newest["step"] == record["step"] else dict(record)
        for writer in self.writers:
            writer.write(record)

    def value(self, step: int, name: str) -> Any:
        """The number `name` that was written at `step`, or None; only the newest step's numbers are known."""
        return self.newest.get(name) if self.newest["step"] == step else None

    def advance(self, step: int) -> None:
        """Reports to the writers that `step` steps are done."""
        for writer in self.writers:
            if hasattr(writer, "advance"):
                writer.advance(step)

    def close(self) -> None:
        """Closes all writers."""
        for writer in self.writers:
            writer.close()


class TensorBoardLog:
    """TensorBoard scalars in `directory`, without TensorFlow. The names are those of history.csv, grouped by task.

    Args:
        directory: str or path.
        start_step: int; TensorBoard drops what an interrupted run wrote after it.
        groups: names of tasks; a number `<group>_<name>` is shown in the group.
    """

    def __init__(self, directory: PathLike, start_step: int = 0, groups: Sequence[str] = ()) -> None:
        self.groups = (*groups, *(evaluation.prefix for evaluation in evaluation_classes().values()))
        self.writer: EventFileWriter | None = None
        try:
            str(directory).encode()
        except UnicodeEncodeError:
            print(
                f"warning: {ascii(str(directory))}: TensorBoard takes only names in UTF-8, so no log is written for it"
            )
            return
        self.writer = EventFileWriter(str(directory))
        session = SessionLog(status=SessionLog.START)
        self.writer.add_event(Event(wall_time=time.time(), step=start_step + 1, session_log=session))

    def write(self, record: dict[str, Any]) -> None:
        """Adds the scalars of `record` at its `step`."""
        values = [
            Summary.Value(tag=tag(name, self.groups), simple_value=value)
            for name, value in record.items()
            if name != "step"
        ]
        self._add(record["step"], Summary(value=values))

    def write_text(self, name: str, markdown: str, step: int = 0) -> None:
        """Adds a text, which TensorBoard shows on its own page."""
        self._add(step, text_pb(name, markdown))

    def close(self) -> None:
        """Closes the event file."""
        if self.writer is not None:
            self.writer.close()

    def _add(self, step, summary):
        if self.writer is not None:
            self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
            self.writer.flush()


def tag(name: str, groups: Iterable[str]) -> str:
    """The TensorBoard tag of a number: `<group>/<rest>` for a name in one of `groups`, else `run/<name>`.

    Args:
        name: str, a column of history.csv.
        groups: names of tasks and evaluations.
    """
    found = max((group for group in groups if name.startswith(f"{group}_")), key=len, default=None)
    return f"run/{name}" if found is None else f"{found}/{name[len(found) + 1 :]}"


class ProgressLine:
    """One line on the terminal: steps, tokens a second, losses, time left. Without a terminal it prints a line for
    each record.

    Args:
        total_steps: int.
        start_step: int.
        tasks: list of `PretextTask`s, whose losses are shown.
    """

    def __init__(self, total_steps: int, start_step: int = 0, tasks: "Iterable[PretextTask]" = ()) -> None:
        self.tasks = list(tasks)
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
        self.shown: dict[str, Any] = {}
        self.progress.start()

    def advance(self, step: int) -> None:
        """Moves the bar to `step`."""
        self.progress.update(self.bar, completed=step)

    def write(self, record: dict[str, Any]) -> None:
        """Shows the numbers of `record`; on a terminal, numbers of earlier records stay visible."""
        self.shown.update(record)
        self.progress.update(self.bar, completed=record["step"], summary=summary(self.shown, self.tasks))
        if not self.console.is_terminal:
            print(f"step {record['step']}/{self.total_steps}  {summary(record, self.tasks)}", flush=True)

    def close(self) -> None:
        """Leaves the last state of the line on the screen."""
        self.progress.stop()


def summary(record: dict[str, Any], tasks: "Iterable[PretextTask]" = ()) -> str:
    """The figures of a record that fit on one line, str.

    Args:
        record: dict of name to number.
        tasks: list of `PretextTask`s; their `label` and `console_numbers` select the numbers, besides the
            `console_numbers` of all evaluations.
    """
    parts = []
    if "tokens_per_second" in record:
        parts.append(f"{record['tokens_per_second']:,.0f} tokens/s")
    if "tflop_per_second" in record:
        parts.append(f"{record['tflop_per_second']:.3g} TFLOP/s")
    if "mfu" in record:
        parts.append(f"MFU {record['mfu']:.1%}")
    for task in tasks:
        shown = {"loss": f"{task.label} {{:.2f}}", **task.console_numbers}
        for name, form in shown.items():
            if f"{task.task_name}_{name}" in record:
                parts.append(form.format(record[f"{task.task_name}_{name}"]))
    for evaluation in evaluation_classes().values():
        for column, form in evaluation.console_numbers.items():
            if column in record:
                parts.append(form.format(record[column]))
    if record.get("skipped_steps"):
        parts.append(f"{record['skipped_steps']} skipped")
    return "  ".join(parts)
