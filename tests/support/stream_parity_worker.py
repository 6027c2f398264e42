"""Runs the pre-training command once for each line of arguments: `python stream_parity_worker.py REPLICAS FILE`.

FILE holds a JSON list of lists of arguments. With REPLICAS = 0 the command runs as it is. With REPLICAS = R it runs on
one device, but drops what R replicas would drop: row i of a batch gets the mask of the replica whose share it is in.
"""

import json
import os
import pathlib
import sys

if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

from infoxlm_keras.commands import pretrain
from infoxlm_keras.distribution.workarounds import replica_seed


def drop_as_replicas_do(replicas):
    """Makes dropout on one device that of `replicas` replicas, each with a contiguous share of the rows."""
    random = keras.src.backend.random

    def dropout(inputs, rate, noise_shape=None, seed=None):
        assert noise_shape is None
        seed = keras.src.random.seed_generator.draw_seed(seed)
        shares = [
            tf.nn.experimental.stateless_dropout(share, rate=rate, seed=random._cast_seed(replica_seed(seed, index)))
            for index, share in enumerate(tf.split(inputs, replicas))
        ]
        return tf.concat(shares, axis=0)

    random.dropout = dropout


def main(replicas, path):
    if int(replicas):
        drop_as_replicas_do(int(replicas))
    for arguments in json.loads(pathlib.Path(path).read_text()):
        pretrain.main(arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
