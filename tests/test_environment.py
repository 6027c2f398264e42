"""Commands in odd environments: outputs that take little, limits of files, settings that are meant for others."""

import importlib.metadata
import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from infoxlm_keras import command_line, environment
from infoxlm_keras.distribution.cluster import is_multi_worker
from infoxlm_keras.errors import InputError
from repository import REPOSITORY

PRELUDE = "import os, sys\nfrom infoxlm_keras.command_line import *\nfrom infoxlm_keras.errors import InputError\n"
KERAS = PRELUDE + "with quiet_imports():\n    import keras, tensorflow_text\n"
SHOW = "run_command(lambda: print(keras.backend.backend(), keras.config.floatx(), keras.config.image_data_format(), "
SHOW += "keras.layers.Dense(1).compute_dtype))"


def command(body, *arguments, limit=None, environment=(), **options):
    """The finished process of a command with this Python source; `limit` is the size of the largest file, in bytes."""
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KERAS_BACKEND": "tensorflow", **dict(environment)}
    variables = {name: value for name, value in variables.items() if value is not None}

    def limited():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    source = [sys.executable, "-c", body, *arguments]
    return subprocess.run(source, env=variables, preexec_fn=limited, timeout=300, check=False, **options)


def refused(process):
    """The one line of a command that must refuse something."""
    message = process.stderr.decode(errors="replace")
    assert process.returncode == 2, message
    assert message.startswith("error: ") and message.count("\n") == 1, message
    return message


TABLES = (
    PRELUDE
    + """
import rich, rich.table
from infoxlm_keras.progress import progress_bar
def main():
    options = argument_parser("Öffnen — 打开").parse_args(sys.argv[1:])
    print_settings("données", {"path": os.fsdecode(b"k\\xe9y/x"), "arrow": "→"})
    with progress_bar("Læsning [bold]", 2, "sætninger") as advance:
        advance(2, 2)
    table = rich.table.Table("语言", "[/x] :smile: [red]", title="RUNS/run[lr=1e-3]")
    table.add_row("de", "[/v2] Tür")
    rich.print(table)
    raise InputError("nicht gefunden: " + os.fsdecode(b"k\\xe9y\\n") + " → Tür")
run_command(main)
"""
)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252", "ascii:strict"])
def test_what_cannot_be_shown_is_replaced(encoding):
    process = command(TABLES, environment={"PYTHONIOENCODING": encoding})
    text = process.stdout.decode(encoding.split(":")[0])
    for shown in ("RUNS/run[lr=1e-3]", "[/x] :smile: [red]", "[/v2] T", "sning [bold]"):
        assert shown in text
    assert ("→" in text) == (encoding == "utf-8")
    assert refused(process) and r"\udce9y" in process.stderr.decode(encoding.split(":")[0], "replace")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_is_shown_in_any_encoding(encoding):
    process = command(TABLES, "--help", environment={"PYTHONIOENCODING": encoding})
    assert process.returncode == 0 and b"ffnen" in process.stdout and process.stderr == b""


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path):
    body = PRELUDE + "def main():\n    for n in range(10**6):\n        print(n, flush=n % 2 == 0)\nrun_command(main)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for source in (body, PRELUDE + "run_command(lambda: print('x' * 100_000))", TABLES):
        with subprocess.Popen(
            [sys.executable, "-c", source], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            process.stdout.close()
            message = process.stderr.read().decode()
            assert (
                process.wait(60) in (128 + signal.SIGPIPE, 1)
                and "Traceback" not in message
                and "Broken" not in message
            )


def test_a_broken_pipe_of_something_else_is_told():
    body = PRELUDE + "def main():\n    raise BrokenPipeError(32, 'Broken pipe', 'socket')\nrun_command(main)"
    assert "socket: Broken pipe" in refused(command(body))


def test_a_full_disk_under_the_output_is_told():
    with open("/dev/full", "wb") as full:
        process = command(PRELUDE + "run_command(lambda: print('x'))", stdout=full)
    assert "no space left on device" in refused(process)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_do_not_become_files(closed, tmp_path):
    body = KERAS.replace("import keras, tensorflow_text", "import infoxlm_keras") + (
        "def main():\n    print('lost')\n    with open(sys.argv[1], 'w') as file:\n        print('also lost')\n"
        "        os.write(2, b'lost')\n        file.write('kept')\nrun_command(main)"
    )
    script = f'exec "$0" -c "$1" "$2" {" ".join(f"{number}>&-" for number in closed)}'
    arguments = ["sh", "-c", script, sys.executable, body, str(tmp_path / "out")]
    status = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False).returncode
    assert status == 0 and (tmp_path / "out").read_text() == "kept"


