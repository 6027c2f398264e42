"""Fixtures that several test modules share."""

import importlib.metadata
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import types

import hypothesis
import pytest

# A busy machine is no failure: no example has a deadline.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")
# A shell starts what runs in the background with SIGINT ignored, and Python leaves it so.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A program that runs a few times gains nothing from being compiled well. Processes that tests start inherit this.
QUICK_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if QUICK_COMPILATION not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_COMPILATION}".strip()


def pytest_configure(config):
    """One directory for all processes of the suite in which JAX finds what another of them compiled already."""
    if not hasattr(config, "workerinput"):
        directory = tempfile.mkdtemp(prefix="infoxlm-compiled-")
        config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = directory
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


@pytest.fixture(autouse=True)
def without_op_determinism():
    """A run that is not compiled makes its whole process deterministic, and Keras then compiles nothing."""
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config

        if config.is_op_determinism_enabled():
            config.disable_op_determinism()


# The files that take longest, by `make test TEST_ARGUMENTS=--durations=400`. They start first: with one of them at the
# end, one process would work and the others wait. What is not listed follows in its order.
LONGEST_FILES = (
    "commands/test_pretrain_jax_processes.py",
    "runs/test_resume.py",
    "distribution/test_stream_parity.py",
    "distribution/test_distribution_parity.py",
    "training/test_torch_configurations.py",
    "commands/test_pretrain_torch_processes.py",
    "commands/test_pretrain.py",
    "runs/test_remote_runs.py",
    "test_keras_contract.py",
    "training/test_backends.py",
    "commands/test_pretrain_distributed.py",
    "test_environment.py",
    "commands/test_export_recipe.py",
    "search/test_search.py",
    "finetuning/test_finetune_classification.py",
    "models/test_rematerialization.py",
    "serving/test_export_places.py",
    "test_notebook.py",
    "compilation/test_compile_step.py",
    "data/test_streams.py",
    "training/test_keras_callbacks.py",
    "building/test_disk_limits.py",
    "serving/test_server_files.py",
    "distribution/test_keras_workarounds.py",
    "test_documentation.py",
    "evaluation/test_toy_evaluation.py",
    "building/test_held_out.py",
    "conversion/test_from_sentence_transformers.py",
    "data/test_reading_order.py",
    "fuzz/test_fuzz.py",
    "clients/test_clients.py",
    "serving/test_export_other_backends.py",
    "training/test_precision.py",
    "runs/test_python_face.py",
    "serving/test_serving_requests.py",
    "tasks/test_toy_task.py",
    "serving/test_export_savedmodel.py",
    "evaluation/test_sentence_vectors.py",
    "commands/test_convert_recipe.py",
    "commands/test_wheel.py",
    "training/test_optimizer.py",
)


def pytest_collection_modifyitems(items):
    """Sorts the longest files first; the order within a file stays."""
    directory = pathlib.Path(__file__).parent
    places = {directory / name: place for place, name in enumerate(LONGEST_FILES)}
    moved = [str(path) for path in places if not path.exists()]
    if moved:
        raise pytest.UsageError(f"tests/conftest.py: LONGEST_FILES names files that are not there: {moved}")
    items.sort(key=lambda item: places.get(item.path, len(places)))
    skip_what_cannot_compile(items)


def skip_what_cannot_compile(items):
    """Skips tests marked `xla` with TensorFlow's build for TPUs (`make test-tpu-wheel`). Elsewhere all of them run."""
    try:
        importlib.metadata.version("tensorflow-tpu")
    except importlib.metadata.PackageNotFoundError:
        return
    from infoxlm_keras.distribution.host_compiler import compiles_here

    for item in items:
        if item.get_closest_marker("xla") and not compiles_here():
            item.add_marker(pytest.mark.skip(reason="this build of TensorFlow compiles for TPUs only"))


@pytest.fixture(scope="session")
def forked_python():
    """Runs Python programs without the seconds of TensorFlow's and Keras' imports, see `forked_python`."""
    from forked_python import ForkedPython

    forked = ForkedPython()
    yield forked
    forked.close()


@pytest.fixture
def forked_verification(forked_python, monkeypatch):
    """The process in which an export is checked is forked, where the test is not about its start."""
    from infoxlm_keras.serving import verification

    forked = types.SimpleNamespace(run=forked_python.run, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr(verification, "subprocess", forked)


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory):
    """A directory with `vocabulary.spm`: 256 ids in XLM-R's layout, made from `sample_text`."""
    from infoxlm_keras.text.vocabulary import train_sentencepiece
    from sample_text import multilingual_sentences

    directory = tmp_path_factory.mktemp("tokenizer")
    (directory / "vocabulary.spm").write_bytes(train_sentencepiece(multilingual_sentences(200), 256))
    return directory


@pytest.fixture(scope="session")
def tokenizer(tokenizer_dir):
    """The `Tokenizer` in `tokenizer_dir`."""
    from infoxlm_keras.conversion.tokenizers import load_tokenizer

    return load_tokenizer(tokenizer_dir)


@pytest.fixture(scope="session")
def inputs(tokenizer_dir, tmp_path_factory):
    """A directory with records, held-out pairs and settings of a whole run, see `tiny_run.make_inputs`."""
    from tiny_run import make_inputs

    return make_inputs(tmp_path_factory.mktemp("pretrain"), tokenizer_dir)


@pytest.fixture(scope="session")
def tiny_masked_lm(tokenizer):
    """A random `XLMRobertaMaskedLM`, 2 layers of width 8, for `tokenizer`; not to be trained, tests share it."""
    import numpy as np

    from infoxlm_keras.models import EncoderSize, build_masked_lm

    size = EncoderSize(num_layers=2, hidden_dim=8, num_heads=2, intermediate_dim=16, max_sequence_length=64)
    masked_lm = build_masked_lm(size, tokenizer.vocabulary_size, dropout=0.1)
    generator = np.random.default_rng(0)
    # Larger weights than an initializer's, biases too, so that every part of the encoder shows in its output.
    masked_lm.set_weights([generator.normal(0, 0.5, weight.shape) for weight in masked_lm.weights])
    return masked_lm


@pytest.fixture(scope="session")
def tiny_preset(tiny_masked_lm, tokenizer, tmp_path_factory):
    """`tiny_masked_lm` saved as a preset directory; trained by contrast on hidden state 1, mean pooling."""
    from infoxlm_keras.pretrained import PretrainingInfo, save_pretrained

    directory = tmp_path_factory.mktemp("preset") / "model"
    info = PretrainingInfo(universal_layer=1, steps=3, tasks=["xlco"], tokenizer_fingerprint=tokenizer.fingerprint)
    save_pretrained(directory, tiny_masked_lm, tokenizer, info)
    return directory
