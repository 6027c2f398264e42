"""The trained models that pretext tasks work with, such as a teacher: loaded at each start of a run.

Checkpoints do not hold their weights (`PretextTask.constant_variables`). They hold digests of the models, so a run
continues with the same weights or not at all.
"""

from collections.abc import Mapping
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.config import RunSettings
from infoxlm_keras.errors import InputError
from infoxlm_keras.pretrained import PretrainedModel, load_pretrained
from infoxlm_keras.pretrained.digest import model_digest
from infoxlm_keras.tasks.registry import task_class
from infoxlm_keras.tokenizer import Tokenizer

# Task name -> name of the model -> the model.
TaskModels = dict[str, dict[str, PretrainedModel]]


def load_task_models(config: RunSettings, tokenizer: Tokenizer) -> TaskModels:
    """The models that the tasks of `config` (`PretrainingConfig`) name, in the precision of the run.

    Raises:
        InputError: if one cannot be loaded, or its tokenizer is not `tokenizer`.
    """
    found: TaskModels = {}
    for task in config.tasks:
        for name, source in task_class(task).models_to_load(config.task(task)).items():
            try:
                model = load_pretrained(source, dtype=config.model.dtype)
            except InputError as error:
                raise InputError(f"{task}.{name}: {error}") from error
            if model.tokenizer.fingerprint != tokenizer.fingerprint:
                raise InputError(
                    f"{task}.{name} = {source}: has another vocabulary than the model that is trained; give a model "
                    "with the same tokenizer, or train with the tokenizer and the records of this one"
                )
            found.setdefault(task, {})[name] = model
    return found


def digests_of(models: TaskModels) -> dict[str, str]:
    """dict of `<task>.<name>` to the digest of that model's weights and tokenizer."""
    return {f"{task}.{name}": model_digest(model) for task in models for name, model in models[task].items()}


def check_same_models(kept: Mapping[str, Any], digests: Mapping[str, str], output_dir: PathLike) -> None:
    """Raises `InputError` if the checkpoint's run worked with other models.

    Args:
        kept: dict that was saved with the checkpoint.
        digests: those of the models of this start.
        output_dir: path, for the message.
    """
    before = kept.get("models", {})
    different = sorted(name for name in digests if before.get(name) != digests[name])
    if different:
        raise InputError(
            f"{output_dir}: its run worked with another model ({', '.join(different)}: the weights or the tokenizer "
            "differ); put the model of that run in its place, or give a new --output_dir"
        )
