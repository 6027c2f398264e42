"""Packs monolingual text into blocks of token ids: shuffled TFRecord shards for masked language modelling (MMLM).

Input files are named <lang>.txt (or .gz, .xz, .bz2, .zst of it) and hold one sentence a line, with a blank line
between documents; other formats are below. Text is cleaned first. Whole sentences are packed in order, `<s> sentence
</s> sentence </s> ...`; a sentence is cut only if it is longer than a block. Writes DIR/mmlm/<lang>/*.tfrecord and
DIR/mmlm/manifest.json; each record is a tf.train.Example with the int64 list `token_ids`.

    infoxlm build-monolingual --input text/ --tokenizer tokenizer/ --output_dir data/
"""

from collections.abc import Sequence

from infoxlm_keras.building import monolingual_plan
from infoxlm_keras.building.command import run_builder


def main(arguments: Sequence[str] | None = None) -> None:
    run_builder("build_monolingual", __doc__, monolingual_plan, arguments)
