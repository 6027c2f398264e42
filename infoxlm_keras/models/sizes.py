"""Encoder sizes by name: the paper's two, and two that train on a laptop."""

import dataclasses

from infoxlm_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class EncoderSize:
    """The shape of an XLM-R encoder.

    Attributes:
        num_layers: int. Transformer layers, L.
        hidden_dim: int. Width H of every hidden state; divisible by `num_heads`.
        num_heads: int. Attention heads of each layer.
        intermediate_dim: int. Width of the feed-forward layer.
        max_sequence_length: int. Learned positions; the longest input.
    """

    num_layers: int
    hidden_dim: int
    num_heads: int
    intermediate_dim: int
    max_sequence_length: int = 512

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise InputError(f"{field.name} = {getattr(self, field.name)}: must be at least 1")
        if self.hidden_dim % self.num_heads:
            raise InputError(
                f"num_heads = {self.num_heads}: does not divide hidden_dim = {self.hidden_dim}; "
                "each head needs the same whole number of columns"
            )


ENCODER_SIZES = {
    "tiny": EncoderSize(num_layers=3, hidden_dim=128, num_heads=4, intermediate_dim=512),
    "small": EncoderSize(num_layers=6, hidden_dim=256, num_heads=4, intermediate_dim=1024),
    "infoxlm_base": EncoderSize(num_layers=12, hidden_dim=768, num_heads=12, intermediate_dim=3072),
    "infoxlm_large": EncoderSize(num_layers=24, hidden_dim=1024, num_heads=16, intermediate_dim=4096),
}


def default_universal_layer(num_layers: int) -> int:
    """The universal layer k for an encoder of `num_layers`: 8 of 12 and 12 of 24 as in the paper, else two thirds.

    Hidden state 0 is the embeddings; hidden state l is the output of layer l.
    """
    return {12: 8, 24: 12}.get(num_layers, max(1, round(num_layers * 2 / 3)))
