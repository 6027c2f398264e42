"""Labelled texts of each language, from the files they are distributed in."""

import bz2
import csv
import json
import os

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning import LabelledTexts, check_labels, class_names, read_labelled_texts
from infoxlm_keras.text.labels import read_labels, write_labels


@pytest.fixture
def write(tmp_path):
    def write(name, *lines):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(f"{line}\n" for line in lines).encode())
        return path

    return write


def content(parts):
    return {part.language: (part.texts, part.labels) for part in parts}


def test_xnli_as_distributed(write):
    """One file of all languages, more columns than are needed, `-` for no gold label, quotes that quote nothing."""
    path = write(
        "xnli.dev.tsv",
        "language\tgold_label\tsentence1_binary_parse\tsentence1\tsentence2\tgenre",
        'sw\tneutral\t( )\tNaye akasema, "Mama\tAlimwita mama\tface',
        "en\tcontradiction\t( )\tAnd he said\tHe said nothing\tface",
        "en\t-\t( )\tunclear\tunclear\tface",
        "",
    )
    english, swahili = read_labelled_texts([path])
    assert content([english, swahili]) == {
        "en": ([["And he said"], ["He said nothing"]], ["contradiction"]),
        "sw": ([['Naye akasema, "Mama'], ["Alimwita mama"]], ["neutral"]),
    }
    assert (english.left_out, swahili.left_out, english.files) == (1, 0, [str(path)])


def test_the_language_in_the_columns_the_name_or_the_folder(write):
    several = write("my.genre.dev.tsv", "genre\tlabel\tsentence1_en\tsentence2_en\tsentence1_my\tsentence2_my",
                    "face\tneutral\ta\tb\tက\tခ")  # fmt: skip
    named = write("multinli.train.sw.tsv", "premise\thypo\tlabel", "x\ty\tcontradictory", "x\t\tneutral")
    folder = write("de/test_2k.tsv", "id\tsentence1\tsentence2\tlabel", "1\tu\tv\t0")
    parts = read_labelled_texts([several, named, folder])
    assert content(parts) == {
        "de": ([["u"], ["v"]], ["0"]),
        "en": ([["a"], ["b"]], ["neutral"]),
        "my": ([["က"], ["ခ"]], ["neutral"]),
        "sw": ([["x"], ["y"]], ["contradiction"]),
    }
    assert [part.left_out for part in parts] == [0, 0, 0, 1]
    assert [part.language for part in read_labelled_texts([several, named], languages=["en"])] == ["en"]


