"""JSON files with a checksum: a changed file counts as missing."""

import hashlib
import json
import pathlib
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.files.atomic import remove, write_atomically
from infoxlm_keras.files.written_files import naming


def write_sealed(path: PathLike, value: Any) -> None:
    """Writes `value` as JSON to `path` behind a line with its checksum, atomically."""
    text = json.dumps(value)
    path = pathlib.Path(path)
    if path.is_dir():
        # Only a file can be replaced by a file.
        remove(path)
    with naming(path):
        write_atomically(path, f"{_checksum(text)}\n{text}")


def read_sealed(path: PathLike) -> Any:
    """The value of `write_sealed`; None if there is no such file, or it was changed since."""
    path = pathlib.Path(path)
    if not path.is_file():
        return None
    checksum, _, text = path.read_bytes().decode("utf-8", "replace").partition("\n")
    return json.loads(text) if checksum == _checksum(text) else None


def _checksum(text):
    return hashlib.sha256(text.encode()).hexdigest()
