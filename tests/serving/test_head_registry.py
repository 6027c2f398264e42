"""The registry of serving heads: every row leads to its head, and a new row is all that the command needs."""

import importlib
import inspect

import pytest

from infoxlm_keras.commands import export_savedmodel
from infoxlm_keras.errors import InputError
from infoxlm_keras.serving.heads import registry
from infoxlm_keras.serving.serving_module import ServingModule

COMMON = ["--model", "preset", "--output_dir", "out"]


def module_class(row):
    """The only `ServingModule` that the file of a row defines."""
    module = importlib.import_module(row.loader.partition(":")[0])
    [found] = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, ServingModule) and value.__module__ == module.__name__
    ]
    return found


@pytest.mark.parametrize("name", registry.HEADS)
def test_a_row_describes_its_module(name):
    row = registry.HEADS[name]
    head = module_class(row)
    arguments = inspect.signature(head).parameters
    assert head.head == name
    assert head.needs_strings == row.needs_strings
    assert {"max_length", "storage", *row.settings} <= set(arguments)
    module, _, function = row.loader.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    for setting, option in row.settings.items():
        default = arguments[setting].default
        assert default is None or option["help"].endswith(f"unset: {default}")


def test_a_new_head_is_one_row(monkeypatch, capsys):
    row = registry.HeadRow(
        "toy_head:load", "text -> parity [batch]", settings={"modulus": {"type": int}}, needs_strings=True
    )
    monkeypatch.setitem(registry.HEADS, "toy", row)
    options = export_savedmodel.parse([*COMMON, "--head", "toy", "--modulus", "3"])
    assert (options.head, options.modulus) == ("toy", 3)
    export_savedmodel.check(options)
    with pytest.raises(InputError, match="--tokens_only: does not go with --head masked_lm or --head toy or --pairs"):
        export_savedmodel.check(export_savedmodel.parse([*COMMON, "--head", "toy", "--tokens_only"]))
    with pytest.raises(InputError, match="--modulus 3: belongs to --head toy, not to embedding"):
        export_savedmodel.check(export_savedmodel.parse([*COMMON, "--modulus", "3"]))
    with pytest.raises(InputError, match="belongs to --head embedding, not to toy"):
        export_savedmodel.check(export_savedmodel.parse([*COMMON, "--head", "toy", "--pairs", "en-de"]))
    with pytest.raises(SystemExit):
        export_savedmodel.parse(["--help"])
    assert "toy         text -> parity [batch]" in capsys.readouterr().out


def test_the_command_hands_the_loader_its_settings(monkeypatch, tmp_path):
    (tmp_path / "toy_head.py").write_text("def load(source, **settings):\n    return source, settings\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.HEADS, "toy", registry.HeadRow("toy_head:load", "", settings={"modulus": {}}))
    options = export_savedmodel.parse([*COMMON, "--head", "toy", "--modulus", "3", "--quantize", "int8"])
    source, settings = export_savedmodel.load_module(options)
    assert source == "preset"
    assert settings == {"max_length": None, "storage": "int8", "modulus": "3"}
    assert "modulus" not in export_savedmodel.load_module(export_savedmodel.parse([*COMMON, "--head", "toy"]))[1]


def test_an_unknown_head_is_refused():
    with pytest.raises(InputError, match="'other': no such serving head; there are embedding"):
        registry.load_head("other", "preset")
