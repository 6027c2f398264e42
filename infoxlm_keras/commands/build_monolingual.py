"""Packs monolingual text into blocks of token ids: shuffled TFRecord shards for masked language modelling (MMLM).

Input files are named <lang>.txt (or .gz, .xz, .bz2, .zst of it) and hold one sentence a line, with a blank line
between documents; other formats are below. Text is cleaned first. Whole sentences are packed in order, `<s> sentence
</s> sentence </s> ...`; a sentence is cut only if it is longer than a block. Writes DIR/mmlm/<lang>/*.tfrecord and
DIR/mmlm/manifest.json; each record is a tf.train.Example with the int64 list `token_ids`.

    infoxlm build-monolingual --input text/ --tokenizer tokenizer/ --output_dir data/
"""

import time
from collections.abc import Sequence

from infoxlm_keras.building.build import build_records
from infoxlm_keras.building.monolingual_plan import add_arguments, plan_build
from infoxlm_keras.building.summary import print_summary
from infoxlm_keras.command_line import argument_parser, print_settings


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    print_settings("build_monolingual", vars(options))
    manifest = build_records(plan_build(options), options)
    print_summary(manifest, time.perf_counter() - start)
