"""Settings of a pre-training run: one YAML file, checked completely before anything starts.

A configuration may name another as its `base` and then holds only what differs. An unknown key, a wrong type or a
value out of range is an error that names the key, the value and the limit.

Each component owns its settings: a default is declared by the constructor that uses it, and this module reads it
from there (`defaults_of`). Each pretext task of `tasks/registry.py` has a section under its own name.
"""

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import pydantic
import yaml

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.choices import LOSS_COMBINATIONS
from infoxlm_keras.configs import find_config
from infoxlm_keras.data.masking import Masking
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.evaluation import Evaluation
from infoxlm_keras.evaluation.registry import evaluation_classes
from infoxlm_keras.files import load_yaml, parsing, read_yaml
from infoxlm_keras.models.sizes import ENCODER_SIZES, EncoderSize
from infoxlm_keras.settings import NonNegativeInt, OneOf, PositiveInt, Settings, defaults_of
from infoxlm_keras.tasks.registry import DEFAULT_TASKS, task_classes, tasks_with_batches
from infoxlm_keras.training.optimizer import OPTIMIZERS, build_optimizer, check_optimizer
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer
from infoxlm_keras.training.schedules import SCHEDULES, build_schedule

# The most problems that a message names, and the most dots in a key.
MOST_PROBLEMS, MOST_DOTS = 20, 8


class _ShortRepr(reprlib.Repr):
    """Shows a very large integer by its size: Python refuses to print one of many thousand digits."""

    def repr_int(self, value, level):
        return f"a number of {value.bit_length()} bits" if value.bit_length() > 256 else repr(value)


_SHORT = _ShortRepr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict = 3, 8, 8


_MASKING = defaults_of(Masking)
_OPTIMIZER = defaults_of(build_optimizer)
_PRETRAINER = defaults_of(InfoXLMPretrainer)


class ModelSettings(Settings):
    """The encoder: a named size, of which each dimension can be overridden."""

    size: Annotated[str, OneOf(ENCODER_SIZES)] = "tiny"
    num_layers: PositiveInt | None = None
    hidden_dim: PositiveInt | None = None
    num_heads: PositiveInt | None = None
    intermediate_dim: PositiveInt | None = None
    max_sequence_length: PositiveInt | None = None
    # None: 0.1 from scratch, 0.0 when continuing from a trained model (reference behaviour).
    dropout: float | None = pydantic.Field(default=None, ge=0.0, lt=1.0)
    dtype: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    # To save memory the backward pass computes again: layers, each whole layer; activations (JAX), what is cheap.
    rematerialize: Literal["none", "activations", "layers"] = "none"

    @property
    def encoder_size(self) -> EncoderSize:
        """The named `EncoderSize`, with the dimensions that this section sets."""
        named = ENCODER_SIZES[self.size]
        return EncoderSize(
            **{name: getattr(self, name) or getattr(named, name) for name in EncoderSize.__dataclass_fields__}
        )


class MaskingSettings(Settings):
    """See `infoxlm_keras.data.masking.Masking`."""

    probability: float = pydantic.Field(default=_MASKING.probability, gt=0.0, lt=1.0)
    mask_share: float = pydantic.Field(default=_MASKING.mask_share, ge=0.0, le=1.0)
    random_share: float = pydantic.Field(default=_MASKING.random_share, ge=0.0, le=1.0)
    final_probability: float | None = pydantic.Field(default=_MASKING.final_probability, gt=0.0, lt=1.0)


class DataSettings(Settings):
    """How languages are drawn, the longest pairs that are read (tokens a side; None: all), and what is held out.

    `validation_records` of each stream (a language, or a pair in a length bucket) are held out, at most a tenth of it;
    see `infoxlm_keras.data.split`. If it is above 0, the tasks' losses on them are written while training.
    """

    language_exponent: float = pydantic.Field(default=0.7, ge=0.0, le=1.0)
    longest_pair: PositiveInt | None = None
    validation_records: NonNegativeInt = 0


class OptimizerSettings(Settings):
    """See `infoxlm_keras.training.optimizer.build_optimizer`; the last two are `InfoXLMPretrainer`'s."""

    name: Annotated[str, OneOf(OPTIMIZERS)] = _OPTIMIZER.name
    schedule: Annotated[str, OneOf(SCHEDULES)] = _OPTIMIZER.schedule
    learning_rate: pydantic.PositiveFloat = _OPTIMIZER.learning_rate
    warmup_steps: NonNegativeInt = _OPTIMIZER.warmup_steps
    beta_1: float = pydantic.Field(default=_OPTIMIZER.beta_1, ge=0.0, lt=1.0)
    beta_2: float = pydantic.Field(default=_OPTIMIZER.beta_2, ge=0.0, lt=1.0)
    epsilon: pydantic.PositiveFloat = _OPTIMIZER.epsilon
    weight_decay: pydantic.NonNegativeFloat = _OPTIMIZER.weight_decay
    decay_share: float = pydantic.Field(default=_OPTIMIZER.decay_share, gt=0.0, le=1.0)
    final_share: float = pydantic.Field(default=_OPTIMIZER.final_share, ge=0.0, lt=1.0)
    clip_norm: pydantic.PositiveFloat | None = _PRETRAINER.clip_norm
    accumulation_steps: PositiveInt = _PRETRAINER.accumulation_steps


