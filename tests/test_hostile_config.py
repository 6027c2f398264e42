"""Configurations that are damaged, hostile or no files: one clear error each, whatever Python thinks of them."""

import os
import random

import pytest
import yaml

from infoxlm_keras.config import check_config, dump_config, load_config, shown
from infoxlm_keras.errors import InputError
from infoxlm_keras.runs.directory import RunDirectory

DEEP = 20_000
DOUBLING = "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))

TEXTS = {
    "lists in lists": "steps: " + "[" * DEEP,
    "lists in lists, closed": "steps: " + "[" * DEEP + "]" * DEEP,
    "mappings in mappings": "{steps: " * DEEP,
    "blocks in blocks": "- " * DEEP + "1",
    "many digits": "steps: " + "1" * DEEP,
    "many hexadecimal digits": "steps: 0x" + "f" * DEEP,
    "many octal digits": "seed: 0" + "7" * DEEP,
    "many digits of base 60": "steps: 1" + ":01" * 5000,
    "many digits in a list": "tasks: [0x" + "f" * DEEP + "]",
    "a rate of many digits": "optimizer: {learning_rate: 0x" + "f" * DEEP + "}",
    "a rate of many decimals": "optimizer: {learning_rate: 1." + "1" * DEEP + "e999999}",
    "a key of many letters": "s" * DEEP + ": 1",
    "a key that is a number": "0x" + "f" * DEEP + ": 1",
    "a key that is a list": "? [1]\n: 2",
    "a value of many letters": "model: {size: " + "s" * DEEP + "}",
    "doubling references": "a0: &a0 [1, 1]\n" + DOUBLING + "\nsteps: *a39",
    "a mapping within itself": "xlco: &x {momentum: *x}",
    "the file's mapping within itself": "&x\nxlco: *x",
    "no date": "steps: 2001-99-99",
    "a Python object": "steps: !!python/object/apply:os.getcwd []",
    "no integer": "steps: !!int ''",
    "no binary": "steps: !!binary x",
    "a NUL": "steps: 5\0",
    "a base that is a list": "base: [1, 2]",
    "a base with a NUL": 'base: "a\\0b"',
    "a base with a long name": "base: " + "b" * 5000,
    "many wrong keys": "\n".join(f"wrong{n}: 1" for n in range(5000)),
    "a scalar": "17",
}


def the_error(call):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 8000
    return message


@pytest.mark.parametrize("name", TEXTS)
def test_one_short_line_names_the_file(tmp_path, name):
    path = tmp_path / "own.yaml"
    path.write_text(TEXTS[name])
    try:
        message = the_error(lambda: load_config(path))
    except OSError as error:
        # The command says it as the system does: the name of a file is too long.
        assert name == "a base with a long name" and str(error.filename).endswith("bbb")
        return
    assert str(path) in message


@pytest.mark.parametrize(
    "override",
    [
        "steps=" + TEXTS["lists in lists"][7:],
        "steps=" + "1" * DEEP,
        "steps=0x" + "f" * DEEP,
        "s" * DEEP,
        "a." * DEEP + "b=1",
    ],
)
def test_hostile_overrides(tmp_path, override):
    path = tmp_path / "own.yaml"
    path.write_text("steps: 20\noptimizer: {warmup_steps: 0}\n")
    # It names the setting.
    assert override.partition("=")[0][:5] in the_error(lambda: load_config(path, [override]))


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "directory.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes("steps: 5 # für\n".encode("latin-1"))
    for name, word in (
        ("pipe.yaml", "not a regular file"),
        ("directory.yaml", "is a directory"),
        ("latin.yaml", "UTF-8"),
    ):
        assert word in the_error(lambda name=name: load_config(tmp_path / name))
        # As the base of a good file, too.
        (tmp_path / "own.yaml").write_text(f"base: {name}\nsteps: 5\n")
        assert word in the_error(lambda: load_config(tmp_path / "own.yaml"))


def test_the_configuration_of_a_run_is_read_with_the_same_care(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    config = check_config({"steps": 100, "optimizer": {"warmup_steps": 10}})
    for text in (TEXTS["lists in lists"], TEXTS["many hexadecimal digits"], "17", "", "\0", "steps: [1"):
        (tmp_path / "config.yaml").write_text(text)
        assert "config.yaml" in the_error(lambda: RunDirectory(tmp_path).check(config))


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_configuration_is_refused_or_read(tmp_path, seed):
    """Bytes of a good file are changed, cut, repeated or put in: an error of ours, or valid settings."""
    draw = random.Random(seed)
    data = bytearray(dump_config(check_config({"steps": 100, "optimizer": {"warmup_steps": 10}})).encode())
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(data))
        action = draw.choice(["flip", "cut", "insert", "repeat"])
        if action == "flip":
            data[place] ^= 1 << draw.randrange(8)
        elif action == "cut":
            del data[place : place + draw.randint(1, 40)]
        elif action == "insert":
            data[place:place] = draw.choice([b"\0", b"[", b"{", b"\xff", b"&a ", b"*a ", b": ", b"\n", b"9" * 5000])
        else:
            data[place:place] = data[place : place + 30] * draw.randint(1, 300)
    path = tmp_path / "own.yaml"
    path.write_bytes(data)
    try:
        config = load_config(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert check_config(yaml.safe_load(dump_config(config))) == config


def test_shown_is_short_and_of_any_value():
    assert shown("many") == "'many'" and shown(["mmlm", "mmlm"]) == "['mmlm', 'mmlm']" and shown(1.5) == "1.5"
    assert shown(1 << 100_000) == "a number of 100001 bits" and len(shown("x" * 10_000)) < 100


# === The flag that helps ===


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ({"steps": 60, "optimizer": {"warmup_steps": 60}}, ["--set optimizer.warmup_steps=6", "--steps"]),
        ({"steps": 1, "optimizer": {"warmup_steps": 60}}, ["--set optimizer.warmup_steps=0", "--steps"]),
        ({"steps": 20000, "steps_per_execution": 7}, ["--steps 20006", "--set steps_per_execution=1"]),
        ({"xlco": {"queue_length": 31}}, ["--set xlco.queue_length=32", "--set xlco.batch_size"]),
        ({"steps": 0}, ["--steps"]),
        ({"mmlm": {"batch_size": 0}}, ["--set mmlm.batch_size=VALUE"]),
        ({"tasks": ["nmt"]}, ["--tasks"]),
    ],
)
def test_settings_that_do_not_fit_name_the_flag(values, flags):
    message = the_error(lambda: check_config(values))
    assert all(flag in message for flag in flags), message


def test_the_flag_that_a_message_names_helps(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("steps: 1700\noptimizer: {warmup_steps: 60}\n")
    message = the_error(lambda: load_config(path, ["steps=60"]))
    flag = message.split("--set ")[1].split(",")[0]
    assert load_config(path, ["steps=60", flag]).optimizer.warmup_steps == 6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps: 20\nsteps: 30\n", ("own.yaml", "'steps' is given twice", "line 2")),
        ("xlco: {temperature: 0.1, temperature: 0.2}\n", ("'temperature' is given twice",)),
        ("steps: true\n", ("steps = True", "integer")),
        (f"steps: {'9' * 9000}\n", ("too many digits",)),
    ],
)
def test_what_yaml_would_pass_over_is_refused(tmp_path, text, words):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        load_config(tmp_path / "own.yaml")
    assert all(word in str(error.value) for word in words), error.value
    assert "set_int_max" not in str(error.value) and "\n" not in str(error.value)
