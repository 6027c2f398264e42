"""A head as a task of `InfoXLMPretrainer`, which trains it as it trains the pretext tasks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras_hub
from keras import ops

from infoxlm_keras.annotations import Tensor, Tensors
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.encoder import Encoder
from infoxlm_keras.models.flops import TRAINED, Number, encoder_flops
from infoxlm_keras.tasks.pretext_task import PretextTask, SharedTensors, TaskResult
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.head import FineTuningHead


class HeadTask(PretextTask):
    """The training of a `FineTuningHead`. The loss of an update is sum(weights * losses) / sum(weights) of its batch.

    Batch: what `FineTuningHead.training_arrays` gives, [batch, ...] each.

    Args:
        head: `FineTuningHead`, built.
    """

    task_name = "training"
    label = "loss"
    bounds_information = False
    console_numbers = {"accuracy": "accuracy {:.1%}"}

    def __init__(self, head: "FineTuningHead", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = head.model
        self._losses = head.losses

    def get_config(self) -> dict[str, Any]:
        """Not offered: the head holds its data and its model.

        Raises:
            InputError: always; it names the way.
        """
        raise InputError("a head in training has no configuration; save the trained model with FineTuningHead.save")

    def bind(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.built = True

    def count(self, batch: Tensors) -> Tensor:
        return ops.sum(batch["weights"])

    def result(self, batch: Tensors, training: bool, shared: SharedTensors | None = None) -> TaskResult:
        inputs = {"token_ids": batch["token_ids"], "padding_mask": batch["padding_mask"]}
        losses, correct = self._losses(self.model(inputs, training=training), batch)
        return TaskResult(
            loss_sum=ops.sum(batch["weights"] * ops.cast(losses, "float32")),
            count=self.count(batch),
            correct_sum=ops.sum(batch["weights"] * ops.cast(correct, "float32")),
            num_candidates=ops.ones((), "float32"),
        )

    def flops(self, shapes: Mapping[str, tuple[Number, ...]], micro_batches: int) -> Number:
        """All layers of the encoder; a head is small beside them."""
        backbone = self.encoder.backbone
        samples, length = shapes["token_ids"]
        return TRAINED * encoder_flops(backbone, backbone.num_layers, samples, length)


def trainer_of(head: "FineTuningHead", accumulation_steps: int = 1) -> InfoXLMPretrainer:
    """An `InfoXLMPretrainer`, not compiled, whose only task is `head` (`FineTuningHead`, built)."""
    # The pretrainer holds an encoder by its masked-LM model. The output layer of that is not trained here.
    trained = {id(variable) for variable in head.model.variables}
    for variable in head.masked_lm.variables:
        if id(variable) not in trained:
            variable.trainable = False
    return InfoXLMPretrainer(head.masked_lm, [head.task()], accumulation_steps=accumulation_steps, name="fine_tuning")


def merge_lora(backbone: keras_hub.models.XLMRobertaBackbone) -> None:
    """Adds the product of LoRA's matrices to the weights that they belong to, and sets it to zero."""
    for layer in backbone._flatten_layers(include_self=False):
        if getattr(layer, "lora_enabled", False):
            layer._kernel.assign(ops.convert_to_tensor(layer.kernel))
            layer.lora_kernel_b.assign(ops.zeros(layer.lora_kernel_b.shape, layer.lora_kernel_b.dtype))
