"""An output folder on a disk that refuses more: the message names it, whatever library wrote, and nothing is left."""

import errno
import os
import re

import h5py
import numpy as np
import pytest
import safetensors.numpy

from file_limit import largest_file
from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands import convert_checkpoint
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory
from infoxlm_keras.files.written_files import new_file
from infoxlm_keras.system_errors import describe_os_error


def by_hdf5(folder):
    with h5py.File(folder / "x", "w") as file:
        file["a"] = np.zeros(1 << 16)


WRITERS = {
    "python": lambda folder: (folder / "x").write_bytes(b"x" * (1 << 16)),
    "NumPy": lambda folder: np.save(folder / "x.npy", np.zeros(1 << 16)),
    "safetensors": lambda folder: safetensors.numpy.save_file({"a": np.zeros(1 << 16)}, folder / "x"),
    "HDF5": by_hdf5,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_library_that_cannot_write_is_named_the_folder(writer, tmp_path):
    with pytest.raises(OSError) as error, largest_file(5000), new_directory(tmp_path / "a/out") as folder:
        WRITERS[writer](folder)
    assert error.value.errno == errno.EFBIG
    assert str(error.value.filename).startswith(str(tmp_path / "a/out"))
    assert "partial" not in str(error.value.filename) and not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "error",
    [InputError("x: no space left on device"), OSError(errno.ENOENT, "no such file", "input"), KeyError("no space")],
)
def test_other_errors_pass_as_they_are(error, tmp_path):
    with pytest.raises(type(error)) as raised, new_directory(tmp_path / "out"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("format", ["hf", "keras", "sentence-transformers"])
def test_a_conversion_names_its_folder_and_leaves_nothing(format, tiny_preset, tmp_path, capsys):
    arguments = ["--from", str(tiny_preset), "--to", str(tmp_path / "out"), "--format", format]
    with pytest.raises(SystemExit) as exit, largest_file(6000):
        run_command(lambda: convert_checkpoint.main(arguments))
    error = capsys.readouterr().err
    assert exit.value.code == 2 and not os.listdir(tmp_path)
    assert re.search(rf"^error: {tmp_path}/out\S*: would be larger than a file may be here", error, re.MULTILINE), (
        error
    )


@pytest.mark.parametrize(
    "write", [lambda file: file.write(b"x" * (1 << 16)), lambda file: np.save(file, np.ones(9999))]
)
def test_a_file_that_gets_too_large_is_named(write, tmp_path):
    with pytest.raises(OSError) as error, largest_file(5000), new_file(tmp_path / "x") as file:
        write(file)
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(tmp_path / "x"))
    # The flag for the output has another name in each command.
    assert "another output folder" in (message := describe_os_error(error.value)) and "--" not in message
