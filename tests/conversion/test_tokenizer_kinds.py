"""SentencePiece models of every kind on the way to transformers: equal ids on thousands of lines, or a refusal."""

import io
import json
import lzma
import sys

import pytest
import sentencepiece

from infoxlm_keras.conversion import tokenizer_check
from infoxlm_keras.conversion.from_tokenizer_json import from_tokenizer_json
from infoxlm_keras.conversion.tokenizer_check import check_ids, sample_lines
from infoxlm_keras.conversion.tokenizer_json import is_plain, to_tokenizer_json
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.exporting.to_huggingface import write_tokenizer
from infoxlm_keras.sample_corpus import BUNDLED_CORPUS
from infoxlm_keras.tokenizer import Tokenizer

SAMPLE = BUNDLED_CORPUS / "heldout"
SYMBOLS = ["<url>", "<num>", "@@"]
ODD_LINES = [
    "",
    "  ",
    " a  b ",
    "a\tb\u3000c\u00a0d",
    "▁ a ▁▁",
    "see <url> and <num> now @@ x<url>y",
    "The CAT",
    "ᚠᚢ unknown ᚦ",
    "🙂 ＡＢ ﬁ",
]
EQUAL = {
    "unigram": {},
    "case folding": {"normalization_rule_name": "nmt_nfkc_cf"},
    "identity": {"normalization_rule_name": "identity"},
    "NFKC alone": {"normalization_rule_name": "nfkc"},
    "symbols": {"user_defined_symbols": SYMBOLS},
    "no dummy prefix": {"add_dummy_prefix": False},
    "spaces kept": {"remove_extra_whitespaces": False},
    "nothing but pieces": {
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
    },
    "pieces across words": {"split_by_whitespace": False},
    "bytes": {"byte_fallback": True, "character_coverage": 0.99},
    "BPE": {"model_type": "bpe"},
    "BPE, bytes": {"model_type": "bpe", "byte_fallback": True, "character_coverage": 0.99},
    "BPE, no dummy prefix": {"model_type": "bpe", "add_dummy_prefix": False},
    "char": {"model_type": "char"},
    "char, identity": {"model_type": "char", "normalization_rule_name": "identity"},
}
REFUSED = {
    "word": ({"model_type": "word"}, "word model"),
    "suffix": ({"treat_whitespace_as_suffix": True}, "treat_whitespace_as_suffix"),
    "control symbols": ({"control_symbols": ["<ctl>"]}, "control symbols"),
    "BPE, symbols": ({"model_type": "bpe", "user_defined_symbols": SYMBOLS}, "BPE model with user-defined symbols"),
    "char, symbols": ({"model_type": "char", "user_defined_symbols": SYMBOLS}, "char model with user-defined symbols"),
}


@pytest.fixture(scope="module")
def lines():
    text = []
    for language in ("en", "de", "el", "hi", "ja", "ko", "ru", "zh"):
        text += lzma.decompress((SAMPLE / f"{language}.txt.xz").read_bytes()).decode().split("\n")[:250]
    return text


def train(lines, **settings):
    options = {"model_type": "unigram", "vocab_size": 2500, "character_coverage": 0.998, "hard_vocab_limit": False}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        **{**options, "unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1, "minloglevel": 2, **settings},
    )
    return Tokenizer(model.getvalue())


