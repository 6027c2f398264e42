"""Turns every exception of a parser into an `InputError` that names file, place and remedy."""

import contextlib
from collections.abc import Callable, Iterator

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError

# The most characters of another library's own words in one of our messages.
DETAIL_CHARACTERS = 200


@contextlib.contextmanager
def parsing(
    path: PathLike, what: str, remedy: str = "fetch or write it again", place: Callable[[], str] | None = None
) -> Iterator[None]:
    """Raises `InputError` for every exception that a parser raises in the block.

    Parsers written by others raise many kinds of exception on damaged input (`KeyError`, `OverflowError`,
    `RecursionError`, `struct.error` and more). Wrap only the call of the parser: a defect of our own would be
    reported as bad input too.

    Args:
        path: str or path, the file that is read.
        what: str, what the file should be, with its article: `"a TMX file"`.
        remedy: str, what the user can do.
        place: callable without arguments that returns the place of the error (`"line 3"`), or None.

    Raises:
        InputError: `PATH: place: is not WHAT: detail; REMEDY`. An `InputError` of the block passes unchanged, and so
            does an `OSError` with an error number, which describes the disk and not the content.

    Example:
    ```python
    with parsing(path, "a YAML file"):
        settings = yaml.safe_load(text)
    ```
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(_message(path, what, remedy, place, error)) from error
    except Exception as error:
        raise InputError(_message(path, what, remedy, place, error)) from error


def _message(path, what, remedy, place, error):
    found = f"{path}: " + (f"{place()}: " if place is not None else "")
    return f"{found}is not {what}: {describe(error)}; {remedy}"


def describe(error: BaseException) -> str:
    """One line, at most `DETAIL_CHARACTERS` long, for an exception of another library."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, AttributeError | IndexError | AssertionError):
        # A parser's own slip over content that it did not expect: its words name its variables.
        return "its content is of a form that the parser does not know"
    if "set_int_max_str_digits" in str(error):
        return "a number in it has too many digits"
    lines = str(error).split("\n")
    detail = " ".join(line.strip() for line in lines if line.strip())[:DETAIL_CHARACTERS]
    return detail or type(error).__name__
