"""A trimmed vocabulary: what stays keeps its order and its rows, and text without a lost piece its hidden states."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoxlm_keras.commands import trim_vocabulary
from infoxlm_keras.models import hidden_states_model
from infoxlm_keras.pretrained import PretrainingInfo, load_pretrained, save_pretrained
from infoxlm_keras.text.vocabulary_trimming import PieceCounts, kept_ids, trimmed_proto
from infoxlm_keras.tokenizer import Tokenizer
from running import refused, run
from sample_text import multilingual_sentences, sentences


@pytest.fixture(scope="module")
def text_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("text")
    for language in ("en", "de"):
        (directory / f"{language}.txt").write_text("\n".join(sentences(language, 60)), encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def trimmed(text_dir, tiny_preset, tmp_path_factory):
    """(the old model, the trimmed one, the report)."""
    directory = tmp_path_factory.mktemp("trimmed") / "model"
    run(trim_vocabulary.main, "--model", tiny_preset, "--input", text_dir, "--output_dir", directory)
    report = json.loads((directory / "vocabulary_trimming.json").read_text(encoding="utf-8"))
    return load_pretrained(tiny_preset), load_pretrained(directory), report


def test_ids_keep_their_order_and_the_rows_are_theirs(trimmed):
    old, new, report = trimmed
    ids = report["old_ids"]
    assert ids == sorted(ids) and ids[:4] == [0, 1, 2, 3] and ids[-1] == old.tokenizer.mask_id
    assert len(ids) == new.tokenizer.vocabulary_size == new.backbone.vocabulary_size < 256
    before, after = old.tokenizer.processor, new.tokenizer.processor
    for new_id, old_id in enumerate(ids[4:-1], start=4):
        assert after.id_to_piece(new_id - 1) == before.id_to_piece(old_id - 1)
        assert after.get_score(new_id - 1) == before.get_score(old_id - 1)
    changed = 0
    for one, other in zip(old.masked_lm.weights, new.masked_lm.weights, strict=True):
        one, other = np.asarray(one), np.asarray(other)
        changed += one.shape != other.shape
        np.testing.assert_array_equal(other, one if one.shape == other.shape else one[ids])
    assert changed == 2  # the token embedding, and the bias of the output
    assert report["weights"]["new"] == new.masked_lm.count_params()
    assert new.info.tokenizer_fingerprint == new.tokenizer.fingerprint


def test_text_without_a_lost_piece_has_the_same_pieces_and_hidden_states(trimmed):
    old, new, report = trimmed
    ids = np.array(report["old_ids"])
    texts = sentences("en", 100) + sentences("de", 100)  # 40 of each were not in the text
    kept = [text for text in texts if set(old.tokenizer.encode(text)) <= set(ids.tolist())]
    assert len(kept) >= 120 and {text: 0 for text in kept}
    for before, after in zip(old.tokenizer.encode(kept), new.tokenizer.encode(kept), strict=True):
        assert before == ids[after].tolist()
    states = []
    for model in (old, new):
        token_ids = np.array([[0, *model.tokenizer.encode(kept[0])[:20], 2]], np.int32)
        inputs = {"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}
        states.append([np.asarray(state) for state in hidden_states_model(model.backbone)(inputs)])
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)


def test_lost_tokens_are_counted(trimmed, text_dir):
    old, new, report = trimmed
    assert {language: row["of_lost_pieces"] for language, row in report["languages"].items()} == {"de": 0, "en": 0}
    text = (text_dir / "en.txt").read_text(encoding="utf-8").split("\n")
    assert report["languages"]["en"]["tokens"] == sum(map(len, old.tokenizer.encode(text)))


# The letters of the text, its words, and characters that no piece has.
TEXT = st.text(st.sampled_from("aeinrst dthoßü улица ﬁ½…語😀"), max_size=40)


@settings(max_examples=150)
@given(text=TEXT, seed=st.integers(0, 9), share=st.floats(0.1, 0.9))
def test_any_text_whose_pieces_stay_is_split_alike(tokenizer, text, seed, share):
    """Whatever is left out: the best split of all is the best of those that are left."""
    pieces = PieceCounts(tokenizer)
    drawn = [line for line in multilingual_sentences(30) if np.random.default_rng([seed, len(line)]).random() < share]
    pieces.add("x", drawn)
    ids = kept_ids(pieces)
    small = Tokenizer(trimmed_proto(tokenizer.proto, ids))
    before = tokenizer.encode(text)
    if set(before) <= set(ids.tolist()):
        assert [int(ids[token_id]) for token_id in small.encode(text)] == before


def test_the_most_frequent_pieces_stay(tokenizer):
    pieces = PieceCounts(tokenizer)
    pieces.add("x", multilingual_sentences(50))
    everything, least = kept_ids(pieces), kept_ids(pieces, min_count=10**9)
    some = kept_ids(pieces, size=len(least) + 1 + 5)
    assert set(least) < set(some) < set(everything) and len(some) == len(least) + 5
    counts = pieces.counts
    more = [token_id for token_id in some if token_id not in set(least)]
    assert min(counts[more]) >= max(counts[token_id] for token_id in everything if token_id not in set(some))
    assert all(counts[token_id] >= 3 for token_id in kept_ids(pieces, min_count=3) if token_id not in set(least))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"min_count": 0}, "--min_count 0: must be at least 1"),
        ({"vocabulary_size": 10}, "--vocabulary_size 10: is less than the special tokens and the text's characters"),
        ({"model": "./missing"}, "./missing: no such directory"),
    ],
)
def test_bad_input_is_refused(changed, message, text_dir, tiny_preset, tmp_path, capsys):
    options = {"model": tiny_preset, "input": text_dir, "output_dir": tmp_path / "deep/out", **changed}
    flags = [item for key, value in options.items() for item in (f"--{key}", value)]
    assert message in refused(capsys, trim_vocabulary.main, *flags)
    assert not (tmp_path / "deep").exists()


def test_the_pieces_of_the_model_s_prompts_stay(tokenizer, tiny_masked_lm, tmp_path):
    prompts = {"query": "query: ", "document": "Bridge text: "}
    info = PretrainingInfo(universal_layer=1, prompts=prompts, tokenizer_fingerprint=tokenizer.fingerprint)
    save_pretrained(tmp_path / "model", tiny_masked_lm, tokenizer, info)
    (tmp_path / "el.txt").write_text("ποτάμι γέφυρα\n" * 5, encoding="utf-8")
    options = ["--model", tmp_path / "model", "--input", tmp_path / "el.txt", "--output_dir", tmp_path / "trimmed"]
    run(trim_vocabulary.main, *options, "--min_count", 1000)
    small = load_pretrained(tmp_path / "trimmed").tokenizer
    for prompt in prompts.values():
        before, after = (each.processor.encode(prompt, out_type=str) for each in (tokenizer, small))
        assert after == before