class EvaluationSettings(Settings):
    """What is measured every `every` steps while training, without the settings of the evaluations."""

    every: PositiveInt = 1000

    def of(self, evaluation: type[Evaluation]) -> Any:
        """The settings of `evaluation`, an `Evaluation` class: its own section, or this one."""
        return getattr(self, evaluation.name) if evaluation.own_section else self


class RunSettings(Settings):
    """A whole run, without the tasks' and the evaluations' settings.

    The newest `keep_checkpoints` checkpoints stay, and the best one by `keep_best`: "auto" (the accuracy of retrieval,
    else the validation loss, if one is measured), "none", or the name of another number that an evaluation writes.
    """

    steps: PositiveInt = _OPTIMIZER.total_steps
    seed: int = pydantic.Field(default=0, ge=0, lt=2**32)
    tasks: list[Annotated[str, OneOf(task_classes())]] = list(DEFAULT_TASKS)
    loss_combination: Annotated[str, OneOf(LOSS_COMBINATIONS)] = _PRETRAINER.loss_combination
    jit_compile: bool = True
    # Steps of one call of the compiled function; logs and checkpoints are written at multiples of it.
    steps_per_execution: PositiveInt = 1
    log_every: PositiveInt = 100
    # TFLOP/s of one device in the precision of model.dtype, for `mfu`; None: looked up, see distribution/chips.py.
    peak_tflops: pydantic.PositiveFloat | None = None
    save_every: PositiveInt = 5000
    keep_checkpoints: PositiveInt = 3
    keep_best: str = pydantic.Field(default="auto", min_length=1)
    save_initial_model: bool = False
    max_consecutive_skips: PositiveInt = 50
    model: ModelSettings = ModelSettings()
    masking: MaskingSettings = MaskingSettings()
    data: DataSettings = DataSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    def task(self, name: str) -> Any:
        """The section of the pretext task `name`."""
        return getattr(self, name)

    @property
    def batch_sizes(self) -> dict[str, int]:
        """dict of task to samples of a micro-batch, of the tasks that have a batch of their own."""
        return {name: self.task(name).batch_size for name in tasks_with_batches(self.tasks)}


def _evaluation_section():
    """`EvaluationSettings` with the settings of each evaluation of the registry."""
    sections: dict[str, Any] = {}
    bases: list[type[Settings]] = []
    for name, evaluation in evaluation_classes().items():
        if evaluation.Settings is not None and evaluation.own_section:
            sections[name] = (evaluation.Settings, evaluation.Settings())
        elif evaluation.Settings is not None:
            bases.append(evaluation.Settings)
    return pydantic.create_model("EvaluationSettings", __base__=(*bases[::-1], EvaluationSettings), **sections)


# Made from the registries, so a type checker knows `RunSettings` and the methods `task` and `evaluation.of` only.
_SECTIONS: dict[str, Any] = {name: (task.Settings, task.Settings()) for name, task in task_classes().items()}
_SECTIONS["evaluation"] = (_EVALUATION := _evaluation_section(), _EVALUATION())
PretrainingConfig: type[RunSettings] = pydantic.create_model(
    "PretrainingConfig",
    __base__=RunSettings,
    __doc__="A whole run: `RunSettings`, one section for each pretext task, and the settings of each evaluation.",
    **_SECTIONS,
)


def load_config(path: PathLike, overrides: Iterable[str] = ()) -> RunSettings:
    """Reads a YAML configuration, its `base`s, and overrides from the command line.

    Args:
        path: str or path of the YAML file, or the name of a shipped configuration.
        overrides: iterable of "dotted.key=value" strings, the value in YAML; they take precedence over the file.

    Returns:
        `PretrainingConfig`.

    Raises:
        InputError: for a missing or malformed file, an unknown key, or a value out of range.
    """
    if isinstance(overrides, str):
        raise InputError(f'overrides = {overrides!r}: must be a list of "key=value" texts: [{overrides!r}]')
    path = find_config(path)
    values = _read_with_bases(path, ())
    for override in overrides:
        values = _merge(values, _parse_override(override))
    return check_config(values, source=path)


