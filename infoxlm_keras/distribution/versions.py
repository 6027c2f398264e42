"""The versions of libraries that the processes of a run must share."""

import importlib.metadata

from infoxlm_keras.version import __version__


def versions_in_common(library: str, version: str | None = None) -> dict[str, str]:
    """dict of a description to a version, for infoxlm_keras, Keras, KerasHub and `library`.

    Args:
        library: str, the package that computes: `jax`, `torch` or `tensorflow`.
        version: str, its version; None asks for the installed package of this name. TensorFlow's has several names.

    Example:
    ```python
    versions_in_common("jax")["the version of keras"]  # "3.15.1"
    ```
    """
    # Their metadata, not their modules: importing them takes seconds.
    packages = {"keras": "keras", "keras_hub": "keras-hub"}
    found = {name: importlib.metadata.version(package) for name, package in packages.items()}
    found[library] = importlib.metadata.version(library) if version is None else version
    return {f"the version of {name}": version for name, version in {"infoxlm_keras": __version__, **found}.items()}
