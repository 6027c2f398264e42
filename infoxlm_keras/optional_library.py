"""Libraries of an extra, asked for where a step needs them."""

import importlib
import types

from infoxlm_keras.errors import InputError


def import_library(name: str, purpose: str, extra: str = "data") -> types.ModuleType:
    """The module `name`.

    Args:
        name: str, as imported.
        purpose: str, the step that needs it and how to do without, for the message.
        extra: str, the extra of this package that installs it.

    Raises:
        InputError: if it is not installed; names the extra.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f'{purpose} needs {name}: pip install "infoxlm_keras[{extra}]"') from None
