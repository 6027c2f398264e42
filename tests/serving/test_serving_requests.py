"""Any request is refused, or each of its rows is answered as if it had come alone: servers join requests."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from infoxlm_keras.models import QuestionAnswering, TokenClassification
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.serving import (
    ClassifierModule,
    EmbeddingModule,
    MaskedLMModule,
    QuestionAnsweringModule,
    TaggingModule,
)
from infoxlm_keras.serving.export import export_module
from tiny_export import POSITIONS, tiny_classifier

HEADS = ("embedding", "cls", "masked_lm", "classifier", "qa", "tagging")
LABELS = ["contradiction", "neutral", "entailment"]
VOCABULARY = 256
START, PAD, MASK = 0, 1, VOCABULARY - 1
LEAST, MOST = -(2**31), 2**31 - 1
# What `outputs` holds where a row has nothing: masked_lm pads its rows to the most masks of any.
EMPTY = {"tokens": b"", "token_ids": PAD, "probabilities": 0.0}


@pytest.fixture(scope="module")
def signatures(tiny_masked_lm, tokenizer, tmp_path_factory):
    """Head -> signatures of its SavedModel."""
    model = PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=2))
    assert tokenizer.vocabulary_size == VOCABULARY
    modules = {
        "embedding": EmbeddingModule(model, pooling="mean"),
        "cls": EmbeddingModule(model, pooling="cls"),
        "masked_lm": MaskedLMModule(model),
        "classifier": ClassifierModule(tiny_classifier(model.backbone, tokenizer), tokenizer, labels=LABELS),
        "qa": QuestionAnsweringModule(QuestionAnswering(model.backbone), tokenizer),
        "tagging": TaggingModule(TokenClassification(model.backbone, 3), tokenizer, LABELS),
    }
    directory = tmp_path_factory.mktemp("heads")
    exports = {head: export_module(module, directory / head / "1", verify=False) for head, module in modules.items()}
    return {head: tf.saved_model.load(str(export.directory)).signatures for head, export in exports.items()}


def ask(signature, token_ids, padding_mask):
    """The outputs as NumPy arrays, or None if the request is refused."""
    try:
        outputs = signature(token_ids=tf.constant(token_ids), padding_mask=tf.constant(padding_mask))
    except tf.errors.InvalidArgumentError:
        return None
    return {name: value.numpy() for name, value in outputs.items()}


def acceptable(token_ids, padding_mask):
    """What docs/serving.md says of `tokens`: masks of 0 and 1, and ids of the vocabulary where the mask is 1."""
    if token_ids.shape != padding_mask.shape or token_ids.shape[1] > POSITIONS:
        return False
    filled = (token_ids == START) & (np.arange(token_ids.shape[1]) > 0)
    real = (padding_mask != 0) & ~filled
    return bool(
        np.isin(padding_mask, (0, 1)).all() and ((token_ids[real] >= 0) & (token_ids[real] < VOCABULARY)).all()
    )


def check_row(together, alone, row):
    """Asserts that a row of one answer equals that of another, in which it is the only one."""
    assert set(together) == set(alone)
    for name, values in together.items():
        value, expected = np.asarray(values[row]), np.asarray(alone[name][0])
        if name in EMPTY and value.shape != expected.shape:
            masks = len(expected)
            assert (value[masks:] == EMPTY[name]).all()
            value = value[:masks]
        if np.issubdtype(value.dtype, np.floating):
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
        else:  # which of two equally likely pieces or classes comes first is chance
            assert value.shape == expected.shape


def requests(ids, masks):
    """Strategy of (token_ids, padding_mask) int32 [batch, length], on both sides of the graph's 12 rows."""

    def of_shape(shape):
        return st.tuples(arrays.arrays(np.int32, shape, elements=ids), arrays.arrays(np.int32, shape, elements=masks))

    return st.tuples(st.integers(0, 15), st.integers(0, 7)).flatmap(of_shape)


known_ids = st.one_of(st.integers(0, VOCABULARY - 1), st.sampled_from([START, PAD, MASK]))
any_ids = st.one_of(known_ids, st.sampled_from([-1, VOCABULARY, LEAST, MOST]), st.integers(LEAST, MOST))
any_masks = st.one_of(st.integers(0, 1), st.integers(-2, 3), st.integers(LEAST, MOST))


