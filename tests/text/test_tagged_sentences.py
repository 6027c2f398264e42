"""Readers of tagged sentences: CoNLL-U, columns, PAN-X; languages; and lines that are refused."""

import gzip

import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.tagged_sentences import read_tagged_sentences

CONLLU = """# sent_id = 1
1-2\tim\t_\t_\t_\t_\t_\t_\t_\t_
1\tin\tin\tADP\t_\t_\t2\tcase\t_\t_
2\tdem\tder\tDET\t_\t_\t0\troot\t_\t_
2.1\tgone\tgone\tVERB\t_\t_\t_\t_\t_\t_
3\tNew York\tNY\tPROPN\t_\t_\t1\tobj\t_\t_

# sent_id = 2
1\tx\tx\t_\t_\t_\t0\troot\t_\t_

# sent_id = 3
1\tja\tja\tINTJ\t_\t_\t0\troot\t_\t_
"""


def write(path, text):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_conllu(tmp_path):
    path = write(tmp_path / "de_gsd-ud-test.conllu", CONLLU)
    (part,) = read_tagged_sentences([path])
    assert part.language == "de" and len(part) == 2
    assert part.words == [["in", "dem", "New York"], ["ja"]]
    assert part.tags == [["ADP", "DET", "PROPN"], ["INTJ"]]
    assert part.lines == [(str(path), 3), (str(path), 12)]
    assert part.reasons == {str(path): {"a word without a tag (_)": 1}} and part.left_out == 1
    assert part.places["DET"] == f"{path}: line 4"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("de/test", "de:Der\tO\nde:Rhein:\tB-LOC\n\nde:a\tO"),
        ("test-de.tsv", "Der\tO\nRhein:\tB-LOC\n\n\na\tO\n"),
        ("test.de.txt", "-DOCSTART- -X- O O\n\nDer DT O O\nRhein: NNP I-NP B-LOC\n\na x y O\n"),
        ("de/test.xlm-roberta-base", "Der O\nRhein: B-LOC\n\na O\n\n"),
        ("de-test", "Der\tO\nRhein:\tB-LOC\n\na\tO\n"),
        ("test-de.xlmr", "Der O\r\nRhein: B-LOC\r\n\r\na O"),
    ],
)
def test_words_and_tags_in_columns(tmp_path, name, text):
    (part,) = read_tagged_sentences([write(tmp_path / name, text)])
    assert part.language == "de"
    assert part.words == [["Der", "Rhein:"], ["a"]] and part.tags == [["O", "B-LOC"], ["O"]]


def test_several_files_compression_and_limits(tmp_path):
    packed = tmp_path / "b.en.txt.gz"
    packed.write_bytes(gzip.compress("x\u00a0y O\n\nz B-A\n".encode()))
    paths = [write(tmp_path / "a.en.txt", "a O\n"), packed, write(tmp_path / "c.fr.txt", "b O\n")]
    english, french = read_tagged_sentences(paths)
    assert english.words == [["a"], ["x\u00a0y"], ["z"]] and english.files == [str(path) for path in paths[:2]]
    assert french.language == "fr"
    assert [len(part) for part in read_tagged_sentences(paths, ["eng"], 2)] == [2]


def test_panx_words_of_another_language_are_words(tmp_path):
    """A prefix is cut off only where all words of the file have it."""
    (part,) = read_tagged_sentences([write(tmp_path / "test.en.txt", "at:10 O\nx O\n")])
    assert part.words == [["at:10", "x"]]
    (part,) = read_tagged_sentences([write(tmp_path / "elsewhere" / "test", "zh:：\tO\nzh:\tO\n")])
    assert part.language == "zh" and part.words == [["：", ""]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.en.txt", "a O\nb\n", "line 2: 'b' is a word without a tag"),
        ("a.en.txt", "a\tO\n\tO\n", "line 2: 'O' is a word without a tag"),
        ("a.en.txt", "a\tB LOC\n", "line 1: the tag 'B LOC' holds white space; words and tags do not match"),
        ("a.en.txt", "a O\nNew York B-LOC\n", "line 2: holds 3 columns, and the lines before it 2"),
        ("a.en.txt", "\n\n", "holds no sentence"),
        ("a.en.txt", "-DOCSTART- O\n", "holds no sentence"),
        ("words.txt", "a O\n", "its name does not say the language"),
        ("en_x-ud-dev.conllu", "1\ta\ta\tNOUN\n", "line 1: holds 4 columns between tabs; CoNLL-U has 10"),
        ("en_x-ud-dev.conllu", "\t".join(["x", "a", "a", "NOUN", *"______"]), "line 1: its first column is 'x'"),
        ("en_x-ud-dev.conllu", "\t".join(["1", "a", "a", " ", *"______"]), r"line 1: holds no tag \(UPOS, column 4\)"),
        ("en_x-ud-dev.conllu", "\t".join(["1", "a", "a", *"_______"]), "no tagged sentence of en"),
    ],
)
def test_what_is_broken_is_refused_with_its_line(tmp_path, name, text, message):
    path = write(tmp_path / name, text)
    with pytest.raises(InputError, match=message) as caught:
        read_tagged_sentences([path])
    assert str(caught.value).startswith(str(path))


