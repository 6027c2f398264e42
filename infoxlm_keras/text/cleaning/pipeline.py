"""All steps of cleaning in order, and an account of what they drop."""

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from infoxlm_keras.text.cleaning.control_characters import remove_control_characters
from infoxlm_keras.text.cleaning.evaluation_text import EvaluationText
from infoxlm_keras.text.cleaning.identity import text_digest
from infoxlm_keras.text.cleaning.language_identification import LanguageIdentification
from infoxlm_keras.text.cleaning.lengths import LengthLimits
from infoxlm_keras.text.cleaning.near_duplicates import NearDuplicates
from infoxlm_keras.text.cleaning.normalization import normalize
from infoxlm_keras.text.cleaning.unicode_repair import repair

# A sample shows a reader what was dropped; it need not be complete.
SAMPLE_CHARACTERS = 200


@dataclasses.dataclass
class CleanedSentences:
    """Sentences that were kept.

    Attributes:
        lines: list of str, "" where a document ends.
        dropped: dict of reason to number of sentences left out.
        samples: dict of reason to list of str, the first few of them.
        evaluation: dict of the path of an evaluation file to number of sentences that it holds too.
    """

    lines: list[str]
    dropped: dict[str, int]
    samples: dict[str, list[str]]
    evaluation: dict[str, int]


@dataclasses.dataclass
class CleanedPairs:
    """Pairs that were kept.

    Attributes:
        pairs: list of (source, target), str.
        dropped: dict of reason to number of pairs left out.
        samples: dict of reason to list of str, the first few of them, the sides separated by a tab.
        evaluation: dict of the path of an evaluation file to number of pairs of which it holds a side too.
    """

    pairs: list[tuple[str, str]]
    dropped: dict[str, int]
    samples: dict[str, list[str]]
    evaluation: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """Cleans the sentences or pairs of a chunk. It is picklable, because workers run it.

    Steps that rewrite: `repair`, `control_characters`, `normalize`. Then the first of these
    reasons that applies drops a sentence or pair, and is counted: `empty`, `characters`, `words`, `character_ratio`,
    `identical`, `language`, `evaluation`, `repeated`.

    Args:
        repair: bool, undo decoding by the wrong charset.
        control_characters: bool, remove them.
        normalize: bool, to NFKC.
        identical_sides: bool, drop pairs whose sides are equal.
        lengths: `LengthLimits`.
        language: `LanguageIdentification` or None.
        evaluation: `EvaluationText` or None, what must not be trained on.
        repeated_lines: bool, drop sentences (not pairs) that came before in the same chunk.
        near_duplicates: `NearDuplicates` or None; makes keys, by which records are compared across chunks.
        samples: int, how many to keep of what is dropped in a chunk, for each reason.
    """

    repair: bool = True
    control_characters: bool = True
    normalize: bool = True
    identical_sides: bool = True
    lengths: LengthLimits = LengthLimits()
    language: LanguageIdentification | None = None
    evaluation: EvaluationText | None = None
    repeated_lines: bool = False
    near_duplicates: NearDuplicates | None = None
    samples: int = 3

    def sentences(self, language: str, lines: list[str]) -> CleanedSentences:
        """`CleanedSentences` of `lines` (list of str, "" between documents) in `language` (str)."""
        account, kept, seen = Account(self.samples), [], set()
        for line, text in zip(lines, self.rewrite(lines), strict=True):
            if not line:
                kept.append("")
                continue
            reason = self._sentence_reason(language, text)
            if reason is None and self.repeated_lines:
                digest = text_digest(text)
                reason = "repeated" if digest in seen else None
                seen.add(digest)
            if reason is None:
                kept.append(text)
            else:
                account.drop(reason, text or line)
                account.match(reason, self.evaluation, (text,))
        return CleanedSentences(kept, account.dropped, account.samples, account.evaluation)

    def pairs(self, languages: Sequence[str], pairs: Sequence[tuple[str, str]]) -> CleanedPairs:
        """`CleanedPairs` of `pairs` (list of (str, str)) in `languages` (str, str)."""
        account, kept = Account(self.samples), []
        sources = self.rewrite([source for source, _ in pairs])
        targets = self.rewrite([target for _, target in pairs])
        for source, target in zip(sources, targets, strict=True):
            reason = self._pair_reason(languages, source, target)
            if reason is None:
                kept.append((source, target))
            else:
                account.drop(reason, f"{source}\t{target}")
                account.match(reason, self.evaluation, (source, target))
        return CleanedPairs(kept, account.dropped, account.samples, account.evaluation)

    def rewrite(self, lines: list[str]) -> list[str]:
        """List of str: `lines` after the steps that rewrite, without surrounding white space."""
        if self.repair:
            lines = repair(lines)
        # Before NFKC: a mark after a control character composes with the letter before it.
        if self.control_characters:
            lines = remove_control_characters(lines)
        if self.normalize:
            lines = normalize(lines)
        return [line.strip() for line in lines]

    def settings(self) -> dict[str, Any]:
        """dict for the manifest: the steps and their limits; evaluation text by its digest."""
        settings = dataclasses.asdict(dataclasses.replace(self, evaluation=None))
        if self.evaluation:
            digests = b"".join(sorted(self.evaluation.sentences))
            settings["evaluation"] = {
                "sentences": len(self.evaluation.sentences),
                "ngram": self.evaluation.ngram,
                "blake2b": hashlib.blake2b(digests, digest_size=16).hexdigest(),
            }
        return settings

    def _sentence_reason(self, language, text):
        if not text:
            return "empty"
        if reason := self.lengths.sentence_reason(text):
            return reason
        if self.language and self.language.is_foreign(language, text):
            return "language"
        if self.evaluation and self.evaluation.overlaps(text):
            return "evaluation"
        return None

    def _pair_reason(self, languages, source, target):
        if not source or not target:
            return "empty"
        if reason := self.lengths.pair_reason(source, target):
            return reason
        if self.identical_sides and source == target:
            return "identical"
        sides = tuple(zip(languages, (source, target), strict=True))
        if self.language and any(self.language.is_foreign(language, text) for language, text in sides):
            return "language"
        if self.evaluation and any(self.evaluation.overlaps(text) for _, text in sides):
            return "evaluation"
        return None


class Account:
    """Counts what is dropped, and keeps the first few of each reason.

    Args:
        most_samples: int.

    Attributes:
        dropped: dict of reason to int.
        samples: dict of reason to list of str.
        evaluation: dict of path of an evaluation file to int.
    """

    def __init__(self, most_samples: int) -> None:
        self.most_samples = most_samples
        self.dropped: collections.Counter[str] = collections.Counter()
        self.samples: dict[str, list[str]] = {}
        self.evaluation: collections.Counter[str] = collections.Counter()

    def drop(self, reason: str, text: str) -> None:
        """Counts `text` (str) as dropped for `reason`."""
        self.dropped[reason] += 1
        if self.dropped[reason] <= self.most_samples and text.strip():
            self.samples.setdefault(reason, []).append(text[:SAMPLE_CHARACTERS])

    def match(self, reason: str, evaluation: EvaluationText | None, texts: Iterable[str]) -> None:
        """Counts the evaluation files that hold any of `texts`, if that is the `reason` for which they are dropped."""
        if reason == "evaluation" and evaluation is not None:
            self.evaluation.update({path for text in texts for path in evaluation.matches(text)})
