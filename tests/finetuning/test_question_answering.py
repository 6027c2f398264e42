"""Question answering: the model on disk, and the exported spans against a search in plain Python."""

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning.question_answering import load_question_answering, save_question_answering
from infoxlm_keras.models import QuestionAnswering
from infoxlm_keras.serving import QuestionAnsweringModule, export_question_answering
from infoxlm_keras.text.character_offsets import tokenize_with_offsets
from infoxlm_keras.tokenizer import UNKNOWN_ID
from sample_text import sentences

POSITIONS, MAX_QUESTION, MAX_ANSWER = 24, 6, 5
CONTEXTS = [
    " ".join(sentences("ru", 6)),
    sentences("en", 1)[0],
    "  two   spaces,\n lines \t and a tab  ",
    "",
    " \n ",
    "👩‍👩‍👧 emoji e\u0301 房子 河流",
    " ".join(sentences("de", 3) + sentences("hi", 2)),
]
QUESTIONS = ["where?", sentences("en", 1)[0] * 5, "", "x", "y", "who is it?", "der Fluss"]


@pytest.fixture(scope="module")
def model(tiny_masked_lm):
    model = QuestionAnswering(tiny_masked_lm.backbone)
    generator = np.random.default_rng(2)
    model.span_dense.set_weights([generator.normal(0, 1, weight.shape) for weight in model.span_dense.weights])
    return model


@pytest.fixture(scope="module")
def module(model, tokenizer):
    return QuestionAnsweringModule(model, tokenizer, POSITIONS, MAX_QUESTION, MAX_ANSWER)


def best_span(model, tokenizer, question, context):
    """(score, pieces of the answer) by trying every span of every window; None without a token."""
    [question], [context] = tokenizer.encode([question]), tokenizer.encode([context])
    question = question[:MAX_QUESTION]
    room = POSITIONS - 4 - len(question)
    step, best, start = (room + 1) // 2, None, 0
    while True:
        window = context[start : start + room]
        ids = np.array([[0, *question, 2, 2, *window, 2]], np.int32)
        logits = np.asarray(model({"token_ids": ids, "padding_mask": np.ones_like(ids)}))[0]
        logits = logits[len(question) + 3 :][: len(window)]
        for first in range(len(window)):
            for last in range(first, min(first + MAX_ANSWER, len(window))):
                score = logits[first, 0] + logits[last, 1]
                if best is None or score > best[0]:
                    best = score, window[first : last + 1]
        if start + room >= len(context):
            return best
        start += step


def test_spans_equal_a_search_in_python(module, model, tokenizer, tmp_path):
    directory = export_question_answering(
        model, tokenizer, tmp_path, POSITIONS, verify=False, max_question=MAX_QUESTION, max_answer=MAX_ANSWER
    ).directory
    signature = tf.saved_model.load(str(directory)).signatures["serving_default"]
    outputs = {
        name: value.numpy().tolist()
        for name, value in signature(question=tf.constant(QUESTIONS), context=tf.constant(CONTEXTS)).items()
    }
    long = compared = 0
    for row, (question, context) in enumerate(zip(QUESTIONS, CONTEXTS, strict=True)):
        answer = outputs["answer"][row].decode()
        assert context[outputs["start"][row] : outputs["end"][row]] == answer
        cut = context.encode()[outputs["start_byte"][row] : outputs["end_byte"][row]]
        assert cut.decode() == answer
        expected = best_span(model, tokenizer, question, context)
        if expected is None:
            assert answer == "" and outputs["score"][row] == 0
            continue
        assert outputs["score"][row] == pytest.approx(expected[0], abs=1e-4)
        if UNKNOWN_ID not in expected[1]:  # decoded as a sign of its own
            assert answer.split() == tokenizer.decode(expected[1]).split()
            compared += 1
        assert answer == answer.lstrip()
        long += len(tokenizer.encode([context])[0]) > POSITIONS
    assert compared >= 3 and long >= 2  # contexts of several windows were among them


