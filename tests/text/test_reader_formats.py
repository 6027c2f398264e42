"""What is written in each format of corpora is what its reader reads."""

import bz2
import gzip
import lzma
import pathlib
import string
import tempfile

import hypothesis
import hypothesis.strategies as st
import pytest
import zstandard

import corpus_files
from corpus_formats import BITEXT, as_input, read_all
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers import chunks, find_bitext, find_monolingual
from sample_text import sentences

PAIRS = list(zip(sentences("en", 12), sentences("de", 12), strict=True))
COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
# Words of any letters, digits and marks, no white space at the ends: what a sentence of every format can hold.
WORD = st.text(
    st.characters(codec="utf-8", categories=("L", "M", "N", "P", "S")) | st.sampled_from("<&>\"'\\äß中हि😀"),
    min_size=1,
    max_size=6,
)
SENTENCE = st.lists(WORD, min_size=1, max_size=5).map(" ".join)
SENTENCE_PAIRS = st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=8)


@pytest.mark.parametrize("format", BITEXT)
@hypothesis.given(pairs=SENTENCE_PAIRS)
@hypothesis.settings(max_examples=25)
def test_pairs_come_out_as_they_went_in(format, pairs):
    # gettext has each message once, and an empty one is the header.
    pairs = list({source: (source, target) for source, target in pairs}.values())
    with tempfile.TemporaryDirectory() as folder:
        files, form = BITEXT[format](pairs)
        corpus_files.write_files(pathlib.Path(folder), files)
        assert read_all(find_bitext([as_input(folder, form)])) == {"en-de": pairs}


@pytest.mark.parametrize("format", BITEXT)
def test_chunks_depend_on_the_input_only_and_lose_nothing(format, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 150)
    files, form = BITEXT[format](PAIRS)
    corpus_files.write_files(tmp_path, files)
    (reader,) = find_bitext([as_input(tmp_path, form)])
    first, again = list(reader.chunks()), list(reader.chunks())
    assert first == again and len(first) > 2
    assert [chunk.first_line for chunk in first] == sorted({chunk.first_line for chunk in first})
    assert [pair for chunk in first for pair in reader.read(chunk)] == PAIRS
    assert 0 < sum(chunk.bytes_read for chunk in first) <= sum(map(len, files.values()))


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("format", ["two columns", "Moses", "TMX", "WikiMatrix", "JSON", "Moses of bare names"])
def test_every_compression_is_read(format, ending, tmp_path):
    files, form = BITEXT[format](PAIRS)
    corpus_files.write_files(tmp_path, {name + ending: COMPRESS[ending](content) for name, content in files.items()})
    form = form if form.endswith("dev") or form == "." else form + ending
    assert read_all(find_bitext([as_input(tmp_path, form)])) == {"en-de": PAIRS}


@hypothesis.given(st.lists(st.lists(SENTENCE, min_size=1, max_size=4), min_size=1, max_size=5))
@hypothesis.settings(max_examples=25)
def test_documents_come_out_as_they_went_in(documents):
    expected = [line for document in documents for line in [*document, ""]]
    with tempfile.TemporaryDirectory() as folder:
        text = "\n\n".join("\n".join(document) for document in documents) + "\n\n"
        objects = corpus_files.json_lines({"text": "\n".join(document)} for document in documents)
        corpus_files.write_files(pathlib.Path(folder), {"de.txt": text.encode(), "hi.jsonl": objects})
        corpus_files.write_parquet(
            pathlib.Path(folder) / "ru.parquet", [{"text": "\n".join(document)} for document in documents]
        )
        assert read_all(find_monolingual([folder])) == {"de": expected, "hi": expected, "ru": expected}


def test_zstd_of_several_frames_and_of_larger_blocks_than_its_input(tmp_path):
    compress = zstandard.ZstdCompressor().compress
    text = b"ein Satz wie der andere\n" * 100_000
    (tmp_path / "de.txt.zst").write_bytes(compress(b"eins\n") + compress(text) + compress(b"zwei\n"))
    read = read_all(find_monolingual([tmp_path]))["de"]
    assert len(read) == 100_002 and read[0] == "eins" and read[-1] == "zwei"


def test_a_member_of_an_archive_is_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1000)
    pairs = PAIRS * 2000
    files = {"a/MultiUN.en-de.en": corpus_files.moses(pairs, 0), "a/MultiUN.en-de.de": corpus_files.moses(pairs, 1)}
    (tmp_path / "de-en.txt.zip").write_bytes(corpus_files.archive(files))
    (reader,) = find_bitext([tmp_path / "de-en.txt.zip"])
    first = next(iter(reader.chunks()))
    assert len(first.bodies[0]) < 1200 and first.bodies[0].startswith(PAIRS[0][0].encode())
    assert read_all([reader]) == {"en-de": pairs}