def test_files_that_are_missing_or_given_twice(tmp_path):
    path = write(tmp_path / "a.en.txt", "a O\n")
    with pytest.raises(InputError, match="is given 2 times"):
        read_tagged_sentences([path, path])
    with pytest.raises(InputError, match="nowhere.en.txt: no such file"):
        read_tagged_sentences([tmp_path / "nowhere.en.txt"])
    with pytest.raises(InputError, match="no tagged sentence of de"):
        read_tagged_sentences([path], ["de"])


def test_a_comment_on_a_sentence_is_no_word_and_a_number_sign_is(tmp_path):
    lines = ["# id 1 domain=en", "Anna B-X", "runs O", "", "# id 2 domain=en", "# O", "# 1 O", "Bob B-X"]
    with pytest.raises(InputError, match="line 7: holds 3 columns"):
        read_tagged_sentences([write(tmp_path / "a.en.conll", "\n".join(lines))])
    del lines[6]
    (part,) = read_tagged_sentences([write(tmp_path / "a.en.conll", "\n".join(lines))])
    assert part.words == [["Anna", "runs"], ["#", "Bob"]] and set(part.places) == {"O", "B-X"}
    lines = ["# id 1 x", "Anna _ _ B-X", "# _ _ O", "", "# _ _ O", "runs _ _ O"]
    (part,) = read_tagged_sentences([write(tmp_path / "b.en.conll", "\n".join(lines))])
    assert part.words == [["Anna", "#"], ["#", "runs"]]


@pytest.mark.parametrize(
    ("lines", "words", "tags"),
    [
        # MultiCoNER's, whose comments have as many columns as its words, or a tab.
        (
            ["# id 0a domain=en", "Anna _ _ B-X", "", "# id 1f domain=en", "runs _ _ O"],
            [["Anna"], ["runs"]],
            {"B-X", "O"},
        ),
        (["# id 0a\tdomain=en", "Anna\tB-X", "", "# id 1f\tdomain=en", "runs\tO"], [["Anna"], ["runs"]], {"B-X", "O"}),
        (
            ["# sent_id = 5 z", "Anna 1 2 3 B-X", "", "# text = only so", "runs 1 2 3 O"],
            [["Anna"], ["runs"]],
            {"B-X", "O"},
        ),
        (["word\ttag", "Anna\tB-X", "tag\tO"], [["Anna", "tag"]], {"B-X", "O"}),
        (["token pos ner_tag", "Anna N B-X"], [["Anna"]], {"B-X"}),
        # WikiANN's, with Wikipedia's codes that are none of a language.
        (["simple:a\tO", "simple:Anna\tB-X"], [["a", "Anna"]], {"B-X", "O"}),
        (["cbk-zam:a\tO", "cbk-zam:Anna\tB-X"], [["a", "Anna"]], {"B-X", "O"}),
        (["10:30 O", "12:15 B-X"], [["10:30", "12:15"]], {"B-X", "O"}),
        (["1 O"], [["1"]], {"O"}),
    ],
)
def test_comments_headers_and_prefixes(lines, words, tags, tmp_path):
    (part,) = read_tagged_sentences([write(tmp_path / "x.en.conll", "\n".join(lines) + "\n")])
    assert (part.language, part.words, set(part.places)) == ("en", words, tags)


def test_a_first_column_of_numbers_is_refused(tmp_path):
    path = write(
        tmp_path / "x.en.iob2", "# text = a\n1\tParis\tB-LOC\t-\tann1\n2\truns\tO\t-\tann1\n\n1\tit\tO\t-\tann1\n"
    )
    with pytest.raises(InputError, match=r"line 2: its first column numbers the words .*`cut -f2,3`.* \.conllu"):
        read_tagged_sentences([path])
