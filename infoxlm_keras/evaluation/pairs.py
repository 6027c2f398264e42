"""Held-out translation pairs for evaluation, from the same file formats that training reads."""

import dataclasses

from data_prep.readers import find_bitext
from infoxlm_keras.errors import InputError

ENGLISH = ("en", "eng")


@dataclasses.dataclass(frozen=True)
class PairSet:
    """The held-out pairs of two languages; English is the source wherever it is one of them.

    Attributes:
        source_language, target_language: str, as the file's name has them.
        sources, targets: list of str, item n of one translates item n of the other; none empty.
        files: tuple of str, where they were read.
    """

    source_language: str
    target_language: str
    sources: list[str]
    targets: list[str]
    files: tuple[str, ...]

    @property
    def language(self):
        """What results are filed under: the language beside English, else both (`de-fr`)."""
        if self.source_language in ENGLISH:
            return self.target_language
        return f"{self.source_language}-{self.target_language}"


def read_pair_sets(inputs, max_pairs=None):
    """Reads held-out pairs.

    Args:
        inputs: sequence of str or path: directories, or files in Tatoeba's layout (`tatoeba.deu-eng.deu` + `.eng`), in
            Moses' (`X.en-de.en` + `X.en-de.de`), or with two columns (`<src>-<tgt>.tsv`); each may end in .gz or .xz.
        max_pairs: int or None, take only the first so many pairs of each language.

    Returns:
        list of `PairSet`, sorted by language.

    Raises:
        InputError: as `data_prep.readers.find_bitext`; for sides of unequally many lines, a pair with one empty side,
            a language with fewer than two pairs, or one that two inputs hold.
    """
    if max_pairs is not None and max_pairs < 2:
        raise InputError(f"max_pairs = {max_pairs}: must be at least 2, retrieval needs something to choose from")
    pair_sets = {}
    for reader in find_bitext(inputs, as_named=True):
        pair_set = _read_pair_set(reader, max_pairs)
        if pair_set.language in pair_sets:
            other = pair_sets[pair_set.language].files[0]
            raise InputError(
                f"{pair_set.files[0]}: holds pairs of {pair_set.language}, as {other} does; evaluate one at a time"
            )
        pair_sets[pair_set.language] = pair_set
    return [pair_sets[language] for language in sorted(pair_sets)]


def parallel_sentences(pair_sets, count=None):
    """Sentences that are there in every language.

    Args:
        pair_sets: list of `PairSet` with one source language.
        count: int or None, at most so many.

    Returns:
        {language: list of str}, the source language first; item n of all lists has the same meaning. The lists are
        empty if no source sentence is common to all pair sets.
    """
    translations = [dict(zip(pair_set.sources, pair_set.targets, strict=True)) for pair_set in pair_sets]
    common = [text for text in translations[0] if all(text in known for known in translations)][:count]
    return {
        pair_sets[0].source_language: common,
        **{
            pair_set.target_language: [known[text] for text in common]
            for pair_set, known in zip(pair_sets, translations, strict=True)
        },
    }


def _read_pair_set(reader, max_pairs):
    pairs = []
    for chunk in reader.chunks():
        for number, pair in enumerate(reader.read(chunk), start=chunk.first_line):
            if all(pair):
                pairs.append(pair)
            elif any(pair):
                path = reader.files[min(pair.index(""), len(reader.files) - 1)]
                raise InputError(f"{path}: line {number}: is empty on one side; translate it, or remove the pair")
    if len(pairs) < 2:
        raise InputError(
            f"{reader.files[0]}: holds {len(pairs)} pairs, but retrieval needs at least two to choose from"
        )
    languages, files = reader.name.split("-"), reader.files
    sides = [list(side) for side in zip(*pairs[:max_pairs], strict=True)]
    if languages[1] in ENGLISH and languages[0] not in ENGLISH:
        languages, sides = languages[::-1], sides[::-1]
    return PairSet(*languages, *sides, files)
