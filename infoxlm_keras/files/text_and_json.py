"""Text and JSON files, read with errors that name file and line, and written whole."""

import collections
import json
import os
import pathlib
import stat
from collections.abc import Callable
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import storage
from infoxlm_keras.files.atomic import write_atomically
from infoxlm_keras.files.first_bytes import refuse_pointer
from infoxlm_keras.files.parser_errors import parsing
from infoxlm_keras.files.paths import SURROGATE


def write_json(path: PathLike, value: Any) -> None:
    """Writes `value` as indented JSON to `path`, atomically; keys keep their order.

    The name of a file that is not UTF-8 is written with escapes, and `read_json` gives it back.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def read_bytes(path: PathLike) -> bytes:
    """The content of the regular file `path`, or of the object at an address (`gs://`, `s3://`).

    Raises:
        InputError: if the file is missing, is no regular file (a FIFO would wait for ever), or is a pointer of Git LFS
            to the file.
    """
    if storage.is_remote(path):
        return storage.read_bytes(os.fspath(path))
    path = pathlib.Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{ascii(str(path))}: is not a path ({error})") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a directory, not a file")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a regular file; write its content into a file first")
    content = path.read_bytes()
    refuse_pointer(content, path)
    return content


def read_text(path: PathLike) -> str:
    """The text of the UTF-8 file `path`, with "\\n" for each end of line.

    Raises:
        InputError: as `read_bytes`, or if the file is not UTF-8.
    """
    return _decoded(read_bytes(path), path).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(content, path):
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text: {error}") from None


_KINDS: dict[type, str] = {dict: 'an object ({"name": value, ...})', list: "a list ([value, ...])"}


def read_json(path: PathLike, kind: type | None = None) -> Any:
    """The value in the JSON file `path`.

    Args:
        path: str or path.
        kind: dict, list or None, what the value must be.

    Raises:
        InputError: if the file is missing, is not JSON (names the line and column), has a key twice in an object, or
            holds another kind of value.
    """
    return parse_json(read_bytes(path), path, kind)


def parse_json(content: bytes, path: PathLike, kind: type | None = None) -> Any:
    """The value of the JSON in `content` (bytes), which was read from `path`; arguments and errors as `read_json`."""
    # The mark that editors of Windows write in front of UTF-8.
    text = _decoded(content, path).removeprefix("\ufeff")
    with parsing(path, "valid JSON"):
        value = load_json(text)
    if kind is not None and not isinstance(value, kind):
        raise InputError(f"{path}: must hold {_KINDS[kind]}, not {type(value).__name__}; fetch or write it again")
    return value


def load_json(text: str | bytes, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value of a JSON text.

    Args:
        text: str, or bytes in UTF-8, UTF-16 or UTF-32.
        parse_constant: as `json.loads`: called with `NaN`, `Infinity` and `-Infinity`, which JSON itself lacks.

    Raises:
        ValueError: if it is not JSON, or an object has a key twice: Python's own parser keeps the last of them.
    """
    return json.loads(text, object_pairs_hook=_object, parse_constant=parse_constant)


def _object(pairs):
    value = dict(pairs)
    if len(value) < len(pairs):
        ((twice, _),) = collections.Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:60]!r} is given twice")
    return value


def read_yaml(path: PathLike) -> Any:
    """The value in the YAML file `path`, of plain types only.

    Raises:
        InputError: if the file is missing, or is not YAML (names the line).
    """
    text = read_text(path)
    with parsing(path, "valid YAML"):
        return load_yaml(text)


def load_yaml(text: str) -> Any:
    """The value of a YAML text, of plain types only.

    Raises:
        yaml.YAMLError: if it is not YAML, or a mapping names a key twice (a rule that PyYAML does not check).
    """
    import yaml

    class StrictLoader(yaml.SafeLoader):
        """The safe loader, which refuses a key that is given twice."""

        def construct_mapping(self, node, deep=False):
            # A merge key (<<) may repeat what the mapping itself overrides; only keys as written are compared.
            seen = set()
            for key_node, _ in node.value:
                key = getattr(key_node, "value", None)
                if isinstance(key, str) and key in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key[:60]!r} is given twice", problem_mark=key_node.start_mark
                    )
                seen.add(key if isinstance(key, str) else id(key_node))
            return super().construct_mapping(node, deep=deep)

    return yaml.load(text, StrictLoader)
