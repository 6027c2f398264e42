"""Editors and type checkers see the names that packages export when they are first used."""

import ast
import importlib
import pathlib

import pytest

import infoxlm_keras

ROOT = pathlib.Path(infoxlm_keras.__file__).parent
PACKAGES = [
    path
    for path in sorted(ROOT.rglob("__init__.py"))
    if "lazy_exports(" in path.read_text(encoding="utf-8") and "TYPE_CHECKING" in path.read_text(encoding="utf-8")
]


def test_the_main_packages_are_among_them():
    names = {path.parent.relative_to(ROOT).as_posix() for path in PACKAGES}
    assert names >= {".", "contrast", "distribution", "models", "tasks"}


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.parent.name)
def test_static_names_are_those_that_are_exported(path):
    """Each name that is exported when first used is imported for type checkers, from the module that defines it."""
    block = next(
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING"
    )
    static = {alias.asname: statement.module for statement in block.body for alias in statement.names}
    package = importlib.import_module(".".join(("infoxlm_keras", *path.parent.relative_to(ROOT).parts)))
    assert set(static) == set(package.__all__) - {"__version__"}
    for name, module in static.items():
        assert getattr(importlib.import_module(module), name) is getattr(package, name)
