"""Decontamination: finds training sentences that also occur in evaluation files.

The comparison applies NFKC and ignores case, punctuation and white space. With n-grams, a training sentence also
matches if it shares n consecutive words with an evaluation sentence (13 is usual: Brown et al. 2020, appendix C); in
scripts written without spaces a character is a word.
"""

import dataclasses
import functools
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.cleaning.evaluation_files import evaluation_texts
from infoxlm_keras.text.cleaning.identity import text_digest

# Thai to Tibetan, Burmese, Khmer, kana, and Chinese characters.
UNSPACED = re.compile(
    "([\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
SEPARATORS = {"Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs", "Cc", "Cf"}


@dataclasses.dataclass(frozen=True)
class EvaluationFile:
    """What an evaluation file holds.

    Args:
        path: str, as it was given.
        sentences: frozenset of bytes, digests of its sentences.
        ngrams: frozenset of bytes, digests of their runs of words.
    """

    path: str
    sentences: frozenset[bytes]
    ngrams: frozenset[bytes] = frozenset()


@dataclasses.dataclass(frozen=True)
class EvaluationText:
    """What evaluation files hold.

    Args:
        files: tuple of `EvaluationFile`.
        ngram: int, words in a run; 0 for none.
    """

    files: tuple[EvaluationFile, ...]
    ngram: int = 0

    @property
    def sentences(self) -> frozenset[bytes]:
        """frozenset of bytes: digests of the sentences of all files."""
        return frozenset().union(*(file.sentences for file in self.files))

    def overlaps(self, text: str) -> bool:
        """Whether `text` (str) is one of the sentences, or has a run of words in common with one."""
        return bool(self.matches(text))

    def matches(self, text: str) -> list[str]:
        """List of str, the paths of the files in which `text` (str) is found, as in `overlaps`."""
        words = _words(text)
        digest = text_digest("".join(words))
        ngrams = _ngrams(words, self.ngram) if self.ngram else ()
        return [file.path for file in self.files if digest in file.sentences or not file.ngrams.isdisjoint(ngrams)]


def read_evaluation_text(items: Iterable[PathLike], ngram: int = 0) -> EvaluationText:
    """`EvaluationText` of files and folders of every format that corpora have, see `evaluation_texts`.

    Raises:
        InputError: for a missing or damaged file, one that holds no text, or `ngram` below 0.
    """
    if ngram < 0:
        raise InputError(f"--evaluation_ngram {ngram}: must be 0 (whole sentences only) or more, for instance 13")
    files = []
    for path in map(str, items):
        sentences, ngrams = set(), set()
        for words in filter(None, map(_words, evaluation_texts(path))):
            sentences.add(text_digest("".join(words)))
            if ngram:
                ngrams.update(_ngrams(words, ngram))
        if not sentences:
            raise InputError(f"{path}: holds no text; remove it from --evaluation_files")
        files.append(EvaluationFile(path, frozenset(sentences), frozenset(ngrams)))
    return EvaluationText(tuple(files), ngram)


def unmatched_files(evaluation: EvaluationText | None, counts: Iterable[Any]) -> list[str]:
    """List of str: one line for each evaluation file that left nothing out of a build.

    Args:
        evaluation: `EvaluationText` or None.
        counts: iterable of `infoxlm_keras.building.input_account.SourceCounts`.
    """
    matched = set().union(*(count.evaluation for count in counts))
    return [
        f"{file.path}: none of its {len(file.sentences):,} sentences was found in the text, so it left nothing out; "
        "if the text should hold some, check that it is the right file of --evaluation_files"
        for file in (evaluation.files if evaluation else ())
        if file.path not in matched
    ]


def folded(text: str) -> str:
    """`text` (str) as evaluation sentences are compared: NFKC, no case, punctuation or white space."""
    return "".join(_words(text)) or text


def _words(text):
    text = unicodedata.normalize("NFKC", text).casefold().translate(_separators())
    return UNSPACED.sub(r" \1 ", text).split()


def _ngrams(words, ngram):
    return [text_digest(" ".join(words[start : start + ngram])) for start in range(len(words) - ngram + 1)]


@functools.cache
def _separators():
    """Translation of punctuation, symbols, separators and controls to spaces; letters, marks and digits stay."""
    return {code: " " for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in SEPARATORS}
