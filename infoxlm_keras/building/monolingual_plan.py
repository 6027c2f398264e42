"""The options of the monolingual builder, and the `Build` that they ask for."""

import argparse

from infoxlm_keras.building.build import Build, add_build_arguments
from infoxlm_keras.building.monolingual_encoder import MonolingualEncoder
from infoxlm_keras.building.output_directory import check_output
from infoxlm_keras.building.packing import check_sequence_length
from infoxlm_keras.building.summary import print_found
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.text.cleaning.options import add_cleaning_arguments, cleaning_of
from infoxlm_keras.text.readers import MONOLINGUAL_FORMATS, find_monolingual


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this builder's options to an `argparse` parser."""
    add_build_arguments(parser)
    parser.add_argument(
        "--sequence_length", type=int, default=512, help="maximum number of tokens per block, special tokens included"
    )
    parser.add_argument("--break_documents", action="store_true", help="end a block where a document ends")
    parser.add_argument(
        "--deduplicate", action="store_true", help="keep only the first occurrence of each sentence of a language"
    )
    parser.add_argument("--fields", nargs=1, metavar="FIELD", help="name of the text field, for formats with fields")
    add_cleaning_arguments(parser, pairs=False)
    parser.epilog = MONOLINGUAL_FORMATS


def plan_build(options: argparse.Namespace) -> Build:
    """The `Build` that the options of `add_arguments` ask for."""
    # Before files of many gigabytes are searched for their languages.
    check_output("mmlm", options)
    check_sequence_length(options.sequence_length)
    cleaning = cleaning_of(options)
    readers = find_monolingual(options.input, options.fields)
    print_found(readers)
    encoder = MonolingualEncoder(
        load_tokenizer(options.tokenizer),
        options.sequence_length,
        options.break_documents,
        cleaning,
        options.deduplicate,
    )
    shaping = {
        "sequence_length": options.sequence_length,
        "break_documents": options.break_documents,
        "deduplicate": options.deduplicate,
        "cleaning": cleaning and cleaning.settings(),
    }
    return Build("mmlm", readers, encoder, (options.sequence_length,), shaping)
