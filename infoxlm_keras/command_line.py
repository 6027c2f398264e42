"""What every command shares: exit codes, one-line errors, and the resolved settings printed first."""

import argparse
import contextlib
import errno
import os
import sys

from infoxlm_keras.errors import InputError, input_error_within


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the layout of the description and shows the default of every option."""


def argument_parser(description):
    """An `argparse` parser in the house style: `description` is shown as written, defaults are shown."""
    return argparse.ArgumentParser(description=description, formatter_class=HelpFormatter)


def print_settings(title, settings):
    """Prints `settings` (a flat mapping) under `title`, one `key = value` a line, before work begins."""
    print(title)
    width = max((len(str(key)) for key in settings), default=0)
    for key, value in settings.items():
        print(f"  {str(key):<{width}} = {value}")
    sys.stdout.flush()


@contextlib.contextmanager
def quiet_imports():
    """Keeps what native libraries print to standard error while they load off the terminal.

    TensorFlow reports missing GPUs and CPU features there before any setting reaches it. Errors are exceptions, and
    pass through; `TF_CPP_MIN_LOG_LEVEL`, if set, is left as it is, else warnings and worse are shown later on.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def run_command(main):
    """Runs `main()` and ends the process: 0 when all was done, 2 with one clear message on bad input.

    Raises `SystemExit` always. A full disk or a missing permission is the user's to mend, so both
    are reported like bad input; any other exception is ours and keeps its traceback.
    """
    try:
        main()
    except InputError as error:
        fail(str(error))
    except OSError as error:
        fail(describe_os_error(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        # Bad input found while a data pipeline runs comes out as TensorFlow's error.
        within = input_error_within(error)
        if within is None:
            raise
        fail(str(within))
    raise SystemExit(0)


def fail(message):
    """Prints `error: message` to standard error and exits with status 2."""
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def describe_os_error(error):
    """One sentence with the file and the remedy for an `OSError`."""
    name = error.filename if error.filename is not None else "output"
    if error.errno == errno.ENOSPC:
        return f"{name}: no space left on device; free some space or choose another --output_dir"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{name}: permission denied; check the owner of the file or choose another directory"
    if error.errno == errno.ENOENT:
        return f"{name}: no such file or directory"
    return f"{name}: {error.strerror or error}"
