"""Decontamination: training sentences that evaluation files hold too.

Sentences are compared without case, punctuation and white space, after NFKC. With n-grams, a training sentence is also
found if any n words in a row are in a row in an evaluation sentence (13 is usual: Brown et al. 2020, appendix C); in
scripts written without spaces a character is a word.
"""

import dataclasses
import functools
import re
import sys
import unicodedata

from data_prep.cleaning.identity import text_digest
from data_prep.readers.chunks import decode_lines, file_chunks
from data_prep.readers.inputs import path_kind
from infoxlm_keras.errors import InputError

# Thai to Tibetan, Burmese, Khmer, kana, and Chinese characters.
UNSPACED = re.compile(
    "([\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
SEPARATORS = {"Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs", "Cc", "Cf"}


@dataclasses.dataclass(frozen=True)
class EvaluationText:
    """What evaluation files hold.

    Args:
        sentences: frozenset of bytes, digests of their sentences.
        ngrams: frozenset of bytes, digests of their runs of `ngram` words.
        ngram: int, 0 for none.
    """

    sentences: frozenset
    ngrams: frozenset = frozenset()
    ngram: int = 0

    def overlaps(self, text):
        """Whether `text` (str) is one of the sentences, or has a run of words in common with one."""
        words = _words(text)
        return text_digest("".join(words)) in self.sentences or (
            self.ngram > 0 and not self.ngrams.isdisjoint(_ngrams(words, self.ngram))
        )


def read_evaluation_text(paths, ngram=0):
    """`EvaluationText` of text files (also compressed): every line is a sentence, or several in columns by tabs.

    Raises:
        InputError: for a missing file, one that is no text, or `ngram` below 0.
    """
    if ngram < 0:
        raise InputError(f"--evaluation_ngram {ngram}: must be 0 (whole sentences only) or more, for instance 13")
    sentences, ngrams = set(), set()
    for path in map(str, paths):
        if path_kind(path) != "file":
            raise InputError(f"{path}: no such file; --evaluation_files takes text files, one sentence a line")
        found = False
        for chunk in file_chunks(path):
            for line in decode_lines(chunk.bodies[0], path, chunk.first_line):
                for words in filter(None, map(_words, line.split("\t"))):
                    found = True
                    sentences.add(text_digest("".join(words)))
                    if ngram:
                        ngrams.update(_ngrams(words, ngram))
        if not found:
            raise InputError(f"{path}: holds no text; remove it from --evaluation_files")
    return EvaluationText(frozenset(sentences), frozenset(ngrams), ngram)


def _words(text):
    text = unicodedata.normalize("NFKC", text).casefold().translate(_separators())
    return UNSPACED.sub(r" \1 ", text).split()


def _ngrams(words, ngram):
    return [text_digest(" ".join(words[start : start + ngram])) for start in range(len(words) - ngram + 1)]


@functools.cache
def _separators():
    """Translation of punctuation, symbols, separators and controls to spaces; letters, marks and digits stay."""
    return {code: " " for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in SEPARATORS}
