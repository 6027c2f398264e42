"""Checks that a SavedModel in a fresh process gives the outputs of the Keras model."""

import errno
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.evaluation.embedding import SPECIAL_TOKENS, pad
from infoxlm_keras.files import without_wildcards
from infoxlm_keras.serving.text_to_ids import MASK_TEXT, MaskedTextToIds
from infoxlm_keras.serving.vector_types import rounding_excess
from infoxlm_keras.tokenizer import END_ID, START_ID

if TYPE_CHECKING:
    from infoxlm_keras.serving.serving_module import ServingModule

SCRIPT = pathlib.Path(__file__).with_name("check.py")
# Of float32 sums, relative to the output's size where that is above 1.
TOLERANCE = 1e-5
# Many scripts, and input that breaks tokenizers: empty text, white space, controls, emoji, combining marks, bad bytes.
TEXTS = (
    b"",
    b" \t\r\n",
    b"The file could not be opened.",
    "Die Datei konnte nicht geöffnet werden.".encode(),
    "Не удалось открыть файл.".encode(),
    "Δεν ήταν δυνατό το άνοιγμα του αρχείου.".encode(),
    "फ़ाइल नहीं खोली जा सकी।".encode(),
    "ファイルを開けませんでした。".encode(),
    "无法打开文件。".encode(),
    "파일을 열 수 없습니다.".encode(),
    "تعذر فتح الملف.".encode(),
    f"Open the {MASK_TEXT} and close the {MASK_TEXT}.".encode(),
    "👩‍👩‍👧 e\u0301 \u202e\u0000\u0007".encode(),
    b"\xff\xfe cut \xe2\x82",
    b"a very long text " * 2000,
)


def verify_export(module: "ServingModule", directory: PathLike, texts: Iterable[bytes] = TEXTS) -> float:
    """Compares every signature of a SavedModel with the model it came from, from text to output.

    The reference token ids come from `Tokenizer`, not from the graph's own ops. A float32 export must equal the Keras
    model. A smaller one must equal the same arithmetic in this process; its difference from Keras is returned. Vectors
    in int8 or bits must be a rounding of vectors that equal the model's.

    Args:
        module: `ServingModule` that was exported.
        directory: path of the SavedModel.
        texts: sequence of bytes.

    Returns:
        float, the largest difference of any output from the Keras model's.

    Raises:
        RuntimeError: if an output is not finite or differs by more than 1e-5 * (1 + |x|), x the
            expected value, a vector is not of unit length
            although the module normalises, or the process fails.
    """
    texts = list(texts)
    token_ids, padding_mask = _reference_ids(module.text_to_ids, texts)
    # On the CPU, as in the fresh process: accelerators may round products to fewer bits.
    with tf.device("/CPU:0"):
        keras_answers = module.answers(texts, token_ids, padding_mask, module.reference)
        expected = keras_answers
        if module.storage != "float32":
            expected = module.answers(texts, token_ids, padding_mask, module.predict)
    answers = run_in_fresh_process(directory, module.exported(module.requests(texts, token_ids, padding_mask)))
    differences = [0.0]
    for key, answer in answers.items():
        signature, _, name = key.partition("/")
        reference = expected[signature][name].numpy()
        if name == "embedding" and module.vectors != "float32":
            excess = rounding_excess(answer, reference)
            if not excess <= TOLERANCE:
                raise RuntimeError(f"{directory}: {key} is no {module.vectors} rounding of the Keras model's vectors")
            differences.append(rounding_excess(answer, keras_answers[signature][name].numpy()))
            continue
        if not np.issubdtype(answer.dtype, np.floating):
            continue  # ids and strings: equally likely pieces have no defined order
        if answer.shape != reference.shape or not np.isfinite(answer).all():
            raise RuntimeError(f"{directory}: {key} is not finite, or {answer.shape} for {reference.shape}")
        difference = largest_difference(answer, reference)
        if not np.allclose(answer, reference, rtol=TOLERANCE, atol=TOLERANCE):
            raise RuntimeError(f"{directory}: {key} differs from the Keras model by {difference:.2e}")
        if getattr(module, "normalize", False) and name == "embedding":
            deviation = np.abs(np.linalg.norm(answer, axis=-1) - 1).max()
            if not deviation <= TOLERANCE:
                raise RuntimeError(f"{directory}: {key} is {deviation:.2e} away from unit length")
        differences.append(largest_difference(answer, keras_answers[signature][name].numpy()))
    return max(differences)


def largest_difference(array: Array, other: Array) -> float:
    """The largest absolute difference of two float arrays of one shape; 0 for empty ones."""
    return float(np.abs(array - other).max(initial=0.0))


def run_in_fresh_process(directory: PathLike, requests: Mapping[str, Mapping[str, Any]]) -> dict[str, Array]:
    """The outputs of a SavedModel in a process with tensorflow and tensorflow_text, but without Keras.

    Args:
        directory: str or path of the SavedModel (a version).
        requests: dict, signature -> input -> list of bytes, or int array.

    Returns:
        dict: "serving_default/embedding" or "tokens/embedding" (signature/output) -> array.

    Raises:
        OSError: if the disk has no space for its outputs.
        RuntimeError: with the end of its messages, if the process fails otherwise.
    """
    with tempfile.TemporaryDirectory() as scratch:
        request, answer = pathlib.Path(scratch, "request.json"), pathlib.Path(scratch, "answer.npz")
        plain = {
            signature: {name: _plain(values) for name, values in inputs.items()}
            for signature, inputs in requests.items()
        }
        request.write_text(json.dumps(plain), encoding="utf-8")
        with without_wildcards(directory) as plain_path:
            process = subprocess.run(
                [sys.executable, "-P", str(SCRIPT), plain_path, str(request), str(answer)],
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        if process.returncode:
            for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                if os.strerror(number) in process.stdout:
                    raise OSError(number, os.strerror(number), scratch)
            raise RuntimeError(f"{directory}: cannot be loaded and run in a fresh process:\n{process.stdout[-4000:]}")
        with np.load(answer) as content:
            return dict(content)


def _plain(values):
    """`values` for JSON: bytes as Latin-1 text, numbers as lists."""
    if isinstance(values, np.ndarray):
        return values.tolist()
    return [value.decode("latin-1") for value in values]


def _reference_ids(text_to_ids, texts):
    """`text_to_ids(texts)` by the Python tokenizer: int32 [batch, length] `token_ids` and `padding_mask`."""
    tokenizer = text_to_ids.tokenizer
    masked = isinstance(text_to_ids, MaskedTextToIds)
    rows = []
    for text in texts:
        text = text.decode("utf-8", "replace")
        first, *others = tokenizer.encode(text.split(MASK_TEXT) if masked else [text])
        tokens = first + [token_id for segment in others for token_id in (tokenizer.mask_id, *segment)]
        rows.append([START_ID, *tokens[: text_to_ids.max_length - SPECIAL_TOKENS], END_ID])
    return pad(rows, max(map(len, rows)))
