"""Records with fields: which keys are languages, translations as lists, and columns that nobody asked for."""

import json
import os
import pickle

import hypothesis
import hypothesis.strategies as st
import pyarrow
import pyarrow.parquet
import pytest

from corpus_files import json_lines, translations, write_parquet
from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.languages import language_or_none
from infoxlm_keras.text.readers import find_bitext, find_monolingual
from infoxlm_keras.text.readers.fields import PairFields
from infoxlm_keras.text.readers.packed import LeftOut, Texts
from running import refused, run
from sample_text import sentences

PAIRS = list(zip(sentences("en", 12), sentences("de", 12), strict=True))


def read(item, find=find_bitext, **options):
    """`Texts` of the one reader of `item`."""
    (reader,) = find([item], **options)
    texts = Texts()
    for chunk in reader.chunks():
        found = reader.read(pickle.loads(pickle.dumps(chunk)))
        texts += found
        texts.dropped.update(getattr(found, "dropped", {}))
    return texts


def write(folder, kind, records, name="en-de"):
    """Writes records in a format; the path."""
    path = folder / f"{name}.{kind}"
    if kind == "jsonl":
        path.write_bytes(json_lines(records))
    else:
        write_parquet(path, records)
    return path


FORMATS = pytest.mark.parametrize("kind", ["jsonl", "parquet"])


@FORMATS
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        # The key of a row is not the language of the same code, wherever it stands.
        ("en-id", ("id", "en", "ind")),
        ("en-id", ("en", "ind", "id")),
        ("id-en", ("en", "id_ID", "id")),
        ("en-no", ("no", "en", "nb")),
        ("en-de", ("id", "en", "de")),
        ("en-de", ("url", "no", "eng", "deu", "src")),
        # There is no other, and no third code is written so: it must be the language.
        ("en-id", ("en", "id", "score", "source")),
        ("en-id", ("id", "en", "url")),
        ("en-no", ("no", "en")),
    ],
)
def test_a_key_is_a_language_only_where_it_must_be_one(kind, name, keys, tmp_path):
    wanted = name.split("-")
    expected, records = [], []
    for number in range(5):
        record = {key: f"{key} {number}" for key in keys}
        records.append(record)
        sides = []
        for language in wanted:
            named = [key for key in keys if language_or_none(key) == language]
            sides.append([key for key in named if key not in ("id", "no")] or named)
        expected.append(tuple(record[side[0]] for side in sides))
    assert read(write(tmp_path, kind, records, name)) == expected


@FORMATS
@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("en-id", ("id", "en", "de"), "its field 'id' may be text or the key of the row; .*--fields en id"),
        ("en-id", ("id", "eng"), "its field 'id' may be text or the key"),
        ("en-id", ("ID", "en"), "its field 'ID' may be text or the key"),
        ("en-de", ("en", "de", "de_DE"), "has several fields for de, 'de' and 'de_DE'; .*--fields"),
        ("en-id", ("en", "text"), "has no field for id, only 'en', 'text'; .*--fields"),
    ],
)
def test_a_doubtful_key_is_named_with_the_way_out(kind, name, keys, message, tmp_path):
    path = write(tmp_path, kind, [{key: f"{key} 1" for key in keys}], name)
    with pytest.raises(InputError, match=message):
        read(path)
    assert read(path, fields=keys[:2]) == [(f"{keys[0]} 1", f"{keys[1]} 1")]


@FORMATS
def test_inside_translation_every_key_is_a_language(kind, tmp_path):
    records = translations(PAIRS, ("en", "id"))
    assert read(write(tmp_path, kind, records, "en-id")) == PAIRS
    records = [{"id": "row", "translations": {"en": source, "id": target}} for source, target in PAIRS]
    assert read(write(tmp_path, kind, records, "en-id")) == PAIRS


SHAPES = {
    "in a field": lambda lists: {"translation": lists, "id": "row"},
    "in TED's field": lambda lists: {"talk_name": "a", "translations": lists},
    "at the top": lambda lists: {**lists, "id": 3},
    "as records": lambda lists: {
        "translation": [
            {"language": language, "translation": text}
            for language, text in zip(lists["language"], lists["translation"], strict=True)
        ]
    },
}


