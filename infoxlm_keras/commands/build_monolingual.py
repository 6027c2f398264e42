"""Packs monolingual text into blocks of token ids: shuffled TFRecord shards for masked language modelling (MMLM).

Input files are named <lang>.txt (or .gz, .xz, .bz2, .zst of it) and hold one sentence a line, with a blank line
between documents; other formats are below. Text is cleaned first. Whole sentences are packed in order, `<s> sentence
</s> sentence </s> ...`; a sentence is cut only if it is longer than a block. Writes DIR/mmlm/<lang>/*.tfrecord and
DIR/mmlm/manifest.json; each record is a tf.train.Example with the int64 list `token_ids`.

    python data_prep/build_monolingual.py --input text/ --tokenizer tokenizer/ --output_dir data/
"""

import time

from infoxlm_keras.building.build import Build, add_build_arguments, build_records
from infoxlm_keras.text.cleaning.options import add_cleaning_arguments, cleaning_of
from infoxlm_keras.building.monolingual_encoder import MonolingualEncoder
from infoxlm_keras.building.packing import check_sequence_length
from infoxlm_keras.text.readers import MONOLINGUAL_FORMATS, find_monolingual
from infoxlm_keras.building.summary import print_found, print_summary
from infoxlm_keras.command_line import argument_parser, print_settings, run_command
from infoxlm_keras.tokenizer import load_tokenizer


def add_arguments(parser):
    """Adds this builder's options to an `argparse` parser."""
    add_build_arguments(parser)
    parser.add_argument("--sequence_length", type=int, default=512, help="most tokens of a block, with special ones")
    parser.add_argument("--break_documents", action="store_true", help="end a block where a document ends")
    parser.add_argument(
        "--deduplicate", action="store_true", help="keep a sentence of a language once, at its first place"
    )
    parser.add_argument("--fields", nargs=1, metavar="FIELD", help="field with the text, where a format has fields")
    add_cleaning_arguments(parser, pairs=False)
    parser.epilog = MONOLINGUAL_FORMATS


def plan_build(options):
    """The `Build` that the options of `add_arguments` ask for."""
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


def main(arguments=None):
    parser = argument_parser(__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    print_settings("build_monolingual", vars(options))
    manifest = build_records(plan_build(options), options)
    print_summary(manifest, time.perf_counter() - start)


if __name__ == "__main__":
    run_command(main)
