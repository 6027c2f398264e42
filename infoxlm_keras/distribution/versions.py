"""The versions of libraries that the processes of a run must share."""

import importlib.metadata

from infoxlm_keras.version import __version__


def versions_in_common(library: str) -> dict[str, str]:
    """dict of a description to a version, for infoxlm_keras, Keras, KerasHub and `library`.

    Args:
        library: str, the package that computes: `jax` or `torch`.

    Example:
    ```python
    versions_in_common("jax")["the version of keras"]  # "3.15.1"
    ```
    """
    # Their metadata, not their modules: importing them takes seconds.
    packages = {"keras": "keras", "keras_hub": "keras-hub", library: library}
    found = {name: importlib.metadata.version(package) for name, package in packages.items()}
    return {f"the version of {name}": version for name, version in {"infoxlm_keras": __version__, **found}.items()}
