"""The output files of a fine-tuning run: a trained model is not lost, and no file is written partially."""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from infoxlm_keras.command_line import describe_os_error
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import MODEL_FILES, new_directory
from infoxlm_keras.interruption import exit_status, signals_wait

if TYPE_CHECKING:
    import keras

    from infoxlm_keras.finetuning.head import FineTuningHead

RESULTS = "results.json"


def result_files(head: "FineTuningHead | type[FineTuningHead]") -> tuple[str, ...]:
    """Names of the files that are written beside the model: the results and the plot of the head's score."""
    return RESULTS, f"{head.metric}.png"


def check_output(output: pathlib.Path, overwrite: bool, files: Iterable[str]) -> None:
    """Raises `InputError`, before training, if the model or one of `files` could not be written to `output`."""
    model = output / "model"
    if model.is_dir() and any(model.iterdir()) and not overwrite:
        raise InputError(f"{output}: holds a fine-tuned model already; give another --output_dir, or --overwrite")
    if model.exists() and not model.is_dir():
        raise InputError(f"{model}: is not a directory; remove it, or give another --output_dir")
    for name in files:
        if (output / name).is_dir():
            raise InputError(f"{output / name}: is a directory; remove it, or give another --output_dir")
    parent = existing_parent(output)
    if not parent.is_dir():
        raise InputError(f"{parent}: is not a directory; give another --output_dir")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{parent}: permission denied; give another --output_dir")


def check_space(output: pathlib.Path, model: "keras.Model") -> None:
    """Raises `InputError` if the disk has no space for the weights of `model`."""
    parent = existing_parent(output)
    needed, free = 4 * model.count_params(), shutil.disk_usage(parent).free
    if needed > free:
        raise InputError(
            f"{parent}: the fine-tuned model needs {needed / 1e6:,.1f} MB, but {free / 1e6:,.1f} MB are free; free "
            "some space, or give another --output_dir"
        )


def existing_parent(path: pathlib.Path) -> pathlib.Path:
    """The deepest part of `path` that exists, `path` itself included."""
    return next(part for part in (path, *path.absolute().parents) if os.path.lexists(part))


@contextlib.contextmanager
def lost_when_interrupted(output: pathlib.Path) -> Iterator[None]:
    """Ends the process on SIGTERM or Ctrl-C with a message that says what is lost."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        _end(interrupt, f"interrupted during training: the trained weights are lost, {output} is unchanged")


@contextlib.contextmanager
def the_model_stays(model: pathlib.Path) -> Iterator[None]:
    """Adds to every error of the block that the trained model is complete in `model` (path)."""
    note = f"the fine-tuned model is complete in {model}"
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}; {note}") from error
    except OSError as error:
        raise InputError(f"{describe_os_error(error)}; {note}") from error
    except KeyboardInterrupt as interrupt:
        _end(interrupt, f"interrupted; {note}")
    except Exception:
        print(note, file=sys.stderr)
        raise


def save_model(head: "FineTuningHead", output: pathlib.Path, overwrite: bool) -> None:
    """Writes the model to OUTPUT/model, and removes the results of an earlier model beside it.

    SIGTERM and Ctrl-C take effect after that and end the process.

    Args:
        head: `FineTuningHead`, trained.
        output: path.
        overwrite: bool, replace a model that is there.

    Raises:
        InputError: if the model could not be written there. The message names the directory for temporary files where
            it was saved instead, or says that it is lost.
    """
    model = output / "model"
    try:
        with signals_wait():
            try:
                with new_directory(model, overwrite, holds=MODEL_FILES) as directory:
                    head.save(directory)
            except Exception as error:
                _rescue(head, error)
            for name in result_files(head):
                (output / name).unlink(missing_ok=True)
    except KeyboardInterrupt as interrupt:
        _end(interrupt, f"interrupted; the fine-tuned model is complete in {model}, it was not measured")


def _rescue(head, error):
    """Saves the model to a temporary directory after `error` at its own place; always raises."""
    reason = describe_os_error(error) if isinstance(error, OSError) else str(error)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="finetuned_"))
    try:
        head.save(directory)
    except Exception:
        shutil.rmtree(directory)
        lost = (
            f"{directory.parent} cannot hold the trained model either, so it is lost (set TMPDIR to a disk with space)"
        )
        raise InputError(f"{reason}; {lost}") from error
    raise InputError(f"{reason}; the fine-tuned model is complete in {directory}, move it from there") from error


def _end(interrupt, message):
    print(message, file=sys.stderr)
    raise SystemExit(exit_status(interrupt)) from None
