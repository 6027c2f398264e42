"""The input of both clients: their options, and the texts to send."""

import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.command_line import argument_parser
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.first_bytes import SIGNATURES
from infoxlm_keras.text.readers.chunks import BYTE_ORDER_MARK
from infoxlm_keras.text.readers.line_input import line_stream

if TYPE_CHECKING:
    import argparse

# Task -> inputs of its signature; the classifier and the masked LM also take `text`.
INPUTS = {
    "serving_default": ("text",),
    "query": ("text",),
    "document": ("text",),
    "similarity": ("text_a", "text_b"),
    "pairs": ("text", "text_pair"),
    "qa": ("question", "context"),
    "words": ("words",),
}
DEFAULT_TIMEOUT = 30.0
LONGEST_TIMEOUT = 1e6
HIGHEST_VERSION = 2**63 - 1


def parser(description: str, address: str, address_help: str) -> "argparse.ArgumentParser":
    """An `argparse` parser with the options of both clients."""
    parser = argument_parser(description)
    parser.add_argument("--address", default=address, help=address_help)
    parser.add_argument("--model", default="infoxlm", help="name of the model at the server")
    parser.add_argument("--model_version", type=int, metavar="N", help="version; unset: the newest")
    parser.add_argument(
        "--task",
        choices=INPUTS,
        default="serving_default",
        help="serving_default, and query and document of a model with prompts: one text an answer; similarity, pairs "
        "(of a classifier), qa: two, as tab-separated columns; words (of a tagger): words with a tab between two",
    )
    parser.add_argument("--text", action="append", metavar="TEXT", help="a text, or a pair TEXT<tab>TEXT; repeatable")
    parser.add_argument(
        "--file",
        type=pathlib.Path,
        metavar="FILE",
        help="one text (pair) a line, any bytes (.gz, .xz, .bz2, .zst); - is standard input",
    )
    parser.add_argument("--batch_size", type=int, default=32, help="texts a request")
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, help="seconds a request may take in all")
    return parser


def check_request(address: str, model: str, version: int | None, timeout: float) -> None:
    """Raises InputError for values that no request can have; the arguments are those of both clients."""
    for name, value in (("--address", address), ("--model", model)):
        if not value or not value.isprintable():
            raise InputError(f"{name} {value!r}: must be printable characters, at least one")
    if version is not None and not 0 <= version <= HIGHEST_VERSION:
        raise InputError(f"--model_version {version}: must be in 0..{HIGHEST_VERSION}")
    if not (math.isfinite(timeout) and 0 < timeout <= LONGEST_TIMEOUT):
        raise InputError(f"--timeout {timeout:g}: must be above 0 and at most {LONGEST_TIMEOUT:g} seconds")


def read_rows(options: "argparse.Namespace") -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Yields (source, tuple of bytes): where a row was read, and one text for each input of the task.

    Raises:
        InputError: if there is nothing to send, a file is missing, damaged or no text, or a row has another number of
            columns.
    """
    if (options.text is None) == (options.file is None):
        raise InputError("nothing to send: give either --text TEXT or --file FILE")
    if options.batch_size < 1:
        raise InputError(f"--batch_size {options.batch_size}: must be at least 1")
    columns = len(INPUTS[options.task])
    for source, line in _lines(options):
        cells = tuple(line.split(b"\t")) if columns > 1 else (line,)
        if len(cells) != columns:
            raise InputError(
                f"{source}: has {len(cells)} tab-separated columns, --task {options.task} needs {columns}: "
                + ", ".join(INPUTS[options.task])
            )
        yield source, cells


def batches(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of at most `size` items of `rows`."""
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def columns(batch: Sequence[tuple[str, tuple[bytes, ...]]], task: str) -> dict[str, list[bytes]]:
    """Input name -> list of bytes, for rows of `read_rows`."""
    texts = zip(*(cells for _, cells in batch), strict=True)
    return dict(zip(INPUTS[task], map(list, texts), strict=True))


def signature_name(task: str) -> str:
    """The signature of a task: question answering has the default signature of its model."""
    return "serving_default" if task == "qa" else task


def _lines(options):
    if options.text is not None:
        for number, text in enumerate(options.text, 1):
            yield f"--text number {number}", os.fsencode(text)
        return
    with line_stream(options.file) as stream:
        number = 0
        # Line by line, so that text from a pipe is sent as soon as a batch is full.
        while lines := stream.read_lines(1):
            number += 1
            source = f"{stream.place}, line {number}"
            [line] = lines
            if number == 1:
                for signature, remedy in SIGNATURES.items():
                    if line.startswith(signature):
                        raise InputError(f"{source}: is no text; {remedy}")
                line = line.removeprefix(BYTE_ORDER_MARK.encode())
            yield source, line.rstrip(b"\r\n")