def test_json_lines_of_single_texts_with_a_limit(write):
    rows = [f'{{"text": "t{number}", "label": {number % 2}, "language": "zh-CN"}}' for number in range(5)]
    (part,) = read_labelled_texts([write("reviews.jsonl", *rows)], max_samples=3)
    assert (part.language, part.texts, part.labels) == ("zh", [["t0", "t1", "t2"]], ["0", "1", "0"])


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("a.en.tsv", ["label\ttext", "x\ty\tz"], r"a.en.tsv: line 2: holds 3 columns, the header 2 \(label, text\)"),
        ("a.en.tsv", ["label\ttext", "\ty", "-1\ty"], r"no labelled sample of en; left out: 1 x .*empty.*1 x .*-1"),
        ("a.en.tsv", ["text\tlabel\tlabel", "x\ty\tz"], "line 1: column label comes twice"),
        ("a.en.tsv", ["Label\tlabel\ttext", "x\ty\tz"], "line 1: column label comes twice"),
        ("a.en.tsv", ["y\tno header", "y\tx"], "no column with a label .*a file without a header needs one"),
        ("a.en.tsv", ["label\ttext", '"x\ty', 'z"\ty\tu'], "line 3: holds 3 columns.*quotes do not enclose cells"),
        ("a.en.tsv", ["label\ttext", "0.5\ty"], "line 2: the label 0.5 is a number with a fraction"),
        ("a.en.tsv", ["label\ttext_zh\ttext_zho", "0\ta\tb"], "text_zh and text_zho both hold zh"),
        ("bad.de.tsv", ["label\ttext", "x\ty"], "bad and de are codes of languages; name it like train.en.tsv"),
        ("a.new.tsv", ["label\ttext", "x\ty"], "does not say the language"),
        ("a.tsv", ["label\ttext\tlanguage", "x\ty\tnull"], "line 2: language is null"),
        ("a.en.csv", ["label,text", 'x,"y', "z"], "a.en.csv: line 2: is not CSV"),
        ("a.en.csv", ["label,text", '"x",y,z'], "line 2: holds 3 columns, the header 2"),
        ("a.en.json", ["[1]"], "row 1: must be an object"),
        ("a.en.json", ["[{"], "a.en.json: is not JSON"),
        ("a.en.jsonl", ["[" * 100_000], "line 1: is not JSON: it is nested too deeply"),
        ("a.en.jsonl", ['{"label": ' + "9" * 5000 + ', "text": "x"}'], "line 1: is not JSON"),
        ("a.en.jsonl", ['{"label": 1, "label": 2, "text": "x"}'], "line 1: column label comes twice"),
        ("a.en.jsonl", ['{"label": 1.5, "text": "x"}'], "line 1: the label 1.5 is a number with a fraction"),
        ("a.en.jsonl", ['{"label": Infinity, "text": "x"}'], "line 1: the label inf is a number with a fraction"),
        ("a.en.jsonl", ['{"label": {"a": 1}, "text": "x"}'], "line 1: the label is a dict; a label is a name"),
        ("a.en.jsonl", ['{"label": ["a"], "text": "x"}'], "line 1: the label is a list; a label is a name"),
        ("a.en.jsonl", ['{"label": 1, "text": "x"}', '{"label": 1, "text": 5}'], "line 2: text is a int, not text"),
        ("a.en.jsonl", ['{"label": 1, "text": ["x"]}'], "line 1: text is a list, not text"),
        (
            "a.en.jsonl",
            ['{"label": 1, "text": {"value": "x"}}'],
            "line 1: text is an object with 'value', which is no",
        ),
        ("a.en.jsonl", ['{"label": 1, "text": {"en": "x", "eng": "y"}}'], "line 1: text holds en twice"),
        ("a.en.jsonl", ['{"label": 1, "text": {"en": "x", "en": "y"}}'], "line 1: the key 'en' comes twice"),
        (
            "a.en.jsonl",
            ['{"label": 1, "text": {"language": ["en", "de"], "translation": ["x"]}}'],
            "line 1: text needs as many values in translation as in language",
        ),
        (
            "a.en.jsonl",
            ['{"label": 1, "premise": {"en": "x"}, "hypothesis": "y"}'],
            "line 1: premise and hypothesis must both hold text",
        ),
        ("a.en.jsonl", ['{"label": 1, "text": "\\ud800"}'], "line 1: text: is not valid Unicode"),
        ("a.en.jsonl", ['{"label": "\\u0000", "text": "x"}'], "line 1: the label: holds a NUL"),
        ("a.jsonl", ['{"label": 1, "text": "x", "language": 5}'], "line 1: language is a int"),
        ("a.en.tsv", ["category\ttext", "x\ty"], "no column with a label among category, text; known: label, gold"),
        ("a.en.tsv", ["label\tbody", "x\ty"], "no column with texts among label, body"),
        ("a.en.tsv", ["label\ttext"], "holds no sample"),
        ("a.en.tsv", [], "holds no sample"),
        ("a.en.tsv", ["label\ttext", "-\ty"], "no labelled sample of en"),
        ("reviews.tsv", ["label\ttext", "x\ty"], "does not say the language; name it like train.en.tsv"),
        ("a.en.jsonl", ['{"label": 1, "text"'], "line 1: is not JSON"),
        ("a.en.jsonl", ["[1]"], "line 1: must be an object"),
        ("a.jsonl", ['{"label": 1, "text": "x", "language": " "}'], "line 1: language is empty"),
    ],
)
def test_bad_files(write, name, lines, message):
    with pytest.raises(InputError, match=message):
        read_labelled_texts([write(name, *lines)])


def test_broken_utf8_missing_files_and_mixed_kinds(write, tmp_path):
    (tmp_path / "bad.en.tsv").write_bytes(b"label\ttext\nx\t\xff\n")
    with pytest.raises(InputError, match="bad.en.tsv: line 2: is not UTF-8"):
        read_labelled_texts([tmp_path / "bad.en.tsv"])
    with pytest.raises(InputError, match="absent.en.tsv: no such file"):
        read_labelled_texts([tmp_path / "absent.en.tsv"])
    single = write("single.en.tsv", "label\ttext", "x\ty")
    pair = write("pair.en.tsv", "label\tsentence1\tsentence2", "x\ty\tz")
    with pytest.raises(InputError, match="pair.en.tsv: line 2: holds pairs of texts, but .*single.en.tsv single"):
        read_labelled_texts([single, pair])


