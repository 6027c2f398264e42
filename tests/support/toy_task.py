"""A pretext task of another package: its module and its entry point, written on the spot."""

MODULE = '''
"""Is the token at position 1 one of the upper half of the vocabulary?"""

import tensorflow as tf
from keras import ops

from infoxlm_keras.settings import PositiveInt, TaskSettings
from infoxlm_keras.tasks.pretext_task import PretextTask, TaskResult


class UpperHalfSettings(TaskSettings):
    length: PositiveInt = 7


class UpperHalfStream:
    """Batch number s is a function of s alone; it reads no records."""

    name = "upper_half"

    def __init__(self, batch_size, length, vocabulary_size):
        self.batch_size, self.length, self.vocabulary_size = batch_size, length, vocabulary_size

    def dataset(self, start_step=0):
        def batch(step):
            shape, seed = [self.batch_size, self.length], tf.stack([step, 7])
            token_ids = tf.random.stateless_uniform(shape, seed, 4, self.vocabulary_size - 1, tf.int32)
            upper = tf.cast(token_ids[:, 1] >= self.vocabulary_size // 2, tf.int32)
            return {"token_ids": token_ids, "padding_mask": tf.ones_like(token_ids), "upper": upper}

        return tf.data.Dataset.range(start_step, 2**31).map(batch)


class UpperHalf(PretextTask):
    task_name = "upper_half"
    label = "Upper half"
    Settings = UpperHalfSettings
    average_names = ("certainty",)
    console_numbers = {"certainty": "certainty {:.3f}"}
    panels = {"Certainty of the toy task": {"certainty": "certainty"}}

    @classmethod
    def stream(cls, settings, manifest, batch_size, longest, vocabulary_size, **common):
        return UpperHalfStream(batch_size, settings.length, vocabulary_size)

    @classmethod
    def longest_sequence(cls, manifest, longest):
        return 7

    def bind(self, encoder):
        self.encoder = encoder
        self.kernel = self.add_weight(name="toy_kernel", shape=(encoder.backbone.hidden_dim, 2))
        counter = {"shape": (), "initializer": "zeros", "dtype": "int32", "trainable": False}
        self.updates = self.add_weight(name="toy_updates", **counter)
        self.built = True

    def count(self, batch):
        return ops.cast(ops.shape(batch["upper"])[0], "float32")

    def result(self, batch, training, shared=None):
        inputs = {name: batch[name] for name in ("token_ids", "padding_mask")}
        state = self.encoder.hidden_state(inputs, training=training)[:, 1]
        logits = ops.matmul(ops.cast(state, "float32"), self.kernel)
        losses = ops.sparse_categorical_crossentropy(batch["upper"], logits, from_logits=True)
        guesses = ops.cast(ops.argmax(logits, axis=-1), "int32")
        return TaskResult(
            loss_sum=ops.sum(losses),
            count=self.count(batch),
            correct_sum=ops.sum(ops.cast(ops.equal(guesses, batch["upper"]), "float32")),
            num_candidates=ops.cast(2, "float32"),
            averages={"certainty": ops.sum(ops.max(ops.softmax(logits), axis=-1))},
        )

    def after_update(self, step):
        self.updates.assign(self.updates + 1)

    def state_numbers(self, update, samples_per_step):
        return {"updates": int(ops.convert_to_numpy(self.updates))}
'''


def write_package(directory, name="upper_half", value="toy_package:UpperHalf"):
    """Writes the module and its entry point into `directory`, which then goes on PYTHONPATH."""
    (directory / "toy_package.py").write_text(MODULE)
    metadata = directory / "toy_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[infoxlm_keras.pretext_tasks]\n{name} = {value}\n")
