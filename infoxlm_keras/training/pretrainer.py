"""The pretrainer: one encoder, any set of pretext tasks, one custom training step."""

import contextlib
import copy
import functools
import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import keras_hub

from infoxlm_keras.annotations import Batch, Tensor, Tensors
from infoxlm_keras.data.batches import check_batch, first_batch
from infoxlm_keras.errors import InputError
from infoxlm_keras.losses.combination import check_loss_combination
from infoxlm_keras.models.encoder import Encoder
from infoxlm_keras.tasks.pretext_task import PretextTask
from infoxlm_keras.training.frozen_parts import freeze_parts, frozen_parts
from infoxlm_keras.training.keras_arguments import check_compile_arguments
from infoxlm_keras.training.loss_scale import INITIAL_SCALE
from infoxlm_keras.training.optimizer import optimizer_config, optimizer_from_config
from infoxlm_keras.training.schedule_free import averaged_weights, schedule_free
from infoxlm_keras.training.step import TrainStep


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class InfoXLMPretrainer(TrainStep, keras.Model):
    """Joins an encoder and its pretext tasks for `model.fit`.

    One `train_step` is one optimizer update. `training/step/` holds its form for each backend. The order is: counts of
    the whole batch -> for each micro-batch: forward pass, losses, gradients, new keys into the queue -> clip ->
    optimizer -> moving average of the key encoder.

    A batch is `{task name: that task's tensors}`; with `accumulation_steps` = A every tensor's first dimension is A
    micro-batches laid end to end. Under a `tf.distribute.Strategy` each replica gets its slice of every micro-batch.
    Counts and keys are joined before the forward pass and gradients after it, so that R replicas compute the update of
    one (`training/step/tensorflow_step.py`).

    `save("NAME.keras")` and `keras.saving.load_model` keep everything, the optimizer and the tasks' state included,
    and which layers and weights are frozen (`trainable`), except the random state of dropout: with dropout above 0,
    training continues with other dropout masks. Checkpoints of `infoxlm pretrain` keep that too.
    `infoxlm_keras.save_pretrained` writes the trained encoder alone.

    Args:
        masked_lm: `keras_hub.models.XLMRobertaMaskedLM`, for instance from `build_masked_lm`.
        tasks: list of unbound `PretextTask`s with different names.
        loss_combination: "joint_count" (the authors' code) or "sum_of_means" (the paper's formula).
        accumulation_steps: int, micro-batches an update.
        clip_norm: float or None, limit of the gradients' global norm.

    Raises:
        InputError: for no task, two of one name, a task that another pretrainer holds, or a setting out of range.

    Example:
    ```python
    masked_lm = build_masked_lm(ENCODER_SIZES["tiny"], vocabulary_size=16000)
    pretrainer = InfoXLMPretrainer(masked_lm, [MMLM(), TLM(), XLCO(queue_length=4096)])
    pretrainer.compile(optimizer=build_optimizer(learning_rate=1e-3, total_steps=1000))
    pretrainer.fit(dataset, steps_per_epoch=1000)
    ```
    """

    def __init__(
        self,
        masked_lm: keras_hub.models.XLMRobertaMaskedLM,
        tasks: Sequence[PretextTask],
        loss_combination: str = "joint_count",
        accumulation_steps: int = 1,
        clip_norm: float | None = 1.0,
        name: str = "infoxlm_pretrainer",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        check_loss_combination(loss_combination)
        names = [task.task_name for task in tasks]
        if not tasks or len(set(names)) != len(names):
            raise InputError(f"tasks = {names}: give at least one task, and each only once")
        if accumulation_steps < 1:
            raise InputError(f"accumulation_steps = {accumulation_steps}: must be at least 1")
        if clip_norm is not None and clip_norm <= 0:
            raise InputError(f"clip_norm = {clip_norm}: must be positive, or null for no clipping")
        self.masked_lm = masked_lm
        self.tasks = list(tasks)
        self.loss_combination = loss_combination
        self.accumulation_steps = accumulation_steps
        self.clip_norm = clip_norm
        self.gathers = any(type(task).gathered is not PretextTask.gathered for task in tasks)
        if self.gathers and len(names) > 1:
            raise InputError(f"tasks = {names}: one of them needs the vectors of a whole update, and trains alone")
        for task in self.tasks:
            if task.in_pretrainer:
                raise InputError(
                    f"tasks: the {task.task_name} task is bound to another pretrainer already; make a new task object"
                )
            if task.host is not None and task.host not in names:
                raise InputError(
                    f"tasks = {names}: {task.task_name} works on the batch of {task.host}; add {task.host}"
                )
        self.encoder = Encoder(masked_lm)
        for task in self.tasks:
            task.bind(self.encoder)
            task.in_pretrainer = True

        counter = {"shape": (), "initializer": "zeros", "trainable": False, "dtype": "int32"}
        self.skipped_steps = self.add_weight(name="skipped_steps", **counter)
        self.consecutive_skipped_steps = self.add_weight(name="consecutive_skipped_steps", **counter)
        self.finite_steps = self.add_weight(name="finite_steps", **counter)
        self.uses_loss_scale = masked_lm.backbone.dtype_policy.compute_dtype == "float16"
        self.loss_scale = self.add_weight(
            name="loss_scale",
            shape=(),
            initializer=keras.initializers.Constant(INITIAL_SCALE if self.uses_loss_scale else 1.0),
            trainable=False,
            dtype="float32",
            autocast=False,
        )
        self.make_metrics()
        self.states_flops = all(type(task).flops is not PretextTask.flops for task in self.tasks)
        self.prepares = any(type(task).prepare is not PretextTask.prepare for task in self.tasks)
        # A reference to the data set whose first batch was checked last.
        self._checked_data: Callable[[], Any] = _no_data
        self.built = True

    @property
    def backbone(self) -> keras_hub.models.XLMRobertaBackbone:
        """The `XLMRobertaBackbone` that is trained."""
        return self.masked_lm.backbone

    def task(self, name: str) -> PretextTask | None:
        """The task called `name`, or None."""
        return next((task for task in self.tasks if task.task_name == name), None)

    def compile(self, optimizer: Any, jit_compile: bool = False, **kwargs: Any) -> None:
        """As `keras.Model.compile`, without a loss: the tasks define it. The pretrainer scales float16 losses.

        Args:
            optimizer: `keras.optimizers.Optimizer`, its name ("adam") or its configuration; see `build_optimizer`.
            jit_compile: bool; on PyTorch for GPUs, see `training/step/torch_step.py`.
            kwargs: of `keras.Model.compile`.

        Raises:
            InputError: if `optimizer` is not one of Keras, or for a loss or metrics, which the step would ignore.
        """
        optimizer = check_compile_arguments(optimizer, kwargs)
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **{**kwargs, "auto_scale_loss": False})
        if not optimizer.built:
            optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, *arguments: Any, **keywords: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`; the first batch of a `tf.data.Dataset`, and of `validation_data`, is checked
        before anything is compiled.

        Keras' callbacks work with it. `BackupAndRestore` resumes at the interrupted epoch. It reads the data set from
        its beginning, and it does not restore the random state of dropout. `infoxlm pretrain` resumes at the exact
        step, with the same dropout masks.

        Raises:
            InputError: see `infoxlm_keras.data.batches.check_batch`; for a model that was not compiled.
        """
        if getattr(self, "optimizer", None) is None:
            raise InputError("fit: the pretrainer is not compiled; call compile(optimizer=build_optimizer(...)) first")
        self._check_first_batch(x)
        self._check_first_batch(keywords.get("validation_data"))
        if inspect.isgenerator(x) or hasattr(x, "element_spec"):
            # The batches come in an order of their own. By default Keras would warn that it cannot change it.
            keywords.setdefault("shuffle", False)
        return super().fit(x, *arguments, **keywords)

    def evaluate(self, x: Any = None, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.evaluate`; the first batch is checked as in `fit`, once for each data set.

        Raises:
            InputError: see `infoxlm_keras.data.batches.check_batch`.
        """
        # `fit` evaluates once an epoch on what it has checked.
        if not keywords.get("_use_cached_eval_dataset"):
            self._check_first_batch(x)
        return super().evaluate(x, *arguments, **keywords)

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within it the weights are the averages that a Schedule-Free optimizer keeps; other optimizers keep none.

        `fit`, its validation and callbacks, and `save` see the weights in training: call `evaluate`, `save_pretrained`
        and exports within it. Afterwards the weights have the bits of before.

        Example:
        ```python
        with pretrainer.averaged_weights():
            save_pretrained("model", pretrainer.masked_lm, tokenizer)
        ```
        """
        optimizer = getattr(self, "optimizer", None)
        if schedule_free(optimizer) is None:
            yield
            return
        row = self.padding_row()
        with averaged_weights(optimizer):
            # The optimizer moves the row of `<pad>`, and the step restores it in the weights only.
            self.restore_padding_row(row)
            yield

    def _check_first_batch(self, data):
        # A data set is read from its beginning each time, and opening it takes longer than a step.
        if data is None or self._checked_data() is data:
            return
        batch = first_batch(data)
        if batch is not None:
            names = [task.task_name for task in self.tasks if task.host is None]
            check_batch(batch, names, self.backbone.vocabulary_size, self.backbone.max_sequence_length)
            if hasattr(data, "element_spec"):
                self._checked_data = weakref.ref(data)

    # === Saving: `pretrainer.save("NAME.keras")` and `keras.saving.load_model` ===

    def save(self, filepath: Any, *arguments: Any, **keywords: Any) -> None:
        """As `keras.Model.save`.

        Raises:
            InputError: within `averaged_weights`: training could not go on from the averages.
        """
        free = schedule_free(getattr(self, "optimizer", None))
        if free is not None and free.shows_averages:
            raise InputError(
                f"save({str(filepath)!r}): the file would hold averages in place of the weights in training; call it "
                "outside of averaged_weights(), or write the averages with infoxlm_keras.save_pretrained"
            )
        super().save(filepath, *arguments, **keywords)

    def export(self, filepath: Any, *arguments: Any, **keywords: Any) -> None:
        """Not offered: a SavedModel is made of the trained encoder and its tokenizer.

        Raises:
            InputError: always; it names the way.
        """
        raise InputError(
            f"export({str(filepath)!r}): a pretrainer has no serving signature; write the encoder with "
            "infoxlm_keras.save_pretrained, then run `infoxlm export-savedmodel --model DIR --output_dir OUT`"
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments. The tasks come without the encoder that they share; `__init__` binds them."""
        masked_lm = keras.saving.serialize_keras_object(self.masked_lm)
        # KerasHub compiles it with an optimizer of its own, which is not used here.
        masked_lm.pop("compile_config", None)
        return {
            "name": self.name,
            "masked_lm": masked_lm,
            "tasks": [keras.saving.serialize_keras_object(task) for task in self.tasks],
            "loss_combination": self.loss_combination,
            "accumulation_steps": self.accumulation_steps,
            "clip_norm": self.clip_norm,
            "frozen": frozen_parts(self),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "InfoXLMPretrainer":
        # KerasHub's `from_config` writes into its argument.
        config = copy.deepcopy(config)
        frozen = config.pop("frozen", None)  # files of older versions have none
        read = functools.partial(keras.saving.deserialize_keras_object, custom_objects=custom_objects)
        pretrainer = cls(
            **{**config, "masked_lm": read(config["masked_lm"]), "tasks": [read(task) for task in config["tasks"]]}
        )
        # Before `compile_from_config`, whose optimizer is built for the variables that are trained.
        if frozen is not None:
            freeze_parts(pretrainer, frozen)
        return pretrainer

    def get_compile_config(self) -> dict[str, Any]:
        """How `compile` was called, the optimizer as `optimizer_config` describes it; empty before `compile`."""
        config = super().get_compile_config()
        if not config:
            return {}
        # Weights that were frozen after `compile` have variables in the optimizer all the same.
        known = {id(variable) for variable in self.optimizer._trainable_variables}
        built_for = [index for index, weight in enumerate(self.weights) if id(weight) in known]
        return {**config, "optimizer": optimizer_config(self.optimizer), "optimizer_weights": built_for}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says. Keras compiles no model that overrides `compile`."""
        config = dict(config)
        built_for = config.pop("optimizer_weights", None)  # files of older versions have none
        optimizer = optimizer_from_config(config.pop("optimizer"))
        if built_for is not None:
            weights = self.weights
            optimizer.build([weights[index] for index in built_for])
        self.compile(optimizer=optimizer, **config)

    def _symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: every variable exists since `__init__`. Keras would call the model on a batch of all tasks."""

    def call(self, inputs: Tensors, training: bool = False) -> Tensor:
        """The encoder's last hidden state, float32 or half precision [batch, length, dim]."""
        return self.masked_lm.backbone(inputs, training=training)

    # === Before training ===

    def fill_tasks(self, batch: Batch) -> int:
        """Hands `batch` ({task name: tensors}) to the tasks that need entries before training (XLCO's queue).

        Returns:
            int, the number of new entries.
        """
        shared = self.shared_by_all(batch)
        return sum(task.fill(shared[task.task_name]) for task in self.tasks if task.task_name in shared)


def _no_data():
    return None
