"""The settings that all heads are trained with."""

import dataclasses
from typing import Any

from infoxlm_keras.errors import InputError

DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class FineTuningSettings:
    """The training settings of a head; every value is checked.

    Attributes:
        epochs: int >= 1.
        batch_size: int >= 1, samples an update, of all replicas and micro-batches together.
        learning_rate: float > 0, the peak; it rises over the first `warmup_share` of all updates, then falls, and
            would be 0 at the update behind the last one.
        warmup_share: float in 0..1.
        weight_decay: float >= 0, decoupled; not on biases and layer norms.
        dropout: float in [0, 1), of encoder and head.
        max_length: int, tokens of a sample, special tokens included. None: the head's default, or the model's number
            of positions if that is smaller.
        seed: int, of the head's weights, dropout and the order of samples.
        accumulation_steps: int >= 1, micro-batches an update. They need less memory, and give the same update.
        dtype: "float32", "mixed_bfloat16" or "mixed_float16", the policy of encoder and head.
        lora_rank: int >= 1, trains matrices of this rank beside those of attention's queries and values (Hu et al.,
            2021), these layers' biases, and the head, and nothing else; the saved model holds their sum. None: trains
            all weights.
        evaluate_every: int >= 1, updates from one measure on development data to the next. None: an epoch's.
        patience: int >= 1, training ends after so many measures without a new best one. None: never early.
        group_by_length: bool, whether a batch holds samples of about equal length, which are padded less.
        save_every: int >= 1, updates from one checkpoint to the next.
        jit_compile: bool, whether XLA compiles the step (TensorFlow; JAX always compiles, PyTorch never).
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 2e-5
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    max_length: int | None = None
    seed: int = 0
    accumulation_steps: int = 1
    dtype: str = "float32"
    lora_rank: int | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    group_by_length: bool = False
    save_every: int = 500
    jit_compile: bool = True

    def __post_init__(self) -> None:
        def at_least(least: int, value: int | None) -> bool:
            return value is None or value >= least

        limits = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "learning_rate": (0 < self.learning_rate < float("inf"), "positive"),
            "warmup_share": (0 <= self.warmup_share < 1, "in 0..1, below 1"),
            "weight_decay": (0 <= self.weight_decay < float("inf"), "at least 0"),
            "dropout": (0 <= self.dropout < 1, "in 0..1, below 1"),
            "max_length": (at_least(8, self.max_length), "at least 8"),
            "seed": (0 <= self.seed < 2**32, "in 0..2^32 - 1"),
            "accumulation_steps": (self.accumulation_steps >= 1, "at least 1"),
            "dtype": (self.dtype in DTYPES, f"one of {', '.join(DTYPES)}"),
            "lora_rank": (at_least(1, self.lora_rank), "at least 1"),
            "evaluate_every": (at_least(1, self.evaluate_every), "at least 1"),
            "patience": (at_least(1, self.patience), "at least 1"),
            "save_every": (self.save_every >= 1, "at least 1"),
        }
        for name, (holds, limit) in limits.items():
            if not holds:
                raise InputError(f"{name} = {getattr(self, name)}: must be {limit}")

    def differences(self, other: dict[str, Any]) -> list[str]:
        """What a run with these settings would do in another way than one with the settings `other`.

        Args:
            other: dict, `dataclasses.asdict` of settings, read from a file.

        Returns:
            list of str, "name was X and is Y"; how often a run is saved changes nothing, and is left out.
        """
        mine = dataclasses.asdict(self)
        names = [name for name in {**mine, **other} if name != "save_every"]
        return [
            f"{name} was {other.get(name)!r} and is {mine.get(name)!r}"
            for name in names
            if mine.get(name) != other.get(name)
        ]
