"""Commands that change a model write the same one under PyTorch as under TensorFlow."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from infoxlm_keras.commands import convert_checkpoint, drop_layers, extend_vocabulary, trim_vocabulary
from repository import REPOSITORY
from running import run
from sample_text import sentences

COMMANDS = {
    "extended": (extend_vocabulary, ("--input", "TEXT", "--add", "2")),
    "trimmed": (trim_vocabulary, ("--input", "TEXT")),
    "dropped": (drop_layers, ("--layers", "1")),
    "converted": (convert_checkpoint, ("--format", "keras-embedder")),
}


def arguments_of(name, model, output):
    """The arguments of a command of `COMMANDS`, with `TEXT` as the folder of its texts."""
    command, options = COMMANDS[name]
    source, target = ("--from", "--to") if command is convert_checkpoint else ("--model", "--output_dir")
    text = str(output / "text")
    return [source, str(model), target, str(output / name), *(text if part == "TEXT" else part for part in options)]


@pytest.fixture(scope="module")
def under_torch(tiny_preset, tmp_path_factory):
    """The folder with the outputs of all commands under PyTorch, by their names."""
    output = tmp_path_factory.mktemp("torch")
    (output / "text").mkdir()
    (output / "text/en.txt").write_text("\n".join([*sentences("en", 60), "zzyzx zzyzx"]), encoding="utf-8")
    calls = [
        f"import_module({command.__name__!r}).main({arguments_of(name, tiny_preset, output)!r})"
        for name, (command, _) in COMMANDS.items()
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    program = "; ".join(["from importlib import import_module", *calls])
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


def weights(directory):
    """dict of names to arrays in the files of weights of a preset."""
    found = {}
    for path in sorted(directory.glob("*.weights.h5")):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, value, path=path: (
                    found.update({f"{path.name}/{name}": value[()]}) if isinstance(value, h5py.Dataset) else None
                )
            )
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_the_weights_are_those_of_tensorflow(name, under_torch, tiny_preset, tmp_path):
    command, _ = COMMANDS[name]
    (tmp_path / "text").symlink_to(under_torch / "text")
    run(command.main, *arguments_of(name, tiny_preset, tmp_path))
    found, expected = weights(under_torch / name), weights(tmp_path / name)
    assert found.keys() == expected.keys() and len(found) >= 20
    for weight, values in expected.items():
        np.testing.assert_array_equal(found[weight], values, err_msg=weight)
