"""A sample of text in many languages -> a SentencePiece unigram model in XLM-R's id layout."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.language_sampling import language_probabilities
from infoxlm_keras.stateless_random import random_bits, random_key
from infoxlm_keras.text.readers.found import describe
from infoxlm_keras.text.readers.inputs import PassedOver

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.reader import Reader

# The pieces <unk>, <s>, </s> of the model, and <pad> and <mask>, which XLM-R's layout adds to them.
ADDED_IDS = 2
# Expected counts are summed a thread at a time, so the model depends on their number: it is part of the recipe.
TRAINER_THREADS = 2
# Candidates that training starts from, as multiple of the vocabulary. For 16,000 pieces in 13 languages 6 takes two
# thirds of the time of SentencePiece's fixed million, and the model needs one percent fewer tokens for the same text.
SEED_PIECES_PER_PIECE = 6
SEED_PIECES = (100_000, 1_000_000)
LONGEST_SENTENCE_BYTES = 1 << 16
# Beyond this the trainer needs 64-bit positions.
LARGE_CORPUS_CHARACTERS = 1 << 30


def sample_sizes(sentences: Mapping[str, int], total: int, exponent: float) -> dict[str, int]:
    """How many sentences to take of each language.

    Args:
        sentences: dict of language to its number of sentences.
        total: int, sentences wanted in all.
        exponent: float in [0, 1], see `language_probabilities`.

    Returns:
        dict of language to int. What a language lacks to its share is divided among the others, so that the sum is
        `total` (up to rounding down) or everything there is.
    """
    sizes = dict.fromkeys(sentences, 0)
    open_languages = [language for language in sentences if sentences[language]]
    while open_languages:
        rest = total - sum(sizes.values())
        weights = language_probabilities([sentences[language] for language in open_languages], exponent)
        shares = dict(zip(open_languages, rest * weights, strict=True))
        exhausted = [language for language in open_languages if sentences[language] <= shares[language]]
        for language in exhausted or open_languages:
            sizes[language] = min(sentences[language], int(shares[language]))
        if not exhausted:
            break
        open_languages = [language for language in open_languages if language not in exhausted]
    return sizes


def sample_indices(count: int, size: int, key: int) -> Array:
    """`size` of `range(count)`, ascending: one at random from each of `size` equal parts.

    Spread evenly over the text, and found in memory of the sample's size.

    Args:
        count: int, `size` <= count.
        size: int.
        key: int, see `random_key`.

    Returns:
        int64 [size].
    """
    bounds = np.arange(size + 1, dtype=np.int64) * count // max(size, 1)
    parts = np.diff(bounds)
    return bounds[:-1] + (random_bits(key, np.arange(size)) % parts.astype(np.uint64)).astype(np.int64)


def read_sentences(reader: Reader) -> Iterator[str]:
    """Yields the sentences of a reader of `infoxlm_keras.text.readers` one by one, without blank lines."""
    for chunk in reader.chunks():
        yield from (sentence for sentence in reader.read(chunk) if sentence)


def count_sentences(readers: Sequence[Reader]) -> dict[str, int]:
    """dict of language to int over `readers`; prints the files of folders that hold nothing.

    Raises:
        InputError: if a file that was given by its name holds no text, or none does.
    """
    counts: dict[str, int] = {}
    empty: list[PassedOver] = []
    explicit = getattr(readers, "explicit", [True] * len(readers))
    for reader, named in zip(readers, explicit, strict=True):
        count = sum(1 for _ in read_sentences(reader))
        if count:
            counts[reader.name] = counts.get(reader.name, 0) + count
        else:
            empty.append(PassedOver(reader.files[0], "holds no text"))
        if named and not count or len(empty) == len(readers):
            raise InputError(f"{reader.files[0]}: holds no text; remove it from --input, or fetch it again")
    for line in describe(empty):
        print(line, flush=True)
    return counts


def sample_sentences(
    readers: Sequence[Reader], counts: Mapping[str, int], sizes: Mapping[str, int], seed: int
) -> dict[str, list[str]]:
    """dict of language to list of str: `sizes[language]` of its `counts[language]` sentences, in their order."""
    samples: dict[str, list[str]] = {language: [] for language in counts}
    passed = dict.fromkeys(counts, 0)
    chosen = {}
    for language, count in counts.items():
        chosen[language] = iter(sample_indices(count, sizes[language], random_key(seed, "sample", language)).tolist())
    following = {language: next(indices, None) for language, indices in chosen.items()}
    for reader in readers:
        language = reader.name
        for sentence in read_sentences(reader):
            if passed[language] == following[language]:
                samples[language].append(sentence)
                following[language] = next(chosen[language], None)
            passed[language] += 1
    return samples


def train_sentencepiece(
    sentences: Sequence[str],
    vocabulary_size: int,
    character_coverage: float = 0.9995,
    byte_fallback: bool = False,
    size_is_limit: bool = False,
) -> bytes:
    """Trains a unigram model whose ids are XLM-R's once `<pad>` and `<mask>` are added.

    The same sentences and settings give the same model.

    Args:
        sentences: list of str.
        vocabulary_size: int, of the whole vocabulary as the encoder sees it.
        character_coverage: float in [0.98, 1], share of all characters in the text that get a piece.
        byte_fallback: bool, spell other characters in bytes, so that nothing is unknown.
        size_is_limit: bool, take fewer pieces where the text allows no more, instead of an error.

    Returns:
        bytes, the serialized model.

    Raises:
        InputError: if the text allows no vocabulary of this size.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocabulary_size - ADDED_IDS,
            character_coverage=character_coverage,
            byte_fallback=byte_fallback,
            hard_vocab_limit=not size_is_limit,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            seed_sentencepiece_size=int(np.clip(SEED_PIECES_PER_PIECE * vocabulary_size, *SEED_PIECES)),
            max_sentence_length=LONGEST_SENTENCE_BYTES,
            train_extremely_large_corpus=sum(map(len, sentences)) > LARGE_CORPUS_CHARACTERS,
            num_threads=TRAINER_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(_explain(str(error), vocabulary_size)) from None
    return model.getvalue()


def _explain(message, vocabulary_size):
    if found := re.search(r"Vocabulary size too high \(\d+\)\. Please set it to a value <= (\d+)", message):
        most = int(found[1]) + ADDED_IDS
        return (
            f"--vocabulary_size {vocabulary_size}: is more than the text allows, which is {most}; "
            "lower it, or give more text (or more --sentences of it)"
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        least = int(found[1]) + ADDED_IDS
        return (
            f"--vocabulary_size {vocabulary_size}: is less than the text's characters alone need, which is {least}; "
            "raise it, or lower --character_coverage"
        )
    return f"SentencePiece cannot train on this text with --vocabulary_size {vocabulary_size}: {message}"
