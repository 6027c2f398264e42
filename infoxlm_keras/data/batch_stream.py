"""What training needs of a stream of batches. No TensorFlow is imported here."""

from typing import Any, Protocol


class BatchStream(Protocol):
    """An endless stream of one pretext task's batches; see `infoxlm_keras.data.streams`.

    Attributes:
        name: str, the task's name.
        batch_size: int, samples of one update, all micro-batches together.
    """

    name: str
    batch_size: int

    def dataset(self, start_step: int = 0) -> Any:
        """`tf.data.Dataset` of batches from number `start_step` on: dicts of name to tensor [batch_size, ...]."""
