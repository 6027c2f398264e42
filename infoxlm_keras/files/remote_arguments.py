"""Addresses in a store (`gs://`, `s3://`) as arguments of commands that work on local files."""

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

from infoxlm_keras.files import staging


def with_local_paths(
    inputs: Sequence[str] = (), outputs: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator for a command's `main(arguments)`, which then takes addresses in a store where it takes paths.

    What an address among the inputs names is copied before the command begins. An output is written to a local folder
    and uploaded when the command ends well. Without an address `main` is called as it is.

    Args:
        inputs: names of options (str, without dashes) that name what is read; "" stands for the arguments before
            the first option.
        outputs: names of options that name what is written.
    """

    def decorate(main: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(main)

        @functools.wraps(main)
        def wrapped(*given: Any, **named: Any) -> None:
            bound = signature.bind(*given, **named)
            arguments = bound.arguments.get("arguments")
            arguments = sys.argv[1:] if arguments is None else list(arguments)
            with contextlib.ExitStack() as stack:
                if any("://" in argument for argument in arguments):
                    stack.enter_context(staging.naming_addresses())
                    bound.arguments["arguments"] = _localised(arguments, inputs, outputs, stack)
                main(*bound.args, **bound.kwargs)

        return wrapped

    return decorate


def _localised(arguments, inputs, outputs, stack):
    """`arguments` with local paths in place of addresses; `stack` uploads the outputs when it closes."""
    option, found = "", []
    for argument in arguments:
        if argument.startswith("--"):
            option, equals, value = argument[2:].partition("=")
            if equals:
                argument = f"--{option}={_local(option, value, inputs, outputs, stack)}"
        else:
            argument = _local(option, argument, inputs, outputs, stack)
        found.append(argument)
    return found


def _local(option, value, inputs, outputs, stack):
    before, address = staging.split_address(value)
    if address is None:
        return value
    # argparse takes the beginning of an option's name for it.
    names = [name for name in (*inputs, *outputs) if name == option]
    names = names or [name for name in (*inputs, *outputs) if option and name.startswith(option)]
    if not names:
        return value
    path = stack.enter_context(staging.output(address)) if names[0] in outputs else staging.local_copy(address)
    return f"{before}{path}"
