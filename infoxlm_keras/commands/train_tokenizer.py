"""Trains a SentencePiece vocabulary (unigram) in XLM-R's id layout on text in many languages.

Input files are named <lang>.txt[.gz|.xz] and hold one sentence a line. The command samples sentences: a language of n
sentences gets a share proportional to n ** exponent, as in pre-training. --vocabulary_size counts all
ids of the model: the pieces, <s>, </s>, <unk>, and <pad> and <mask>, which have no piece. Writes DIR/vocabulary.spm
and DIR/vocabulary.json (its fingerprint, the settings, and each language's share of unknown tokens).

    infoxlm train-tokenizer --input text/ --vocabulary_size 16000 --output_dir tokenizer/
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich
import rich.box
import rich.table

import infoxlm_keras
from infoxlm_keras.building.summary import print_found
from infoxlm_keras.command_line import argument_parser, print_settings, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import Contents, check_output, new_directory, write_json
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
from infoxlm_keras.text.vocabulary import train_sentencepiece
from infoxlm_keras.tokenizer import Tokenizer

if TYPE_CHECKING:
    pass

MODEL_FILE, REPORT_FILE = "vocabulary.spm", "vocabulary.json"
CONTENTS = Contents((MODEL_FILE, REPORT_FILE), (MODEL_FILE, REPORT_FILE))


@with_local_paths(inputs=("input",), outputs=("output_dir",))
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--vocabulary_size", type=int, required=True, help="number of ids, special tokens included")
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="folder for the vocabulary")
    add_sample_arguments(parser, "training")
    parser.add_argument("--byte_fallback", action="store_true", help="encode other characters as bytes")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing vocabulary")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    check_settings(options)
    readers = find_monolingual(options.input)
    print_settings("train_tokenizer", vars(options))
    print_found(readers)
    with naming(options.output_dir), new_directory(options.output_dir, options.overwrite, CONTENTS) as directory:
        samples, counts = draw_sample(readers, options)
        with progress_bar("Training the vocabulary"):
            proto = train_sentencepiece(
                all_sentences(samples),
                options.vocabulary_size,
                options.character_coverage,
                options.byte_fallback,
            )
        tokenizer = Tokenizer(proto, pathlib.Path(options.output_dir) / MODEL_FILE)
        languages = describe_languages(tokenizer, samples, counts)
        (directory / MODEL_FILE).write_bytes(proto)
        write_json(directory / REPORT_FILE, report(tokenizer, languages, options))
    print_languages(languages)
    print(
        f"wrote {tokenizer.source}: {tokenizer.vocabulary_size:,} ids, {tokenizer.fingerprint[:19]}, "
        f"in {time.perf_counter() - start:.1f} s"
    )


def check_settings(options: argparse.Namespace) -> None:
    """Raises `InputError` for settings out of range, and for an output that is not to be replaced."""
    check_sample_arguments(options)
    if options.vocabulary_size < 6:
        raise InputError(f"--vocabulary_size {options.vocabulary_size}: must be at least 6; 5 ids are special")
    check_output(options.output_dir, options.overwrite, CONTENTS, [text.rpartition("=")[2] for text in options.input])


def describe_languages(
    tokenizer: Tokenizer, samples: Mapping[str, list[str]], counts: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """dict of language to what the vocabulary makes of its sample."""
    languages = {}
    for language, sentences in sorted(samples.items()):
        tokens, unknown_rate = tokens_and_unknown_rate(tokenizer, sentences)
        languages[language] = {
            "sentences": counts[language],
            "sampled": len(sentences),
            "characters_per_token": round(sum(map(len, sentences)) / max(tokens, 1), 3),
            "unknown_rate": unknown_rate,
        }
    return languages


def report(tokenizer: Tokenizer, languages: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The content of vocabulary.json; no paths and no times, so that a repetition gives the same file."""
    settings = ("sentences", "exponent", "character_coverage", "byte_fallback", "seed")
    return {
        "vocabulary_size": tokenizer.vocabulary_size,
        "fingerprint": tokenizer.fingerprint,
        "settings": {name: getattr(options, name) for name in settings},
        "languages": languages,
        "created_by": {"package": "infoxlm_keras", "version": infoxlm_keras.__version__},
    }


def print_languages(languages: Mapping[str, Mapping[str, float]]) -> None:
    """Prints the table of `describe_languages`."""
    table = rich.table.Table(box=rich.box.SIMPLE)
    for heading in ("language", "sentences", "sampled", "characters a token", "unknown"):
        table.add_column(heading, justify="left" if heading == "language" else "right")
    for language, row in languages.items():
        table.add_row(
            language,
            f"{row['sentences']:,}",
            f"{row['sampled']:,}",
            f"{row['characters_per_token']:.2f}",
            f"{row['unknown_rate']:.3%}",
        )
    show_table(table)
