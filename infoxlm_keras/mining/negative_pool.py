"""The queries of samples and the documents among which their negatives are looked for, each text once."""

from collections.abc import Iterable

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.text.embedding_samples import EmbeddingSamples
from infoxlm_keras.text.equal_texts import folded_text


class TextList:
    """Texts by number, each once; texts that differ in case and white space only are one.

    Attributes:
        texts: list of str, the first spelling of each.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str) -> int:
        """The number of `text` (str), which is added if it is new."""
        number = self._numbers.setdefault(folded_text(text), len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number

    def find(self, text: str) -> int | None:
        """The number of `text` (str), or None."""
        return self._numbers.get(folded_text(text))

    def rows(self, numbers: Array) -> list[tuple[str, str]]:
        """(number from 1 as text, text) of each of `numbers` (int [n])."""
        return [(str(number + 1), self.texts[number]) for number in numbers.tolist()]


class NegativePool:
    """The texts of one language's samples.

    Args:
        samples: `EmbeddingSamples`.
        documents: iterable of str, further texts that may become negatives.

    Attributes:
        queries, documents: `TextList`.
        query_numbers, positive_numbers: int64 [samples], the query and the positive of each sample.
        known: list of int64 arrays, one a query, sorted: the documents that belong to it, which are all of its
            positives, and its own text.
    """

    def __init__(self, samples: EmbeddingSamples, documents: Iterable[str] = ()) -> None:
        self.queries, self.documents = TextList(), TextList()
        self.query_numbers = np.array([self.queries.add(text) for text in samples.queries], np.int64)
        self.positive_numbers = np.array([self.documents.add(text) for text in samples.positives], np.int64)
        for text in documents:
            self.documents.add(text)
        known: list[set[int]] = [set() for _ in self.queries.texts]
        for query, positive in zip(self.query_numbers.tolist(), self.positive_numbers.tolist(), strict=True):
            known[query].add(positive)
        for numbers, text in zip(known, self.queries.texts, strict=True):
            own = self.documents.find(text)
            if own is not None:
                numbers.add(own)
        self.known = [np.array(sorted(numbers), np.int64) for numbers in known]

    def is_known(self, queries: Array, documents: Array) -> Array:
        """bool [n, k]: which of `documents` (int [n, k]) belong to the query of their row, `queries` (int [n])."""
        rows = [np.isin(row, self.known[query]) for query, row in zip(queries.tolist(), documents, strict=True)]
        return np.array(rows, bool).reshape(documents.shape)
