"""What every command shares: exit codes, one-line errors, and the resolved settings printed first."""

import argparse
import contextlib
import hashlib
import io
import os
import pathlib
import re
import select
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from infoxlm_keras import environment
from infoxlm_keras.errors import InputError, input_error_within
from infoxlm_keras.files import staging
from infoxlm_keras.interruption import exit_status
from infoxlm_keras.system_errors import describe_os_error, memory_error_within, system_error_within

# What a shell reports for a program that a closed pipe has ended: 128 + SIGPIPE.
CLOSED_PIPE = 141
_running = False


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the layout of the description and shows the default of every option that has one to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # A required option has no default; where None or an empty list is one, the text says what it means.
        if action.required or action.default is None or action.default == []:
            return action.help
        return super()._get_help_string(action)


def argument_parser(description: str) -> argparse.ArgumentParser:
    """An `argparse` parser in the house style: `description` is shown as written, defaults are shown."""
    return argparse.ArgumentParser(description=description, formatter_class=HelpFormatter)


def true_or_false(text: str) -> bool:
    """The truth value that `text`, "true" or "false" in any case, names: the `type` of an option of `argparse`.

    Raises:
        argparse.ArgumentTypeError: for another text.

    >>> true_or_false("False")
    False
    """
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from true, false)")
    return text.lower() == "true"


def print_settings(title: str, settings: Mapping[str, Any]) -> None:
    """Prints `settings` (a flat mapping) under `title`, one `key = value` a line, before work begins."""
    print(title)
    width = max((len(str(key)) for key in settings), default=0)
    for key, value in settings.items():
        print(staging.named(f"  {str(key):<{width}} = {value}"))
    sys.stdout.flush()


def show_table(table: Any) -> None:
    """Prints a table of rich. Its texts are those of users: nothing in them is markup or the name of an emoji."""
    from rich.console import Console

    Console(markup=False, emoji=False).print(table)


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Prepares the environment for Keras and TensorFlow, and hides what they print while they load.

    TensorFlow reports missing GPUs and CPU features on standard error before any setting reaches it. Errors are
    exceptions, and pass through; `TF_CPP_MIN_LOG_LEVEL`, if set, is left as it is.

    Raises:
        InputError: as `infoxlm_keras.environment.prepare`. Outside of `run_command` (imports at the top of a script)
            the process ends as under it.
    """
    prepare_streams()
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    problem = None
    try:
        os.dup2(nowhere, 2)
        try:
            environment.prepare()
        except InputError as error:
            problem = error
        else:
            yield
            environment.quiet_loggers()
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
    if problem is not None:
        if not _running:
            fail(str(problem))
        raise problem


def prepare_streams() -> None:
    """Makes standard output and error take any text: what they cannot show is replaced.

    A stream that the caller has closed (`>&-`) is opened on /dev/null. Otherwise the next file that is opened would
    get its descriptor, and receive what is printed.
    """
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is the one just found closed.
            os.open(os.devnull, os.O_RDWR)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))
        elif number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def run_command(main: Callable[[], object]) -> NoReturn:
    """Runs `main()` and ends the process: 0 when all was done, 2 with one clear message on bad input.

    The user can solve a full disk, a missing permission or too little memory, so these are reported like bad input.
    Any other exception is a defect of this package and keeps its traceback. If the reader of the output goes away
    (`| head`), the process ends without a message.

    Raises:
        SystemExit: always, except for defects of this package, whose exceptions pass through.
    """
    import rich

    prepare_streams()
    # Tables and progress bars show paths and sentences, in which `[` is not markup and `:x:` is not an emoji.
    rich.reconfigure(markup=False, emoji=False)
    try:
        status = _status_of(main)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        _discard_output()
        status = CLOSED_PIPE
    except OSError as error:
        # Output is buffered, so a full disk under a redirected output may be noticed only here.
        _discard_output()
        status = report(describe_os_error(error))
    raise SystemExit(status)


def _status_of(main):
    """Runs `main`, prints the message if it fails, and returns the exit status."""
    global _running
    before, _running = _running, True
    try:
        main()
    except SystemExit as exit:
        if isinstance(exit.code, str):
            print(exit.code, file=sys.stderr)
            return 1
        return exit.code or 0
    except KeyboardInterrupt as interrupt:
        print("interrupted", file=sys.stderr)
        return exit_status(interrupt)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            raise
        message = describe_error(error)
        if message is None:
            raise
        return report(message)
    finally:
        _running = before
    return 0


def describe_error(error: BaseException) -> str | None:
    """One line for an exception that the user can do something about; None for a defect of this package.

    Args:
        error: exception. Bad input that a data pipeline finds arrives as TensorFlow's error. A full disk arrives as an
            exception of the library that wrote the file.
    """
    if isinstance(error, InputError):
        return str(error)
    found = system_error_within(error)
    if found is not None:
        return describe_os_error(found)
    if memory_error_within(error):
        return "not enough memory; give the process more, or choose smaller sizes or batches"
    within = input_error_within(error)
    return None if within is None else str(within)


def fail(message: str) -> NoReturn:
    """Prints `error: message` to standard error and exits with status 2."""
    raise SystemExit(report(message))


def report(message: str) -> int:
    """Prints `error: message` to standard error, after what standard output still holds; returns exit status 2.

    Of the processes that one `torchrun` has started on a machine, the first to have a message prints it.
    """
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
    line = one_line(staging.named(message))
    if not _said_by_another_process(line):
        print(f"error: {line}", file=sys.stderr)
    return 2


def _said_by_another_process(line):
    """Whether another process of this `torchrun` has printed `line`; if not, this one is noted to do so."""
    own = os.environ.get("TORCHELASTIC_ERROR_FILE", "")
    if os.path.basename(own) != "error.json":
        return False
    # torchrun makes a folder for each attempt, with one for each process in it.
    digest = hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    note = pathlib.Path(own).parent.parent / f"infoxlm-error-{digest}"
    try:
        note.open("x").close()
    except FileExistsError:
        return True
    except OSError:
        # A message twice is better than none.
        return False
    return False


def one_line(text: str) -> str:
    """`text` with line breaks replaced by spaces, and other unprintable characters by escapes."""
    text = re.sub(r"\s*[\r\n]+\s*", " ", text.strip())
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _reader_is_gone():
    """Whether standard output is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _discard_output():
    """Points standard output to /dev/null, so that flushing the rest does not fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    finally:
        os.close(nowhere)
