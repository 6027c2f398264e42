"""The wheel: what it holds, and that its command works from an empty directory."""

import configparser
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from repository import REPOSITORY


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Path of a wheel, built without the network from a copy of the sources."""
    root = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
    # The whole checkout but for what a run or a test leaves: a package that must not be installed would show.
    for name in ("infoxlm_keras", "recipes", "data_prep", "benchmarks", "tests"):
        shutil.copytree(REPOSITORY / name, root / "source" / name, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, root / "source")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", root / "built"]
    pip("wheel", root / "source", *options)
    (built,) = (root / "built").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A directory in which the wheel is installed, without its dependencies."""
    directory = tmp_path_factory.mktemp("installed") / "site"
    pip("install", "--no-deps", "--no-index", "--target", directory, wheel)
    return directory


def pip(*arguments):
    command = [sys.executable, "-m", "pip", *map(str, arguments), "--disable-pip-version-check", "--quiet"]
    # No variable of the caller decides where pip installs or what it finds.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHONPATH"))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def run_installed(installed, cwd, *command):
    """A process that sees the installed wheel and no checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def files_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_the_wheel_holds_every_file_of_the_package_and_no_other_package(wheel):
    source = REPOSITORY / "infoxlm_keras"
    expected = {
        str(pathlib.Path("infoxlm_keras") / path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = files_of(wheel)
    package = {name for name in found if ".dist-info/" not in name}
    assert package == expected
    for name in ("py.typed", "configs/infoxlm_base.yaml", "sample_corpus/data/train/de.txt.xz"):
        assert f"infoxlm_keras/{name}" in package


def test_no_source_file_is_hidden_from_the_repository(tmp_path):
    paths = [
        path.relative_to(REPOSITORY)
        for room in ("infoxlm_keras", "tests", "recipes", "data_prep", "benchmarks", "docs")
        for path in (REPOSITORY / room).rglob("*")
        if path.is_file()
        and path.suffix in (".py", ".yaml", ".md", ".json", ".typed", ".xz")
        and not any(part.startswith(".") for part in path.relative_to(REPOSITORY).parts)
    ]
    assert len(paths) > 300
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copy(REPOSITORY / ".gitignore", tmp_path)
    listing = "\n".join(map(str, paths))
    asked = ["git", "-C", tmp_path, "check-ignore", "--no-index", "--verbose", "--stdin"]
    done = subprocess.run(asked, input=listing, capture_output=True, text=True, check=False)
    # 1: none of the paths is ignored.
    assert (done.returncode, done.stdout) == (1, ""), done.stdout + done.stderr


def test_the_wheel_installs_one_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        entries = configparser.ConfigParser()
        entries.read_string(archive.read(name).decode())
    assert dict(entries["console_scripts"]) == {"infoxlm": "infoxlm_keras.commands.dispatch:console_script"}


def test_the_command_works_in_an_empty_directory(installed, tmp_path):
    done = run_installed(installed, tmp_path, installed / "bin" / "infoxlm", "--help")
    assert done.returncode == 0, done.stderr
    assert "pretrain" in done.stdout and "build-bitext" in done.stdout
    help_of = run_installed(installed, tmp_path, installed / "bin" / "infoxlm", "build-bitext", "--help")
    assert help_of.returncode == 0 and "usage: infoxlm build-bitext" in help_of.stdout
    corpus = run_installed(
        installed, tmp_path, installed / "bin" / "infoxlm", "unpack-sample-corpus", "--output_dir", "corpus"
    )
    assert corpus.returncode == 0, corpus.stderr
    assert (tmp_path / "corpus" / "monolingual" / "de.txt").stat().st_size > 100_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]


def test_configurations_are_found_by_name_and_the_old_packages_are_gone(installed, tmp_path):
    code = (
        "import infoxlm_keras; from infoxlm_keras.config import load_config; "
        "print(infoxlm_keras.__file__, load_config('demo').steps)"
    )
    done = run_installed(installed, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    path, steps = done.stdout.split()
    assert pathlib.Path(path).is_relative_to(installed) and int(steps) == 1700
    for name in ("data_prep", "recipes", "benchmarks"):
        done = run_installed(installed, tmp_path, "-c", f"import {name}")
        assert done.returncode == 1 and f"No module named '{name}'" in done.stderr
