"""Encodes sentence pairs and sorts them into length buckets: shuffled TFRecord shards for TLM and XLCO.

Input files are two-column <src>-<tgt>.tsv, Moses pairs X.<src>-<tgt>.<src> + X.<src>-<tgt>.<tgt>, archives of
these as OPUS ships them, and other formats below. The command cleans the text first. It drops and counts
pairs with an empty side, with identical sides, with a side above --max_length tokens, and repeated pairs. Pairs in
both directions (en-de and de-en) are one corpus: a pair in both stays in the direction whose name sorts first. Writes
DIR/bitext/<src>-<tgt>/length-NNN-*.tfrecord and DIR/bitext/manifest.json; each
record is a tf.train.Example with the int64 lists `source_ids` and `target_ids`, without special tokens. A pair's
bucket is the smallest of --lengths that its longer side does not exceed.

    infoxlm build-bitext --input pairs/ --tokenizer tokenizer/ --output_dir data/
"""

from collections.abc import Sequence

from infoxlm_keras.building import bitext_plan
from infoxlm_keras.building.command import run_builder


def main(arguments: Sequence[str] | None = None) -> None:
    run_builder("build_bitext", __doc__, bitext_plan, arguments)
