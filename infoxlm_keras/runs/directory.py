"""The directory of a run: its file names, its lock, and the check of its configuration."""

import contextlib
import os
import pathlib
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.config import RunSettings, check_config, dump_config, flatten
from infoxlm_keras.distribution import is_chief
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import is_remote, read_yaml, staging, storage, unfinished, write_atomically
from infoxlm_keras.files.locks import locked
from infoxlm_keras.files.mirror import Mirror
from infoxlm_keras.files.replaceable import MODEL_FOLDER, check_no_input_within, check_replaceable, entries_of
from infoxlm_keras.tasks.registry import task_class

CONFIG_FILE, LOCK_FILE = "config.yaml", ".lock"
# All that a run writes, in the order in which `--fresh --overwrite` removes it: what a resume would read goes first.
PRODUCTS = (
    "checkpoints",
    "history.csv",
    "config.yaml",
    "pretraining.json",
    "language_probabilities.json",
    "skipped_steps.jsonl",
    "wandb_run.txt",
    "tensorboard",
    "model",
    "best_model",
    "initial_model",
    "plots/training.png",
    "plots/run.png",
)
# Those of them that are directories, and what else a run makes; all others are files.
DIRECTORIES = {"checkpoints", "tensorboard", "model", "best_model", "initial_model", "plots", "wandb"}
WEIGHT_ENDINGS = (".safetensors", ".h5")
# Settings that do not affect weights or data; a run may be resumed with other values of them.
FREE_SETTINGS = (
    "log_every",
    "peak_tflops",
    "save_every",
    "keep_checkpoints",
    "keep_best",
    "max_consecutive_skips",
    "save_initial_model",
    "evaluation",
    # The same values, computed twice.
    "model.rematerialize",
    # Allowed, but not without effect: see `changed_settings`.
    "steps",
)


