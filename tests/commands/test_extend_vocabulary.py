"""A vocabulary extended for a new language: old ids, old rows and old outputs stay, new rows are means."""

import io
import json

import numpy as np
import pytest
import sentencepiece as spm
from keras import ops

from infoxlm_keras.commands import extend_vocabulary
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.pretrained import load_pretrained, read_info
from infoxlm_keras.text.vocabulary_extension import Segmenter, extend_proto, learn_pieces
from infoxlm_keras.tokenizer import Tokenizer
from running import refused, run
from sample_text import multilingual_sentences, sentences

# Latin words that the old vocabulary splits, and Greek ones that it does not know.
WORDS = "talo joki silta vihreä vanha ποτάμι γέφυρα σπίτι πράσινο παλιό virtaa alla metsä kaupunki katu ovi".split()
ADDED = 30


@pytest.fixture(scope="module")
def text_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("new_text")
    generator = np.random.default_rng(0)
    lines = [" ".join(generator.choice(WORDS, generator.integers(2, 8))) for _ in range(400)]
    (directory / "fi.txt").write_text("\n".join(lines), encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def extended(text_dir, tiny_preset, tmp_path_factory):
    """(the old model, the extended one, the report)."""
    directory = tmp_path_factory.mktemp("extended") / "model"
    run(extend_vocabulary.main, "--model", tiny_preset, "--input", text_dir, "--add", ADDED, "--output_dir", directory)
    report = json.loads((directory / "vocabulary_extension.json").read_text(encoding="utf-8"))
    return load_pretrained(tiny_preset), load_pretrained(directory), report


def test_old_pieces_keep_their_ids_and_mask_moves_behind_the_new_ones(extended):
    old, new, report = extended
    before, after = old.tokenizer.processor, new.tokenizer.processor
    size = before.get_piece_size()
    assert after.get_piece_size() == size + ADDED
    for number in range(size):
        assert after.id_to_piece(number) == before.id_to_piece(number)
        assert after.get_score(number) == before.get_score(number)
    assert [after.id_to_piece(size + number) for number in range(ADDED)] == [new["piece"] for new in report["pieces"]]
    assert report["first_new_id"] == old.tokenizer.mask_id == 255
    assert new.tokenizer.mask_id == 255 + ADDED == new.backbone.vocabulary_size - 1


def test_old_text_without_new_pieces_has_the_same_ids(extended):
    old, new, report = extended
    pieces = [piece["piece"] for piece in report["pieces"]]
    text = [line for line in multilingual_sentences(100) if not any(p in "▁" + line.replace(" ", "▁") for p in pieces)]
    assert len(text) > 300
    assert new.tokenizer.encode(text) == old.tokenizer.encode(text)


def test_new_text_gets_shorter_and_less_unknown(extended, text_dir):
    old, new, report = extended
    text = (text_dir / "fi.txt").read_text(encoding="utf-8").split("\n")
    before, after = (sum(model.tokenizer.encode(text), []) for model in (old, new))
    row = report["languages"]["fi"]
    assert (row["old_tokens"], row["new_tokens"]) == (len(before), len(after))
    assert len(after) < 0.6 * len(before)
    assert after.count(3) < before.count(3)
    # The text has 17 words, nearly all of which became one piece; the others are their letters.
    assert len({token_id for token_id in after if token_id >= 255}) >= 12


def test_every_word_is_split_as_sentencepiece_does(tokenizer):
    segmenter = Segmenter(tokenizer)
    for word in [*WORDS, *"the bridge стоит дверь qqq".split()]:
        assert list(segmenter.split("▁" + word)[0]) == tokenizer.encode([word])[0]


def test_old_rows_stay_new_rows_are_means_and_the_row_of_mask_moves(extended):
    old, new, report = extended
    changed = 0
    for before, after in zip(old.masked_lm.weights, new.masked_lm.weights, strict=True):
        before, after = np.asarray(before), np.asarray(after)
        if before.shape == after.shape:
            np.testing.assert_array_equal(after, before)
            continue
        changed += 1
        np.testing.assert_array_equal(after[:255], before[:255])
        np.testing.assert_array_equal(after[255 + ADDED], before[255])
        for number, piece in enumerate(report["pieces"]):
            expected = np.mean([before[token_id] for token_id in piece["old_ids"]], axis=0)
            np.testing.assert_allclose(after[255 + number], expected, rtol=1e-6, atol=1e-7)
    assert changed == 2  # the token embedding, and the bias of the output


def test_outputs_on_old_text_are_equal_and_the_loss_differs_by_the_new_candidates_only(extended):
    old, new, _ = extended
    token_ids = np.array([[0, *old.tokenizer.encode(sentences("en", 1))[0][:8], 2]], np.int32)
    logits = []
    for model in (old, new):
        hidden = token_ids.copy()
        hidden[0, 3] = model.tokenizer.mask_id
        positions = np.array([[3]], np.int32)
        state = model.backbone({"token_ids": hidden, "padding_mask": np.ones_like(hidden)}, training=False)
        logits.append(np.float64(ops.convert_to_numpy(model.masked_lm.masked_lm_head(state, positions)))[0, 0])
    before, after = logits
    kept = np.r_[after[:255], after[-1]]
    np.testing.assert_allclose(kept, before, rtol=1e-5, atol=1e-5)
    target = token_ids[0, 3]

    def loss(values):
        return np.log(np.exp(values).sum()) - values[target]

    assert abs(loss(kept) - loss(before)) < 1e-5
    more = np.log(np.exp(after).sum() / np.exp(kept).sum())
    assert more > 0 and abs(loss(after) - loss(before) - more) < 1e-5


def test_the_result_is_a_preset_of_its_own_tokenizer(extended, tiny_preset):
    old, new, report = extended
    assert new.info.tokenizer_fingerprint == new.tokenizer.fingerprint == report["new"]["fingerprint"]
    assert new.info.universal_layer == read_info(tiny_preset).universal_layer
    assert load_tokenizer(new.tokenizer.source).fingerprint == new.tokenizer.fingerprint


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"add": 0}, "--add 0: must be at least 1"),
        ({"add": 100_000}, "--add 100000: the text yields only "),
        ({"sentences": 0}, "--sentences 0"),
        ({"character_coverage": 0.5}, "--character_coverage 0.5"),
        ({"exponent": 2}, "--exponent 2"),
        ({"model": "./missing"}, "./missing: no such directory"),
    ],
)
def test_bad_input_is_refused(changed, message, text_dir, tiny_preset, tmp_path, capsys):
    settings = {"model": tiny_preset, "input": text_dir, "add": 10, "output_dir": tmp_path / "deep/out", **changed}
    flags = [item for key, value in settings.items() for item in (f"--{key}", value)]
    assert message in refused(capsys, extend_vocabulary.main, *flags)
    assert not (tmp_path / "deep").exists()


def test_pieces_that_the_old_model_would_never_see_are_left_out():
    """The old model writes all text in lower case, so a piece with a capital would be a row that nothing uses."""
    lines = [f"{word.capitalize()} {other.upper()} {word}" for word in WORDS for other in WORDS]
    old = sentencepiece_of(multilingual_sentences(100), model_type="unigram", normalization_rule_name="nmt_nfkc_cf")
    found = learn_pieces(old, lines, 15)
    assert [piece.piece for piece in found if piece.piece != piece.piece.lower()] == []
    new = Tokenizer(extend_proto(old.proto, found), "new")
    used = set(sum(new.encode(lines), []))
    assert len(used & set(range(old.mask_id, old.mask_id + 15))) >= 12


def test_a_model_without_probabilities_is_refused():
    old = sentencepiece_of(multilingual_sentences(100), model_type="bpe")
    with pytest.raises(InputError, match="is no unigram model"):
        learn_pieces(old, ["ein Haus"], 1)


def sentencepiece_of(lines, **options):
    """`Tokenizer` trained on `lines`."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=250,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return Tokenizer(model.getvalue(), "old")
