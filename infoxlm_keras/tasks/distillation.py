"""Distillation: the hidden states of a small encoder become those of a larger, trained one.

TinyBERT's symbols: S, T = student (the encoder that is trained) and teacher; H^S, H^T = their hidden states; W_h = map
to the teacher's width; g(m) = the teacher's state that state m of the student learns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import keras
import keras_hub
import pydantic
from keras import ops

from infoxlm_keras.annotations import Tensor, Tensors
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.encoder import Encoder, hidden_states_model
from infoxlm_keras.models.flops import TRAINED, Number, encoder_flops, pairwise_flops
from infoxlm_keras.models.pooling import l2_normalize
from infoxlm_keras.settings import HostedTaskSettings, NonNegativeInt, defaults_of
from infoxlm_keras.tasks.pretext_task import PretextTask, SharedTensors, TaskResult

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel

# The distance to a position that holds no token.
NO_TOKEN = 1e9


def default_pairs(student_layers: int, teacher_layers: int) -> list[list[int]]:
    """Pairs (hidden state of the student, of the teacher), evenly spaced: m learns `round(m T / S)`, halves up.

    Args:
        student_layers, teacher_layers: int, S and T. State 0, the embeddings, learns state 0, the last the last.

    Example:
    ```python
    default_pairs(4, 12)  # [[0, 0], [1, 3], [2, 6], [3, 9], [4, 12]]
    ```
    """
    return [
        [state, (2 * state * teacher_layers + student_layers) // (2 * student_layers)]
        for state in range(student_layers + 1)
    ]


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class Distillation(PretextTask):
    """Learn the hidden states of a trained encoder (TinyBERT, section 3.1) beside MMLM.

    The teacher reads MMLM's masked blocks, without dropout and gradient. Loss of a token: the mean of
    `(H^S W_h - H^T)^2` over pairs of states and over the teacher's width. Padding has no loss. W_h is there only if
    the widths differ, one for each pair of states.

    The task has no batch of its own: it sees MMLM's, and takes the student's states from MMLM's forward pass. Both
    losses have one backward pass. MMLM's weight of 0 leaves its loss out. `distillation_accuracy` is the share of
    tokens whose state is nearer to the teacher's state of the same token than to those of all other tokens of its
    block, `distillation_cosine` the mean cosine of student and teacher, both of the last pair.

    The teacher's weights do not change, and no checkpoint of a run holds them: `infoxlm pretrain` loads the teacher at
    each start, and continues a run with the same weights only. Teacher and maps are discarded after training.

    Args:
        teacher: `keras_hub.models.XLMRobertaMaskedLM` with the student's vocabulary, whose encoder is frozen. None:
            `take_models` gives it before `bind`.
        layers: list of (hidden state of the student, of the teacher), 0 = embeddings; accuracy and cosine are those of
            the last pair. None: `default_pairs`.
        weight: float, the task's factor in the loss.

    Example:
    ```python
    teacher = load_pretrained("runs/demo/model").masked_lm
    pretrainer = InfoXLMPretrainer(masked_lm, [MMLM(), Distillation(teacher)])
    ```

    Source: Jiao et al. (2020, TinyBERT), https://arxiv.org/abs/1909.10351, equations 8 and 9. There the losses of the
    pairs are summed, one map serves all layers, attention scores are learned too, and the text is not masked.
    """

    task_name = "distillation"
    label = "Distillation"
    host = "mmlm"
    record_kind = "mmlm"
    # A distance bounds none.
    bounds_information = False
    average_names = ("cosine",)
    console_numbers = {"cosine": "cosine {:.3f}"}
    panels = {"Student and teacher": {"cosine": "cosine of the last states"}}

    def __init__(
        self,
        teacher: keras_hub.models.XLMRobertaMaskedLM | None = None,
        layers: Iterable[Sequence[int]] | None = None,
        weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(weight=weight, **kwargs)
        # An `Encoder` is a plain object: Keras tracks no more of the teacher than `bind` takes.
        self.given = None if teacher is None else Encoder(teacher)
        pairs = None if layers is None else [list(pair) for pair in layers]
        if pairs is not None and not (pairs and all(len(pair) == 2 for pair in pairs)):
            raise InputError(f"distillation.layers = {pairs}: give pairs, for instance [[2, 6], [4, 12]]")
        if pairs is not None and len({tuple(pair) for pair in pairs}) < len(pairs):
            raise InputError(f"distillation.layers = {pairs}: names a pair twice; its loss would count twice")
        self.pairs: Any = pairs  # `bind` replaces None by a list
        self.teacher_vector: tuple[int, str, bool] | None = None

    def get_config(self) -> dict[str, Any]:
        teacher = None
        if self.given is not None:
            teacher = keras.saving.serialize_keras_object(self.given.masked_lm)
            teacher.pop("compile_config", None)
        pairs = None if self.pairs is None else [list(pair) for pair in self.pairs]
        return {**super().get_config(), "teacher": teacher, "layers": pairs}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Distillation:
        return cls(**{**config, "teacher": keras.saving.deserialize_keras_object(config.get("teacher"))})

    @classmethod
    def from_settings(cls, settings: DistillationSettings) -> Distillation:
        return cls(layers=settings.layers, weight=settings.weight)

    @classmethod
    def problem(cls, settings: DistillationSettings) -> str | None:
        if settings.teacher is not None:
            return None
        return "distillation.teacher: is not set; give the larger model by --set distillation.teacher=PRESET"

    @classmethod
    def models_to_load(cls, settings: DistillationSettings) -> dict[str, str]:
        return {"teacher": settings.teacher} if settings.teacher else {}

    def take_models(self, models: Mapping[str, PretrainedModel]) -> None:
        teacher = models["teacher"]
        self.given = Encoder(teacher.masked_lm)
        if teacher.info is not None:
            self.teacher_vector = (teacher.info.universal_layer, teacher.info.pooling, teacher.info.normalize)

    def bind(self, encoder: Encoder) -> None:
        if self.given is None:
            raise InputError("distillation: has no teacher; give one: Distillation(teacher=masked_lm)")
        self.encoder = encoder
        student, teacher = encoder.backbone, self.given.backbone
        _check_teacher(student, teacher)
        if self.pairs is None:
            self.pairs = default_pairs(student.num_layers, teacher.num_layers)
        for own, other in self.pairs:
            _check_state(own, student.num_layers, self.pairs, "the model that is trained")
            _check_state(other, teacher.num_layers, self.pairs, "the teacher")
        encoder.take_beside_last(own for own, _ in self.pairs)
        self.teacher_layers = sorted({other for _, other in self.pairs})
        self.teacher_states = hidden_states_model(teacher, self.teacher_layers, name="teacher_states")
        self.teacher_states.trainable = False
        self.has_maps = student.hidden_dim != teacher.hidden_dim
        for number in range(len(self.pairs)) if self.has_maps else ():
            weight = self.add_weight(
                name=f"map_{number}",
                shape=(student.hidden_dim, teacher.hidden_dim),
                initializer=keras.initializers.RandomNormal(stddev=student.hidden_dim**-0.5),
                dtype="float32",
                autocast=False,
            )
            # Not in a list, which Keras would track once more.
            setattr(self, f"map_{number}", weight)
        self.built = True

    @property
    def constant_variables(self) -> list[keras.Variable]:
        return self.teacher_states.variables

    def count(self, batch: Tensors) -> Tensor:
        return ops.sum(ops.cast(batch["padding_mask"], "float32"))

    def flops(self, shapes: Mapping[str, tuple[Number, ...]], micro_batches: int) -> Number:
        """The teacher up to its highest state (forward only), the maps, and the distances of `accuracy`."""
        assert self.given is not None  # `bind` has checked it
        samples, length = shapes["token_ids"]
        teacher, width = self.given.backbone, self.given.backbone.hidden_dim
        total = encoder_flops(teacher, self.teacher_layers[-1], samples, length)
        total += pairwise_flops(width, samples, length, length)
        if self.has_maps:
            maps = 2.0 * samples * length * self.encoder.backbone.hidden_dim * width * len(self.pairs)
            total += TRAINED * maps
        return total

    def result(self, batch: Tensors, training: bool, shared: SharedTensors | None = None) -> TaskResult:
        inputs = {"token_ids": batch["token_ids"], "padding_mask": batch["padding_mask"]}
        tokens = ops.cast(batch["padding_mask"], "float32")  # [batch, length]
        # MMLM's own pass: the same tensors within one step.
        students = self.encoder.hidden_states(inputs, [own for own, _ in self.pairs], training)
        states = keras.tree.flatten(self.teacher_states(inputs, training=False))
        found = dict(zip(self.teacher_layers, states, strict=True))
        loss_sum = ops.zeros((), "float32")
        for number, (student, (_, other)) in enumerate(zip(students, self.pairs, strict=True)):
            if self.has_maps:
                student = ops.matmul(student, ops.cast(getattr(self, f"map_{number}"), student.dtype))
            student = ops.cast(student, "float32")  # [batch, length, the teacher's width]
            teacher = ops.cast(ops.stop_gradient(found[other]), "float32")
            errors = ops.mean(ops.square(student - teacher), axis=-1)
            loss_sum = loss_sum + ops.sum(errors * tokens)
        student = ops.stop_gradient(student)
        return TaskResult(
            loss_sum=loss_sum / len(self.pairs),
            count=self.count(batch),
            correct_sum=ops.sum(_nearest_is_own(student, teacher, tokens) * tokens),
            num_candidates=ops.ones((), "float32"),
            averages={"cosine": ops.sum(ops.sum(l2_normalize(student) * l2_normalize(teacher), axis=-1) * tokens)},
        )

    def sentence_vector(self) -> tuple[int, str, bool] | None:
        """The teacher's own vector, if one of the student's states learns its layer."""
        if self.teacher_vector is None:
            return None
        layer, pooling, normalize = self.teacher_vector
        learning = [own for own, other in self.pairs if other == layer]
        return (learning[-1], pooling, normalize) if learning else None

    def notes(self) -> list[str]:
        if self.teacher_vector is None or self.sentence_vector() is not None:
            return []
        layer = self.teacher_vector[0]
        return [
            f"distillation.layers = {self.pairs}: no state learns hidden state {layer} of the teacher, from which its "
            "sentence vectors come; so the trained model does not learn these vectors"
        ]


def _check_state(state, num_layers, pairs, whose):
    if not 0 <= state <= num_layers:
        raise InputError(
            f"distillation.layers = {pairs}: state {state} is not there; {whose} has hidden states 0..{num_layers}"
        )


def _check_teacher(student, teacher):
    if student is teacher:
        raise InputError("distillation.teacher: is the model that is trained; give another one")
    for name, words in (("vocabulary_size", "ids"), ("max_sequence_length", "positions")):
        own, other = getattr(student, name), getattr(teacher, name)
        if own > other or (own != other and name == "vocabulary_size"):
            raise InputError(
                f"distillation.teacher: has {other} {words}, but the model that is trained has {own}; both read the "
                "same tokens, so give a teacher with its vocabulary and as many positions"
            )


def _nearest_is_own(student, teacher, tokens):
    """float32 [batch, length]: whether of all tokens of a sequence the teacher's state of this one is the nearest."""
    products = ops.matmul(student, ops.transpose(teacher, (0, 2, 1)))  # [batch, length, length]
    distances = ops.sum(ops.square(teacher), axis=-1) + NO_TOKEN * (1.0 - tokens)
    nearest = ops.argmin(ops.expand_dims(distances, 1) - 2.0 * products, axis=-1)
    own = ops.arange(products.shape[-1]) if products.shape[-1] is not None else ops.arange(ops.shape(products)[-1])
    return ops.cast(ops.equal(ops.cast(nearest, "int32"), ops.cast(own, "int32")), "float32")


_TASK = defaults_of(Distillation)


class DistillationSettings(HostedTaskSettings):
    """See `Distillation`; `teacher` is what `infoxlm_keras.load_pretrained` takes: a preset's directory, a name."""

    teacher: Annotated[str, pydantic.Field(min_length=1)] | None = _TASK.teacher
    layers: (
        Annotated[
            list[Annotated[list[NonNegativeInt], pydantic.Field(min_length=2, max_length=2)]],
            pydantic.Field(min_length=1),
        ]
        | None
    ) = _TASK.layers


Distillation.Settings = DistillationSettings
