"""What both clients share: their options, the texts to send, and one JSON line for each answer."""

import base64
import json
import os
import pathlib
import sys

from infoxlm_keras.command_line import argument_parser
from infoxlm_keras.errors import InputError

# Signature -> what it takes; the classifier and the masked LM take `text` too.
INPUTS = {
    "serving_default": ("text",),
    "similarity": ("text_a", "text_b"),
    "qa": ("question", "context"),
}
DEFAULT_TIMEOUT = 30.0


def parser(description, address, address_help):
    """An `argparse` parser with the options of both clients."""
    parser = argument_parser(description)
    parser.add_argument("--address", default=address, help=address_help)
    parser.add_argument("--model", default="infoxlm", help="name of the model at the server")
    parser.add_argument("--model_version", type=int, metavar="N", help="version; unset: the newest")
    parser.add_argument(
        "--task",
        choices=INPUTS,
        default="serving_default",
        help="serving_default: one text an answer; similarity, qa: two, as tab-separated columns",
    )
    parser.add_argument("--text", action="append", metavar="TEXT", help="a text, or a pair TEXT<tab>TEXT; repeatable")
    parser.add_argument(
        "--file", type=pathlib.Path, metavar="FILE", help="one text (pair) a line; - is standard input"
    )
    parser.add_argument("--batch_size", type=int, default=32, help="texts a request")
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, help="seconds to wait for an answer")
    return parser


def read_rows(options):
    """Yields (source, tuple of bytes): where a row was read, and one text for each input of the task.

    Raises:
        InputError: if there is nothing to send, a file is missing, or a row has another number of columns.
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


def batches(rows, size):
    """Lists of at most `size` items of `rows`."""
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def columns(batch, task):
    """Input name -> list of bytes, for rows of `read_rows`."""
    texts = zip(*(cells for _, cells in batch), strict=True)
    return dict(zip(INPUTS[task], map(list, texts), strict=True))


def signature_name(task):
    """The signature of a task: question answering is what its model answers by default."""
    return "similarity" if task == "similarity" else "serving_default"


def print_answers(answers, count):
    """Prints one JSON object a row.

    Args:
        answers: dict of output name to a list of `count` plain values (nested lists, numbers, bytes, str).
        count: int, rows that were sent.

    Raises:
        InputError: if the server answered another number of rows.
    """
    for name, values in answers.items():
        if len(values) != count:
            raise InputError(f"the server answered {len(values)} rows of {name} to {count} texts; is it this model?")
    for row in range(count):
        answer = {name: readable(values[row]) for name, values in answers.items()}
        print(json.dumps(answer, ensure_ascii=False))
    sys.stdout.flush()


def readable(value):
    """`value` for JSON: bytes as text, or as {"b64": ...} if they are not UTF-8."""
    if isinstance(value, list):
        return [readable(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return value


def _lines(options):
    if options.text is not None:
        for number, text in enumerate(options.text, 1):
            yield f"--text number {number}", os.fsencode(text)
        return
    try:
        file = sys.stdin.buffer if str(options.file) == "-" else open(options.file, "rb")
    except OSError as error:
        raise InputError(f"{options.file}: {error.strerror}") from None
    with file:
        for number, line in enumerate(file, 1):
            yield f"{options.file}, line {number}", line.rstrip(b"\r\n")
