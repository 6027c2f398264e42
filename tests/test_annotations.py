"""Every public function, method and dataclass field of the rooms below is annotated."""

import ast
import pathlib

import pytest

import infoxlm_keras

PACKAGE = pathlib.Path(infoxlm_keras.__file__).parent
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())
# Methods that Python calls, and whose parameters a reader has to know.
SPECIAL = {"__init__", "__call__", "__enter__", "__exit__", "__len__", "__iter__", "__getitem__"}


def is_public(name):
    return not name.startswith("_") or name in SPECIAL


def is_dataclass(node):
    calls = (item.func if isinstance(item, ast.Call) else item for item in node.decorator_list)
    return any(ast.unparse(call) in ("dataclass", "dataclasses.dataclass") for call in calls)


def missing_in_function(node, is_method):
    """Names of what lacks an annotation: parameters, and "return"."""
    arguments = node.args
    parameters = [*arguments.posonlyargs, *arguments.args]
    static = any(ast.unparse(item) == "staticmethod" for item in node.decorator_list)
    parameters = parameters[1:] if is_method and not static else parameters
    parameters += [*arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
    names = [parameter.arg for parameter in parameters if parameter.annotation is None]
    return names + (["return"] if node.returns is None else [])


def bare(annotation):
    """Whether an annotation is a container that does not say what it holds."""
    names = ("dict", "list", "tuple", "set", "frozenset", "object")
    return isinstance(annotation, ast.Name) and annotation.id in names


def missing(source, path="example.py"):
    """List of "file:line: name: what lacks an annotation" of the public names in `source` (str)."""
    found = []

    def visit(body, prefix, is_method, fields):
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                visit(node.body, f"{prefix}{node.name}.", True, is_dataclass(node))
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and is_public(node.name):
                names = missing_in_function(node, is_method)
                found.extend(f"{path}:{node.lineno}: {prefix}{node.name}: {name}" for name in names)
            elif fields and isinstance(node, ast.AnnAssign) and bare(node.annotation):
                found.append(f"{path}:{node.lineno}: {prefix}{ast.unparse(node.target)}: content")

    visit(ast.parse(source).body, "", False, False)
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_annotated(room):
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    found = [line for file in files for line in missing(file.read_text(encoding="utf-8"), file.relative_to(PACKAGE))]
    assert not found, "\n".join(found)


def test_a_missing_annotation_is_found():
    source = """
import dataclasses

def open_all(paths, *, strict: bool, **options: int):
    def inner(x): ...

def _private(x): ...

@dataclasses.dataclass(frozen=True)
class Found:
    names: list
    counts: dict[str, int]

    def add(self, name) -> None: ...

    @staticmethod
    def make(name): ...
"""
    assert missing(source) == [
        "example.py:4: open_all: paths",
        "example.py:4: open_all: return",
        "example.py:11: Found.names: content",
        "example.py:14: Found.add: name",
        "example.py:17: Found.make: name",
        "example.py:17: Found.make: return",
    ]
