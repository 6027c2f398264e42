"""Sentence pairs of words with gold alignments, from files as they are distributed.

test.en, test.fr   a sentence a line, words separated by white space
alignv2.txt        a link a line: `sentence source target [S|P]`, a sure or a possible link; without mark: sure
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import staging
from infoxlm_keras.text.readers.inputs import plain_name
from infoxlm_keras.text.readers.line_input import all_lines

MARKS = ("S", "P")
WORD_NUMBERINGS = ("auto", "0", "1")
SENTENCE_NUMBERINGS = ("auto", "0", "1", "order")
NULL_LINKS = " If words count from 1 and 0 is a word without a partner, give --first_word 1"
LAYOUT = (
    "a folder <src>-<tgt> holds one file that ends in .<src>, one that ends in .<tgt>, and one file with the gold "
    "links (or give --source, --target and --gold)"
)


@dataclasses.dataclass(frozen=True)
class AlignmentSet:
    """Sentence pairs of two languages with gold links between their words, which count from 0 here.

    Attributes:
        name: str, `<source>-<target>`.
        sources, targets: list of list of str, the words of each sentence.
        sure: list of int64 [links, 2], a (source word, target word) a row, no row twice.
        possible: list of int64 [links, 2], the sure links among them.
        notes: tuple of str, what was passed over, to be printed.
        left_out: int, sentence pairs without a gold link, which are in none of the lists.
    """

    name: str
    sources: list[list[str]]
    targets: list[list[str]]
    sure: list[Array]
    possible: list[Array]
    notes: tuple[str, ...] = ()
    left_out: int = 0


def read_alignment_sets(
    folders: Sequence[PathLike], first_word: str = "auto", sentences: str = "auto"
) -> list[AlignmentSet]:
    """Reads folders `<src>-<tgt>`, each with the two sides and the gold links.

    Args:
        folders: list of str or path: such folders, or folders that hold them.
        first_word, sentences: as `read_alignment_set`.

    Returns:
        list of `AlignmentSet`, sorted by name.

    Raises:
        InputError: if a folder holds no such files, two have one name, or as `read_alignment_set`.
    """
    found: dict[str, tuple[pathlib.Path, AlignmentSet]] = {}
    for given in folders:
        for folder in _pair_folders(staging.local_copy(given)):
            source, target, gold, others = _files(folder)
            name = folder.resolve().name
            if name in found:
                raise InputError(f"{folder}: holds alignments of {name}, as {found[name][0]} does; give one of them")
            alignments = read_alignment_set(source, target, gold, name, first_word, sentences)
            if others:
                note = f"{folder}: passed over, other files: {len(others):,}: {', '.join(others[:10])}"
                alignments = dataclasses.replace(alignments, notes=(note, *alignments.notes))
            found[name] = folder, alignments
    return [found[name][1] for name in sorted(found)]


def read_alignment_set(
    source: PathLike,
    target: PathLike,
    gold: PathLike,
    name: str | None = None,
    first_word: str = "auto",
    sentences: str = "auto",
) -> AlignmentSet:
    """Reads the two sides and the gold links of one pair of languages.

    Args:
        source, target: str or path of the sides, a sentence a line; .gz, .xz, .bz2 and .zst are read directly.
        gold: str or path of the gold links.
        name: str; None: the endings of the two files, `en-fr`.
        first_word: "0" or "1", the number of a sentence's first word in `gold`; "auto": 0 if a 0 occurs, else 1. With
            "1" a 0 is the empty word of a word without a partner: such a line is passed over.
        sentences: "0" or "1", the number of the first sentence in `gold`; "order": the n-th number that occurs, in
            ascending order, is that of line n (some test sets leave out sentences and keep the old numbers); "auto":
            "order" if as many numbers occur as the sides have lines, else 0 if a 0 occurs, else 1.

    Returns:
        `AlignmentSet`.

    Raises:
        InputError: if the sides differ in length; for a line of `gold` that is no link or lies outside of the
            sentences, names file and line; if there is no sure link.
    """
    source, target, gold = (staging.local_copy(path) for path in (source, target, gold))
    # Tokenizers leave no-break spaces inside of words, as in `10 000`: a word ends at a plain space or tab.
    sides = [[re.findall(r"[^ \t\r\n]+", line) for line in all_lines(path)] for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise InputError(f"{source}: has {len(sides[0])} lines, but {target} has {len(sides[1])}; line n translates n")
    rows = _rows(gold)
    if not rows:
        raise InputError(f"{gold}: holds no link; each line is `sentence source target [S|P]`")
    links: dict[int, dict[tuple[int, int], str]] = collections.defaultdict(dict)
    lines, gaps = _line_numbers(rows, len(sides[0]), sentences)
    start = int(min(number for row in rows for number in (row.source, row.target)) > 0)
    start = start if first_word == "auto" else int(first_word)
    given = len(rows)
    # Two empty words are not linked to each other: `0 0` says that words count from 0.
    rows = [row for row in rows if first_word != "1" or (row.source == 0) == (row.target == 0)]
    twice = 0
    for row in rows:
        line = lines.get(row.sentence)
        if line is None:
            raise InputError(
                f"{gold}: line {row.line}: sentence {row.sentence} is not among the {len(sides[0])} of {source}"
            )
        link = row.source - start, row.target - start
        _check(row, line, link, sides, (source, target), gold, start)
        twice += link in links[line]
        # A link that is given as both is sure.
        links[line][link] = min(links[line].get(link, row.mark), row.mark, key=MARKS.index)
    if not any(mark == "S" for of_sentence in links.values() for mark in of_sentence.values()):
        raise InputError(f"{gold}: holds no sure link (S), so recall and error rate are undefined; check the marks")
    kept = sorted(links)
    left_out = len(sides[0]) - len(kept)
    notes = []
    if gaps:
        notes.append(
            f"{gold}: does not number the sentences one by one (without {_shown(gaps)}); the n-th number is taken for "
            f"line n of {source}"
        )
    if left_out:
        missing = [number + 1 for number in range(len(sides[0])) if number not in links]
        notes.append(f"{source}: passed over, lines without a gold link: {left_out:,}: {_shown(missing)}")
    if len(rows) < given:
        notes.append(f"{gold}: passed over, links to the empty word 0: {given - len(rows):,}")
    if twice:
        notes.append(f"{gold}: links that are given more than once: {twice:,}; each counts once")
    return AlignmentSet(
        name or "-".join(pathlib.Path(plain_name(path)).suffix[1:] or path.name for path in (source, target)),
        sources=[sides[0][number] for number in kept],
        targets=[sides[1][number] for number in kept],
        sure=[_array(link for link, mark in links[number].items() if mark == "S") for number in kept],
        possible=[_array(links[number]) for number in kept],
        notes=tuple(notes),
        left_out=left_out,
    )


@dataclasses.dataclass(frozen=True)
class _Row:
    line: int
    sentence: int
    source: int
    target: int
    mark: str


def _rows(gold):
    """list of `_Row`: the lines of a gold file, with its own numbers."""
    rows = []
    for number, line in enumerate(all_lines(gold), start=1):
        columns = line.split()
        if not columns:
            continue
        mark = columns[3].upper() if len(columns) == 4 else "S"
        if not 3 <= len(columns) <= 4 or not all(_is_number(column) for column in columns[:3]) or mark not in MARKS:
            raise InputError(
                f"{gold}: line {number}: {line.strip()!r:.60} is no link; write `sentence source target [S|P]`"
            )
        sentence, source, target = map(int, columns[:3])
        rows.append(_Row(number, sentence, source, target, mark))
    return rows


def _is_number(text):
    return text.isascii() and text.isdecimal() and len(text) < 10


def _line_numbers(rows, lines, sentences):
    """({number of a sentence: its line from 0}, list of int: the numbers that are skipped)."""
    numbers = sorted({row.sentence for row in rows})
    if sentences == "order" or sentences == "auto" and len(numbers) == lines:
        # More numbers than lines: those that are left are refused.
        skipped = sorted({*range(numbers[0], numbers[-1])} - {*numbers}) if numbers[-1] - numbers[0] < 10**6 else []
        return dict(zip(numbers, range(lines), strict=False)), skipped
    start = int(numbers[0] > 0) if sentences == "auto" else int(sentences)
    return {line + start: line for line in range(lines)}, []


def _check(row, line, link, sides, paths, gold, start):
    """Raises InputError for a link outside of the sentences."""
    for number, given, side, path in zip(link, (row.source, row.target), sides, paths, strict=True):
        words = len(side[line])
        if not 0 <= number < words:
            known = f"the words {start}..{words - 1 + start}" if words else "no word"
            raise InputError(
                f"{gold}: line {row.line}: word {given}, but line {line + 1} of {path} has {known}; are the two "
                f"sides exchanged?{NULL_LINKS if start == 0 else ''}"
            )


def _shown(numbers):
    return ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")


def _array(links):
    return np.array(sorted(links), np.int64).reshape(-1, 2)


def _pair_folders(folder):
    """The folders `<src>-<tgt>` that `folder` is or holds."""
    if not folder.is_dir():
        raise InputError(f"{folder}: {'is a file, not a folder' if folder.exists() else 'no such folder'}; {LAYOUT}")
    if _sides(folder):
        return [folder]
    inner = sorted(item for item in folder.iterdir() if item.is_dir() and _sides(item))
    if not inner:
        raise InputError(f"{folder}: holds no word alignments: {LAYOUT}")
    return inner


def _sides(folder):
    """The files of the two sides of a folder `<src>-<tgt>`: two lists of path, empty where its name is no pair."""
    codes = folder.resolve().name.split("-")
    if len(codes) != 2 or not all(codes):
        return []
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    sides = [[path for path in files if pathlib.Path(plain_name(path)).suffix == f".{code}"] for code in codes]
    return sides if any(sides) else []


def _files(folder):
    """(source, target, gold, others): the paths in a folder `<src>-<tgt>`, and the names of what is passed over."""
    sides = _sides(folder)
    rest = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and not any(path in side for side in sides)
    ]
    # Beside a README the gold links are recognised by their name.
    named = [path for path in rest if re.search("align|gold", path.name, re.IGNORECASE)]
    gold = named if len(rest) > 1 and named else rest
    for part, files in zip(("the source", "the target", "the gold links"), (*sides, gold), strict=True):
        if len(files) != 1:
            names = ", ".join(path.name for path in files) or "none"
            raise InputError(f"{folder}: {len(files)} files could be {part} ({names}); {LAYOUT}")
    return sides[0][0], sides[1][0], gold[0], [path.name for path in rest if path != gold[0]]