class RunDirectory:
    """The directory of a run; it alone knows the names of a run's files.

    Args:
        path: str or path.
        mirror: optional `Mirror` of the store that the run is kept in; `path` is then its local folder.

    Attributes:
        checkpoints, model, best_model, initial_model, plots, tensorboard: paths of directories.
        config_file, history, skipped_steps, language_probabilities: paths of files.
    """

    def __init__(self, path: PathLike, mirror: Mirror | None = None) -> None:
        self.path = path = pathlib.Path(path)
        self.mirror = mirror
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.best_model = path / "best_model"
        self.initial_model = path / "initial_model"
        self.plots = path / "plots"
        self.tensorboard = path / "tensorboard"
        self.config_file = path / CONFIG_FILE
        self.history = path / "history.csv"
        self.skipped_steps = path / "skipped_steps.jsonl"
        self.language_probabilities = path / "language_probabilities.json"

    def check(
        self, config: RunSettings, fresh: bool = False, overwrite: bool = False, inputs: Sequence[PathLike] = ()
    ) -> list[str]:
        """Reads what is there, changes nothing.

        Args:
            config: `PretrainingConfig` of the run that is to start or to continue.
            fresh: bool, the run must start at step 0.
            overwrite: bool, with `fresh`: what an earlier run left there may be removed.
            inputs: names of the models that the run reads. They must not lie in what it writes or removes.

        Returns:
            list of str, one line for each setting that differs from those of the run so far, or one line that those
            are unknown; empty for a new run.

        Raises:
            InputError: if the directory holds a run of other settings, or with `fresh` any run; if the options
                conflict; if a file has the name of one of the run's directories, or the reverse; or if one of the
            folders for models holds other files, or an input.
        """
        if overwrite and not fresh:
            raise InputError("--overwrite removes an earlier run, and is only taken together with --fresh")
        self._check_kinds()
        self._check_models(inputs)
        present = [name for name in PRODUCTS if (self.path / name).exists()]
        if fresh:
            if present and not overwrite:
                raise InputError(
                    f"{self.path}: holds a run already ({', '.join(present[:3])} ...); give another --output_dir, "
                    "--fresh --overwrite to remove it, or neither to continue it"
                )
            return []
        path = self.config_file
        if not self.checkpoints.is_dir():
            return []
        if not path.is_file():
            return [f"{path}: is missing, so the settings of the run so far cannot be compared with these"]
        return changed_settings(_read_config(path), config, path)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: PathLike) -> Iterator["RunDirectory"]:
        """Yields the `RunDirectory` at `path`, which may be an address in a store (`gs://`, `s3://`).

        Of a run in a store, a local folder is the copy that is worked in: the same one at each start in the process
        that writes, a temporary one in others. The states of checkpoints are fetched when they are read. The copy is
        removed when the block ends well and all is in the store.

        Raises:
            InputError: if the store cannot be read or written.
        """
        if not is_remote(path):
            yield cls(path)
            return
        from infoxlm_keras.distribution.agreement import wait_for_workers

        address = storage.trimmed(str(path))
        with contextlib.ExitStack() as stack:
            if is_chief():
                storage.check_writable(address)
                stack.enter_context(staging.naming_addresses())
                local = stack.enter_context(staging.place(address))
            else:
                local = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="infoxlm-"))) / "run"
            mirror = stack.enter_context(Mirror(address, local, on_demand=lambda name: name.endswith(WEIGHT_ENDINGS)))
            directory = cls(local, mirror)
            if is_chief():
                mirror.pull()
                storage.refuse_object(address, mirror.remote)
                # What a lost connection has kept from the store; the other processes continue from it, too.
                directory.publish()
            wait_for_workers()
            directory.refresh()
            yield directory
            directory.publish()
            mirror.close()

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Locks the directory for this process, makes it if missing, and removes unfinished files of killed processes.

        The lock ends with the process, even if it is killed.

        Raises:
            InputError: if another process trains in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / LOCK_FILE, "training"):
            self.remove_unfinished()
            yield

    def start_over(self) -> None:
        """Removes the products of an earlier run and nothing else; a kill meanwhile leaves no partial run."""
        for name in PRODUCTS:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                # Renamed first, in one operation, so that a partial directory of checkpoints is never read as a whole.
                aside = path.with_name(f".{path.name}.partial-{os.getpid()}")
                path.rename(aside)
                shutil.rmtree(aside)
            else:
                path.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Removes the temporary files and directories (`.<name>.partial...`) that killed processes left."""
        for directory, names in (
            (self.path, {pathlib.PurePath(name).name for name in PRODUCTS}),
            (self.plots, {pathlib.PurePath(name).name for name in PRODUCTS}),
            (self.checkpoints, None),
        ):
            for path in directory.iterdir() if directory.is_dir() else ():
                found = unfinished.NAME.fullmatch(path.name)
                if found and (names is None or found["name"] in names):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def publish(self) -> None:
        """Brings what has changed to the store, if the run is kept in one.

        Raises:
            InputError: if the store cannot be written; its newest checkpoint is as it was.
        """
        if self.mirror is not None and is_chief():
            try:
                self.mirror.push()
            except InputError as error:
                raise InputError(
                    f"{error}; the store's last complete checkpoint is intact, and all files of the run are in "
                    f"{self.path}, from where the same command brings them to the store"
                ) from error

    def refresh(self) -> None:
        """In a process that only reads: brings what the chief has published."""
        if self.mirror is not None and not is_chief():
            self.mirror.pull(clean=False, keep_newer=False)

    def write_config(self, config: RunSettings) -> None:
        """Writes the settings of the run to `config.yaml`."""
        write_atomically(self.config_file, dump_config(config))

    def _check_models(self, inputs):
        """The run replaces its models at the end: neither files of others nor its inputs may be lost then."""
        for folder in (self.model, self.best_model, self.initial_model):
            if folder.is_dir() and entries_of(folder):
                check_no_input_within(folder, inputs)
                check_replaceable(folder, folder, MODEL_FOLDER)

    def _check_kinds(self):
        """Raises InputError if something of another kind has the name of a file or directory of the run."""
        places = [self.path, *(self.path / name for name in sorted({*PRODUCTS, *DIRECTORIES, LOCK_FILE}))]
        for path in places:
            is_directory = path == self.path or path.name in DIRECTORIES
            try:
                mode = path.stat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            if is_directory and not stat.S_ISDIR(mode):
                raise InputError(f"{path}: is not a directory; move it away, or give another --output_dir")
            if not is_directory and not stat.S_ISREG(mode):
                found = "a directory" if stat.S_ISDIR(mode) else "neither a file nor a directory"
                raise InputError(
                    f"{path}: is {found}, and a run has a file of this name; move it away, or give another "
                    "--output_dir"
                )


def changed_settings(before: RunSettings, after: RunSettings, path: pathlib.Path) -> list[str]:
    """What differs between two configurations of one run, a line a setting.

    `steps` may change, because the data, the losses and batch number s stay the same. The learning rate falls until
    `steps` unless its schedule is constant, so it then differs from that of a run that used the new value from the
    start. A returned line says so.

    Raises:
        InputError: if a setting differs that may not (names all of them).
    """
    old, new = flatten(before), flatten(after)
    different = [name for name in new if old[name] != new[name]]
    free = {*FREE_SETTINGS, *places_of_models(after)}
    forbidden = [name for name in different if not {name, name.split(".")[0]} & free]
    if forbidden:
        values = ", ".join(f"{name} was {old[name]!r} and is {new[name]!r}" for name in forbidden)
        raise InputError(
            f"{path.parent}: holds a run of another configuration ({path}): {values}; resume it with that "
            "configuration, or give a new --output_dir"
        )
    lines = [f"{name}: was {old[name]!r}, is {new[name]!r}" for name in different]
    ends = ["the learning rate"] if after.optimizer.schedule != "constant" else []
    ends += ["masking.final_probability"] if after.masking.final_probability is not None else []
    if "steps" in different and ends:
        lines.append(
            f"steps changed: {' and '.join(ends)} now {'reach their' if ends[1:] else 'reaches its'} end at the new "
            "value, so this run differs from one that used it from the start"
        )
    return lines


def places_of_models(config: RunSettings) -> set[str]:
    """The settings that say where a task's trained models lie; a resume compares the models themselves."""
    return {f"{task}.{name}" for task in config.tasks for name in task_class(task).models_to_load(config.task(task))}


def _read_config(path):
    return check_config(read_yaml(path), source=path)