def test_all_pairs_of_an_archive_and_one_of_them(tmp_path):
    files = {}
    for target in ("de", "ru"):
        pairs = list(zip(sentences("en", 3), sentences(target, 3), strict=True))
        files |= {
            f"X.en-{target}.en": corpus_files.moses(pairs, 0),
            f"X.en-{target}.{target}": corpus_files.moses(pairs, 1),
        }
    (tmp_path / "all.zip").write_bytes(corpus_files.archive(files))
    assert [reader.name for reader in find_bitext([tmp_path])] == ["en-de", "en-ru"]
    assert [reader.name for reader in find_bitext([f"en-ru={tmp_path}/all.zip"])] == ["en-ru"]


def test_iit_bombay_has_its_sides_in_folders(tmp_path):
    files = {}
    for stem in ("parallel/IITB.en-hi", "dev_test/dev", "dev_test/test"):
        files |= {f"{stem}.en": corpus_files.moses(PAIRS, 0), f"{stem}.hi": corpus_files.moses(PAIRS, 1)}
    corpus_files.write_files(tmp_path, files)
    readers = find_bitext([tmp_path / "parallel", tmp_path / "dev_test"])
    assert [(reader.name, pathlib.Path(reader.files[1]).name) for reader in readers] == [
        ("en-hi", "IITB.en-hi.hi"),
        ("en-hi", "dev.hi"),
        ("en-hi", "test.hi"),
    ]
    assert read_all(readers) == {"en-hi": PAIRS * 3}


def test_a_translation_memory_of_many_languages(tmp_path):
    units = [
        [("en-US", "one"), ("de-DE", "eins"), ("zh-CN", "一")],
        [("zh-TW", "二"), ("en-GB", "two")],
        [("de", "drei"), ("DE-at", "drey"), ("en", "three")],
        [("fr", "quatre")],
    ]
    (tmp_path / "memory.tmx").write_bytes(corpus_files.tmx(units, "en-us"))
    expected = {
        "en-de": [("one", "eins"), ("three", "drei")],
        "en-zh": [("one", "一")],
        "en-zh_Hant": [("two", "二")],
    }
    found = find_bitext([f"{pair}={tmp_path}/memory.tmx" for pair in expected])
    assert read_all(found) == expected
    assert read_all(find_bitext([f"zh-de={tmp_path}/memory.tmx"])) == {"zh-de": [("一", "eins")]}
    (tmp_path / "memory.tmx").write_bytes(corpus_files.tmx(units[:3], "en-us"))
    assert read_all(find_bitext([tmp_path])) == expected


def test_inline_markup_of_a_translation_memory_is_taken_out(tmp_path):
    text = corpus_files.tmx_pairs([("X", "Y")]).decode()
    text = text.replace("X", 'Click <bpt i="1">&lt;b&gt;</bpt>here<ept i="1">&lt;/b&gt;</ept> <hi>now</hi>\n  please')
    (tmp_path / "en-de.tmx").write_text(text)
    assert read_all(find_bitext([tmp_path])) == {"en-de": [("Click here now please", "Y")]}


def test_mined_pairs_below_the_margin_are_counted(tmp_path):
    lines = (
        corpus_files.margins(PAIRS[:2], 1.2)
        + corpus_files.margins(PAIRS[2:5], 1.039)
        + corpus_files.margins(PAIRS[5:6], 1.04)
    )
    (tmp_path / "WikiMatrix.en-de.tsv.gz").write_bytes(gzip.compress(lines))
    for margin, kept, dropped in ((1.04, [*PAIRS[:2], PAIRS[5]], 3), (1.0, PAIRS[:6], 0), (1.1, PAIRS[:2], 4)):
        (reader,) = find_bitext([tmp_path], margin=margin)
        (chunk,) = reader.chunks()
        read = reader.read(chunk)
        assert (list(read), read.dropped["margin"]) == (kept, dropped)


def test_catalogs_leave_out_what_is_not_translated(tmp_path):
    extra = """
#, fuzzy
msgid "perhaps"
msgstr "vielleicht"

msgid "untouched"
msgstr ""

msgid "one file"
msgid_plural "%d files"
msgstr[0] "eine Datei"
msgstr[1] "%d Dateien"

#~ msgid "gone"
#~ msgstr "weg"
"""
    (tmp_path / "app.po").write_bytes(corpus_files.catalog([("a\nb", "A\nB")], "pt_BR", extra))
    (reader,) = find_bitext([tmp_path])
    (chunk,) = reader.chunks()
    read = reader.read(chunk)
    assert reader.name == "en-pt"
    assert sorted(read) == [("%d files", "%d Dateien"), ("a b", "A B"), ("one file", "eine Datei")]
    assert read.dropped == {"fuzzy": 1, "untranslated": 1, "obsolete": 1}


def test_fields_are_found_by_name(tmp_path):
    records = [{"meta": {"body": f"{source}\nmore"}, "l": source, "r": target} for source, target in PAIRS]
    (tmp_path / "en.jsonl").write_bytes(corpus_files.json_lines(records))
    (tmp_path / "en-de.jsonl").write_bytes(corpus_files.json_lines(records))
    assert read_all(find_bitext([tmp_path / "en-de.jsonl"], fields=["l", "r"])) == {"en-de": PAIRS}
    read = read_all(find_monolingual([tmp_path / "en.jsonl"], fields=["meta.body"]))
    assert read["en"][:6] == [PAIRS[0][0], "more", "", PAIRS[1][0], "more", ""]


