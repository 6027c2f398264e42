"""What a mining run has done so far, beside its output: locked, and kept until the output is whole."""

import contextlib
import fcntl
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json, write_json
from infoxlm_keras.interruption import termination_raises

LOCK, STATE = "lock", "state.json"


class WorkFolder:
    """The folder `.NAME.work` beside the output `NAME`.

    Args:
        path: path of the folder.
        settings: dict, ready for JSON, of all that the work depends on.

    Attributes:
        path: path.
        resumed: bool, whether an earlier run with equal settings left work here.
    """

    def __init__(self, path: pathlib.Path, settings: dict[str, Any]) -> None:
        self.path = path
        state = read_json(path / STATE, dict) if (path / STATE).exists() else None
        self.resumed = state is not None and state.get("settings") == settings
        if not self.resumed:
            for item in path.iterdir():
                if item.name != LOCK:
                    item.unlink()
            state = {"settings": settings, "done": {}}
            write_json(path / STATE, state)
        assert state is not None
        self._state = state

    def done(self, stage: str, default: Any = 0) -> Any:
        """What is recorded of `stage` (str), or `default`."""
        return self._state["done"].get(stage, default)

    @property
    def is_costly(self) -> bool:
        """bool: whether more than the reading of the inputs is recorded."""
        return any("vectors" in stage for stage in self._state["done"])

    def record(self, stage: str, value: Any) -> None:
        """Records `value` (ready for JSON) of `stage` (str); what it stands for is on the disk already."""
        self._state["done"][stage] = value
        write_json(self.path / STATE, self._state)


@contextlib.contextmanager
def work_folder(output: PathLike, settings: dict[str, Any], keep: bool = False) -> Iterator[WorkFolder]:
    """Yields the `WorkFolder` of `output` (path of a file); it is removed when the block ends well,
    unless `keep` (bool) says otherwise.

    Work of other settings is discarded. What is there is removed too when the input is at fault and no vector was
    computed yet; otherwise it stays, since the next run may need it. SIGTERM raises in the block, as Ctrl-C does.

    Raises:
        InputError: if another run is writing the output.
    """
    output = pathlib.Path(output)
    path = output.parent / f".{output.name}.work"
    missing = [parent for parent in path.parents if not parent.exists()]
    path.mkdir(parents=True, exist_ok=True)
    with open(path / LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{output}: another run is writing it; wait for it, or end it first") from None
        work = WorkFolder(path, settings)
        try:
            with termination_raises():
                yield work
        except InputError:
            if not work.is_costly:
                _remove(path, missing)
            raise
        if not keep:
            shutil.rmtree(path)


def _remove(path, parents):
    shutil.rmtree(path)
    for parent in parents:
        with contextlib.suppress(OSError):
            parent.rmdir()
