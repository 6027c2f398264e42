"""The installation on a TPU VM: the page, `make test-tpu-wheel` and setup.cfg name versions that go together."""

import configparser
import re

from packaging.requirements import Requirement

from repository import REPOSITORY

PINNED = re.compile(r'"([a-z-]+)==([0-9.]+)"')


def pins(text):
    """Lists of (package, version), in order."""
    return PINNED.findall(text)


def test_the_page_installs_what_the_suite_runs_with():
    makefile = (REPOSITORY / "Makefile").read_text()
    page = (REPOSITORY / "docs/tpu.md").read_text()
    rule = makefile[makefile.index("\n$(TPU_VENV)/installed:") : makefile.index("\ntest-tpu-wheel:")]
    assert [name for name, _ in pins(rule)] == ["tensorflow", "tensorflow-text", "tensorflow-tpu", "libtpu"]
    assert pins(page) == pins(rule)


def test_the_versions_are_in_the_ranges():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    lines = [line for line in setup["options"]["install_requires"].splitlines() if line and not line.startswith("#")]
    ranges = {requirement.name: requirement.specifier for requirement in map(Requirement, lines)}
    versions = dict(pins((REPOSITORY / "docs/tpu.md").read_text()))
    for name in ("tensorflow", "tensorflow-text"):
        assert ranges[name].contains(versions[name]), name
        assert versions[name].rpartition(".")[0] == versions["tensorflow-tpu"].rpartition(".")[0]
    # Both ranges have the same ends: they move together.
    assert ranges["tensorflow"] == ranges["tensorflow-text"]
