"""The code blocks of README, CONTRIBUTING and docs, and the command lines in them."""

import argparse
import dataclasses
import importlib
import re
import shlex
import sys

import markdown_it
import pytest

from infoxlm_keras.commands.registry import COMMANDS
from repository import CLIENTS, REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
# `infoxlm NAME ...`, the script of that name, or a program of benchmarks/ or recipes/clients/.
COMMAND = re.compile(
    r"(?:^|\s)(?:(?:infoxlm|python -m infoxlm_keras) (?P<command>[a-z][a-z-]*)(?= |$)"
    r"|python (?P<folder>recipes|data_prep|benchmarks|recipes/clients)/(?P<script>\w+)\.py)"
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A code block: its page, the number of its first line there, its language (`python`, `yaml`, `sh`), its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"

    @property
    def lines(self):
        """List of str: its lines without comments; a backslash joins a line with the next."""
        joined = re.sub(r"\\\n\s*", " ", self.text).splitlines()
        return [re.split(r"\s+#\s", line)[0].strip() for line in joined if line.strip()]


@dataclasses.dataclass(frozen=True)
class Command:
    """A line of ours: the block it stands in, the name in messages, the module, and the words after the name."""

    block: Block
    line: str
    name: str
    module: str
    words: tuple[str, ...]

    def __str__(self):
        return f"{self.block}-{self.name}"


def blocks_of(page):
    """List of `Block` of a page (path), by a CommonMark parser: fenced blocks and indented ones."""
    found = []
    for token in markdown_it.MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            # An indented block names no language.
            language = token.info or ("python" if re.match(r"from infoxlm_keras|keras_hub\.", token.content) else "sh")
            first = token.map[0] + (2 if token.type == "fence" else 1)
            found.append(Block(page.relative_to(REPOSITORY).as_posix(), first, language, token.content))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def command_of(block, line):
    """The `Command` of a line, or None for another program."""
    match = COMMAND.search(line)
    if match is None:
        return None
    name, module = match["command"] or match["script"].replace("_", "-"), match["script"]
    if match["folder"] == "benchmarks":
        module = f"benchmarks.{match['script']}"
    elif match["folder"] != "recipes/clients":
        assert name in COMMANDS, f"{block}: infoxlm has no command {name}"
        module = f"infoxlm_keras.commands.{name.replace('-', '_')}"
    rest = line[match.end() :]
    if line[: match.end()].count('"') % 2:
        rest = rest.split('"')[0]  # the command is quoted: another program starts it
    words = shlex.split(re.split(r"\s(?:\||>|&&)", rest)[0])
    return Command(block, line, name, module, tuple(words))


COMMAND_LINES = [
    command
    for block in BLOCKS
    if block.language == "sh"
    for command in (command_of(block, line) for line in block.lines)
    if command is not None
]


def parser_of(module):
    """The `argparse.ArgumentParser` of the command in `module` (its name)."""

    class Seen(Exception):
        pass

    def parse(parser, *arguments, **keywords):
        raise Seen(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(CLIENTS)])
        main = importlib.import_module(module).main
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        patch.setattr(argparse.ArgumentParser, "parse_known_args", parse)
        with pytest.raises(Seen) as seen:
            main([])
    return seen.value.args[0]


def spellings(words):
    """The argument lists that a line stands for: `[...]` is optional, `a|b` is each of them, `...` is left out."""
    plain = [word for word in words if word != "..."]
    full = [re.sub(r"^\[|\]$", "", word) for word in plain]
    if full != plain:
        start, end = (next(i for i, word in enumerate(plain) if bracket in word) for bracket in "[]")
        yield from spellings(plain[:start] + plain[end + 1 :])
    most = max((word.count("|") for word in full), default=0)
    for choice in range(most + 1):
        yield [word.split("|")[choice] if "|" in word else word for word in full]
