"""The one error type that users are meant to read."""

import re


class InputError(ValueError):
    """Something given to us (a file, a setting, a record) is wrong and the user can correct it.

    The message names the value or the file and line, the limit it breaks, and the remedy. Commands
    print it as one line and exit with status 2; library callers can catch it as a `ValueError`.

    Args:
        message: str. What it quotes (a value, another library's message) may hold line breaks: they become spaces.
    """

    def __init__(self, message: str) -> None:
        super().__init__(re.sub(r"\s*[\r\n]+\s*", " ", message))


def input_error_within(error: BaseException) -> InputError | None:
    """The `InputError` that was raised inside a TensorFlow data pipeline and comes out as TensorFlow's own error.

    Args:
        error: exception.

    Returns:
        `InputError` with the original message, or None if `error` holds none.
    """
    found = re.search(r"\bInputError: (.*?)\s*(?:\nTraceback|\n\n|$)", str(error), re.DOTALL)
    return InputError(found[1]) if found else None
