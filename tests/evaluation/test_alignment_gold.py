"""Sentence pairs and gold links from files: numbering, marks, layouts, and what is refused."""

import gzip
import os
import pathlib

import numpy as np
import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.alignment.gold import read_alignment_set, read_alignment_sets

SOURCE = "the house is red\nno .\nyes\n"
TARGET = "la maison est rouge\nnon .\noui\n"
GOLD = "1 1 1 S\n1 2 2\n1 3 4 P\n2 1 1 S\n2 2 2 p\n3 1 1 S\n"


def write(folder, source=SOURCE, target=TARGET, gold=GOLD):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.en").write_text(source, encoding="utf-8")
    (folder / "test.fr").write_text(target, encoding="utf-8")
    (folder / "alignv2.txt").write_text(gold)
    return folder / "test.en", folder / "test.fr", folder / "alignv2.txt"


def as_sets(links):
    return [{tuple(link) for link in of_sentence.tolist()} for of_sentence in links]


def test_links_and_marks_are_read(tmp_path):
    read = read_alignment_set(*write(tmp_path))
    assert read.name == "en-fr" and read.notes == () and read.left_out == 0
    assert read.sources == [["the", "house", "is", "red"], ["no", "."], ["yes"]]
    assert as_sets(read.sure) == [{(0, 0), (1, 1)}, {(0, 0)}, {(0, 0)}]
    assert as_sets(read.possible) == [{(0, 0), (1, 1), (2, 3)}, {(0, 0), (1, 1)}, {(0, 0)}]


@pytest.mark.parametrize("first_word", [0, 1])
@pytest.mark.parametrize("first_sentence", [0, 1, 100])
def test_numbers_may_begin_anywhere(first_word, first_sentence, tmp_path):
    rows = [line.split() for line in GOLD.splitlines()]
    moved = [
        [int(row[0]) - 1 + first_sentence, *(int(word) - 1 + first_word for word in row[1:3]), *row[3:]]
        for row in rows
    ]
    gold = "".join(" ".join(map(str, row)) + "\n" for row in moved)
    read, plain = (
        read_alignment_set(*write(tmp_path / name, gold=text)) for name, text in (("moved", gold), ("plain", GOLD))
    )
    assert as_sets(read.possible) == as_sets(plain.possible) and as_sets(read.sure) == as_sets(plain.sure)
    explicit = read_alignment_set(*write(tmp_path / "x", gold=gold), None, str(first_word), "order")
    assert as_sets(explicit.possible) == as_sets(plain.possible)


def test_links_to_the_empty_word_are_passed_over_where_words_count_from_1(tmp_path):
    files = write(tmp_path, gold=GOLD + "1 4 0 P\n3 0 1 P\n")
    with pytest.raises(InputError, match=r"line 1: word 4.*\? If words count from 1 and 0 .* give --first_word 1"):
        read_alignment_set(files[0], files[1], write(tmp_path / "x", gold="1 4 0 P\n1 2 5 P\n1 1 1\n")[2])
    read, plain = read_alignment_set(*files, first_word="1"), read_alignment_set(*write(tmp_path / "plain"))
    assert as_sets(read.possible) == as_sets(plain.possible)
    assert read.notes == (f"{files[2]}: passed over, links to the empty word 0: 2",)


def test_a_no_break_space_is_inside_of_a_word(tmp_path):
    files = write(tmp_path, source="10\u00a0000 chats\n", target="10,000\u3000cats here\n", gold="1 2 2 S\n")
    read = read_alignment_set(*files)
    assert read.sources == [["10\u00a0000", "chats"]] and read.targets == [["10,000\u3000cats", "here"]]


def test_numbers_with_gaps_belong_to_the_lines_in_order_and_a_note_says_so(tmp_path):
    gold = GOLD.replace("\n3 ", "\n7 ")
    read = read_alignment_set(*write(tmp_path, gold=gold))
    assert as_sets(read.sure)[2] == {(0, 0)}
    (note,) = read.notes
    assert "without 3, 4, 5, 6" in note and "the n-th number is taken for line n" in note
    with pytest.raises(InputError, match=r"alignv2.txt: line 6: sentence 7 is not among the 3 of .*test.en"):
        read_alignment_set(*write(tmp_path, gold=gold), None, "auto", "1")


def test_what_has_no_gold_or_is_given_twice_is_counted_and_named(tmp_path):
    read = read_alignment_set(*write(tmp_path, gold="1 1 1 P\n1 1 1 S\n3 1 1 S\n3 1 1 P\n"))
    assert read.sources == [["the", "house", "is", "red"], ["yes"]] and read.left_out == 1
    # A link that is both is sure, in either order.
    assert as_sets(read.sure) == [{(0, 0)}, {(0, 0)}]
    assert "test.en: passed over, lines without a gold link: 1: 2" in read.notes[0]
    assert "given more than once: 2" in read.notes[1]