WRITERS = {
    "Python": "open(d / 'x', 'wb').write(bytes(10**6))",
    "NumPy": "import numpy; numpy.save(d / 'x', numpy.zeros(10**6))",
    "safetensors": "import numpy, safetensors.numpy as s; s.save_file({'a': numpy.zeros(10**6)}, d / 'x')",
    "h5py": "import h5py, numpy; h5py.File(d / 'x', 'w')['a'] = numpy.random.rand(10**6)",
    "TensorFlow": "import tensorflow as tf; w = tf.io.TFRecordWriter(str(d / 'x')); w.write(bytes(10**6)); w.close()",
    "checkpoint": "import tensorflow as tf; m = tf.Module(); m.v = tf.Variable(tf.zeros(10**6)); "
    "tf.saved_model.save(m, str(d))",
    "matplotlib": "import numpy, infoxlm_keras.reports.plots.style as s; f = s.new_figure(9, 9); "
    "f.subplots().imshow(numpy.random.rand(900, 900)); s.save_figure(f, d / 'x.png')",
}


@pytest.mark.parametrize("library", WRITERS)
def test_a_limit_of_file_sizes_is_told_and_nothing_is_left(library, tmp_path):
    body = PRELUDE + (
        "from infoxlm_keras.files import new_directory\ndef main():\n"
        "    with quiet_imports(), new_directory(sys.argv[1]) as d:\n"
        f"        {WRITERS[library]}\nrun_command(main)"
    )
    process = command(body, str(tmp_path / "new/out"), limit=100_000)
    assert "file may be here" in refused(process)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        ("RuntimeError('Unable to write (file write failed: errno = 28, error message = full)')", "no space left"),
        ("ValueError('x: No space left on device; while saving')", "no space left"),
        ("RuntimeError('Disk quota exceeded')", "quota is used up"),
        ("MemoryError()", "not enough memory"),
        ("RuntimeError('CUDA out of memory. Tried to allocate')", "not enough memory"),
    ],
)
def test_the_system_errors_of_libraries_are_told(raised, message):
    assert message in refused(command(PRELUDE + f"def main():\n    raise {raised}\nrun_command(main)"))


def test_other_errors_of_libraries_keep_their_traceback():
    process = command(PRELUDE + "def main():\n    raise RuntimeError('shape 28')\nrun_command(main)")
    assert process.returncode == 1 and b"Traceback" in process.stderr


@pytest.mark.parametrize(
    "settings",
    [
        '{"floatx": "float16"}',
        '{"floatx": "float64", "image_data_format": "channels_first"}',
        '{"epsilon": 0.5}',
        "{}",
    ],
)
def test_the_settings_of_keras_json_have_no_effect(settings, tmp_path):
    (tmp_path / "keras.json").write_text(settings)
    process = command(KERAS + SHOW, environment={"KERAS_HOME": str(tmp_path)})
    assert process.stdout.decode().split() == ["tensorflow", "float32", "channels_last", "float32"]
    assert process.stderr == b""


