"""Outputs that would replace an input or each other."""

import pathlib

import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import staging
from infoxlm_keras.files.overwriting import refuse_overwriting


@pytest.mark.parametrize(
    "options",
    [
        {"source": "a.txt"},
        {"source": pathlib.Path("a.txt")},
        {"pairs": ["b.tsv", "./sub/../a.txt"]},
        {"pairs": [["en-de=b.txt,a.txt"]]},
        {"pairs": ["en-de=a.txt,b.txt"]},
        {"gold": "link.txt"},
    ],
)
def test_an_input_is_not_replaced(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.txt").symlink_to("a.txt")
    (name,) = options
    refuse_overwriting({**options, "layer": 1, "xsim": True, "output": pathlib.Path("c.txt"), "csv": None}, ["output"])
    with pytest.raises(InputError, match=rf"^--output a.txt: is an input as well \(--{name}\)"):
        refuse_overwriting({**options, "output": pathlib.Path("a.txt"), "csv": None}, ["output", "csv"])


def test_two_outputs_are_two_files(tmp_path):
    options = {"output": tmp_path / "a", "csv": tmp_path / "." / "a"}
    with pytest.raises(InputError, match="--output and --csv are one file"):
        refuse_overwriting(options, ["output", "csv"])


def test_in_a_store_addresses_are_compared(tmp_path, monkeypatch):
    """A command works in local stand-ins, which are two files for one address."""
    copy, output = tmp_path / "copy" / "a.tsv", tmp_path / "output" / "a.tsv"
    monkeypatch.setattr(staging, "_stands_for", {str(copy): "gs://b/a.tsv", str(output): "gs://b/a.tsv"})
    with pytest.raises(InputError, match=r"is an input as well \(--source\)"):
        refuse_overwriting({"source": copy, "output": output}, ["output"])
