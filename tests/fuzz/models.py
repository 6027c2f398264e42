"""Models from files, and served ones: these import Keras, TensorFlow or PyTorch."""

import functools
import json

import numpy as np

from fuzz.harness import RefusedError, Target
from fuzz.mutations import mutate_bytes, mutate_json
from fuzz.texts import SENTENCES

VOCABULARY_SIZE, POSITIONS = 256, 32
TOKEN_IDS = np.array([[0, 9, 12, 2, 1, 1], [0, 5, 6, 7, 8, 2]], np.int32)


@functools.cache
def tokenizer():
    from infoxlm_keras.text.vocabulary import train_sentencepiece
    from infoxlm_keras.tokenizer import Tokenizer

    return Tokenizer(train_sentencepiece(SENTENCES, VOCABULARY_SIZE))


@functools.cache
def masked_lm():
    from infoxlm_keras.models import EncoderSize, build_masked_lm

    size = EncoderSize(num_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=16, max_sequence_length=POSITIONS)
    model = build_masked_lm(size, tokenizer().vocabulary_size)
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(0, 0.5, weight.shape) for weight in model.weights])
    return model


def make_preset(directory):
    from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, write_preset

    info = PretrainingInfo(universal_layer=1, steps=3, tasks=["xlco"], tokenizer_fingerprint=tokenizer().fingerprint)
    write_preset(directory, PretrainedModel(masked_lm(), tokenizer(), info))


def load(directory):
    """The encoder's output for two sequences, zero at their padding: what is there is not defined."""
    from infoxlm_keras.pretrained import load_pretrained

    model = load_pretrained(directory)
    output = model.backbone({"token_ids": TOKEN_IDS, "padding_mask": (TOKEN_IDS != 1).astype(np.int32)})
    return (np.asarray(output) * (TOKEN_IDS != 1)[..., None]).tolist()


def same_numbers(value, reference):
    value, reference = np.asarray(value), np.asarray(reference)
    return value.shape == reference.shape and np.allclose(value, reference, rtol=0, atol=1e-4, equal_nan=True)


def make_huggingface(directory):
    from tiny_huggingface import huggingface_model, write_checkpoint

    model = huggingface_model(
        tokenizer().vocabulary_size,
        num_hidden_layers=1,
        hidden_size=8,
        intermediate_size=16,
        max_position_embeddings=34,
    )
    write_checkpoint(directory, tokenizer(), model)