@pytest.mark.parametrize("kind", EQUAL)
def test_ids_in_transformers_are_equal(kind, lines, tmp_path):
    import transformers

    tokenizer = train(lines[::2], **EQUAL[kind])
    write_tokenizer(tmp_path, tokenizer, 512)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [*lines, *ODD_LINES, *sample_lines(tokenizer, 1500)]
    assert len(texts) > 3000
    ids = theirs(texts, add_special_tokens=False)["input_ids"]
    different = [(a, b) for a, b in zip(tokenizer.encode(texts), ids, strict=True) if a != b]
    assert not different, f"{len(different)} of {len(texts)}: {different[:3]}"
    assert len(theirs) == tokenizer.vocabulary_size and theirs.mask_token_id == tokenizer.mask_id
    assert theirs("a", "b")["input_ids"][0] == 0 and theirs("a", "b")["input_ids"].count(2) == 3
    known = next(line for line in lines if line and 3 not in tokenizer.encode([line])[0])
    assert theirs.decode(tokenizer.encode([known])[0]) == tokenizer.decode(tokenizer.encode([known])[0])


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_expressed_is_named(kind, lines, tmp_path):
    settings, words = REFUSED[kind]
    tokenizer = train(lines[::4], **settings)
    with pytest.raises(InputError, match=words):
        write_tokenizer(tmp_path, tokenizer, 512)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_model_leaves_nothing(lines, tmp_path):
    from infoxlm_keras.exporting.convert import convert_checkpoint
    from infoxlm_keras.models import EncoderSize, build_masked_lm
    from infoxlm_keras.pretrained import PretrainingInfo, save_pretrained

    tokenizer = train(lines[::4], model_type="word")
    masked_lm = build_masked_lm(EncoderSize(1, 8, 2, 16, 32), tokenizer.vocabulary_size)
    save_pretrained(tmp_path / "preset", masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
    for format in ("hf", "sentence-transformers"):
        with pytest.raises(InputError, match="word model"):
            convert_checkpoint(tmp_path / "preset", tmp_path / "out", format)
    assert [path.name for path in tmp_path.iterdir()] == ["preset"]


@pytest.mark.parametrize("kind", ["unigram", "BPE"])
def test_the_check_finds_other_ids(kind, lines):
    """Scores, or the order of merges, turned round."""
    tokenizer = train(lines[::4], **EQUAL[kind])
    content = to_tokenizer_json(tokenizer)
    assert check_ids(tokenizer, content) > tokenizer_check.LINES
    if kind == "BPE":
        content["model"]["merges"].reverse()
    else:
        inner = content["model"]["vocab"]
        scores = [score for _, score in inner[4:-1]][::-1]
        for entry, score in zip(inner[4:-1], scores, strict=True):
            entry[1] = score
    with pytest.raises(InputError, match="other ids than this model for"):
        check_ids(tokenizer, content)


def test_without_tokenizers_only_models_of_xlm_rs_kind_go(lines, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    plain, other = train(lines[::4]), train(lines[::4], model_type="char")
    assert is_plain(plain) and check_ids(plain, to_tokenizer_json(plain)) == 0
    with pytest.raises(InputError, match=r"infoxlm_keras\[hf\]"):
        check_ids(other, to_tokenizer_json(other))


# === What tokenizers do, not their bytes ===


@pytest.fixture(scope="module")
def rebuilt(lines, tmp_path_factory):
    """(tokenizer, a directory with the tokenizer.json that transformers saved of it)."""
    import transformers

    root = tmp_path_factory.mktemp("rebuilt")
    tokenizer = train(lines[::4])
    (root / "ours").mkdir()
    write_tokenizer(root / "ours", tokenizer, 512)
    transformers.AutoTokenizer.from_pretrained(root / "ours").save_pretrained(root / "theirs")
    return tokenizer, root / "theirs"


def test_a_tokenizer_json_does_what_its_model_does(rebuilt):
    tokenizer, directory = rebuilt
    for source in (directory, directory / "tokenizer.json"):
        other = load_tokenizer(source)
        assert other.fingerprint != tokenizer.fingerprint
        assert other.behaviour == tokenizer.behaviour


def test_another_vocabulary_normalisation_or_kind_behaves_otherwise(lines):
    settings = [{}, {"vocab_size": 2400}, EQUAL["case folding"], EQUAL["identity"], EQUAL["BPE"], EQUAL["bytes"]]
    settings += [EQUAL["spaces kept"], EQUAL["no dummy prefix"], REFUSED["suffix"][0]]
    tokenizers = [train(lines[::4], **options) for options in settings]
    assert len({tokenizer.behaviour for tokenizer in tokenizers}) == len(settings)
    # A name that the training wrote is no behaviour.
    assert train(lines[::4], self_test_sample_size=0).behaviour == tokenizers[0].behaviour


def test_records_take_a_tokenizer_of_equal_behaviour(rebuilt, lines, tmp_path, capsys):
    """The builder takes tokenizer.json, as its message says, and its records go with the SentencePiece file."""
    from infoxlm_keras.commands.build_monolingual import main
    from infoxlm_keras.records.manifest import check_tokenizer, read_manifest

    tokenizer, directory = rebuilt
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "en.txt").write_text("\n".join(lines[:200]))
    for name, source in (("a", directory / "tokenizer.json"), ("b", tmp_path / "vocabulary.spm")):
        (tmp_path / "vocabulary.spm").write_bytes(tokenizer.proto)
        arguments = ["--input", tmp_path / "text", "--tokenizer", source, "--output_dir", tmp_path / name]
        main([*map(str, arguments), "--sequence_length", "32", "--processes", "1"])
        manifest = read_manifest(tmp_path / name, "mmlm")
        for other in (tokenizer, load_tokenizer(directory)):
            check_tokenizer(manifest, other)
        with pytest.raises(InputError, match="another tokenizer"):
            check_tokenizer(manifest, train(lines[::4], normalization_rule_name="nmt_nfkc_cf"))
    records = [sorted((tmp_path / name).rglob("*.tfrecord*")) for name in ("a", "b")]
    assert records[0] and [path.read_bytes() for path in records[0]] == [path.read_bytes() for path in records[1]]


# === tokenizer.json malformed ===


def _set(*keys, value):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def _replacing(pattern, content):
    return _set("normalizer", value={"type": "Replace", "pattern": pattern, "content": content})


MALFORMED = {
    "a list": (lambda content: [], "type None"),
    "no model": (_set("model", value=None), "type None"),
    "a model that is text": (_set("model", value="x"), "type None"),
    "no vocabulary": (lambda content: content["model"].pop("vocab"), "no vocabulary"),
    "a vocabulary of another shape": (_set("model", "vocab", value={"a": 1}), "no vocabulary"),
    "an empty vocabulary": (_set("model", "vocab", value=[]), "no vocabulary"),
    "entries without scores": (_set("model", "vocab", 9, value=["x"]), "entry 9"),
    "scores of text": (_set("model", "vocab", 9, value=["x", "1"]), "entry 9"),
    "scores that are not finite": (_set("model", "vocab", 9, value=["x", float("nan")]), "entry 9"),
    "a huge score": (_set("model", "vocab", 9, value=["x", 10**400]), "entry 9"),
    "numbers for tokens": (_set("model", "vocab", 9, value=[5, 0.5]), "entry 9"),
    "an empty token": (_set("model", "vocab", 9, value=["", 0.5]), "empty or a duplicate"),
    "a token twice": (lambda content: content["model"]["vocab"].insert(9, content["model"]["vocab"][8]), "duplicate"),
    "another unknown": (_set("model", "unk_id", value=0), "unk_id"),
    "normalizer of another type": (_set("normalizer", value=5), "XLM-R's kind"),
    "normalizers that are no list": (_set("normalizer", value={"type": "Sequence", "normalizers": 7}), "XLM-R's kind"),
    "a map that is no base64": (_set("normalizer", "precompiled_charsmap", value="*"), "XLM-R's kind"),
    "a map that is no map": (_set("normalizer", "precompiled_charsmap", value="AAAA"), ""),
    "another normalizer": (_set("normalizer", value={"type": "Lowercase"}), "'Lowercase'"),
    "a letter replaced": (_replacing({"String": "a"}, "e"), "'Replace' of 'a' by 'e'"),
    "a pattern replaced": (_replacing({"Regex": "[0-9]"}, " "), "'Replace' of"),
    "all but spaces replaced": (_replacing({"Regex": "[^ ]+"}, " "), "'Replace' of"),
    "space replaced by text": (_replacing({"String": " "}, "x"), "by 'x'"),
    "another pre-tokenizer": (_set("pre_tokenizer", value={"type": "ByteLevel"}), "ByteLevel"),
    "no prefix": (_set("pre_tokenizer", "pretokenizers", 1, "prepend_scheme", value="never"), "pre-tokenizer"),
    "no pre-tokenizer": (_set("pre_tokenizer", value=None), "pre-tokenizer"),
    "added tokens of text": (_set("added_tokens", value=["x"]), "added_tokens"),
    "an added token": (_set("added_tokens", 0, value={"id": 7000, "content": "<url>"}), "'<url>'"),
    "a special token elsewhere": (_set("added_tokens", 0, "id", value=7), "the id 7"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_tokenizer_json(case, rebuilt, tmp_path):
    change, words = MALFORMED[case]
    content = to_tokenizer_json(rebuilt[0])
    content = change(content) if case == "a list" else (change(content), content)[1]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        from_tokenizer_json(tmp_path / "tokenizer.json")
    assert str(tmp_path) in str(error.value) and words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"model": ' * 50_000, b"7", b"null"])
def test_a_tokenizer_json_that_is_no_json(content, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError, match=str(tmp_path)):
        load_tokenizer(tmp_path)


NO_MODELS = [b"", b"\x00" * 100, b"not a model", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\x0a\xff"]


@pytest.mark.parametrize("content", NO_MODELS)
def test_bytes_that_are_no_model(content, tmp_path):
    (tmp_path / "vocabulary.spm").write_bytes(content)
    with pytest.raises(InputError, match=r"vocabulary\.spm"):
        load_tokenizer(tmp_path)


def test_a_directory_in_a_models_place(tmp_path):
    (tmp_path / "vocabulary.spm").mkdir()
    with pytest.raises(InputError, match=r"vocabulary\.spm: is not a file"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocabulary.spm").rmdir()
    (tmp_path / "vocabulary.spm").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"vocabulary\.spm: no such file"):
        load_tokenizer(tmp_path)