def test_folders_are_found_and_other_files_named(tmp_path):
    write(tmp_path / "sets" / "en-fr")
    (tmp_path / "sets" / "en-fr" / "README").write_text("about")
    other = tmp_path / "sets" / "fr-en"
    write(other)
    with gzip.open(other / "test.fr.gz", "wt", encoding="utf-8") as file:
        file.write(TARGET)
    (other / "test.fr").unlink()
    (other / "alignv2.txt").rename(other / "links.wa")
    # The columns are those of the folder's name.
    found = read_alignment_sets([tmp_path / "sets"])
    assert [read.name for read in found] == ["en-fr", "fr-en"]
    assert found[0].notes == (f"{tmp_path}/sets/en-fr: passed over, other files: 1: README",)
    assert found[1].sources[2] == ["oui"] and found[1].notes == ()
    assert [read.name for read in read_alignment_sets([other])] == ["fr-en"]
    with pytest.raises(InputError, match="en-fr: holds alignments of en-fr, as .* does"):
        read_alignment_sets([tmp_path / "sets", tmp_path / "sets" / "en-fr"])


REFUSED = {
    "no link": ({"gold": "1 1 1 S\n1 2 S\n"}, "alignv2.txt: line 2: '1 2 S' is no link"),
    "a fifth column": ({"gold": "1 1 1 S 0.5\n"}, "alignv2.txt: line 1: '1 1 1 S 0.5' is no link"),
    "a mark": ({"gold": "1 1 1 X\n"}, "alignv2.txt: line 1: '1 1 1 X' is no link"),
    "a negative number": ({"gold": "1 1 -1 S\n"}, "alignv2.txt: line 1"),
    "another digit": ({"gold": "1 1 \u0661 S\n"}, "alignv2.txt: line 1"),
    "a word too far": ({"gold": "1 1 1 S\n\n1 5 1 S\n"}, "alignv2.txt: line 3: word 5, .*line 1 of .*words 1..4"),
    "a target word too far": ({"gold": "0 0 0\n1 0 2 P\n"}, "line 2: word 2, but line 2 of .*test.fr .*words 0..1"),
    "a sentence too far": ({"gold": "1 1 1\n4 1 1\n"}, "alignv2.txt: line 2: sentence 4 is not among the 3"),
    "no words": ({"source": "the\n\nyes\n", "gold": "2 1 1\n"}, "line 1: word 1, but line 2 .* has no word"),
    "empty": ({"gold": "\n"}, "alignv2.txt: holds no link"),
    "no sure link": ({"gold": "1 1 1 P\n"}, "alignv2.txt: holds no sure link"),
    "sides": ({"target": "la\n"}, "test.en: has 3 lines, but .*test.fr has 1"),
}


@pytest.mark.parametrize("changed, message", REFUSED.values(), ids=REFUSED)
def test_bad_files_are_refused_with_file_and_line(changed, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_alignment_set(*write(tmp_path, **changed))


def test_a_first_number_that_is_given_is_kept_to(tmp_path):
    with pytest.raises(InputError, match="line 1: word 0, .*words 1..4"):
        read_alignment_set(*write(tmp_path, gold="1 0 0 S\n"), None, "1")


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="absent: no such folder"):
        read_alignment_sets([tmp_path / "absent"])
    with pytest.raises(InputError, match="holds no word alignments: a folder <src>-<tgt> holds"):
        read_alignment_sets([tmp_path])
    folder = tmp_path / "en-fr"
    write(folder)
    (folder / "dev.fr").write_text("x")
    with pytest.raises(InputError, match=r"2 files could be the target \(dev.fr, test.fr\)"):
        read_alignment_sets([folder])
    (folder / "dev.fr").unlink()
    (folder / "alignv2.txt").unlink()
    with pytest.raises(InputError, match=r"0 files could be the gold links \(none\)"):
        read_alignment_sets([folder])


@pytest.mark.skipif(
    "INFOXLM_EVAL_DATA" not in os.environ, reason="INFOXLM_EVAL_DATA names no folder with word_alignment/"
)
def test_real_test_sets():
    french, romanian = read_alignment_sets([pathlib.Path(os.environ["INFOXLM_EVAL_DATA"]) / "word_alignment"])
    assert (len(french.sources), sum(map(len, french.sure)), sum(map(len, french.possible))) == (447, 4038, 17438)
    # Its links keep the numbers of 203 sentences, of which four were left out.
    assert (len(romanian.sources), sum(map(len, romanian.possible))) == (199, 5033)
    assert "63, 150, 151, 152" in romanian.notes[0]
    longest = [np.max(links, axis=0) + 1 for links in romanian.possible]
    sizes = [(len(a), len(b)) for a, b in zip(romanian.sources, romanian.targets, strict=True)]
    # Taken for other lines, hundreds of links would lie outside; the last words of most sentences have one.
    assert np.mean([tuple(found) == size for found, size in zip(longest, sizes, strict=True)]) > 0.9
