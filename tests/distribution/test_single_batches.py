"""`train_on_batch` and `test_on_batch` on two replicas: the results of one device on the same global batch."""

import json
import os
import sys

import pytest

from repository import REPOSITORY

CODE = """
import json, sys
sys.path.insert(0, 'tests/support')
import numpy as np
from infoxlm_keras.distribution.strategies import choose_distribution
from infoxlm_keras.errors import InputError
from infoxlm_keras.tasks import MMLM, XLCO
from tiny_pretraining import masked_lm_batch, pair_batch, tiny_pretrainer

generator = np.random.default_rng(0)
batch = {'mmlm': masked_lm_batch(generator, 8, 10), 'xlco': pair_batch(generator, 8, 8)}
distribution = choose_distribution('mirrored', replicas=int(sys.argv[1]))
with distribution.scope(), distribution.variables():
    pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=32, in_batch_negatives=True)], accumulation_steps=2)
with distribution.scope():
    found = [pretrainer.test_on_batch(batch, return_dict=True), pretrainer.train_on_batch(batch, return_dict=True)]
    found.append(pretrainer.test_on_batch(batch, return_dict=True))
    found = [{name: float(value) for name, value in logs.items()} for logs in found]
    import tensorflow as tf
    whole = tf.data.Dataset.from_tensors((batch,)).repeat(3)
    found.append({'mean of all': pretrainer.evaluate(whole, verbose=0, return_dict=True)['loss']})
    if distribution.num_replicas > 1:
        try:
            pretrainer.evaluate(whole.repeat(), verbose=0)
        except InputError as error:
            assert 'evaluate: give steps' in str(error)
        try:
            pretrainer.fit((batch for _ in range(2)), steps_per_epoch=2)
        except InputError as error:
            found[0]['refused'] = str(error)
    print(json.dumps([found, int(pretrainer.task('xlco').queue.count.numpy())]))
"""


def result(forked_python, replicas):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KERAS_BACKEND": "tensorflow"}
    words = [sys.executable, "-c", CODE, str(replicas)]
    done = forked_python.run(words, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_two_replicas_share_the_batch(forked_python):
    (one, one_count), (two, two_count) = (result(forked_python, replicas) for replicas in (1, 2))
    assert "give a tf.data.Dataset of global batches" in two[0].pop("refused")
    # Evaluation adds nothing to the queue.
    assert one_count == two_count == 8
    for expected, actual in zip(one, two, strict=True):
        assert actual == pytest.approx(expected, rel=1e-4)
