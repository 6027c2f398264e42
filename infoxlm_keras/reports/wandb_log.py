"""Sends a run's numbers to Weights & Biases, if the package `wandb` is installed.

The Keras callback of `wandb` logs each batch of one `fit`. Our numbers are means over log intervals, and steps count
over restarts, so `wandb` gets the records of history.csv.
"""

import pathlib
import secrets
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_text, write_atomically


class WandbLog:
    """Writes records to a run of `project`; a resumed run continues the same one.

    Args:
        project: str.
        output_dir: str or path; `wandb/` holds the files, `wandb_run.txt` the identity of the run.
        settings: dict of the run's settings.
        start_step: int; 0 begins a new run on the server.

    Raises:
        InputError: if `wandb` is not installed.
    """

    def __init__(self, project: str, output_dir: PathLike, settings: dict[str, Any], start_step: int = 0) -> None:
        wandb = import_wandb()
        path = pathlib.Path(output_dir) / "wandb_run.txt"
        identity = read_text(path).strip() if start_step and path.is_file() else secrets.token_hex(4)
        write_atomically(path, identity + "\n")
        self.run = wandb.init(
            project=project, id=identity, resume="allow", dir=str(output_dir), config=settings, name=path.parent.name
        )

    def write(self, record: dict[str, Any]) -> None:
        """Logs the numbers of `record` at its `step`."""
        self.run.log({name: value for name, value in record.items() if name != "step"}, step=record["step"])

    def close(self) -> None:
        """Ends the connection, not the run on the server."""
        self.run.finish()


def import_wandb() -> Any:
    """The module `wandb`."""
    try:
        import wandb
    except ImportError:
        raise InputError("--wandb: wandb is not installed: pip install infoxlm_keras[wandb]") from None
    return wandb