def json_lines(rows):
    return [json.dumps(row, ensure_ascii=False) for row in rows]


@pytest.mark.parametrize("value", [-1, -1.0, "-1", "-1.0", "-", None, float("nan"), "", " ", "null", "nan", "None"])
def test_what_is_no_gold_label_is_left_out_and_counted(write, value):
    path = write("a.en.jsonl", *json_lines([{"text": "x", "label": 0}, {"text": "y", "label": value}, {"text": "z"}]))
    (part,) = read_labelled_texts([path])
    assert (part.texts, part.labels, part.left_out) == ([["x"]], ["0"], 2)
    assert sum(part.reasons[str(path)].values()) == 2
    assert all(reason.startswith("no gold label (") for reason in part.reasons[str(path)])


@pytest.mark.parametrize(
    "text", [None, float("nan"), "", "  ", "\u200b", "\ufeff", "NS", "null", "n/a", "NaN", "#NAME?"]
)
def test_missing_texts_and_placeholders_are_left_out_and_counted(write, text):
    rows = [
        {"sentence1": "x", "sentence2": "y", "label": 1},
        {"sentence1": "x", "sentence2": text, "label": 0},
        {"sentence1": text, "sentence2": text, "label": 0},
        {"sentence1": "NSA", "sentence2": "not null", "label": 1},
    ]
    path = write("a.de.jsonl", *json_lines(rows))
    (part,) = read_labelled_texts([path])
    assert (part.texts, part.labels, part.left_out) == ([["x", "NSA"], ["y", "not null"]], ["1", "1"], 2)
    assert sum(part.reasons[str(path)].values()) == 2


def test_rows_are_counted_for_each_file_with_the_reason(write):
    first = write("one.de.tsv", "label\tsentence1\tsentence2", "0\tx\ty", "-1\tx\ty", "0\tNS\ty", "0\tx\tNS", "\t\t")
    second = write("two.de.tsv", "label\tsentence1\tsentence2", "1\tx\ty", "1\tx\t")
    (part,) = read_labelled_texts([first, second])
    assert part.labels == ["0", "1"] and part.left_out == 5
    assert part.reasons == {
        str(first): {"no gold label (-1)": 1, "no text (NS)": 2, "no gold label (empty)": 1},
        str(second): {"no text (empty)": 1},
    }


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, "1", 2.0, "3.0"], ["0", "1", "2", "3"]),
        ([True, "true", "TRUE", False], ["true", "true", "true", "false"]),
        (["entailment ", "contradictory", "None of both"], ["entailment", "contradiction", "None of both"]),
        ([-2, 2, 10**30], ["-2", "2", str(10**30)]),
    ],
)
def test_a_class_has_one_name_however_it_is_written(write, values, labels):
    path = write("a.en.jsonl", *json_lines([{"text": "x", "label": value} for value in values]))
    assert read_labelled_texts([path])[0].labels == labels


def test_classes_are_in_the_order_of_numbers_or_names_whatever_the_files_order():
    def part(*labels):
        return LabelledTexts("en", [["x"] * len(labels)], list(labels))

    numbers = [str(number) for number in range(12)]
    assert class_names([part(*numbers[::-1]), part(*numbers[5:])]) == numbers
    assert class_names([part("b", "10"), part("a", "9")]) == ["10", "9", "a", "b"]
    assert class_names([part("1", "-2")]) == ["-2", "1"]
    with pytest.raises(InputError, match=r"labels = \['a'\]: a classifier needs at least two"):
        class_names([part("a", "a")])


def test_an_unknown_label_is_named_with_file_and_line(write):
    training = read_labelled_texts([write("train.en.tsv", "label\ttext", "0\tx", "1\ty", "-1\tz")])
    test = write("test.en.tsv", "label\ttext", "0\tx", "-1\tz", "2\ty", "2\tz")
    with pytest.raises(InputError, match=r"test.en.tsv: line 4: label '2' is not one of the training data's: 0, 1"):
        check_labels(class_names(training), read_labelled_texts([test]))
    check_labels(class_names(training), training)


