"""Token ids in XLM-R's layout."""

import io
import pickle

import keras_hub
import numpy as np
import pytest
import sentencepiece

from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.tokenizer import Tokenizer
from sample_text import multilingual_sentences

LAYOUT = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
# Outside the training text on purpose: unknown characters, emoji, control characters, literal special tokens.
ODD_TEXT = [
    "",
    " ",
    "the  house",
    "日本語 ελληνικά 🙂",
    "a\u0000b\u0007c",
    "</s> <mask> <pad>",
    "שלום مرحبا",
    "\u2028x\ty",
]


def train(**settings):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(multilingual_sentences(100)), model_writer=model, minloglevel=2, **settings
    )
    return model.getvalue()


def test_ids_equal_kerashub(tokenizer):
    reference = keras_hub.models.XLMRobertaTokenizer(proto=tokenizer.proto)
    lines = multilingual_sentences(50) + ODD_TEXT
    assert tokenizer.encode(lines) == [np.asarray(reference(line)).tolist() for line in lines]
    assert tokenizer.vocabulary_size == reference.vocabulary_size() == 256
    assert tokenizer.mask_id == reference.mask_token_id == 255
    special = (reference.start_token_id, reference.pad_token_id, reference.end_token_id, reference.unk_token_id)
    assert special == (0, 1, 2, 3)


def test_ids_are_sentencepiece_ids_plus_one_and_unknown_is_three(tokenizer):
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.proto)
    (ids,) = tokenizer.encode(["the house 日"])
    pieces = processor.encode("the house 日")
    assert 0 in pieces
    assert ids == [3 if piece == 0 else piece + 1 for piece in pieces]


def test_literal_special_tokens_in_text_do_not_become_special_ids(tokenizer):
    (ids,) = tokenizer.encode(["</s> <mask> <pad> <s>"])
    assert not {0, 1, 2, tokenizer.mask_id} & set(ids)


def test_encode_ragged_equals_encode(tokenizer):
    lines = multilingual_sentences(50) + ODD_TEXT
    token_ids, lengths = tokenizer.encode_ragged(lines)
    assert token_ids.dtype == np.int32 and lengths.dtype == np.int64
    rows = np.split(token_ids, np.cumsum(lengths)[:-1])
    assert [row.tolist() for row in rows] == tokenizer.encode(lines)
    token_ids, lengths = tokenizer.encode_ragged([])
    assert len(token_ids) == len(lengths) == 0


def test_decode_returns_the_text_without_special_tokens(tokenizer):
    (ids,) = tokenizer.encode(["the green house stands near the river"])
    assert tokenizer.decode([0, *ids, 2, 1, 1, tokenizer.mask_id]) == "the green house stands near the river"
    assert "⁇" in tokenizer.decode([3])


def test_a_pickled_tokenizer_is_the_same(tokenizer):
    tokenizer.encode(["the house"])
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.fingerprint == tokenizer.fingerprint
    assert copy.encode(ODD_TEXT) == tokenizer.encode(ODD_TEXT)


@pytest.mark.parametrize("place", ["vocabulary.spm", "assets/tokenizer/vocabulary.spm", "sentencepiece.bpe.model"])
def test_loads_from_a_directory_and_a_file(tmp_path, tokenizer, place):
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tokenizer.proto)
    assert load_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint
    assert load_tokenizer(str(path)).fingerprint == tokenizer.fingerprint


def test_loads_from_a_kerashub_preset_directory(tmp_path, tokenizer):
    keras_hub.models.XLMRobertaTokenizer(proto=tokenizer.proto).save_to_preset(str(tmp_path / "preset"))
    assert load_tokenizer(tmp_path / "preset").fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        # SentencePiece's own defaults are XLM-R's; fairseq's order and models without <s> or with <pad> are not.
        (dict(LAYOUT, bos_id=0, eos_id=1, unk_id=2), r"\(2, 0, 1, -1\)"),
        (dict(LAYOUT, bos_id=-1, eos_id=-1), r"\(0, -1, -1, -1\)"),
        (dict(LAYOUT, pad_id=3), r"\(0, 1, 2, 3\)"),
    ],
)
def test_another_layout_is_refused(settings, found):
    with pytest.raises(InputError, match=rf"other.spm: has \(unk, bos, eos, pad\) = {found}.*infoxlm train-tokenizer"):
        Tokenizer(train(vocab_size=150, **settings), "other.spm")


def test_a_mask_piece_is_refused():
    with pytest.raises(InputError, match="has a piece <mask>"):
        Tokenizer(train(vocab_size=150, user_defined_symbols="<mask>", **LAYOUT))


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "vocabulary.spm").write_bytes(b"not a model at all")
    with pytest.raises(InputError, match="vocabulary.spm: is not a SentencePiece model"):
        load_tokenizer(tmp_path)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no tokenizer \(looked for vocabulary.spm"):
        load_tokenizer(tmp_path)


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(InputError, match="missing: no such file or directory"):
        load_tokenizer(tmp_path / "missing")


def test_a_lone_surrogate_is_refused_with_its_place(tokenizer):
    with pytest.raises(InputError, match="text number 1 is not valid Unicode"):
        tokenizer.encode(["good", "bad \ud83d end"])
    with pytest.raises(InputError, match="text number 0 is not valid Unicode"):
        tokenizer.encode_ragged(["\udfff"])


def test_one_text_gives_the_ids_of_a_list_of_one(tokenizer):
    for text in ODD_TEXT:
        assert tokenizer.encode(text) == tokenizer.encode([text])[0]
    assert tokenizer.encode("") == [] and tokenizer.encode([]) == []
    with pytest.raises(InputError, match="not valid Unicode"):
        tokenizer.encode("\ud800")


def test_several_texts_in_any_collection(tokenizer):
    texts = ["the house", "das Haus"]
    expected = tokenizer.encode(texts)
    for given in (tuple(texts), np.array(texts), np.array(texts, object), (text for text in texts)):
        assert tokenizer.encode(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "None is a NoneType; give a str or a list of str"),
        (b"the house", "is a bytes; give a str or a list of str"),
        (["a", 1], "text number 1 is of type int, not str: 1"),
        (["\ud800"], "is not valid Unicode"),
    ],
)
def test_what_is_no_text_is_refused(tokenizer, given, message):
    with pytest.raises(InputError, match=message):
        tokenizer.encode(given)
