"""Encodes sentence pairs and sorts them into length buckets: shuffled TFRecord shards for TLM and XLCO.

Input files are two-column <src>-<tgt>.tsv, Moses pairs X.<src>-<tgt>.<src> + X.<src>-<tgt>.<tgt>, archives of
these as OPUS ships them, and other formats below. Text is cleaned first. Left out, and counted: pairs with an empty
side, with identical sides, with a side above --max_length tokens, and repeated pairs. Pairs in both directions (en-de
and de-en) are one corpus here: what is in both stays in the direction whose name comes first. Writes
DIR/bitext/<src>-<tgt>/length-NNN-*.tfrecord and DIR/bitext/manifest.json; each
record is a tf.train.Example with the int64 lists `source_ids` and `target_ids`, without special tokens. A pair's
bucket is the smallest of --lengths that its longer side does not exceed.

    python data_prep/build_bitext.py --input pairs/ --tokenizer tokenizer/ --output_dir data/
"""

import time

from infoxlm_keras.building.bitext_encoder import BitextEncoder, bucket_bounds, check_length_ratio
from infoxlm_keras.building.build import Build, add_build_arguments, build_records
from infoxlm_keras.text.cleaning.options import add_cleaning_arguments, cleaning_of
from infoxlm_keras.building.repeated_records import reversed_names
from infoxlm_keras.text.readers import BITEXT_FORMATS, find_bitext
from infoxlm_keras.text.readers.tab_separated import MARGIN_THRESHOLD
from infoxlm_keras.building.summary import print_found, print_summary
from infoxlm_keras.command_line import argument_parser, print_settings, run_command
from infoxlm_keras.tokenizer import load_tokenizer

LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 254)


def add_arguments(parser):
    """Adds this builder's options to an `argparse` parser."""
    add_build_arguments(parser)
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=LENGTHS, metavar="N", help="bounds of the buckets, in tokens a side"
    )
    parser.add_argument("--max_length", type=int, default=LENGTHS[-1], help="most tokens a side")
    parser.add_argument("--truncate", action="store_true", help="cut longer sides to --max_length instead of dropping")
    parser.add_argument(
        "--max_length_ratio", type=float, help="most tokens of the longer side for each of the shorter"
    )
    parser.add_argument("--margin", type=float, default=MARGIN_THRESHOLD, help="least margin of WikiMatrix's pairs")
    fields = "fields with source and target, where a format has fields"
    parser.add_argument("--fields", nargs=2, metavar=("SOURCE", "TARGET"), help=fields)
    add_cleaning_arguments(parser, pairs=True)
    parser.epilog = BITEXT_FORMATS


def plan_build(options):
    """The `Build` that the options of `add_arguments` ask for."""
    lengths = bucket_bounds(options.lengths, options.max_length)
    check_length_ratio(options.max_length_ratio)
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
    encoder = BitextEncoder(
        load_tokenizer(options.tokenizer),
        lengths,
        options.max_length,
        options.max_length_ratio,
        options.truncate,
        cleaning,
        reversed_names(reader.name for reader in readers),
    )
    return Build("bitext", readers, encoder, lengths, shaping)


def main(arguments=None):
    parser = argument_parser(__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    print_settings("build_bitext", vars(options))
    manifest = build_records(plan_build(options), options)
    print_summary(manifest, time.perf_counter() - start)


if __name__ == "__main__":
    run_command(main)
