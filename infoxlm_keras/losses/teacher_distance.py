"""A student's vectors of a sentence and of its translation against the teacher's vector of the sentence."""

from keras import ops

from infoxlm_keras.annotations import Tensor


def teacher_distance(queries: Tensor, documents: Tensor, teacher: Tensor) -> Tensor:
    """Mean of the squared distances of both vectors from the teacher's, float32 [n], 0..4.

    `L_i = (|q_i - t_i|^2 + |d_i - t_i|^2) / 2`. The student learns to put a translation where the teacher puts the
    sentence: Reimers and Gurevych 2020, https://arxiv.org/abs/2004.09813, eq. 1, of vectors of unit length and summed
    over the dimensions.

    Args:
        queries: float32 [n, dim], the student's vectors of the sentences, of unit length.
        documents: float32 [n, dim], of their translations.
        teacher: float [n, dim], of unit length; no gradient flows into it.

    Example:
    ```python
    teacher_distance(ops.eye(2), ops.eye(2), ops.eye(2))  # 0, 0
    ```
    """
    teacher = ops.stop_gradient(ops.cast(teacher, "float32"))
    distances = ops.sum(ops.square(queries - teacher) + ops.square(documents - teacher), axis=-1)
    return distances / 2
