"""DWA: denoising word alignment, which finds the translation of a masked token in the other sentence.

XLM-Align's symbols: e, f = the two sentences, A = alignment by optimal transport (self-labelling), q_i = pointer query
of a masked token, k_j = pointer key of a token of the other sentence.
"""

import math
from collections.abc import Mapping
from typing import Any

import keras
import pydantic
from keras import ops

from infoxlm_keras.annotations import Tensor, Tensors
from infoxlm_keras.errors import InputError
from infoxlm_keras.losses.optimal_transport import (
    ITERMAX_ROUNDS,
    LINKED_FACTOR,
    SINKHORN_ITERATIONS,
    iterated_links,
    partners,
    transport_plan,
)
from infoxlm_keras.models.encoder import Encoder, check_layer
from infoxlm_keras.models.flops import TRAINED, Number, encoder_flops, pairwise_flops, projection_flops
from infoxlm_keras.settings import HostedTaskSettings, NonNegativeInt, PositiveInt, defaults_of
from infoxlm_keras.tasks.pair_spans import placed, sentence_spans
from infoxlm_keras.tasks.pretext_task import PretextTask, SharedTensors, TaskResult

# The score of a position that is no candidate, as in the authors' code.
NO_CANDIDATE = -1e4
_ARGUMENTS = ("alignment_layer", "sinkhorn_iterations", "rounds", "linked_factor", "enable_step")


