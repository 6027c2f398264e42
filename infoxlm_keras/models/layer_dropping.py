"""A model with fewer Transformer layers: those that stay keep their weights and their order."""

from collections.abc import Sequence

import keras_hub

from infoxlm_keras.choices import LAYER_STRATEGIES
from infoxlm_keras.errors import InputError


def layers_to_keep(num_layers: int, kept: int, strategy: str = "even") -> list[int]:
    """The numbers (1..L) of the `kept` layers, ascending, of an encoder of L layers.

    - "even": evenly spaced, the first and the last among them. Number i of N (i = 0..N - 1) is layer
      `1 + round(i (L - 1) / (N - 1))`, halves rounded up; of one layer it is the first.
    - "top": the topmost layers are dropped, so layers 1..N stay.
    - "bottom": the lowest layers are dropped, so layers L - N + 1..L stay.

    Args:
        num_layers: int, L.
        kept: int, N in 1..L.
        strategy: one of `LAYER_STRATEGIES`, what is dropped.

    Raises:
        InputError: for a number or strategy out of range.

    Example:
    ```python
    layers_to_keep(12, 6)  # [1, 3, 5, 8, 10, 12]
    layers_to_keep(12, 6, "top")  # [1, 2, 3, 4, 5, 6]
    ```

    Source: Sanh et al. (2019, DistilBERT), https://arxiv.org/abs/1910.01108, start from every second layer; Sajjad et
    al. (2023), https://arxiv.org/abs/2004.03844, compare which layers are best dropped: the topmost.
    """
    if not 1 <= kept <= num_layers:
        raise InputError(f"--layers {kept}: must be between 1 and the {num_layers} layers of the model")
    if strategy not in LAYER_STRATEGIES:
        raise InputError(f"--strategy {strategy}: must be one of {', '.join(LAYER_STRATEGIES)}")
    if strategy == "top":
        return list(range(1, kept + 1))
    if strategy == "bottom":
        return list(range(num_layers - kept + 1, num_layers + 1))
    gaps = max(kept - 1, 1)
    return [1 + (2 * number * (num_layers - 1) + gaps) // (2 * gaps) for number in range(kept)]


def check_layers(layers: Sequence[int], num_layers: int) -> None:
    """Raises `InputError` unless `layers` ascend, and are among 1..`num_layers`."""
    ascending = all(one < other for one, other in zip(layers, layers[1:], strict=False))
    if not layers or not ascending or layers[0] < 1 or layers[-1] > num_layers:
        listed = ",".join(map(str, layers))
        raise InputError(f"--keep {listed}: give numbers between 1 and {num_layers}, ascending, each only once")


def hidden_state_below(layers: Sequence[int], state: int) -> int:
    """The hidden state of a model with `layers` alone that takes the place of hidden state `state` of the whole one.

    It is the output of the highest of `layers` at or below `state`; of the lowest one, if all lie above. State 0, the
    embeddings, stays state 0.
    """
    return max(sum(layer <= state for layer in layers), min(state, 1))


def with_layers(
    masked_lm: keras_hub.models.XLMRobertaMaskedLM, layers: Sequence[int]
) -> keras_hub.models.XLMRobertaMaskedLM:
    """A copy of a masked-LM model that has the Transformer layers `layers` only.

    Args:
        masked_lm: `keras_hub.models.XLMRobertaMaskedLM` of L layers.
        layers: list of int in 1..L, ascending.

    Returns:
        `XLMRobertaMaskedLM`; layer i is number `layers[i - 1]` of `masked_lm`. Embeddings, head and these layers have
        equal weights. If `layers` are 1..N, hidden states 0..N are equal too.

    Raises:
        InputError: for layers out of order or range.
    """
    old = masked_lm.backbone
    check_layers(layers, old.num_layers)
    backbone = keras_hub.models.XLMRobertaBackbone.from_config({**old.get_config(), "num_layers": len(layers)})
    smaller = keras_hub.models.XLMRobertaMaskedLM(backbone=backbone, preprocessor=None)
    parts = [
        (old.embeddings, backbone.embeddings),
        (old.embeddings_layer_norm, backbone.embeddings_layer_norm),
        *zip((old.transformer_layers[layer - 1] for layer in layers), backbone.transformer_layers, strict=True),
        (masked_lm.masked_lm_head, smaller.masked_lm_head),
    ]
    for before, after in parts:
        after.set_weights(before.get_weights())
    return smaller