def test_xnli_in_all_languages_as_the_datasets_library_gives_it(write):
    codes = ["de", "eng", "zh-Hans"]
    rows = [
        {
            "premise": {code: f"{code} premise {number}" for code in reversed(codes)},
            "hypothesis": {"language": codes, "translation": [f"{code} hypothesis {number}" for code in codes]},
            "label": number,
        }
        for number in (0, 2, -1)
    ]
    rows[1]["premise"]["de"] = None
    del rows[0]["premise"]["zh-Hans"]
    path = write("all_languages.jsonl", *json_lines(rows))
    parts = read_labelled_texts([path])
    assert content(parts) == {
        "de": ([["de premise 0"], ["de hypothesis 0"]], ["0"]),
        "en": ([["eng premise 0", "eng premise 2"], ["eng hypothesis 0", "eng hypothesis 2"]], ["0", "2"]),
        "zh": ([["zh-Hans premise 2"], ["zh-Hans hypothesis 2"]], ["2"]),
    }
    assert [part.left_out for part in parts] == [2, 1, 2]
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, path.with_name("test-00000-of-00001.parquet"))
    assert content(read_labelled_texts([path.with_name("test-00000-of-00001.parquet")])) == content(parts)


@pytest.mark.parametrize("code", ["de", "deu", "ger", "de-DE", "de_DE", "deu_Latn"])
def test_a_language_is_one_under_all_of_its_codes(write, code):
    named = write(f"train.{code}.tsv", "label\ttext", "0\ta")
    column = write("column.tsv", "Label\tTEXT\tLanguage", f"0\tb\t{code}")
    ending = write("ending.tsv", f"label\ttext_{code}", "0\tc")
    objects = write("objects.jsonl", json.dumps({"label": 0, "text": {code: "d"}}))
    folder = write(f"{code}/test_2k.tsv", "label\ttext", "0\te")
    (part,) = read_labelled_texts([named, column, ending, objects, folder], languages=[code])
    assert (part.language, part.texts) == ("de", [["a", "b", "c", "d", "e"]])


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), CELLS, CELLS), min_size=1, max_size=8))
def test_csv_json_and_parquet_give_the_same(tmp_path_factory, rows):
    """What the csv module, the json module and pyarrow write comes back the same from each format."""
    folder = tmp_path_factory.mktemp("formats")
    rows = [dict(zip(("label", "premise", "hypothesis"), row, strict=True)) for row in rows]
    rows.append({"label": "a", "premise": "begin", "hypothesis": "end"})
    with open(folder / "x.en.csv", "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "x.en.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "x.en.json").write_text(json.dumps(rows, indent=1), encoding="utf-8-sig")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "x.en.parquet")
    found = [read_labelled_texts([folder / f"x.en.{ending}"])[0] for ending in ("csv", "jsonl", "json", "parquet")]
    assert len(found[0]) + found[0].left_out == len(rows)
    for part in found:
        assert (part.texts, part.labels, part.left_out) == (found[0].texts, found[0].labels, found[0].left_out)


def test_line_breaks_in_csv_count_as_lines(write):
    path = write("a.en.csv", "label,text", '0,"one', 'two"', '1,"say ""x"", y"', "", "0.5,z")
    with pytest.raises(InputError, match="a.en.csv: line 6: the label 0.5"):
        read_labelled_texts([path])
    path = write("b.en.csv", "label,text", '0,"one', 'two"', '1,"say ""x"", y"')
    assert read_labelled_texts([path])[0].texts == [["one\ntwo", 'say "x", y']]


def test_byte_order_mark_carriage_returns_and_compression(write):
    body = '\ufefflabel\tsentence1\tsentence2\r\n0\t"Yes" he said\t\u201cno\u201d\r\n'.encode()
    path = write("train.en.tsv.bz2")
    path.write_bytes(bz2.compress(body))
    assert content(read_labelled_texts([path])) == {"en": ([['"Yes" he said'], ["\u201cno\u201d"]], ["0"])}
    path.write_bytes(bz2.compress(body)[:-5])
    with pytest.raises(InputError, match="train.en.tsv.bz2: the compressed data"):
        read_labelled_texts([path])


