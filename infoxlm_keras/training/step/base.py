"""What the three backends' training steps take from the pretrainer that they are mixed into."""

from typing import TYPE_CHECKING, Any

import keras

from infoxlm_keras.annotations import Batch, Tensor, Tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infoxlm_keras.tasks.pretext_task import PretextTask, SharedTensors

    class StepParts(keras.Model):
        """The parts of a step, as `InfoXLMPretrainer` defines them; declared for type checkers only."""

        backbone: Any
        tasks: Sequence[PretextTask]
        accumulation_steps: int
        clip_norm: float | None
        loss_scale: keras.Variable
        total_loss_metric: keras.metrics.Metric
        train_function: Any
        test_function: Any

        prepares: bool
        gathers: bool

        @property
        def task_groups(self) -> list[list[PretextTask]]: ...
        def prepared(self, batch: Batch) -> dict[str, Tensors]: ...
        def with_prepared(self, batch: Batch, prepared: dict[str, Tensors]) -> Batch: ...
        @property
        def training_updates(self) -> Tensor: ...
        def prediction_counts(self, batch: Batch) -> Tensors: ...
        def token_counts(self, batch: Batch, replicas: int = 1) -> Tensors: ...
        def scales(self, counts: Tensors, step: Tensor) -> Tensors: ...
        def shared(self, batch: Batch) -> dict[str, Tensors]: ...
        def gathered(self, batch: Batch, training: bool) -> dict[str, Tensors]: ...
        def forward(
            self,
            batch: Batch,
            scales: Tensors,
            training: bool,
            shared: Mapping[str, SharedTensors] | None = None,
        ) -> tuple[Tensor, dict[str, dict[str, Any]]]: ...
        def group_loss(
            self,
            tasks: Sequence[PretextTask],
            batch: Batch,
            scales: Tensors,
            training: bool,
            shared: Mapping[str, SharedTensors] | None = None,
        ) -> tuple[Tensor, dict[str, dict[str, Any]]]: ...
        def micro_batch(self, batch: Batch, index: int | Tensor) -> Batch: ...
        def after_backward(self, results: dict[str, dict[str, Any]]) -> None: ...
        def after_update(self, step: Tensor) -> None: ...
        def padding_row(self) -> Tensor: ...
        def restore_padding_row(self, row: Tensor) -> None: ...
        def count_step(self, finite: Tensor) -> None: ...
        def update_task_metrics(self, results: dict[str, dict[str, Any]]) -> None: ...
        def update_step_metrics(self, token_counts: Tensors, loss: Tensor, norm: Tensor) -> None: ...
        def metric_results(self) -> Tensors: ...

else:

    class StepParts:
        """Base of the mixins. It holds nothing: `InfoXLMPretrainer` defines the parts of a step, Keras the rest."""