def test_parquet_in_files_and_in_folders_of_splits(tmp_path):
    records = corpus_files.translations(PAIRS)
    (tmp_path / "hub/data").mkdir(parents=True)
    corpus_files.write_parquet(tmp_path / "hub/data/train-00000-of-00002.parquet", records[:7])
    corpus_files.write_parquet(tmp_path / "hub/data/train-00001-of-00002.parquet", records[7:])
    corpus_files.write_parquet(tmp_path / "hub/data/test-00000-of-00001.parquet", records[:2])
    corpus_files.write_parquet(tmp_path / "en-de.parquet", records)
    assert read_all(find_bitext([tmp_path / "en-de.parquet"])) == {"en-de": PAIRS}
    assert read_all(find_bitext([f"en-de={tmp_path}/hub"])) == {"en-de": PAIRS}
    assert read_all(find_bitext([f"de-en={tmp_path}/hub#test"])) == {"de-en": [pair[::-1] for pair in PAIRS[:2]]}
    with pytest.raises(InputError, match="has no files of the split 'dev', only of test, train"):
        find_bitext([f"en-de={tmp_path}/hub#dev"])


def test_saved_datasets_keep_their_selection(tmp_path):
    import datasets

    texts = sentences("de", 10)
    dataset = datasets.Dataset.from_dict({"text": texts, "other": list(range(10))})
    dataset.select([3, 1, 4]).save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": dataset, "test": dataset.select(range(2))}).save_to_disk(tmp_path / "many")
    expected = [line for number in (3, 1, 4) for line in (texts[number], "")]
    assert read_all(find_monolingual([f"de={tmp_path}/one"])) == {"de": expected}
    assert read_all(find_monolingual([f"de={tmp_path}/many"]))["de"][::2] == texts
    assert read_all(find_monolingual([f"de={tmp_path}/many#test"]))["de"][::2] == texts[:2]
    with pytest.raises(InputError, match="has no split 'dev', only train, test"):
        find_monolingual([f"de={tmp_path}/many#dev"])


def test_prepared_tfds_datasets(tmp_path):
    import tensorflow_datasets as tfds

    class Pairs(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        name = "pairs"

        def _info(self):
            features = tfds.features.Translation(languages=["en", "de"])
            return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("en", "de"))

        def _split_generators(self, manager):
            return {"train": self._generate_examples(PAIRS), "test": self._generate_examples(PAIRS[:2])}

        def _generate_examples(self, pairs):
            for number, (source, target) in enumerate(pairs):
                yield number, {"en": source, "de": target}

    builder = Pairs(data_dir=tmp_path)
    builder.download_and_prepare()
    address = f"tfds:{builder.data_dir}"
    (reader,) = find_bitext([address])
    # TFDS shuffles when it writes; the order is its own, but always the same.
    read = read_all([reader])["en-de"]
    assert sorted(read) == sorted(PAIRS) and read_all([reader])["en-de"] == read
    assert sorted(read_all(find_bitext([f"de-en={address}#test"]))["de-en"]) == sorted(p[::-1] for p in PAIRS[:2])
    german = read_all(find_monolingual([f"de={address}"], fields=["de"]))["de"]
    assert sorted(german[::2]) == sorted(target for _, target in PAIRS)
    for make, message in (
        (lambda: find_monolingual([f"de={address}"]), "has the text fields de, en; name one with --fields"),
        (lambda: find_monolingual([address], fields=["de"]), "does not say its language"),
        (lambda: find_bitext([f"{address}#dev"]), "has no split 'dev', only train, test"),
        (lambda: find_bitext(["tfds:no_such_dataset"]), "is not a dataset that TFDS knows"),
    ):
        with pytest.raises(InputError, match=message):
            make()


@pytest.mark.parametrize(
    ("codes", "name"),
    [
        ("de deu ger de-DE de_at DE", "de"),
        ("zh zho cmn zh-CN zh_Hans zh-Hans zh_cn", "zh"),
        ("zh-TW zh_Hant zh-HK zh_tw", "zh_Hant"),
        ("pt pt_br pt-PT por", "pt"),
        ("no nb nob", "no"),
        ("tl fil tgl", "tl"),
        ("sw swh swa", "sw"),
        ("ar arb ara", "ar"),
        ("sr sr_Cyrl srp", "sr"),
        ("sr_Latn", "sr_Latn"),
        ("bn_rom bn-Latn", "bn_Latn"),
        ("ns nso", "nso"),
    ],
)
def test_a_language_has_one_name(codes, name, tmp_path):
    for number, code in enumerate(codes.split()):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "text.txt").write_text("a\n")
        assert [reader.name for reader in find_monolingual([f"{code.lower()}={folder}/text.txt"])] == [name]


@hypothesis.given(st.text(string.ascii_letters + string.digits + "-_.", max_size=8))
def test_any_code_has_a_name_for_good_or_none(code):
    from infoxlm_keras.text.languages import language_or_none

    name = language_or_none(code)
    assert name is None or language_or_none(name) == name
