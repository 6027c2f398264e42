"""Keeps the line numbers in docs/paper.md: `python docs/paper_lines.py` writes them, `--check` only compares.

A reference is `file.py:Name` or `file.py:Class.method`, followed by its line in parentheses.
"""

import ast
import pathlib
import re
import sys

PAGE = pathlib.Path(__file__).with_name("paper.md")
REFERENCE = re.compile(r"`(infoxlm_keras/[\w/]+\.py):([\w.]+)`(?: \(line \d+\))?")


def line_of(path: pathlib.Path, name: str) -> int:
    """The line on which `name` (`function`, `Class` or `Class.method`) is defined in the file `path`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    node = None
    for part in name.split("."):
        node = next((found for found in body if getattr(found, "name", None) == part), None)
        if node is None:
            raise SystemExit(f"{PAGE}: {path} defines no {name}; correct the reference")
        body = node.body
    return node.lineno


def with_lines(text: str, root: pathlib.Path) -> str:
    """`text` with the current line behind every reference; `root` is the folder of the package."""
    return REFERENCE.sub(lambda found: f"`{found[1]}:{found[2]}` (line {line_of(root / found[1], found[2])})", text)


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    current = with_lines(text, PAGE.parents[1])
    if "--check" in sys.argv[1:] and current != text:
        raise SystemExit(f"{PAGE}: lines have moved; run python docs/paper_lines.py")
    PAGE.write_text(current, encoding="utf-8")


if __name__ == "__main__":
    main()