def check_rows_alone(signature, token_ids, padding_mask):
    together = ask(signature, token_ids, padding_mask)
    assert (together is not None) == acceptable(token_ids, padding_mask)
    if together is None:
        return
    for row in {0, len(token_ids) // 2, len(token_ids) - 1} & set(range(len(token_ids))):
        alone = ask(signature, token_ids[[row]], padding_mask[[row]])
        check_row(together, alone, row)
    for values in together.values():
        assert len(values) == len(token_ids)
        assert values.dtype == object or np.isfinite(values).all()


@pytest.mark.parametrize("head", HEADS)
@given(request=requests(known_ids, st.integers(0, 1)))
@settings(max_examples=25, deadline=None)
def test_a_mask_with_holes_anywhere_gives_each_row_its_own_answer(signatures, head, request):
    assert acceptable(*request)
    check_rows_alone(signatures[head]["tokens"], *request)


@pytest.mark.parametrize("head", HEADS)
@given(request=requests(any_ids, any_masks))
@settings(max_examples=40, deadline=None)
def test_any_integers_are_refused_or_answered_row_by_row(signatures, head, request):
    check_rows_alone(signatures[head]["tokens"], *request)


@pytest.mark.parametrize("head", HEADS)
def test_masks_that_cancel_out_are_refused(signatures, head):
    """Two rows whose masks have as many entries above zero in all as their sum says, but not each alone."""
    signature, tried = signatures[head]["tokens"], 0
    for first, second in itertools.product(
        itertools.product((0, 1, 2, 3), repeat=2), itertools.product((-2, 0, 1), repeat=2)
    ):
        present = sum(value > 0 for value in first + second)
        if sum(first) + sum(second) != present or set(first + second) <= {0, 1}:
            continue
        tried += 1
        for victims in (1, 14):
            token_ids = np.array([[0, 55, 65], [0, 56, 66]] + [[0, 100, 101]] * victims, np.int32)
            padding_mask = np.array([[1, *first], [1, *second]] + [[1, 1, 1]] * victims, np.int32)
            assert ask(signature, token_ids, padding_mask) is None
    assert tried > 5


@pytest.mark.parametrize(
    ("token_ids", "padding_mask", "message"),
    [
        ([[0, 5, 2]], [[1, 2, 0]], "padding_mask: holds another value than 0"),
        ([[0, 5, 2]], [[1, -1, 1]], "padding_mask: holds another value than 0"),
        ([[0, VOCABULARY, 2]], [[1, 1, 1]], rf"token_ids: holds an id outside of 0\.\.{VOCABULARY - 1}"),
        ([[0, -1, 2]], [[1, 1, 1]], rf"token_ids: holds an id outside of 0\.\.{VOCABULARY - 1}"),
        ([[0, 5, 2]], [[1, 1]], "token_ids and padding_mask: differ in shape"),
        ([[0, 5, 2]], [[1], [1]], "token_ids and padding_mask: differ in shape"),
        (
            [0, 5, 2],
            [1, 1, 1],
            r"Shape of tensor (token_ids|padding_mask) \[3\] is not compatible with expected shape \[\?,\?\]",
        ),
        ([[[0, 5, 2]]], [[[1, 1, 1]]], r"Shape of tensor (token_ids|padding_mask) \[1,1,3\]"),
        ([[0, 5, 2]], 1, "Shape of tensor padding_mask"),
    ],
)
def test_a_refusal_names_what_is_wrong(signatures, token_ids, padding_mask, message):
    for head in HEADS:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            signatures[head]["tokens"](token_ids=tf.constant(token_ids), padding_mask=tf.constant(padding_mask))


@pytest.mark.parametrize("head", HEADS)
def test_what_padding_holds_does_not_matter(signatures, head):
    token_ids = np.array([[0, 7, 9, 2, 1], [0, 8, 2, 1, 1]], np.int32)
    padding_mask = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], np.int32)
    expected = ask(signatures[head]["tokens"], token_ids, padding_mask)
    token_ids[padding_mask == 0] = [LEAST, MOST, -100]
    for name, value in ask(signatures[head]["tokens"], token_ids, padding_mask).items():
        assert (value == expected[name]).all()


@pytest.mark.parametrize("shape", [(), (2, 2), (1, 1), (1, 0), (1, 1, 1)])
@pytest.mark.parametrize("head", HEADS)
def test_strings_of_another_rank_are_refused(signatures, head, shape):
    for name, signature in signatures[head].items():
        if name == "tokens":
            continue
        inputs = {name: tf.fill(shape, "house") for name in signature.structured_input_signature[1]}
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"Shape of tensor ({'|'.join(inputs)}) \["):
            signature(**inputs)


def test_two_texts_have_to_be_as_many(signatures):
    for head, name, inputs in [
        ("embedding", "similarity", ("text_a", "text_b")),
        ("classifier", "pairs", ("text", "text_pair")),
        ("qa", "serving_default", ("question", "context")),
    ]:
        texts = {inputs[0]: tf.constant(["a"]), inputs[1]: tf.constant(["a", "b"])}
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{inputs[0]} and {inputs[1]}: differ in number"):
            signatures[head][name](**texts)


def test_labels_come_with_the_probabilities(signatures):
    for name, signature in signatures["classifier"].items():
        specification = signature.structured_input_signature[1]
        for rows in (0, 3):
            texts = {key: tf.constant(["house", "river", ""][:rows], tf.string) for key in specification}
            if name == "tokens":
                texts = {
                    "token_ids": tf.constant([[0, 7, 2], [0, 8, 2], [0, 2, 2]][:rows] or np.zeros((0, 3)), tf.int32),
                    "padding_mask": tf.ones([rows, 3], tf.int32),
                }
            outputs = {key: value.numpy() for key, value in signature(**texts).items()}
            assert sorted(outputs) == ["label", "labels", "probabilities"]
            assert outputs["labels"].tolist() == [[label.encode() for label in LABELS]] * rows
            likeliest = outputs["probabilities"].argmax(axis=1)
            assert outputs["label"].tolist() == [LABELS[number].encode() for number in likeliest]
