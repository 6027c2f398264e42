"""The pretrainer: one encoder, any set of pretext tasks, one custom training step."""

import copy
import functools
import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import keras_hub
from keras import ops, tree

from infoxlm_keras.annotations import Batch, Tensor, Tensors
from infoxlm_keras.data.batches import check_batch, first_batch
from infoxlm_keras.errors import InputError
from infoxlm_keras.losses.combination import check_loss_combination, loss_scales
from infoxlm_keras.models.encoder import Encoder
from infoxlm_keras.models.flops import Number
from infoxlm_keras.tasks.pretext_task import PretextTask, SharedTensors
from infoxlm_keras.tokenizer import PAD_ID
from infoxlm_keras.training.frozen_parts import freeze_parts, frozen_parts
from infoxlm_keras.training.keras_arguments import check_compile_arguments
from infoxlm_keras.training.loss_scale import INITIAL_SCALE, next_loss_scale
from infoxlm_keras.training.optimizer import optimizer_config, optimizer_from_config
from infoxlm_keras.training.step import TrainStep
from infoxlm_keras.training.step_metrics import StepMetrics


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class InfoXLMPretrainer(StepMetrics, TrainStep, keras.Model):
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

    @property
    def task_groups(self) -> list[list[PretextTask]]:
        """The tasks, each with those that use its batch and its forward pass behind it, a list of lists."""
        hosts = [task for task in self.tasks if task.host is None]
        return [[host, *(task for task in self.tasks if task.host == host.task_name)] for host in hosts]

    def compile(self, optimizer: Any, jit_compile: bool = False, **kwargs: Any) -> None:
        """As `keras.Model.compile`, without a loss: the tasks define it. The pretrainer scales float16 losses.

        Args:
            optimizer: `keras.optimizers.Optimizer`, its name ("adam") or its configuration; see `build_optimizer`.
            jit_compile: bool; off on PyTorch, see `training/step/torch_step.py`.
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

    # === The parts of a step; each backend's train_step puts them in order. ===

    @property
    def training_updates(self) -> Tensor:
        """int32 scalar: the number of the update in progress, from 1 (skipped ones are not counted)."""
        return ops.cast(ops.convert_to_tensor(self.optimizer.iterations), "int32") + 1

    def batch_of(self, task: PretextTask, batch: Batch) -> Tensors:
        """The tensors in `batch` that `task` sees: its own, and those of its host; empty if there are none."""
        own = batch.get(task.task_name, {})
        return own if task.host is None else {**batch.get(task.host, {}), **own}

    def prepared(self, batch: Batch) -> dict[str, Tensors]:
        """dict of task name to what `PretextTask.prepare` makes of one micro-batch; other tasks are left out."""
        found = {task.task_name: task.prepare(self.batch_of(task, batch)) for task in self.tasks}
        return {name: tensors for name, tensors in found.items() if tensors}

    def with_prepared(self, batch: Batch, prepared: dict[str, Tensors]) -> Batch:
        """`batch` with the tensors that `prepared` gave."""
        return {**batch, **{name: {**batch.get(name, {}), **tensors} for name, tensors in prepared.items()}}

    def prediction_counts(self, batch: Batch) -> Tensors:
        """dict of task name, or `<task>.<further loss>`, to float32 scalar: predictions in the whole batch."""
        counts = {task.task_name: task.count(self.batch_of(task, batch)) for task in self.tasks}
        for task in self.tasks:
            further = task.further_counts(self.batch_of(task, batch))
            counts.update({f"{task.task_name}.{name}": count for name, count in further.items()})
        return counts

    def scales(self, counts: Tensors, step: Tensor) -> Tensors:
        """dict like `counts` to the factor of the summed loss in the total; see `loss_scales`."""
        weights = {task.task_name: task.weight_at(step) for task in self.tasks}
        for task in self.tasks:
            further = task.further_weights_at(step)
            weights.update({f"{task.task_name}.{name}": weight for name, weight in further.items()})
        return loss_scales(counts, weights, self.loss_combination)

    def shared(self, batch: Batch) -> dict[str, Tensors]:
        """dict of task name to the tensors of one micro-batch that replicas exchange; see `PretextTask.shared`.

        Tasks without such tensors are left out, and tasks that `batch` lacks.
        """
        present = [task for task in self.tasks if (task.host or task.task_name) in batch]
        found = {task.task_name: task.shared(self.batch_of(task, batch)) for task in present}
        return {name: tensors for name, tensors in found.items() if tensors}

    def gathered(self, batch: Batch, training: bool) -> dict[str, Tensors]:
        """dict of task name to the tensors of one micro-batch that the whole update needs, `PretextTask.gathered`."""
        found = {task.task_name: task.gathered(self.batch_of(task, batch), training) for task in self.tasks}
        return {name: tensors for name, tensors in found.items() if tensors}

    def forward(
        self, batch: Batch, scales: Tensors, training: bool, shared: Mapping[str, SharedTensors] | None = None
    ) -> tuple[Tensor, dict[str, dict[str, Any]]]:
        """Losses of one micro-batch, or of one replica's share of it.

        Args:
            batch: dict of task name to tensors.
            scales: dict of task name to float32 scalar, from `scales`.
            training: bool.
            shared: dict of task name to `SharedTensors`; None where there is one replica.

        Returns:
            (total, results): float32 scalar `sum_t scale_t * loss_sum_t`, and a dict of task name to the task's
            `TaskResult.as_dict()`.
        """
        results = {}
        total = ops.zeros((), "float32")
        for tasks in self.task_groups:
            loss, more_results = self.group_loss(tasks, batch, scales, training, shared)
            total = total + loss
            results.update(more_results)
        return total, results

    def group_loss(
        self,
        tasks: Sequence[PretextTask],
        batch: Batch,
        scales: Tensors,
        training: bool,
        shared: Mapping[str, SharedTensors] | None = None,
    ) -> tuple[Tensor, dict[str, dict[str, Any]]]:
        """`forward` of some tasks alone, for instance of one of `task_groups`: equal inputs are encoded once."""
        total, results = None, {}
        with self.encoder.one_pass_for_equal_inputs():
            for task in tasks:
                name = task.task_name
                result = task.result(self.batch_of(task, batch), training, (shared or {}).get(name))
                loss = scales[name] * result.loss_sum
                for key, further in result.further.items():
                    loss = loss + scales[f"{name}.{key}"] * further["loss_sum"]
                total = loss if total is None else total + loss
                results[name] = result.as_dict()
        return total, results

    def token_counts(self, batch: Batch, replicas: int = 1) -> Tensors:
        """dict of float32 scalars: `tokens`, those of `batch`, and `positions`, the padded ones included.

        Also `tflop`, of the update, in units of 10^12, if all tasks state their FLOPs; `batch` is one of `replicas`
        equal parts, and so is this number.
        """
        masks = [mask for task in batch.values() for name, mask in task.items() if name.endswith("padding_mask")]
        counts = {
            "tokens": sum(ops.sum(ops.cast(mask, "float32")) for mask in masks),
            "positions": sum(ops.cast(ops.size(mask), "float32") for mask in masks),
        }
        if self.states_flops:
            counts["tflop"] = ops.convert_to_tensor(self.flops(batch, replicas) / replicas / 1e12, "float32")
        return counts

    def flops(self, batch: Batch, replicas: int = 1) -> Number:
        """Model FLOPs of one update, a number, or a float32 scalar if a shape of `batch` is not static.

        Args:
            batch: dict of task name to tensors, all micro-batches end to end.
            replicas: int; `batch` is one of as many equal parts.

        Raises:
            InputError: if a task does not state its FLOPs, see `states_flops`.
        """
        total: Number = 0.0
        for task in self.tasks:
            shapes = {name: _shape(tensor, replicas) for name, tensor in self.batch_of(task, batch).items()}
            flops = task.flops(shapes, self.accumulation_steps)
            if flops is None:
                raise InputError(f"flops: the task {task.task_name} does not state its FLOPs")
            total = total + flops
        return total

    def micro_batch(self, batch: Batch, index: int | Tensor) -> Batch:
        """Micro-batch `index` (int or int32 scalar) of `accumulation_steps`; the batch itself if that is 1.

        Its number of samples is static if that of `batch` is, even if other dimensions are unknown (the length of a
        bucket): replicas need it to join their keys.
        """
        if self.accumulation_steps == 1:
            return batch

        def part(tensor):
            samples = tensor.shape[0]
            share = -1 if samples is None else samples // self.accumulation_steps
            parts = ops.reshape(tensor, (self.accumulation_steps, share, *ops.shape(tensor)[1:]))
            return ops.take(parts, index, axis=0)

        return tree.map_structure(part, batch)

    def after_backward(self, results: dict[str, dict[str, Any]]) -> None:
        """Gives each task its state of a micro-batch (XLCO: keys into the queue)."""
        for task in self.tasks:
            task.after_backward(results[task.task_name]["state"])

    def after_update(self, step: Tensor) -> None:
        """Updates each task after the optimizer's update number `step` (XLCO: moving average)."""
        for task in self.tasks:
            task.after_update(step)

    def padding_row(self) -> Tensor:
        """The token embedding's row of `<pad>`, [1, dim]; read it before an update and restore it after."""
        return ops.convert_to_tensor(self.backbone.token_embedding.embeddings)[PAD_ID : PAD_ID + 1] + 0.0

    def count_step(self, finite: Tensor) -> None:
        """Counts an update whose gradients were not finite, and adapts the loss scale (float16 only)."""
        skipped = 1 - ops.cast(finite, "int32")
        self.skipped_steps.assign(self.skipped_steps + skipped)
        self.consecutive_skipped_steps.assign((self.consecutive_skipped_steps + 1) * skipped)
        if self.uses_loss_scale:
            scale, finite_steps = next_loss_scale(
                ops.convert_to_tensor(self.loss_scale), ops.convert_to_tensor(self.finite_steps), finite
            )
            self.loss_scale.assign(scale)
            self.finite_steps.assign(finite_steps)

    # === Before training ===

    def fill_tasks(self, batch: Batch) -> int:
        """Hands `batch` ({task name: tensors}) to the tasks that need entries before training (XLCO's queue).

        Returns:
            int, the number of new entries.
        """
        shared = self.shared_by_all(batch)
        return sum(task.fill(shared[task.task_name]) for task in self.tasks if task.task_name in shared)


def _shape(tensor, replicas):
    """Shape of the whole batch of which `tensor` is one of `replicas` parts; float32 scalars for unknown sizes."""
    sizes = zip(tensor.shape, ops.shape(tensor), strict=True)
    shape = [size if size is not None else ops.cast(dynamic, "float32") for size, dynamic in sizes]
    return (shape[0] * replicas, *shape[1:])


def _no_data():
    return None
