"""Leaves out the pieces of a model's vocabulary that given texts do not use: a smaller model, equal on such texts.

Most weights of a multilingual encoder are rows of its embedding (69% of infoxlm-base), and most rows belong to other
languages than those that it is used for. Input files are named <lang>.txt[.gz|.xz] and hold one sentence a line, in
the languages that the model is to be used for; they are read in full.

    infoxlm trim-vocabulary --model runs/mine/model --input text/ --output_dir trimmed/
    infoxlm trim-vocabulary --model microsoft/infoxlm-base --input text/ --vocabulary_size 60000 --output_dir small/

What stays: special tokens, bytes, each single character of the text, and pieces that occur --min_count times; with
--vocabulary_size the most frequent ones. Ids keep their order, <mask> stays the last one. A text without a lost piece
is split into the same pieces, and gets the same hidden states. The unigram models of XLM-R's layout can be trimmed.

DIR becomes a preset with the trimmed tokenizer and model, and vocabulary_trimming.json: the old id of each new one.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
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
from infoxlm_keras.text.vocabulary import read_sentences
from infoxlm_keras.text.vocabulary_trimming import PieceCounts, kept_ids, trimmed_proto
from infoxlm_keras.tokenizer import UNKNOWN_ID, Tokenizer

if TYPE_CHECKING:
    from infoxlm_keras.annotations import Array

REPORT_FILE = "vocabulary_trimming.json"


@with_local_paths(inputs=("input",), outputs=("output_dir",))
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="preset directory, or name or handle of a KerasHub preset")
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH", help="files, or folders that hold them")
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="folder for the trimmed preset")
    parser.add_argument("--min_count", type=int, default=1, metavar="N", help="pieces that occur fewer times go")
    parser.add_argument("--vocabulary_size", type=int, metavar="N", help="keep only the most frequent; unset: all")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing preset")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    if options.min_count < 1:
        raise InputError(f"--min_count {options.min_count}: must be at least 1")
    readers = find_monolingual(options.input)
    print_settings("trim_vocabulary", vars(options))
    print_found(readers)
    with quiet_imports():
        from infoxlm_keras.models.sizes import default_universal_layer
        from infoxlm_keras.models.vocabulary_trimming import trim_masked_lm
        from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, load_pretrained
        from infoxlm_keras.pretrained.left_out_head import print_left_out_head
        from infoxlm_keras.pretrained.saving import write_preset

    inputs = [options.model, *(text.rpartition("=")[2] for text in options.input)]
    with (
        naming(options.output_dir),
        new_directory(options.output_dir, options.overwrite, contents=MODEL_FOLDER, inputs=inputs) as directory,
    ):
        model = load_pretrained(options.model)
        pieces = PieceCounts(model.tokenizer)
        with progress_bar("Counting pieces", len(readers), "sentences") as advance:
            for reader in readers:
                pieces.add(reader.name, read_sentences(reader))
                advance(1, sum(pieces.sentences.values()))
        if not pieces.sentences:
            raise InputError(f"{', '.join(options.input)}: hold no text")
        # They will stand before every text.
        pieces.require(model.info.prompts.values() if model.info else ())
        ids = kept_ids(pieces, options.min_count, options.vocabulary_size)
        tokenizer = Tokenizer(trimmed_proto(model.tokenizer.proto, ids), options.output_dir)
        masked_lm = trim_masked_lm(model.masked_lm, ids)
        info = model.info or PretrainingInfo(universal_layer=default_universal_layer(masked_lm.backbone.num_layers))
        info = dataclasses.replace(info, tokenizer_fingerprint=tokenizer.fingerprint)
        write_preset(directory, PretrainedModel(masked_lm, tokenizer, info, model.has_head, model.remainder))
        content = report(model.tokenizer, tokenizer, ids, pieces)
        content["weights"] = {"old": model.masked_lm.count_params(), "new": masked_lm.count_params()}
        write_json(directory / REPORT_FILE, content)
    print_languages(content["languages"])
    print_left_out_head(options.model)
    old, new = (content[name]["vocabulary_size"] for name in ("old", "new"))
    weights = content["weights"]
    print(
        f"wrote {options.output_dir}: {new:,} of {old:,} ids, {weights['new'] / 1e6:,.1f} of "
        f"{weights['old'] / 1e6:,.1f} million weights, in {time.perf_counter() - start:.1f} s"
    )


def report(old: Tokenizer, new: Tokenizer, ids: Array, pieces: PieceCounts) -> dict[str, Any]:
    """The content of vocabulary_trimming.json, without the number of weights."""
    lost = np.ones(old.vocabulary_size, bool)
    lost[ids] = lost[old.mask_id] = False
    return {
        "old": {"fingerprint": old.fingerprint, "vocabulary_size": old.vocabulary_size, "mask_id": old.mask_id},
        "new": {"fingerprint": new.fingerprint, "vocabulary_size": new.vocabulary_size, "mask_id": new.mask_id},
        "languages": {
            language: {
                "sentences": pieces.sentences[language],
                "tokens": int(counts.sum()),
                "of_lost_pieces": int(counts[lost].sum()),
                "unknown": int(counts[UNKNOWN_ID]),
            }
            for language, counts in sorted(pieces.by_language.items())
        },
        "old_ids": [*ids.tolist(), old.mask_id],
    }


def print_languages(languages: Mapping[str, Mapping[str, int]]) -> None:
    """Prints a row a language: how much of its text holds pieces that are left out."""
    table = rich.table.Table(box=rich.box.SIMPLE)
    for heading in ("language", "sentences", "tokens", "of lost pieces", "unknown before"):
        table.add_column(heading, justify="left" if heading == "language" else "right")
    for language, row in languages.items():
        tokens = max(row["tokens"], 1)
        shares = [f"{row[name] / tokens:.3%}" for name in ("of_lost_pieces", "unknown")]
        table.add_row(language, f"{row['sentences']:,}", f"{row['tokens']:,}", *shares)
    show_table(table)
