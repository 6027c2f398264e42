"""Accuracy of tags, and F1 of the spans that they mark, by the rules of seqeval (those of CoNLL's `conlleval`).

A tag is `O`, or a letter and a type: `B-PER` begins a span of type PER, `I-` goes on, `E-` ends it, `S-` is a span of
one word. The rules are lenient: a span begins wherever the type changes, at `B` and `S`, and at `I` or `E` behind `O`,
`E` or `S`. Tags without letters (parts of speech) are read in the same way, with their first letter for the letter: so
a run of equal tags is a span, as in XTREME's F1 of parts of speech.

Reference: Tjong Kim Sang and De Meulder (2003); seqeval (github.com/chakki-works/seqeval), its default mode.
"""

from collections.abc import Sequence

OUTSIDE = "O"


def tag_spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """The spans that the tags of a sentence mark.

    Args:
        tags: list of str.

    Returns:
        list of (type, first, last): str, and the numbers of the first and the last word.

    Example:
    ```python
    tag_spans(["B-PER", "I-PER", "O", "I-LOC"])  # [("PER", 0, 1), ("LOC", 3, 3)]
    ```
    """
    found = []
    before, type_before, first = OUTSIDE, "", 0
    for place, tag in enumerate([*tags, OUTSIDE]):
        # Of a tag without a hyphen the rest is the type.
        letter, kind = tag[0], tag[1:].split("-", maxsplit=1)[-1] or "_"
        another = kind != type_before
        ends = before in "ES" or (before in "BI" and letter in "BSO") or (before not in (OUTSIDE, ".") and another)
        begins = letter in "BS" or (letter in "EI" and before in "ESO") or (letter not in (OUTSIDE, ".") and another)
        if ends:
            found.append((type_before, first, place - 1))
        if begins:
            first = place
        before, type_before = letter, kind
    return found


def span_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """`precision`, `recall` and `f1` of the spans of all sentences together (micro), float in 0..1.

    A predicted span is right if type, first and last word are those of a gold span. A score without a span to divide
    by is 0.

    Args:
        gold, predicted: lists of lists of str, a tag for each word.
    """
    for number, (tags, guesses) in enumerate(zip(gold, predicted, strict=True)):
        if len(tags) != len(guesses):
            raise ValueError(f"sentence {number} has {len(tags)} gold tags and {len(guesses)} predicted ones")
    # As seqeval has it: one sequence with an `O` behind each sentence.
    spans, guessed = (set(tag_spans([tag for tags in side for tag in (*tags, OUTSIDE)])) for side in (gold, predicted))
    right, found, expected = len(spans & guessed), len(guessed), len(spans)
    precision, recall = right / found if found else 0.0, right / expected if expected else 0.0
    f1 = 2 * right / (found + expected) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def tag_accuracy(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """The share of words with the right tag, over all sentences, float in 0..1."""
    pairs = [pair for tags, guesses in zip(gold, predicted, strict=True) for pair in zip(tags, guesses, strict=True)]
    return sum(tag == guess for tag, guess in pairs) / len(pairs) if pairs else 0.0