def test_keras_json_chooses_the_backend(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    process = command(KERAS + SHOW, environment={"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": None})
    assert process.stdout.split()[0] == b"jax" and process.stderr == b""


@pytest.mark.parametrize(
    "settings",
    [
        '{"floatx": "float8"}',
        '{"epsilon": "x"}',
        "[1]",
        "{bad",
        '{"floatx": ["a"]}',
        "[" * 100_000,
        '"a"',
        "\0",
        "1" * 5000,
    ]
    + ['{"image_data_format": null}', '{"backend": "mxnet"}', '{"backend": 7}', '{"backend": "openvino"}'],
)
def test_a_keras_json_that_cannot_be_used_is_told(settings, tmp_path):
    (tmp_path / "keras.json").write_text(settings)
    process = command(KERAS + SHOW, environment={"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": None})
    assert f"{tmp_path}/keras.json" in refused(process)


def test_unknown_and_missing_backends_are_told(tmp_path):
    message = refused(command(KERAS + SHOW, environment={"KERAS_BACKEND": "theano"}))
    assert "KERAS_BACKEND=theano: this package runs on tensorflow, jax, torch" in message
    hide = "import importlib.util as u\nfind = u.find_spec\n"
    hide += "u.find_spec = lambda n, *a: None if n == 'jax' else find(n, *a)\n"
    message = refused(command(hide + KERAS + SHOW, environment={"KERAS_BACKEND": "jax"}))
    assert 'pip install "infoxlm_keras[jax]"' in message


def test_legacy_keras_has_no_effect():
    process = command(KERAS + SHOW, environment={"TF_USE_LEGACY_KERAS": "1"})
    assert process.returncode == 0 and process.stderr == b""


@pytest.mark.xla
def test_tensorflow_reports_no_missing_gpu(tmp_path):
    body = KERAS + (
        "import tensorflow as tf\ndef main():\n    tf.config.list_physical_devices('GPU')\n    for n in range(1, 9):\n"
        "        tf.function(lambda x: x + 1, jit_compile=True)(tf.ones([n, n]))\n"
        "    m = tf.Module(); tf.saved_model.save(m, sys.argv[1]); tf.saved_model.load(sys.argv[1])\nrun_command(main)"
    )
    process = command(body, str(tmp_path / "saved"), environment={"TF_CPP_MIN_LOG_LEVEL": None})
    assert process.returncode == 0 and process.stderr == b""


ONE_MACHINE = [
    {},
    {"task": {"type": "worker", "index": 0}},
    {"cluster": {}},
    {"cluster": None, "task": None},
    [],
    5,
    {"environment": "cloud"},
]


@pytest.mark.parametrize("text", [*map(json.dumps, ONE_MACHINE), "{", "[" * 100_000, "\ud800"])
def test_auto_takes_one_machine_where_no_cluster_is_named(text):
    lines = []
    assert is_multi_worker({"TF_CONFIG": text}, lines.append) is False
    assert len(lines) == 1 and "names no cluster; training on this machine alone" in lines[0] and len(lines[0]) < 300


WORKERS = {"worker": ["a:1", "b:1"]}
NO_PART = [
    {"cluster": WORKERS},
    {"cluster": WORKERS, "task": {"type": "worker", "index": 2}},
    {"cluster": WORKERS, "task": {"type": "worker", "index": -1}},
    {"cluster": WORKERS, "task": {"type": "worker", "index": True}},
    {"cluster": WORKERS, "task": {"type": ["worker"], "index": 0}},
    {"cluster": WORKERS, "task": {"type": "ps", "index": 0}},
    {"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}},
    {"cluster": {"worker": 5}, "task": {"type": "worker", "index": 0}},
    {"cluster": ["a:1"], "task": {"type": "worker", "index": 0}},
    {"cluster": {"worker": [["a:1"], {}]}, "task": {"type": "worker", "index": 0}},
]


@pytest.mark.parametrize("content", NO_PART)
def test_a_cluster_in_which_this_process_has_no_part_is_told(content):
    with pytest.raises(InputError, match="must be JSON of the form"):
        is_multi_worker({"TF_CONFIG": json.dumps(content)}, lambda line: None)


def test_a_cluster_is_recognised():
    task = {"type": "worker", "index": "1"}
    assert is_multi_worker({"TF_CONFIG": json.dumps({"cluster": WORKERS, "task": task})})
    one = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    assert is_multi_worker({"TF_CONFIG": json.dumps(one)}, pytest.fail) is False
    with pytest.raises(InputError, match="SLURM_STEP_NUM_TASKS = two"):
        is_multi_worker({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "two"})


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ({"tensorflow": "2.21.0", "tensorflow-text": "2.20.1"}, "tensorflow 2.21.0 with tensorflow-text 2.20.1"),
        (
            {"tensorflow-tpu": "2.20.0", "tensorflow-text": "2.21.1"},
            "tensorflow-tpu 2.20.0 with tensorflow-text 2.21.1",
        ),
        ({"tensorflow": "2.21.0", "tensorflow-text": "2.21.1"}, None),
        ({"tensorflow-tpu": "2.20.0", "tensorflow-text": "2.20.1"}, None),
        # Both installed: the module is one of the two.
        ({"tensorflow": "2.21.0", "tensorflow-tpu": "2.20.0", "tensorflow-text": "2.20.1"}, None),
        ({"tensorflow": "2.21.0"}, None),
        ({"tensorflow-text": "2.20.1"}, None),
        ({}, None),
    ],
)
def test_tensorflow_and_tensorflow_text_are_of_one_minor_version(versions, found, monkeypatch, tmp_path):
    def version(name):
        if name in versions:
            return versions[name]
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # As before the first import of Keras.
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    if found is None:
        environment.prepare()
        return
    with pytest.raises(InputError) as caught:
        environment.prepare()
    minor = found.split()[1].rpartition(".")[0]
    assert str(caught.value).startswith(found) and f'"tensorflow-text=={minor}.*"' in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "--fibers_default_thread_stack_size=16777216"),
        ("--xla_tpu_a=1", "--xla_tpu_a=1 --fibers_default_thread_stack_size=16777216"),
        ("--fibers_default_thread_stack_size=9 --b", "--fibers_default_thread_stack_size=9 --b"),
    ],
)
def test_the_compiler_for_tpus_gets_a_larger_stack_unless_the_user_sets_one(given, expected, monkeypatch):
    monkeypatch.setenv("LIBTPU_INIT_ARGS", given or "")
    if given is None:
        monkeypatch.delenv("LIBTPU_INIT_ARGS")
    for _ in range(2):
        environment.prepare()
    assert os.environ["LIBTPU_INIT_ARGS"] == expected


def test_processes_of_one_torchrun_print_an_error_once(tmp_path, monkeypatch, capfd):
    def lines_of(*messages):
        for process, message in enumerate(messages):
            (tmp_path / f"attempt/{process}").mkdir(parents=True, exist_ok=True)
            monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / f"attempt/{process}/error.json"))
            assert command_line.report(message) == 2
        return capfd.readouterr().err.splitlines()

    assert lines_of("a: is missing", "a: is missing", "b: is full") == ["error: a: is missing", "error: b: is full"]
    # Without the folder of an attempt, and without torchrun, all is printed.
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "gone/0/error.json"))
    command_line.report("a: is missing")
    for value in (os.devnull, ""):
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", value)
        command_line.report("a: is missing")
    assert capfd.readouterr().err.count("error: a: is missing\n") == 3