def check_config(values: Mapping[str, Any], source: PathLike = "configuration") -> RunSettings:
    """`PretrainingConfig` of a nested dict; `source` is named in errors."""
    try:
        config = PretrainingConfig.model_validate(values)
    except pydantic.ValidationError as error:
        problems = error.errors()
        told = "; ".join(_describe(problem) for problem in problems[:MOST_PROBLEMS])
        more = f"; and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
        raise InputError(f"{source}: {told}{more}") from None
    try:
        config.model.encoder_size  # noqa: B018 - the size checks itself
    except InputError as error:
        raise InputError(f"{source}: model.{error}") from None
    if not config.tasks or len(set(config.tasks)) != len(config.tasks):
        raise InputError(f"{source}: tasks = {config.tasks}: give at least one task, and each only once")
    if config.optimizer.warmup_steps >= config.steps:
        raise InputError(
            f"{source}: optimizer.warmup_steps = {config.optimizer.warmup_steps}: must be below steps = "
            f"{config.steps}; give --set optimizer.warmup_steps={config.steps // 10}, or more --steps"
        )
    rates = config.optimizer
    try:
        check_optimizer(rates.name, rates.schedule, rates.beta_1)
        build_schedule(rates.schedule, 1.0, rates.warmup_steps, config.steps, rates.decay_share, rates.final_share)
    except InputError as error:
        raise InputError(f"{source}: optimizer.{error}") from None
    if config.steps % config.steps_per_execution:
        whole = -(-config.steps // config.steps_per_execution) * config.steps_per_execution
        raise InputError(
            f"{source}: steps_per_execution = {config.steps_per_execution}: must divide steps = {config.steps}; give "
            f"--steps {whole}, or --set steps_per_execution=1"
        )
    if not any(config.task(name).weight for name in config.tasks):
        raise InputError(f"{source}: the weight of every task is 0, so nothing would be trained; raise one")
    for name in config.tasks:
        host = task_classes()[name].host
        if host is not None and host not in config.tasks:
            raise InputError(f"{source}: tasks = {config.tasks}: {name} works on the batch of {host}; add {host}")
        problem = task_classes()[name].problem(config.task(name))
        if problem is not None:
            raise InputError(f"{source}: {problem}")
    return config


def flatten(config: RunSettings) -> dict[str, Any]:
    """dict of dotted key to value of every setting, for printing."""
    flat = {}

    def walk(prefix, value):
        for key, inner in value.items():
            if isinstance(inner, dict):
                walk(f"{prefix}{key}.", inner)
            else:
                flat[f"{prefix}{key}"] = inner

    walk("", config.model_dump())
    return flat


def dump_config(config: RunSettings) -> str:
    """The resolved configuration as YAML text, which `load_config` reads back to the same settings."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)


def _read_with_bases(path, seen):
    if path.resolve() in seen:
        raise InputError(f"{path}: is its own base")
    values = read_yaml(path) or {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold `key: value` lines, not a {type(values).__name__}")
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str) or "\0" in base:
        raise InputError(f"{path}: base = {shown(base)}: must be the path of another configuration")
    return _merge(_read_with_bases(path.parent / base, (*seen, path.resolve())), values)


def _merge(below, above):
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _parse_override(text):
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set {shown(text)[1:-1]}: write it as key=value, for instance --set xlco.temperature=0.05")
    if key.count(".") > MOST_DOTS:
        raise InputError(f"--set {shown(key)[1:-1]}: no setting has more than {MOST_DOTS + 1} parts")
    with parsing(f"--set {shown(text)[1:-1]}", "valid YAML after the =", "write it as key=value"):
        nested = load_yaml(value)
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def shown(value: object) -> str:
    """`value` as text of bounded length, for an error."""
    return _SHORT.repr(value)


def _describe(problem):
    key = ".".join(shown(part)[:60] if not isinstance(part, str) else part[:60] for part in problem["loc"])
    if not problem["loc"]:
        return f"must hold `key: value` lines, not {shown(problem['input'])}"
    if problem["type"] != "extra_forbidden":
        # The options of infoxlm pretrain.
        name = problem["loc"][0]
        flag = f"--{name}" if name in ("steps", "tasks") else f"--set {key}=VALUE"
        return f"{key} = {shown(problem['input'])}: {problem['msg'][0].lower()}{problem['msg'][1:]} ({flag})"
    section: Any = PretrainingConfig
    for part in problem["loc"][:-1]:
        section = section.model_fields[part].annotation
    close = difflib.get_close_matches(str(problem["loc"][-1]), section.model_fields, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(section.model_fields)}"
    return f"{key}: unknown key; {hint}"
