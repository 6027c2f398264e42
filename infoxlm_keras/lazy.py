"""Names of a package that are imported when first used, so that importing the package costs nothing."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_exports(
    package: str, names_by_module: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` for a package's `__init__` (PEP 562).

    Args:
        package: str, the package's `__name__`.
        names_by_module: dict of module path below the package to the names it exports.

    Returns:
        The three objects to assign.
    """
    modules = {name: module for module, names in names_by_module.items() for name in names}

    def get(name):
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return get, lambda: sorted(modules), sorted(modules)
