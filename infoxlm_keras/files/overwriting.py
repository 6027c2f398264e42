"""Outputs of a command that would replace one of its inputs, or each other: refused before any work."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infoxlm_keras.errors import InputError
from infoxlm_keras.files.replaceable import place_of


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
        first = written.setdefault(place_of(path), name)
        if first != name:
            raise InputError(f"--{first} and --{name} are one file, {path}; give two")
    for name, value in options.items():
        for path in () if name in outputs else named_files(value):
            found = written.get(place_of(path))
            if found is not None:
                raise InputError(f"--{found} {options[found]}: is an input as well (--{name}); give another file")


def named_files(value: Any) -> Iterator[pathlib.Path]:
    """The files that the value of an option may name: a path, a text, `en-de=FILE,FILE`, a list of such values."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from named_files(part)
    elif isinstance(value, pathlib.Path):
        yield value
    elif isinstance(value, str):
        _, _, after = value.partition("=")
        yield from (pathlib.Path(part) for part in (value, *after.split(",")) if part)