def by_transformers(directory):
    """The encoder's output by transformers, where it loads the directory without changing anything."""
    import torch
    import transformers

    try:
        model, found = transformers.XLMRobertaForMaskedLM.from_pretrained(directory, output_loading_info=True)
    except Exception as error:  # whatever it raises, it has no opinion
        return None if "safetensors" not in type(error).__name__ else _refuse(error)
    if any(found[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        return None
    token_ids = torch.tensor(TOKEN_IDS.astype(np.int64))
    with torch.no_grad():
        output = model.eval().roberta(token_ids, attention_mask=(token_ids != 1).long()).last_hidden_state.numpy()
    return output * (TOKEN_IDS != 1)[..., None] if np.isfinite(output).all() else None


def _refuse(error):
    raise RefusedError(str(error))


@functools.cache
def pretrainer():
    from infoxlm_keras.tasks import MMLM
    from tiny_pretraining import TWO_LAYERS, tiny_pretrainer

    return tiny_pretrainer([MMLM()], size=TWO_LAYERS)


def make_checkpoints(directory):
    from infoxlm_keras.runs.checkpoint import save_checkpoint

    for step in (3, 6):
        save_checkpoint(directory, pretrainer(), step, {"seed": 1}, {"loss": 1 / step}, keep=3, best_by="loss")


def restore(directory):
    """Step and weights; a damaged checkpoint is passed over for the one before it."""
    from infoxlm_keras.runs.checkpoint import best_score, restore_newest

    best = best_score(directory, "loss")
    restored = restore_newest(directory, pretrainer(), report=lambda line: None)
    weights = [float(np.sum(weight)) for weight in pretrainer().masked_lm.get_weights()]
    return [None if restored is None else restored.step, best, weights]


def is_a_checkpoint(value, _):
    return value[0] in (3, 6)


@functools.cache
def signatures():
    import tempfile

    import tensorflow as tf

    from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
    from infoxlm_keras.serving import export_embedding

    model = PretrainedModel(masked_lm(), tokenizer(), PretrainingInfo(universal_layer=1))
    directory = export_embedding(model, tempfile.mkdtemp(prefix="fuzz-served-"), verify=False).directory
    return tf.saved_model.load(str(directory))


def make_request(directory):
    """Two rows of six: ids and masks, int32; and a text."""
    tensors = np.stack([TOKEN_IDS, (TOKEN_IDS != 1).astype(np.int32)])
    (directory / "tokens").write_bytes(tensors.astype("<i4").tobytes())


def requested(directory):
    data = (directory / "tokens").read_bytes()
    values = np.frombuffer(data[: len(data) // 48 * 48], "<i4").reshape(2, -1, 6)[:, :8]
    return np.ascontiguousarray(values)


def answers_of(tensors):
    import tensorflow as tf

    from infoxlm_keras.errors import InputError

    call = signatures().signatures["tokens"]
    try:
        return (
            call(token_ids=tf.constant(tensors[0]), padding_mask=tf.constant(tensors[1]))["embedding"].numpy().tolist()
        )
    except tf.errors.OpError as error:
        # A server hands this on as the status of the request.
        raise InputError(str(error).split("\n")[0]) from None


def tokens(directory):
    return answers_of(requested(directory))


def one_by_one(directory):
    """Each row asked for alone: an answer depends on its own row and no other."""
    from infoxlm_keras.errors import InputError

    tensors = requested(directory)
    try:
        rows = [answers_of(tensors[:, number : number + 1]) for number in range(tensors.shape[1])]
    except InputError:
        return None
    return np.concatenate(rows) if rows else None


def make_text(directory):
    (directory / "text").write_bytes("Haus und Fluss\nthe house\n房子 e\u0301".encode())


def text_vectors(directory, texts=None):
    import tensorflow as tf

    texts = (directory / "text").read_bytes().split(b"\n") if texts is None else texts
    return signatures().signatures["serving_default"](text=tf.constant(texts, tf.string))["embedding"].numpy().tolist()


def texts_one_by_one(directory):
    texts = (directory / "text").read_bytes().split(b"\n")
    vectors = np.concatenate([text_vectors(directory, [text]) for text in texts])
    lengths = np.linalg.norm(vectors, axis=1)
    return vectors if np.allclose(lengths, 1, atol=1e-3) else lengths


def mutate_file(random, data):
    """JSON as JSON, anything else as bytes."""
    try:
        json.loads(data)
    except ValueError:
        return mutate_bytes(random, data)
    return mutate_json(random, data)


HEAVY = {"heavy": True, "seconds": 60.0}
TARGETS = [
    Target("preset settings", make_preset, load, mutate=mutate_json, files="*.json", **HEAVY),
    Target("preset weights", make_preset, load, files="*.h5", **HEAVY),
    Target("huggingface config", make_huggingface, load, by_transformers, agrees=same_numbers, mutate=mutate_json,
           files="config.json", **HEAVY),
    Target("huggingface tensors", make_huggingface, load, by_transformers, agrees=same_numbers,
           files="model.safetensors", **HEAVY),
    Target("run checkpoints", make_checkpoints, restore, restore, agrees=is_a_checkpoint, mutate=mutate_file, **HEAVY),
    Target("signature tokens", make_request, tokens, one_by_one, agrees=same_numbers, **HEAVY),
    Target("signature text", make_text, text_vectors, texts_one_by_one, agrees=same_numbers, **HEAVY),
]  # fmt: skip
