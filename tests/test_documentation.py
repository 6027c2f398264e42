"""Commands and Python blocks of README and docs are those of this release."""

import argparse
import importlib
import re
import shlex
import textwrap

import pytest

from infoxlm_keras.commands.registry import COMMANDS
from repository import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
# `infoxlm NAME ...` or the script of that name; a command ends with its line, or goes on after a backslash.
COMMAND = re.compile(
    r"(?:infoxlm|python -m infoxlm_keras) ([a-z][a-z-]*)(?= |$)|(?:python )?(?:recipes|data_prep)/(\w+)\.py"
)


def commands_of(page):
    """List of (command name, arguments) of the indented and fenced shell lines of a page."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    found, fence = [], None
    for line in text.splitlines():
        mark = re.match(r"\s*```(\w*)", line)
        if mark:
            fence = None if fence is not None else mark.group(1)
            continue
        # In a block of another language a command is part of a comment or a value.
        if not (line.startswith("    ") or fence in ("sh", "bash")) or fence in ("python", "yaml"):
            continue
        match = COMMAND.search(line)
        if match:
            name = match.group(1) or match.group(2).replace("_", "-")
            rest = re.split(r"\s(?:#|\||>|&&)", line[match.end() :])[0]
            found.append((name, shlex.split(rest)))
    return found


def options_of(name, monkeypatch):
    """dict of option string to its `argparse` action, of the command `name`."""

    class Seen(Exception):
        pass

    def parse(parser, *arguments, **keywords):
        raise Seen(parser)

    module = importlib.import_module(f"infoxlm_keras.commands.{name.replace('-', '_')}")
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        patch.setattr(argparse.ArgumentParser, "parse_known_args", parse)
        with pytest.raises(Seen) as seen:
            module.main([])
    return all_options(seen.value.args[0])


def all_options(parser):
    options = dict(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                options.update(all_options(sub))
    return options


SHOWN = [(page.name, name, arguments) for page in PAGES for name, arguments in commands_of(page)]


def test_commands_are_found():
    assert len(SHOWN) > 20 and {"README.md", "data_preparation.md"} <= {page for page, _, _ in SHOWN}


@pytest.mark.parametrize(("page", "name", "arguments"), SHOWN, ids=lambda value: str(value)[:60])
def test_a_command_of_a_page_has_the_options_that_it_shows(page, name, arguments, monkeypatch):
    assert name in COMMANDS
    options = options_of(name, monkeypatch)
    for place, argument in enumerate(arguments):
        if not argument.startswith("--"):
            continue
        option, _, value = argument.partition("=")
        assert option in options, f"{page}: {option} is no option of infoxlm {name}"
        choices = options[option].choices
        following = value or (arguments[place + 1] if place + 1 < len(arguments) else "")
        if choices and re.fullmatch(r"[a-z0-9_-]+", following):
            assert following in choices, f"{page}: {option} {following}"


def python_blocks(page):
    """Python blocks of a page, without their indentation."""
    text = page.read_text(encoding="utf-8")
    return [textwrap.dedent(block) for block in re.findall(r"^ *```python\n(.*?)^ *```", text, re.M | re.S)]


BLOCKS = [(page.name, number, block) for page in PAGES for number, block in enumerate(python_blocks(page))]


@pytest.mark.parametrize(("page", "number", "block"), BLOCKS, ids=lambda value: str(value)[:20].strip())
def test_names_that_a_python_block_imports_from_this_package_exist(page, number, block):
    compile(block, f"{page} block {number}", "exec")
    for module, names in re.findall(r"^from (infoxlm_keras[\w.]*) import (.+)$", block, re.M):
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name.strip()), f"{page}: {module} has no {name}"


@pytest.fixture(scope="module")
def demo_directory(inputs, tokenizer_dir, tiny_preset, tmp_path_factory):
    """A directory with `runs/demo/{model,records,tokenizer}` as the README names them, of a tiny model."""
    root = tmp_path_factory.mktemp("documentation")
    (root / "runs" / "demo").mkdir(parents=True)
    for name, place in (("model", tiny_preset), ("records", inputs / "data"), ("tokenizer", tokenizer_dir)):
        (root / "runs" / "demo" / name).symlink_to(place)
    return root


README_BLOCKS = [block for page, _, block in BLOCKS if page == "README.md" and "saved_model" not in block]


@pytest.mark.parametrize("block", README_BLOCKS, ids=range(len(README_BLOCKS)))
def test_the_python_blocks_of_the_readme_run(block, demo_directory, monkeypatch):
    monkeypatch.chdir(demo_directory)
    # The same lines with few steps and a model as small as the records.
    for shown, small in (("steps=1000", "steps=5"), ("steps_per_epoch=1000", "steps_per_epoch=1"), ("=100)", "=1)")):
        block = block.replace(shown, small)
    namespace = {}
    exec(compile(block, "README.md", "exec"), namespace)
    if "vectors" in namespace:
        assert namespace["vectors"].shape == (2, 8)
    if "dataset" in namespace:
        (batch,) = next(iter(namespace["dataset"].take(1)))
        assert {"tlm", "xlco"} <= set(batch)
