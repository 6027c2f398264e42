"""The output folder of a fine-tuning command: what it may hold before, and what is in it at the end."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.locks import locked
from infoxlm_keras.files.replaceable import MODEL_FOLDER, check_no_input_within, check_replaceable
from infoxlm_keras.finetuning.loop import RUN_FILE
from infoxlm_keras.finetuning.trials import Trial

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.head import FineTuningHead

RESULTS, RUNS, MODEL, LOCK = "results.json", "runs", "model", ".lock"
# In the folder of a run: its model is the one in OUTPUT_DIR/model.
KEPT = "kept"


class FineTuningOutput:
    """The folder of a fine-tuning command; it alone knows the names in it.

    Args:
        path: path of the folder.
        head: `FineTuningHead` or its class.

    Attributes:
        path, model, runs, results, plot: paths.
    """

    def __init__(self, path: pathlib.Path, head: "FineTuningHead | type[FineTuningHead]") -> None:
        self.path = path
        self.model = path / MODEL
        self.runs = path / RUNS
        self.results = path / RESULTS
        self.plot = path / f"{head.metric}.png"

    def check(self, overwrite: bool, inputs: Iterable[PathLike] = ()) -> None:
        """Raises `InputError`, before training, if the folder holds a complete result or cannot be written.

        Neither `inputs`, the names of what is read, nor files of others may lie in the folders that are replaced.
        """
        for directory in (self.model, self.runs):
            if directory.exists() and not directory.is_dir():
                raise InputError(f"{directory}: is not a directory; remove it, or give another --output_dir")
        for file in (self.results, self.plot):
            if file.is_dir():
                raise InputError(f"{file}: is a directory; remove it, or give another --output_dir")
        has_model = self.model.is_dir() and any(self.model.iterdir())
        inputs = list(inputs)
        for directory in (self.model, self.runs):
            if directory.is_dir() and any(directory.iterdir()):
                check_no_input_within(directory, inputs)
        # The results are written last. A model without them is that of an unfinished command if a run gave it.
        if not overwrite and (self.results.exists() or (has_model and not any(self.runs.glob(f"*/{KEPT}")))):
            raise InputError(f"{self.path}: holds a trained model already; give another --output_dir, or --overwrite")
        if overwrite and self.runs.is_dir():
            others = [path for path in self.runs.iterdir() if not (path / RUN_FILE).is_file()]
            if others:
                raise InputError(
                    f"{others[0]}: is no run of this command, so {self.runs} is not replaced; give another "
                    "--output_dir"
                )
        if has_model:
            check_replaceable(self.model, self.model, MODEL_FOLDER)
        parent = existing_parent(self.path)
        if not parent.is_dir():
            raise InputError(f"{parent}: is not a directory; give another --output_dir")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise InputError(f"{parent}: permission denied; give another --output_dir")

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Makes the folder and locks it for this process; a folder that is empty at the end is removed again.

        Raises:
            InputError: if another process trains in it.
        """
        missing = [path for path in (self.path, *self.path.absolute().parents) if not path.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / LOCK, "fine-tuning"):
            try:
                yield
            finally:
                (self.path / LOCK).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    for path in missing:
                        path.rmdir()

    def start_over(self) -> None:
        """Removes what an earlier command wrote."""
        for file in (self.results, self.plot):
            file.unlink(missing_ok=True)
        for directory in (self.model, self.runs):
            if directory.is_dir():
                shutil.rmtree(directory)

    def keep(self, chosen: Trial, trials: Sequence[Trial]) -> None:
        """Moves the model of `chosen` to its place, and removes those of the other runs.

        Raises:
            InputError: if the model of a run that is complete is gone.
        """
        source = chosen.directory / MODEL
        if source.is_dir():
            for mark in self.runs.glob(f"*/{KEPT}"):
                mark.unlink()
            if self.model.is_dir():
                shutil.rmtree(self.model)
            (chosen.directory / KEPT).write_text("OUTPUT_DIR/model\n")
            os.replace(source, self.model)
        if not self.model.is_dir() or not (chosen.directory / KEPT).is_file():
            raise InputError(f"{source}: the model of a complete run is gone; start over with --overwrite")
        for trial in trials:
            shutil.rmtree(trial.directory / MODEL, ignore_errors=True)


def existing_parent(path: pathlib.Path) -> pathlib.Path:
    """The deepest part of `path` that exists, `path` itself included."""
    return next(part for part in (path, *path.absolute().parents) if os.path.lexists(part))
