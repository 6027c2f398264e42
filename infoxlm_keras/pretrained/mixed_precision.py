"""Presets of models that were trained in mixed precision."""

from typing import Any

from infoxlm_keras.conversion.sources import Source
from infoxlm_keras.files import read_json


def without_mixed_precision(config: Any) -> Any:
    """A serialized model's configuration with float32 for mixed precision, which is how its variables are stored.

    KerasHub 0.32 fails to open a preset of a mixed policy (`Invalid dtype: mixed_bfloat16`) without a `dtype`
    argument.
    """
    if isinstance(config, list):
        return [without_mixed_precision(value) for value in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy" and str(config["config"]["name"]).startswith("mixed_"):
        return {**config, "config": {**config["config"], "name": "float32"}}
    return {key: without_mixed_precision(value) for key, value in config.items()}


def saved_in_mixed_precision(location: Source) -> bool:
    """Whether the preset at `location` was saved by an earlier release with a mixed policy in its configuration."""
    path = None if location.directory is None else location.directory / "config.json"
    if path is None or not path.is_file():
        return False
    config = read_json(path)
    return without_mixed_precision(config) != config