@pytest.mark.parametrize(
    "context",
    [
        "ein\u3000Haus\u3000und",
        "ein\u00a0Haus\u2028und\u200b",
        "\u200bein \u200b Haus\t\u3000und\u3000 ",
        "ein\x01Haus \ufeffund",
        "👩 Haus\u3000e\u0301 und",
    ],
)
def test_every_span_is_served_as_the_characters_of_its_tokens(module, tokenizer, context):
    tokens = tokenize_with_offsets(tokenizer, context)
    spans = [
        (first, last) for first in range(len(tokens)) for last in range(first, min(first + MAX_ANSWER, len(tokens)))
    ]
    begin = 3 + len(tokenizer.encode(["x"])[0])
    assert begin + len(tokens) < POSITIONS

    def sure(token_ids, padding_mask):
        """Logits that are highest at the span of each row."""
        assert token_ids.shape[0] == len(spans)
        places = begin + np.array(spans)
        sides = [tf.one_hot(places[:, side], token_ids.shape[1]) for side in range(2)]
        return {"start_logits": sides[0], "end_logits": sides[1]}

    outputs = module.answer(tf.constant(["x"] * len(spans)), tf.constant([context] * len(spans)), sure)
    found = {name: value.numpy().tolist() for name, value in outputs.items()}
    for row, (first, last) in enumerate(spans):
        start, end = tokens.characters_of(first, last)
        assert (found["answer"][row].decode(), found["start"][row], found["end"][row]) == (
            context[start:end],
            start,
            end,
        )
        assert context.encode()[found["start_byte"][row] : found["end_byte"][row]] == found["answer"][row]


def test_invalid_bytes_and_batches(module):
    question, context = [b"\xff?", b"a", b""], [b"\xe2\x82 the \xf0 house", b"river " * 5000, b"\x00"]
    together = module.answer(tf.constant(question), tf.constant(context), module.predict)
    for row in range(3):
        pair = [tf.constant(side[row : row + 1]) for side in (question, context)]
        alone = module.answer(*pair, module.predict)
        np.testing.assert_allclose(alone["score"][0], together["score"][row], atol=1e-4)
        assert alone["answer"][0] == together["answer"][row]
        text = context[row].decode("utf-8", "replace")
        start, end = int(alone["start"][0]), int(alone["end"][0])
        assert text[start:end].encode() == alone["answer"][0].numpy()
    empty = tf.constant([], tf.string)
    assert module.answer(empty, empty, module.predict)["answer"].shape == (0,)


def test_windows_cover_the_context_and_no_more_than_allowed(model, tokenizer):
    module = QuestionAnsweringModule(model, tokenizer, POSITIONS, MAX_QUESTION, max_windows=4)
    contexts = tf.RaggedTensor.from_row_lengths(tf.range(100 + 3 + 0 + 14), [100, 3, 0, 14])
    rows, tokens = module.windows(tf.constant([6, 6, 6, 6]), contexts)
    assert rows.numpy().tolist() == [0, 0, 0, 0, 1, 2, 3]
    assert tokens.to_list()[:4] == [list(range(start, start + 14)) for start in (0, 7, 14, 21)]
    assert tokens.to_list()[4:] == [[100, 101, 102], [], list(range(103, 117))]


def test_the_model_on_disk(model, tokenizer, tmp_path):
    save_question_answering(tmp_path / "qa", model, tokenizer)
    again, its_tokenizer = load_question_answering(tmp_path / "qa")
    assert its_tokenizer.fingerprint == tokenizer.fingerprint
    for weight, expected in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_what_is_no_model_is_refused(tiny_preset, tmp_path):
    with pytest.raises(InputError, match="no such directory"):
        load_question_answering(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no question-answering model; fine-tune one"):
        load_question_answering(tiny_preset)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("task.json", b"[]", "holds no question-answering model"),
        ("task.json", b'{"class_name": 3}', "holds no question-answering model"),
        ("task.json", b"[" * 100_000, "task.json: is not valid JSON: it is nested too deeply"),
        (
            "task.json",
            b'{"class_name": "QuestionAnswering", "config": 5}',
            "is not a complete question-answering preset",
        ),
        ("config.json", b"{}", "is not a complete question-answering preset"),
        ("task.weights.h5", b"no HDF5", "is not a complete question-answering preset"),
        ("task.weights.h5", None, "lacks task.weights.h5, the weights of the head"),
    ],
)
def test_a_damaged_model_is_refused(model, tokenizer, tmp_path, name, content, message):
    save_question_answering(tmp_path / "qa", model, tokenizer)
    (tmp_path / "qa" / name).unlink()
    if content is not None:
        (tmp_path / "qa" / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_question_answering(tmp_path / "qa")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 9, "max_question": 6}, "max_length = 9: leaves no room"),
        ({"max_answer": 0}, "max_answer = 0: must be at least 1"),
        ({"max_windows": 0}, "max_windows = 0: must be at least 1"),
    ],
)
def test_bad_settings(model, tokenizer, options, message):
    with pytest.raises(InputError, match=message):
        QuestionAnsweringModule(model, tokenizer, **options)
