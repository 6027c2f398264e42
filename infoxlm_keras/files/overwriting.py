"""Outputs of a command that would replace one of its inputs, or each other: refused before any work."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infoxlm_keras.errors import InputError


def refuse_overwriting(options: Mapping[str, Any], outputs: Sequence[str]) -> None:
    """Checks the output files among the options of a command.

    Args:
        options: dict of option name to value, as parsed. Paths and texts that name files are inputs, in lists and in
            forms such as `en-de=FILE,FILE` too.
        outputs: names of the options whose values are files to be written (path or None).

    Raises:
        InputError: if two outputs are one file, or an output is a file that another option names.

    >>> refuse_overwriting({"source": "a.en", "output": pathlib.Path("pairs.tsv")}, ["output"])
    """
    written: dict[str, str] = {}
    for name in outputs:
        path = options.get(name)
        if path is None:
            continue
        first = written.setdefault(os.path.realpath(path), name)
        if first != name:
            raise InputError(f"--{first} and --{name} are one file, {path}; give two")
    for name, value in options.items():
        for path in () if name in outputs else _files(value):
            found = written.get(os.path.realpath(path))
            if found is not None:
                raise InputError(f"--{found} {options[found]}: is an input as well (--{name}); give another file")


def _files(value: Any) -> Iterator[pathlib.Path]:
    """The files that the value of an option names."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _files(part)
    elif isinstance(value, pathlib.Path):
        yield value
    elif isinstance(value, str):
        _, _, after = value.partition("=")
        yield from (pathlib.Path(part) for part in (value, *after.split(",")) if part)