def test_a_broken_parquet_file_and_a_broken_row(write, tmp_path):
    path = write("a.en.parquet", "no parquet")
    with pytest.raises(InputError, match="a.en.parquet: is not a complete Parquet file"):
        read_labelled_texts([path])
    texts = pyarrow.array([b"fine", b"\xff\xfe"], pyarrow.binary()).view(pyarrow.string())
    # A column that nobody asked for is not decoded: this date is beyond what Python has.
    dates = pyarrow.array([2**60, 2**60], pyarrow.timestamp("ms"))
    table = pyarrow.table({"label": ["a", "b"], "text": texts, "date": dates})
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(InputError, match="a.en.parquet: row 2: is not a row that can be read"):
        read_labelled_texts([path])
    pyarrow.parquet.write_table(table.slice(0, 1), path)
    assert read_labelled_texts([path])[0].texts == [["fine"]]


def test_files_that_are_none_or_given_twice(write, tmp_path):
    path = write("a.en.tsv", "label\ttext", "0\tx")
    with pytest.raises(InputError, match="a.en.tsv: is given 2 times"):
        read_labelled_texts([path, tmp_path / "." / "a.en.tsv"])
    with pytest.raises(InputError, match="is a folder; give its files"):
        read_labelled_texts([tmp_path])
    os.mkfifo(tmp_path / "pipe.en.tsv")
    with pytest.raises(InputError, match="pipe.en.tsv: is neither a file nor a folder"):
        read_labelled_texts([tmp_path / "pipe.en.tsv"])
    with pytest.raises(InputError, match="no labelled sample of sw"):
        read_labelled_texts([path], languages=["en", "sw"])
    with pytest.raises(InputError, match="max_samples = 0"):
        read_labelled_texts([path], max_samples=0)
    pairs = write("b.de.tsv", "label\tsentence1\tsentence2", "0\tx\ty")
    with pytest.raises(InputError, match="b.de.tsv: line 2: holds pairs of texts, but .*a.en.tsv single"):
        read_labelled_texts([path, pairs])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 0}', "labels.json: must be a list of class names"),
        ("[0, 1]", "labels.json: must be a list of class names"),
        ('["a", "a"]', "labels.json: names a class twice"),
        ('["a", "b", "c"]', "labels.json: names 3 classes, but the model has 2 outputs"),
        ("[", "labels.json: is not valid JSON"),
    ],
)
def test_damaged_class_names(tmp_path, content, message):
    write_labels(tmp_path, ["b", "ä"])
    assert read_labels(tmp_path, 2) == ["b", "ä"]
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path, 2)
    (tmp_path / "labels.json").unlink()
    with pytest.raises(InputError, match="holds no labels.json"):
        read_labels(tmp_path)


@pytest.mark.skipif(
    "INFOXLM_EVAL_DATA" not in os.environ, reason="INFOXLM_EVAL_DATA names no folder of real test sets"
)
@pytest.mark.parametrize(("name", "languages"), [("my.genre.dev.tsv", {"en", "my"}), ("ur.genre.test.tsv", {"ur"})])
def test_xnlis_own_files(name, languages):
    path = os.path.join(os.environ["INFOXLM_EVAL_DATA"], "xnli", name)
    parts = read_labelled_texts([path])
    with open(path, encoding="utf-8") as file:
        rows = len(file.read().rstrip("\n").split("\n")) - 1
    assert {part.language for part in parts} == languages
    assert all(len(part) + part.left_out == rows for part in parts)
    assert class_names(parts) == ["contradiction", "entailment", "neutral"]


@pytest.mark.parametrize("name", ["de.tsv", "de.csv", "de.jsonl", "de.parquet"])
def test_what_the_first_bytes_show_is_no_labelled_text(name, write):
    path = write(name, "version https://git-lfs.github.com/spec/v1", "oid sha256:0", "size 1")
    with pytest.raises(InputError, match=rf"{name}: is a Git LFS pointer, not the file itself: run `git lfs pull`"):
        read_labelled_texts([path])
    if name != "de.parquet":
        path = write(name, "<!DOCTYPE html>", "<p>Not found</p>")
        with pytest.raises(InputError, match=rf"{name}: is SGML, XML or HTML"):
            read_labelled_texts([path])
