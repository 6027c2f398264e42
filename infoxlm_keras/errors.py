"""The one error type that users are meant to read."""


class InputError(ValueError):
    """Something given to us (a file, a setting, a record) is wrong and the user can mend it.

    The message names the value or the file and line, the limit it breaks, and the remedy. Commands
    print it as one line and exit with status 2; library callers can catch it as a `ValueError`.
    """