@FORMATS
@pytest.mark.parametrize("shape", SHAPES)
def test_lists_of_languages_and_translations(kind, shape, tmp_path):
    # As `datasets` says it: sorted by language, any number of each, some languages missing.
    units = [
        [("de", "Hund"), ("en", "dog"), ("fr", "chien")],
        [("de", "Katze"), ("de", "Kater"), ("en", "cat")],
        [("en", "bird"), ("fr", "oiseau")],
        [("deu", "Haus"), ("en-GB", "house")],
        [],
    ]
    records = [
        SHAPES[shape]({"language": [code for code, _ in unit], "translation": [text for _, text in unit]})
        for unit in units
    ]
    texts = read(write(tmp_path, kind, records))
    assert texts == [("dog", "Hund"), ("cat", "Katze"), ("cat", "Kater"), ("house", "Haus")]
    assert texts.dropped == {"other_languages": 2}
    assert read(write(tmp_path, kind, records, "fr-en")) == [("chien", "dog"), ("oiseau", "bird")]


@hypothesis.given(
    st.lists(st.lists(st.tuples(st.sampled_from("en de fr".split()), st.sampled_from("abc")), max_size=5))
)
def test_every_source_goes_with_every_target(units):
    for unit in units:
        record = {"translation": {"language": [code for code, _ in unit], "translation": [text for _, text in unit]}}
        expected = [(s, t) for a, s in unit if a == "en" for b, t in unit if b == "de"]
        found = PairFields(("en", "de"))(record, "x")
        assert found == (expected or LeftOut("other_languages"))


def test_lists_of_unequal_length_are_refused(tmp_path):
    record = {"translation": {"language": ["en", "de"], "translation": ["a"]}}
    with pytest.raises(InputError, match="line 1: has 2 languages but 1 translations"):
        read(write(tmp_path, "jsonl", [record]))


