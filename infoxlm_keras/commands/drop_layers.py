"""Leaves out Transformer layers of a trained model: smaller, faster, and a start for distillation.

    infoxlm drop-layers --model runs/mine/model --layers 8 --strategy top --output_dir smaller/
    infoxlm drop-layers --model microsoft/infoxlm-base --keep 1,3,5,7,9,11 --output_dir six/

--keep names the layers that stay, from 1, the lowest. --layers says how many stay; which ones, --strategy says:

  even    evenly spaced, the first and the last among them: number i of N is layer 1 + round(i (L - 1) / (N - 1)) of L
  top     the topmost layers are dropped, the lowest N stay
  bottom  the lowest layers are dropped, the topmost N stay

A sentence vector comes from a middle layer. With --strategy top and at least as many layers it stays the same, bit by
bit. Otherwise it comes from the highest layer that was kept at or below the universal one, and is worse until the
model is trained again: infoxlm pretrain with --tasks mmlm,xlco,distillation does it (docs/smaller_models.md).

DIR becomes a preset with layer_dropping.json, what was kept; infoxlm.json has the new universal layer.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.choices import LAYER_STRATEGIES
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import MODEL_FOLDER, new_directory, write_json
from infoxlm_keras.files.remote_arguments import with_local_paths
from infoxlm_keras.files.written_files import naming

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo

REPORT_FILE = "layer_dropping.json"


@with_local_paths(outputs=("output_dir",))
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="preset directory, or another model that --init takes")
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="folder for the smaller preset")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--keep", metavar="1,3,5", help="the layers that stay, ascending")
    which.add_argument("--layers", type=int, metavar="N", help="how many layers stay")
    parser.add_argument("--strategy", choices=LAYER_STRATEGIES, help="which --layers N stay; unset: even")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing preset")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    if options.keep is not None and options.strategy is not None:
        raise InputError(f"--strategy {options.strategy}: belongs to --layers; --keep names the layers itself")
    keep = None if options.keep is None else numbers_of(options.keep)
    print_settings("drop_layers", vars(options))
    with quiet_imports():
        from infoxlm_keras.models.layer_dropping import layers_to_keep
        from infoxlm_keras.pretrained import load_pretrained
        from infoxlm_keras.pretrained.digest import model_digest
        from infoxlm_keras.pretrained.left_out_head import print_left_out_head
        from infoxlm_keras.pretrained.saving import write_preset

    with (
        naming(options.output_dir),
        new_directory(
            options.output_dir, options.overwrite, contents=MODEL_FOLDER, inputs=[options.model]
        ) as directory,
    ):
        old = load_pretrained(options.model)
        num_layers = old.backbone.num_layers
        layers = keep or layers_to_keep(num_layers, options.layers, options.strategy or "even")
        new = smaller_model(old, layers)
        write_preset(directory, new)
        content = report(old, new, layers)
        write_json(directory / REPORT_FILE, {**content, "model": model_digest(old)})
    universal, weights = content["universal_layer"], content["weights"]
    print(f"kept layers {', '.join(map(str, layers))} of {num_layers}")
    print_left_out_head(options.model)
    if universal["comes_from"] != universal["old"]:
        print(
            f"the sentence vector was that of layer {universal['old']} and is now that of layer "
            f"{universal['comes_from']}, which is number {universal['new']}: train the model again before you use it"
        )
    print(
        f"wrote {options.output_dir}: {weights['new'] / 1e6:,.1f} of {weights['old'] / 1e6:,.1f} million weights, "
        f"universal layer {universal['new']}, in {time.perf_counter() - start:.1f} s"
    )


def numbers_of(text: str) -> list[int]:
    """The numbers of `--keep`, list of int.

    Raises:
        InputError: if `text` is something else than numbers between commas.
    """
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() and len(part) < 10 for part in parts):
        raise InputError(f"--keep {text[:80]}: write numbers of layers with commas between them, for instance 1,3,5")
    return [int(part) for part in parts]


def smaller_model(old: PretrainedModel, layers: Sequence[int]) -> PretrainedModel:
    """`old` with its `layers` alone, and a history that says so."""
    from infoxlm_keras.models.layer_dropping import hidden_state_below, with_layers
    from infoxlm_keras.pretrained import PretrainedModel

    info = history_of(old)
    trained = info.kept_layers or range(1, old.backbone.num_layers + 1)
    masked_lm = with_layers(old.masked_lm, layers)
    info = dataclasses.replace(
        info,
        universal_layer=hidden_state_below(layers, info.universal_layer),
        kept_layers=[trained[layer - 1] for layer in layers],
    )
    remainder = old.remainder
    if remainder is not None and layers[-1] != old.backbone.num_layers:
        # The pooler was trained on the output of a layer that is gone.
        remainder = remainder.without_pooler()
    return PretrainedModel(masked_lm, old.tokenizer, info, old.has_head, remainder)


def history_of(model: PretrainedModel) -> PretrainingInfo:
    """The `PretrainingInfo` of `model`; of one that was not trained here, one with the usual layer."""
    from infoxlm_keras.models.sizes import default_universal_layer
    from infoxlm_keras.pretrained import PretrainingInfo

    layer = default_universal_layer(model.backbone.num_layers)
    return model.info or PretrainingInfo(universal_layer=layer, tokenizer_fingerprint=model.tokenizer.fingerprint)


def report(old: PretrainedModel, new: PretrainedModel, layers: Sequence[int]) -> dict[str, Any]:
    """The content of layer_dropping.json, without the digest of the model."""
    before, after = history_of(old).universal_layer, history_of(new).universal_layer
    return {
        "layers": {"old": old.backbone.num_layers, "kept": list(layers)},
        "universal_layer": {"old": before, "new": after, "comes_from": [0, *layers][after]},
        "weights": {"old": old.masked_lm.count_params(), "new": new.masked_lm.count_params()},
    }
