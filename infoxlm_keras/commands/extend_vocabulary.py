"""Adds pieces for a new language to a trained model's vocabulary, and rows for them to its embedding.

Input files are named <lang>.txt[.gz|.xz] and hold one sentence a line, in the new language (or several). Pieces are
learned on them; each old piece keeps its id. <mask> is the last id in XLM-R's layout, so it moves behind the new
pieces, and its row with it. A new piece's row (and output bias) is the mean of the rows of the pieces that the old
tokenizer splits it into.

DIR becomes a preset with the extended tokenizer and model, and vocabulary_extension.json, the list of new pieces.
Use it as --tokenizer of the builders and as --init of infoxlm pretrain.

    infoxlm extend-vocabulary --model runs/mine/model --input new_text/ --add 4000 --output_dir extended/
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich
import rich.box
import rich.table

from infoxlm_keras.building.summary import print_found
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import MODEL_FOLDER, new_directory, write_json
from infoxlm_keras.files.remote_arguments import with_local_paths
from infoxlm_keras.files.written_files import naming
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.text.readers import find_monolingual
from infoxlm_keras.text.sample_options import (
    add_sample_arguments,
    all_sentences,
    check_sample_arguments,
    draw_sample,
    tokens_and_unknown_rate,
)
from infoxlm_keras.text.vocabulary_extension import extend_proto, learn_pieces
from infoxlm_keras.tokenizer import Tokenizer

if TYPE_CHECKING:
    from infoxlm_keras.text.vocabulary_extension import NewPiece

REPORT_FILE = "vocabulary_extension.json"


@with_local_paths(inputs=("input",), outputs=("output_dir",))
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="preset directory, or name or handle of a KerasHub preset")
    parser.add_argument("--add", type=int, required=True, help="number of pieces to add")
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="folder for the extended preset")
    add_sample_arguments(parser, "learning the pieces")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing preset")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    check_settings(options)
    readers = find_monolingual(options.input)
    print_settings("extend_vocabulary", vars(options))
    print_found(readers)
    with quiet_imports():
        from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, load_pretrained
        from infoxlm_keras.pretrained.left_out_head import print_left_out_head
        from infoxlm_keras.pretrained.saving import write_preset

    with (
        naming(options.output_dir),
        new_directory(
            options.output_dir,
            options.overwrite,
            contents=MODEL_FOLDER,
            inputs=[options.model, *(text.rpartition("=")[2] for text in options.input)],
        ) as directory,
    ):
        model = load_pretrained(options.model)
        samples, _ = draw_sample(readers, options)
        with progress_bar("Learning pieces"):
            pieces = learn_pieces(model.tokenizer, all_sentences(samples), options.add, options.character_coverage)
        tokenizer = Tokenizer(extend_proto(model.tokenizer.proto, pieces), options.output_dir)
        from infoxlm_keras.models.sizes import default_universal_layer
        from infoxlm_keras.models.vocabulary_extension import extend_masked_lm

        masked_lm = extend_masked_lm(model.masked_lm, [new.old_ids for new in pieces])
        info = model.info or PretrainingInfo(universal_layer=default_universal_layer(masked_lm.backbone.num_layers))
        info = dataclasses.replace(info, tokenizer_fingerprint=tokenizer.fingerprint)
        write_preset(directory, PretrainedModel(masked_lm, tokenizer, info, model.has_head, model.remainder))
        languages = compare_languages(model.tokenizer, tokenizer, samples)
        write_json(directory / REPORT_FILE, report(model.tokenizer, tokenizer, pieces, languages))
    print_languages(languages)
    print_left_out_head(options.model)
    print(
        f"wrote {options.output_dir}: {len(pieces):,} pieces more, {tokenizer.vocabulary_size:,} ids, <mask> is "
        f"{tokenizer.mask_id} (was {model.tokenizer.mask_id}), in {time.perf_counter() - start:.1f} s"
    )


def check_settings(options: argparse.Namespace) -> None:
    """Raises `InputError` for settings out of range."""
    if options.add < 1:
        raise InputError(f"--add {options.add}: must be at least 1")
    check_sample_arguments(options)


def compare_languages(old: Tokenizer, new: Tokenizer, samples: Mapping[str, list[str]]) -> dict[str, dict[str, float]]:
    """dict of language to tokens and unknown rate of its sample under the old and the new tokenizer."""
    languages = {}
    for language, sentences in sorted(samples.items()):
        row: dict[str, float] = {"sampled": len(sentences)}
        for name, tokenizer in (("old", old), ("new", new)):
            row[f"{name}_tokens"], row[f"{name}_unknown_rate"] = tokens_and_unknown_rate(tokenizer, sentences)
        languages[language] = row
    return languages


def report(
    old: Tokenizer, new: Tokenizer, pieces: Sequence[NewPiece], languages: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """The content of vocabulary_extension.json."""
    return {
        "old": {"fingerprint": old.fingerprint, "vocabulary_size": old.vocabulary_size, "mask_id": old.mask_id},
        "new": {"fingerprint": new.fingerprint, "vocabulary_size": new.vocabulary_size, "mask_id": new.mask_id},
        "first_new_id": old.mask_id,
        "languages": languages,
        "pieces": [dataclasses.asdict(new_piece) for new_piece in pieces],
    }


def print_languages(languages: Mapping[str, Mapping[str, float]]) -> None:
    """Prints the table of `compare_languages`."""
    table = rich.table.Table(box=rich.box.SIMPLE)
    for heading in ("language", "sampled", "tokens before", "after", "unknown before", "after"):
        table.add_column(heading, justify="left" if heading == "language" else "right")
    for language, row in languages.items():
        numbers = [f"{row[name]:,}" for name in ("sampled", "old_tokens", "new_tokens")]
        rates = [f"{row[name]:.3%}" for name in ("old_unknown_rate", "new_unknown_rate")]
        table.add_row(language, *numbers, *rates)
    show_table(table)
