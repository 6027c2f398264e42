"""The options of the bitext builder, and the `Build` that they ask for."""

import argparse

from infoxlm_keras.building.bitext_encoder import BitextEncoder, bucket_bounds, check_length_ratio
from infoxlm_keras.building.build import Build, add_build_arguments
from infoxlm_keras.building.output_directory import check_output
from infoxlm_keras.building.repeated_records import reversed_names
from infoxlm_keras.building.summary import print_found
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.cleaning.options import add_cleaning_arguments, cleaning_of
from infoxlm_keras.text.readers import BITEXT_FORMATS, find_bitext
from infoxlm_keras.text.readers.tab_separated import MARGIN_THRESHOLD

LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 254)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this builder's options to an `argparse` parser."""
    add_build_arguments(parser)
    parser.add_argument(
        "--lengths",
        type=int,
        nargs="+",
        default=LENGTHS,
        metavar="N",
        help="upper bounds of the length buckets, in tokens per side",
    )
    parser.add_argument("--max_length", type=int, default=LENGTHS[-1], help="maximum number of tokens per side")
    parser.add_argument(
        "--truncate", action="store_true", help="truncate longer sides to --max_length; the default drops the pair"
    )
    parser.add_argument(
        "--max_length_ratio", type=float, help="maximum ratio of the sides' lengths in tokens, longer to shorter"
    )
    parser.add_argument(
        "--margin", type=float, default=MARGIN_THRESHOLD, help="minimum margin score of WikiMatrix pairs"
    )
    parser.add_argument(
        "--held_out",
        type=int,
        default=0,
        metavar="N",
        help="reserve the last N pairs of each stream for validation: every other pair that shares a sentence with "
        "one of them is left out; a run may then set data.validation_records to N or less; 0: off",
    )
    fields = "names of the source and target fields, for formats with fields"
    parser.add_argument("--fields", nargs=2, metavar=("SOURCE", "TARGET"), help=fields)
    add_cleaning_arguments(parser, pairs=True)
    parser.epilog = BITEXT_FORMATS


def plan_build(options: argparse.Namespace) -> Build:
    """The `Build` that the options of `add_arguments` ask for."""
    # Before files of many gigabytes are searched for their languages.
    check_output("bitext", options)
    lengths = bucket_bounds(options.lengths, options.max_length)
    check_length_ratio(options.max_length_ratio)
    if options.held_out < 0:
        raise InputError(f"--held_out {options.held_out}: must be 0 (off) or more")
    cleaning = cleaning_of(options)
    readers = find_bitext(options.input, options.fields, options.margin)
    print_found(readers)
    shaping = {
        "lengths": list(lengths),
        "max_length": options.max_length,
        "max_length_ratio": options.max_length_ratio,
        "truncate": options.truncate,
        "margin": options.margin,
        "cleaning": cleaning and cleaning.settings(),
    }
    if options.held_out:
        shaping["held_out"] = options.held_out
    encoder = BitextEncoder(
        load_tokenizer(options.tokenizer),
        lengths,
        options.max_length,
        options.max_length_ratio,
        options.truncate,
        cleaning,
        reversed_names(reader.name for reader in readers),
        options.held_out,
    )
    return Build("bitext", readers, encoder, lengths, shaping)
