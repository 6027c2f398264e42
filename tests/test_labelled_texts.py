"""Labelled texts of each language, from the files they are distributed in."""

import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning import read_labelled_texts


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
        ("a.en.tsv", ["label\ttext", "\ty"], "line 2: label is empty"),
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
