"""From a configuration to the pretrainer that it describes."""

import keras_hub

from infoxlm_keras.config import RunSettings
from infoxlm_keras.distribution import current_distribution
from infoxlm_keras.models.rematerialization import rematerialize_layers
from infoxlm_keras.runs.task_models import TaskModels
from infoxlm_keras.tasks.pretext_task import PretextTask
from infoxlm_keras.tasks.registry import task_class
from infoxlm_keras.training.optimizer import build_optimizer
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer


def build_task(name: str, config: RunSettings) -> PretextTask:
    """The pretext task `name` as `config` (`PretrainingConfig`) sets it."""
    return task_class(name).from_settings(config.task(name))


def build_pretrainer(
    config: RunSettings, masked_lm: keras_hub.models.XLMRobertaMaskedLM, models: TaskModels | None = None
) -> InfoXLMPretrainer:
    """A compiled `InfoXLMPretrainer` of `masked_lm` with the tasks and the optimizer of `config`.

    Call it, and what makes `masked_lm` and `models`, within the `variables()` of the run's `Distribution`.

    Args:
        config: `PretrainingConfig`.
        masked_lm: `keras_hub.models.XLMRobertaMaskedLM`.
        models: what `load_task_models` gives, for tasks that need it.
    """
    if config.model.rematerialize != "none":
        rematerialize_layers(masked_lm.backbone, keep_products=config.model.rematerialize == "activations")
    tasks = [build_task(name, config) for name in config.tasks]
    for task in tasks:
        if models and task.task_name in models:
            task.take_models(models[task.task_name])
    pretrainer = InfoXLMPretrainer(
        masked_lm,
        tasks,
        loss_combination=config.loss_combination,
        accumulation_steps=config.optimizer.accumulation_steps,
        clip_norm=config.optimizer.clip_norm,
    )
    settings = config.optimizer.model_dump(exclude={"clip_norm", "accumulation_steps"})
    pretrainer.compile(
        optimizer=build_optimizer(total_steps=config.steps, **settings),
        # Whatever a TPU runs is compiled, and it takes no further request.
        jit_compile=config.jit_compile and current_distribution().name != "tpu",
        steps_per_execution=config.steps_per_execution,
    )
    return pretrainer
