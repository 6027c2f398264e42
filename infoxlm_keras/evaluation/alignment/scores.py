"""Precision, recall and alignment error rate (Och and Ney, 2003), pooled over the sentences of a test set.

With the predicted links A, the sure links S and the possible links P (S among them):

    precision = |A & P| / |A|    recall = |A & S| / |S|    AER = 1 - (|A & S| + |A & P|) / (|A| + |S|)
"""

import dataclasses

from infoxlm_keras.annotations import Array


@dataclasses.dataclass
class AlignmentCounts:
    """Sums over sentences.

    Attributes:
        links, sure: int, |A| and |S|.
        sure_hits, possible_hits: int, |A & S| and |A & P|.
    """

    links: int = 0
    sure: int = 0
    sure_hits: int = 0
    possible_hits: int = 0

    def add(self, links: Array, sure: Array, possible: Array) -> None:
        """Adds a sentence.

        Args:
            links: bool [source words, target words], the predicted links.
            sure, possible: int [links, 2], gold links, the sure ones among the possible; no row twice.
        """
        self.links += int(links.sum())
        self.sure += len(sure)
        self.sure_hits += int(links[sure[:, 0], sure[:, 1]].sum())
        self.possible_hits += int(links[possible[:, 0], possible[:, 1]].sum())

    @property
    def precision(self) -> float:
        """float in 0..1; 0 where nothing was predicted."""
        return self.possible_hits / self.links if self.links else 0.0

    @property
    def recall(self) -> float:
        """float in 0..1; 0 where there is no sure link."""
        return self.sure_hits / self.sure if self.sure else 0.0

    @property
    def aer(self) -> float:
        """float in 0..1, lower is better; 1 where there is neither a predicted nor a sure link."""
        total = self.links + self.sure
        return 1 - (self.sure_hits + self.possible_hits) / total if total else 1.0
