"""Sentences of words with a tag for each word, from CoNLL-U and IOB files: UD POS, PAN-X, CoNLL-2002 and -2003.

    CoNLL-U     `.conllu`: ten columns between tabs; the tag is UPOS. Comments, words that stand for several
                (`1-2`) and empty nodes (`1.1`) are no words of a sentence.
    columns     any other ending: a word, and behind the last tab or space its tag; blank line behind each sentence.
                All lines have the same number of columns; a line `# ...` with another number, in front of a
                sentence, is a comment. Of PAN-X's words `en:Paris` the language is cut off, where all of a file have
                it. `-DOCSTART-` is passed over.

The language of a file is, by the first of these that says one: UD's names (`de_gsd-ud-test.conllu`), the prefix of
PAN-X's words, XTREME's names (`test-de.tsv`, `de-test`), a part of the name between dots (`train.en.tsv`), the name of
its folder (`de/test.xlm-roberta-base`).

Left out and counted for each file: sentences with a word whose tag is `_` (UD's sign for none).
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import language_or_none
from infoxlm_keras.text.readers.chunks import LineStream, decode_lines
from infoxlm_keras.text.readers.inputs import path_kind, plain_name, refuse_archive
from infoxlm_keras.text.sample_columns import language_of_file, named_language

UD_NAME = re.compile(r"([a-z]{2,3})_[a-z0-9]+-ud-.*")
XTREME_NAMES = (
    re.compile(r"(?:train|dev|test|extra)-([a-z]{2,3})(?:[._].*)?"),
    re.compile(r"([a-z]{2,3})-(?:train|dev|test|extra)(?:[._].*)?"),
)
# Wikipedia's codes, of which some are none of a language: `simple`, `cbk-zam`.
PANX_WORD = re.compile(r"([a-z]{2,6}(?:-[a-z-]+)?):(.*)", re.DOTALL)
# What is a comment whatever the number of columns: MultiCoNER's `# id 12 domain=en`, and CoNLL-U's `# text = ...`.
COMMENT = re.compile(r"# (?:id |\S+ = )")
HEADER_WORDS, HEADER_TAGS = (
    {"word", "words", "token", "tokens", "form"},
    {"tag", "tags", "label", "labels", "ner", "pos", "upos"},
)
NO_TAG = "_"
DOCUMENT_START = "-DOCSTART-"
NO_TAGS = "a word without a tag (_)"


@dataclasses.dataclass
class TaggedSentences:
    """The sentences of one language.

    Attributes:
        language: str.
        words, tags: lists of lists of str, of equal lengths.
        lines: list of (file, int), where the first word of each sentence stands.
        files: list of str, where they were read.
        reasons: {file: {reason: sentences}}, what was left out and why.
        places: {tag: str}, file and line of the first word with this tag.
    """

    language: str
    words: list[list[str]] = dataclasses.field(default_factory=list)
    tags: list[list[str]] = dataclasses.field(default_factory=list)
    lines: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)
    reasons: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    places: dict[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.words)

    @property
    def left_out(self) -> int:
        """int, sentences that were left out."""
        return sum(sum(counts.values()) for counts in self.reasons.values())


def read_tagged_sentences(
    paths: Iterable[PathLike], languages: Iterable[str] | None = None, max_samples: int | None = None
) -> list[TaggedSentences]:
    """Reads tagged sentences.

    Args:
        paths: sequence of str or path, files as above; those of one language are joined in this order. They may be
            compressed (`.gz`, `.xz`, `.bz2`, `.zst`).
        languages: optional collection of str, the only languages to take, under any of their codes.
        max_samples: int or None, maximum number of sentences of each language; the first ones are taken.

    Returns:
        list of `TaggedSentences`, sorted by language.

    Raises:
        InputError: for a file that is missing, empty, given twice, or whose language is not to be known; for a word
            without a tag or a broken line, naming file and line; for a language without a sentence.
    """
    if max_samples is not None and max_samples < 1:
        raise InputError(f"max_samples = {max_samples}: must be at least 1")
    files = [pathlib.Path(path) for path in paths]
    for path, times in collections.Counter(path.resolve() for path in files).items():
        if times > 1:
            raise InputError(f"{path}: is given {times} times; give each file once")
    wanted = None if languages is None else [named_language(code) for code in languages]
    found: dict[str, TaggedSentences] = {}
    for path in files:
        sentences = list(_sentences(path))
        if not sentences:
            raise InputError(f"{path}: holds no sentence; a line is a word and its tag, a blank line ends a sentence")
        if max(map(len, sentences)) > 1 and all(map(_is_numbered, sentences)):
            raise InputError(
                f"{path}: line {sentences[0][0][0]}: its first column numbers the words of a sentence; keep the "
                "columns of word and tag, such as by `cut -f2,3`, or name a file in CoNLL-U's form .conllu"
            )
        language, sentences = _language(path, sentences)
        if wanted is None or language in wanted:
            part = found.setdefault(language, TaggedSentences(language))
            part.files.append(str(path))
            for sentence in sentences:
                _add(part, path, sentence, max_samples)
    missing = sorted({*(wanted or ()), *found} - {name for name, part in found.items() if len(part)})
    if missing or not found:
        raise InputError(f"{', '.join(map(str, files))}: no tagged sentence of {', '.join(missing) or 'any'}")
    return [found[name] for name in sorted(found)]


def _add(part, path, sentence, max_samples):
    numbers, words, tags = zip(*sentence, strict=True)
    if NO_TAG in tags:
        counts = part.reasons.setdefault(str(path), {})
        counts[NO_TAGS] = counts.get(NO_TAGS, 0) + 1
    elif max_samples is None or len(part) < max_samples:
        part.words.append(list(words))
        part.tags.append(list(tags))
        part.lines.append((str(path), numbers[0]))
        for number, tag in zip(numbers, tags, strict=True):
            part.places.setdefault(tag, f"{path}: line {number}")


def _sentences(path: pathlib.Path) -> Iterator[list[tuple[int, str, str]]]:
    """Yields sentences: lists of (line, word, tag)."""
    kind = path_kind(path)
    if kind != "file":
        raise InputError(f"{path}: is a folder; give its files" if kind else f"{path}: no such file")
    refuse_archive(path)
    parse = _conllu_word if plain_name(path).lower().endswith(".conllu") else _column_word
    sentence: list[tuple[int, str, str]] = []
    columns: int | None = None
    for number, line in _lines(path):
        if not line.strip():
            if sentence:
                yield sentence
            sentence = []
            continue
        if parse is _column_word and line.startswith("# ") and not sentence:
            if COMMENT.match(line) or len(_cells(line)) != (columns or 2):
                continue  # a comment on a sentence; `# O` is a word
        if parse is _column_word and number == 1 and _is_header(_cells(line)):
            continue
        word = parse(line, f"{path}: line {number}")
        if parse is _column_word and word is not None:
            columns = columns or len(_cells(line))
            if len(_cells(line)) != columns:
                raise InputError(
                    f"{path}: line {number}: holds {len(_cells(line))} columns, and the lines before it {columns}; a "
                    "line holds a word, the same columns in the whole file, and its tag at the end"
                )
        if word is not None:
            sentence.append((number, *word))
    if sentence:
        yield sentence


def _is_numbered(sentence):
    """Whether the words of a sentence are 1, 2, 3, ..."""
    return all(word == str(place) for place, (_, word, _) in enumerate(sentence, start=1))


def _is_header(cells):
    """Whether the first line of a file names its columns."""
    return (
        len(cells) > 1 and cells[0].lower() in HEADER_WORDS and cells[-1].lower().removeprefix("ner_") in HEADER_TAGS
    )


def _lines(path):
    number = 1
    with LineStream(str(path)) as stream:
        while body := stream.read_body():
            lines = decode_lines(body, str(path), number)
            yield from enumerate(lines, start=number)
            number += len(lines)


def _conllu_word(line, place):
    """(word, UPOS) of a line of CoNLL-U; None for a comment, several words in one, or an empty node."""
    if line.startswith("#"):
        return None
    cells = line.split("\t")
    if len(cells) != 10:
        raise InputError(f"{place}: holds {len(cells)} columns between tabs; CoNLL-U has 10")
    if not re.fullmatch(r"[0-9]+", cells[0]):
        if re.fullmatch(r"[0-9]+[-.][0-9]+", cells[0]):
            return None
        raise InputError(f"{place}: its first column is {cells[0][:40]!r}; CoNLL-U numbers the words of a sentence")
    if not cells[1].strip() or not cells[3].strip():
        raise InputError(f"{place}: holds no {'tag (UPOS, column 4)' if cells[1].strip() else 'word (column 2)'}")
    return cells[1], cells[3]


def _cells(line):
    """The columns of a line. A word may hold other white space, such as U+00A0."""
    return line.rstrip().split("\t") if "\t" in line else [cell for cell in line.split(" ") if cell]


def _column_word(line, place):
    """(word, tag) of a line with columns; None for the begin of a document."""
    cells = _cells(line)
    if cells[0] == DOCUMENT_START:
        return None
    if len(cells) < 2 or not cells[0].strip() or not cells[-1].strip():
        raise InputError(
            f"{place}: {line.strip()[:40]!r} is a word without a tag; a line holds a word, and its tag behind a "
            "tab or a space"
        )
    if re.search(r"\s", cells[-1]):
        raise InputError(f"{place}: the tag {cells[-1][:40]!r} holds white space; words and tags do not match here")
    return cells[0], cells[-1]


def _language(path, sentences):
    """(language, sentences) of a file; PAN-X's prefix is taken off the words."""
    name = plain_name(path).lower()
    found = {
        match and match[1] for sentence in sentences for _, word, _ in sentence for match in [PANX_WORD.match(word)]
    }
    prefix = next(iter(found)) if len(found) == 1 else None
    if prefix is not None:
        sentences = [
            [(number, word[len(prefix) + 1 :], tag) for number, word, tag in sentence] for sentence in sentences
        ]
        if language_or_none(prefix):
            return named_language(prefix), sentences
    for pattern in (UD_NAME, *XTREME_NAMES):
        match = pattern.fullmatch(name)
        if match and language_or_none(match[1]):
            return named_language(match[1]), sentences
    return language_of_file(path), sentences