def test_lists_in_saved_and_in_prepared_datasets(tmp_path):
    import datasets
    import tensorflow_datasets as tfds

    lists = [{"de": target, "en": [source, source.upper()]} for source, target in PAIRS]
    expected = [pair for source, target in PAIRS for pair in ((source, target), (source.upper(), target))]
    feature = datasets.TranslationVariableLanguages(languages=["de", "en"])
    rows = [feature.encode_example(example) for example in lists]
    dataset = datasets.Dataset.from_list(
        [{"translation": row} for row in rows], features=datasets.Features(translation=feature)
    )
    dataset.save_to_disk(tmp_path / "saved")
    assert sorted(read(f"en-de={tmp_path}/saved")) == sorted(expected)
    dataset.to_parquet(tmp_path / "en-de.parquet")
    assert sorted(read(tmp_path / "en-de.parquet")) == sorted(expected)
    dataset.to_json(tmp_path / "en-de.jsonl")
    assert sorted(read(tmp_path / "en-de.jsonl")) == sorted(expected)

    class Talks(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        name = "talks"

        def _info(self):
            feature = tfds.features.TranslationVariableLanguages(languages=["de", "en"])
            features = tfds.features.FeaturesDict({"translations": feature, "talk_name": tfds.features.Text()})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {"train": enumerate({"translations": example, "talk_name": "a"} for example in lists)}

        def _generate_examples(self):
            raise NotImplementedError

    builder = Talks(data_dir=tmp_path)
    builder.download_and_prepare()
    assert sorted(read(f"en-de=tfds:{builder.data_dir}")) == sorted(expected)


def not_utf8(texts):
    """A string column whose bytes are not UTF-8 where `texts` (list of bytes) are not."""
    return pyarrow.array(texts, pyarrow.binary()).view(pyarrow.string())


def far_dates(count):
    return pyarrow.array([2**31 - 1] * count, pyarrow.int32()).view(pyarrow.date32())


def write_table(path, columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def save_table(folder, columns):
    """The columns as `Dataset.save_to_disk` leaves them."""
    import datasets

    table = pyarrow.table(columns)
    datasets.Dataset(datasets.table.InMemoryTable(table)).save_to_disk(folder)


@pytest.mark.parametrize("saved", [False, True])
def test_columns_that_nobody_asked_for_are_not_decoded(saved, tmp_path):
    count = len(PAIRS)
    columns = {
        "en": [source for source, _ in PAIRS],
        "de": [target for _, target in PAIRS],
        "crawled": far_dates(count),
        "raw": not_utf8([b"\xff\xfe"] * count),
    }
    items = []
    for number, (names, options) in enumerate(
        [
            ({}, {}),
            ({"en": "source", "de": "target"}, {"fields": ["source", "target"]}),
        ]
    ):
        path = tmp_path / f"{number}.parquet"
        (save_table if saved else write_table)(path, {names.get(name, name): value for name, value in columns.items()})
        items.append((f"en-de={path}", options))
    struct = pyarrow.StructArray.from_arrays(
        [pyarrow.array(columns["en"]), pyarrow.array(columns["de"]), not_utf8([b"\xff"] * count)], ["en", "de", "fr"]
    )
    if not saved:
        write_table(tmp_path / "nested.parquet", {"translation": struct, "crawled": far_dates(count)})
        items.append((f"en-de={tmp_path}/nested.parquet", {}))
        items.append((f"en-de={tmp_path}/nested.parquet", {"fields": ["translation.en", "translation.de"]}))
    for item, options in items:
        assert read(item, **options) == PAIRS


def test_a_row_that_cannot_be_decoded_is_named(tmp_path, tokenizer_dir, capsys):
    texts = [text.encode() for text in sentences("de", 2500)]
    texts[1999] = b"sch\xf6n"
    write_table(tmp_path / "de.parquet", {"text": not_utf8(texts)})
    output = ["--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out", "--processes", 1]
    message = refused(capsys, build_monolingual.main, "--input", tmp_path / "de.parquet", *output)
    assert "de.parquet: row 2000: " in message and "remove the row" in message
    write_table(tmp_path / "de.parquet", {"text": far_dates(3)})
    message = refused(capsys, build_monolingual.main, "--input", tmp_path / "de.parquet", *output)
    assert "de.parquet: row 1: " in message
    assert not list((tmp_path).glob("out/*")) and not list(tmp_path.glob(".*work*"))


def test_a_page_whose_checksum_is_wrong_is_found(tmp_path):
    path = tmp_path / "de.parquet"
    table = pyarrow.table({"text": sentences("de", 500)})
    pyarrow.parquet.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="de.parquet: is not a complete Parquet file"):
        read(path, find_monolingual)


@FORMATS
def test_null_and_blank_documents_are_counted(kind, tmp_path, tokenizer_dir):
    texts = sentences("de", 30)
    records = [{"text": text} for text in texts] + [{"text": None}] * 2 + [{"text": " \n "}]
    path = write(tmp_path, kind, records, "de")
    run(build_monolingual.main, "--input", path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out")
    (source,) = read_manifest(tmp_path / "out", "mmlm").sources
    assert (source.sentences, source.dropped["empty"]) == (30, 3)


@FORMATS
def test_null_translations_are_counted(kind, tmp_path, tokenizer_dir):
    records = translations(PAIRS) + translations([("a", None), (None, "b")]) + [{"translation": None}]
    path = write(tmp_path, kind, records)
    run(build_bitext.main, "--input", path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out")
    (source,) = read_manifest(tmp_path / "out", "bitext").sources
    assert (source.sentences, source.dropped["empty"]) == (12, 3)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"text": ' + '{"a":' * 100_000 + "1" + "}" * 100_001, "nested too deeply"),
        ('{"text": ' + "9" * 100_000 + "}", "too many digits"),
        ('{"text": NaN}', "not text but float"),
        ('{"text": 1e99999}', "not text but float"),
        ('{"text": ["a"]}', "not text but list"),
        ('{"text": "a"', "is not valid JSON"),
        ('"\\ud800"', "is a JSON str"),
        ("null", "is a JSON NoneType"),
    ],
)
def test_json_that_is_deep_endless_or_odd_is_refused_with_its_line(line, part, tmp_path):
    path = tmp_path / "de.jsonl"
    path.write_text(json.dumps({"text": "a"}) + "\n" + line + "\n")
    with pytest.raises(InputError, match=rf"de.jsonl: line 2: .*{part}") as error:
        read(path, find_monolingual)
    assert len(str(error.value)) < 500


def test_no_fifo_in_a_folder_of_parquet_files_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "train.parquet")
    with pytest.raises(InputError, match="train.parquet: is not a regular file"):
        read(f"de={tmp_path}", find_monolingual)
