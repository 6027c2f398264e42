"""Settings of the environment that would change or break Keras and TensorFlow are removed or overridden here.

Nothing here imports either of them, unless `keras.json` holds settings that must be undone.
"""

import importlib.metadata
import importlib.util
import logging
import os
import pathlib
import sys

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json

BACKENDS = ("tensorflow", "jax", "torch")
# What this package is written for; Keras' own defaults.
KERAS_SETTINGS = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
# TensorFlow's builds in the package index; each of them installs the module `tensorflow`.
TENSORFLOW_BUILDS = ("tensorflow", "tensorflow-cpu", "tensorflow-tpu")
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Threads of the compiler for TPUs have 64 KiB of stack, and end the process with a stack overflow on a step of
# rematerialised layers.
TPU_COMPILER_STACK = "--fibers_default_thread_stack_size"
# What these say at lower levels is about machines without GPUs and about graphs that are traced again.
QUIET_LOGGERS = ("tensorflow", "jax._src.xla_bridge")


def prepare() -> None:
    """Makes the environment fit for the imports of Keras and TensorFlow; call it before them, any number of times.

    * `TF_USE_LEGACY_KERAS` is removed: nothing here uses Keras 2, and tensorflow_text would recurse without it.
    * `TF_CPP_MIN_LOG_LEVEL`, if not set, becomes 3: errors are exceptions, and need no lines of native code as well.
    * `LIBTPU_INIT_ARGS` gives the threads of the compiler for TPUs more stack, if it does not set that itself.
    * `KERAS_BACKEND` must name a backend that is installed.
    * tensorflow-text must be of the same minor version as TensorFlow; else its import fails with a missing symbol.
    * `keras.json` (in `KERAS_HOME`, else ~/.keras) chooses the backend only: its other settings have no effect.

    Raises:
        InputError: for an unknown or missing backend, for TensorFlow and tensorflow-text of different minor
            versions, or for a `keras.json` that cannot be read.
    """
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    os.environ.setdefault(LOG_LEVEL, "3")
    arguments = os.environ.get("LIBTPU_INIT_ARGS", "")
    if TPU_COMPILER_STACK not in arguments:
        os.environ["LIBTPU_INIT_ARGS"] = f"{arguments} {TPU_COMPILER_STACK}={16 << 20}".strip()
    if "keras" in sys.modules:
        return
    _check_tensorflow_text()
    path, settings = _keras_file()
    backend = os.environ.get("KERAS_BACKEND")
    if backend:
        _check_backend(backend, f"KERAS_BACKEND={backend}")
    elif "backend" in settings:
        _check_backend(settings["backend"], f"{path}: backend {settings['backend']!r}")
    if any(settings.get(name, default) != default for name, default in KERAS_SETTINGS.items()):
        _undo(path, settings)


def quiet_loggers() -> None:
    """Keeps warnings of TensorFlow's, absl's and JAX's Python code off the terminal, unless the user asks for them."""
    if os.environ.get(LOG_LEVEL, "3") in ("0", "1"):
        return
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # absl makes a logger of its own class when it is imported: one made before would break it.
    if "absl.logging" in sys.modules:
        sys.modules["absl.logging"].set_verbosity("error")


def _keras_file():
    """(path, dict) of Keras' settings; empty if there is no such file. Keras looks in the same places."""
    if "KERAS_HOME" in os.environ:
        directory = pathlib.Path(os.environ["KERAS_HOME"])
    else:
        home = pathlib.Path("~").expanduser()
        directory = (home if os.access(home, os.W_OK) else pathlib.Path("/tmp")) / ".keras"
    path = pathlib.Path(os.path.expanduser(directory / "keras.json"))
    if not path.exists():
        return path, {}
    try:
        return path, read_json(path, dict)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); make it readable, or remove it") from None
    except InputError as error:
        raise InputError(f"{error} (it holds Keras' settings: remove it, and Keras writes a new one)") from None


def _check_backend(name, found):
    if name not in BACKENDS:
        raise InputError(f"{found}: this package runs on {', '.join(BACKENDS)}; choose one with KERAS_BACKEND")
    if importlib.util.find_spec(name) is None:
        raise InputError(
            f'{found}: the package {name} is not installed: pip install "infoxlm_keras[{name}]", or choose another '
            f"of {', '.join(BACKENDS)} with KERAS_BACKEND"
        )


def _check_tensorflow_text():
    text = _version("tensorflow-text")
    builds = {name: version for name in TENSORFLOW_BUILDS if (version := _version(name)) is not None}
    # With several builds in one place, the files are those of the one that was installed last, whichever that was.
    if text is None or not builds or _minor(text) in map(_minor, builds.values()):
        return
    found = " and ".join(f"{name} {version}" for name, version in builds.items())
    raise InputError(
        f"{found} with tensorflow-text {text}: tensorflow-text is built for one minor version of TensorFlow; "
        f'pip install --no-deps "tensorflow-text=={_minor(next(iter(builds.values())))}.*"'
    )


def _version(distribution):
    """The version of an installed package, str, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _minor(version):
    return ".".join(version.split(".")[:2])


def _undo(path, settings):
    """Imports Keras and sets what `path` changed back to what this package is written for."""
    try:
        import keras
    except Exception as error:
        # Keras refuses some values while it is imported, each with an exception of another kind.
        raise InputError(f"{path}: Keras refuses its settings ({error}); correct it, or remove it") from error
    keras.config.set_floatx(KERAS_SETTINGS["floatx"])
    keras.config.set_epsilon(KERAS_SETTINGS["epsilon"])
    keras.config.set_image_data_format(KERAS_SETTINGS["image_data_format"])
    keras.config.set_dtype_policy(KERAS_SETTINGS["floatx"])