def default_alignment_layer(num_layers: int) -> int:
    """The layer whose states are aligned, for an encoder of `num_layers`: 10 of 12 as the authors, else as deep."""
    return max(1, round(num_layers * 10 / 12))


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class DWA(PretextTask):
    """Denoising word alignment beside TLM (XLM-Align, section 3).

    Labels: without gradient or dropout the encoder reads the pair before masking. The dot products of the states at a
    middle layer give a transport plan from one sentence to the other, and its mutual maxima are links. This is done
    by the present weights for each update. Loss: in TLM's forward pass on the masked pair, a pointer network chooses
    for each masked token that is linked, on either side, the position of its partner among the tokens of the other
    sentence. Cross-entropy, with as many candidates as that sentence has tokens.

    The task has no batch of its own: it sees TLM's, from which the tokens before masking can be restored, and takes
    the last hidden state of TLM's forward pass. Both losses have one backward pass. TLM's weight of 0 leaves its loss
    out. The pointer network is discarded after training, and the encoder is a plain XLM-R.

    Batch: TLM's; `prepare` adds `partner_positions`, int32 [batch, predictions], -1 for a masked token without label.

    Args:
        alignment_layer: int in 1..L, the hidden state that is aligned; None takes 10 of 12, or as deep a one. Index 0
            would be the embeddings.
        sinkhorn_iterations: int > 0.
        rounds: int > 0, how often mutual argmax is taken: 2 adds a second partner for some tokens.
        linked_factor: float in 0..1, the factor of a candidate of which one token is linked already.
        enable_step: int, updates before which the loss has weight 0.
        weight: float, the task's factor in the loss.

    Source: Chi et al. (ACL 2021), https://arxiv.org/abs/2106.06381, and the authors' code. The initial values of the
    pointer network are not stated: N(0, 0.02) and zeros, as XLM-R's other matrices.
    """

    task_name = "dwa"
    label = "DWA"
    host = "tlm"
    # The number of candidates differs from token to token.
    average_names = ("log_candidates",)

    def __init__(
        self,
        alignment_layer: int | None = None,
        sinkhorn_iterations: int = SINKHORN_ITERATIONS,
        rounds: int = ITERMAX_ROUNDS,
        linked_factor: float = LINKED_FACTOR,
        enable_step: int = 0,
        weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(weight=weight, **kwargs)
        for name, value, lowest in (
            ("sinkhorn_iterations", sinkhorn_iterations, 1),
            ("rounds", rounds, 1),
            ("enable_step", enable_step, 0),
        ):
            if value < lowest:
                raise InputError(f"dwa.{name} = {value}: must be at least {lowest}")
        if not 0.0 <= linked_factor <= 1.0:
            raise InputError(f"dwa.linked_factor = {linked_factor}: must be between 0 and 1")
        self.alignment_layer: Any = alignment_layer  # `bind` replaces None by an int
        self.sinkhorn_iterations = sinkhorn_iterations
        self.rounds = rounds
        self.linked_factor = linked_factor
        self.enable_step = enable_step

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in _ARGUMENTS}}

    @classmethod
    def from_settings(cls, settings: "DWASettings") -> "DWA":
        return cls(**settings.model_dump())

    def bind(self, encoder: Encoder) -> None:
        self.encoder = encoder
        backbone = encoder.backbone
        if self.alignment_layer is None:
            self.alignment_layer = default_alignment_layer(backbone.num_layers)
        check_layer(self.alignment_layer, backbone.num_layers)
        width = backbone.hidden_dim
        for side in ("query", "key"):
            kernel = self.add_weight(
                name=f"pointer_{side}_kernel",
                shape=(width, width),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                dtype="float32",
                autocast=False,
            )
            bias = self.add_weight(
                name=f"pointer_{side}_bias", shape=(width,), initializer="zeros", dtype="float32", autocast=False
            )
            setattr(self, f"{side}_kernel", kernel)
            setattr(self, f"{side}_bias", bias)
        self.built = True

    def prepare(self, batch: Tensors) -> Tensors:
        """Self-labelling: `partner_positions`."""
        positions, weights = batch["mask_positions"], batch["mask_weights"]
        token_ids = placed(batch["token_ids"], positions, batch["mask_ids"], weights)
        inputs = {"token_ids": token_ids, "padding_mask": ops.convert_to_tensor(batch["padding_mask"])}
        state = self.encoder.hidden_state(inputs, self.alignment_layer, training=False)
        state = ops.cast(ops.stop_gradient(state), "float32")
        similarity = ops.matmul(state, ops.transpose(state, (0, 2, 1)))  # [batch, length, length]
        first, second = sentence_spans(token_ids)
        candidates = ops.logical_and(ops.expand_dims(first, 2), ops.expand_dims(second, 1))
        plan = transport_plan(similarity, candidates, self.sinkhorn_iterations)
        partner = partners(iterated_links(plan, candidates, self.rounds, self.linked_factor))
        partner = ops.take_along_axis(partner, positions, axis=1)
        return {"partner_positions": ops.where(ops.not_equal(weights, 0.0), partner, -1)}

    def count(self, batch: Tensors) -> Tensor:
        return ops.sum(_label_weights(batch))

    def flops(self, shapes: Mapping[str, tuple[Number, ...]], micro_batches: int) -> Number:
        """Labels: one pass to the alignment layer, and similarities; pointer: queries, keys and scores."""
        backbone, width = self.encoder.backbone, self.encoder.backbone.hidden_dim
        (samples, length), (_, predictions) = shapes["token_ids"], shapes["mask_positions"]
        labels = encoder_flops(backbone, self.alignment_layer, samples, length)
        labels += pairwise_flops(width, samples, length, length)
        pointer = projection_flops(width, samples * length) + projection_flops(width, samples * predictions)
        return labels + TRAINED * (pointer + pairwise_flops(width, samples, predictions, length))

    def result(self, batch: Tensors, training: bool, shared: SharedTensors | None = None) -> TaskResult:
        inputs = {"token_ids": batch["token_ids"], "padding_mask": batch["padding_mask"]}
        # TLM's own pass: the same tensors within one step.
        state = self.encoder.hidden_state(inputs, training=training)  # [batch, length, dim]
        positions = batch["mask_positions"]
        at_masks = ops.take_along_axis(state, ops.expand_dims(positions, 2), axis=1)
        queries = _projected(at_masks, self.query_kernel, self.query_bias)  # [batch, predictions, dim]
        keys = _projected(state, self.key_kernel, self.key_bias)  # [batch, length, dim]
        scores = ops.matmul(queries, ops.transpose(keys, (0, 2, 1))) / math.sqrt(queries.shape[-1])

        first, second = sentence_spans(batch["token_ids"])
        on_first = ops.take_along_axis(first, positions, axis=1)
        others = ops.where(ops.expand_dims(on_first, 2), ops.expand_dims(second, 1), ops.expand_dims(first, 1))
        scores = ops.where(others, scores, NO_CANDIDATE)
        weights = _label_weights(batch)
        labels = ops.maximum(batch["partner_positions"], 0)
        losses = ops.sparse_categorical_crossentropy(labels, scores, from_logits=True)
        correct = ops.cast(ops.equal(ops.cast(ops.argmax(scores, axis=-1), "int32"), labels), "float32")
        candidates = ops.maximum(ops.sum(ops.cast(others, "float32"), axis=-1), 1.0)
        return TaskResult(
            loss_sum=ops.sum(losses * weights),
            count=self.count(batch),
            correct_sum=ops.sum(correct * weights),
            num_candidates=ops.ones((), "float32"),
            averages={"log_candidates": ops.sum(ops.log(candidates) * weights)},
        )

    def weight_at(self, step: Tensor) -> Tensor:
        return self.weight * ops.cast(ops.cast(step, "int32") > self.enable_step, "float32")


def _label_weights(batch):
    """float32 [batch, predictions]: TLM's weight of each masked token that has a label."""
    return batch["mask_weights"] * ops.cast(ops.greater_equal(batch["partner_positions"], 0), "float32")


def _projected(state, kernel, bias):
    """float32; the product is in the dtype of `state`."""
    product = ops.matmul(state, ops.cast(kernel, state.dtype))
    return ops.cast(product, "float32") + ops.convert_to_tensor(bias)


_TASK = defaults_of(DWA)


class DWASettings(HostedTaskSettings):
    """See `DWA`."""

    alignment_layer: PositiveInt | None = _TASK.alignment_layer
    sinkhorn_iterations: PositiveInt = _TASK.sinkhorn_iterations
    rounds: PositiveInt = _TASK.rounds
    linked_factor: float = pydantic.Field(default=_TASK.linked_factor, ge=0.0, le=1.0)
    enable_step: NonNegativeInt = _TASK.enable_step


DWA.Settings = DWASettings
