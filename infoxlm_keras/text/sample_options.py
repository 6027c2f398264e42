"""The options of commands that learn pieces from a sample of sentences, and the sample that they ask for."""

import argparse
from collections.abc import Mapping, Sequence

from infoxlm_keras.errors import InputError
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.text.readers.reader import Reader
from infoxlm_keras.text.vocabulary import count_sentences, sample_sentences, sample_sizes
from infoxlm_keras.tokenizer import UNKNOWN_ID, Tokenizer


def add_sample_arguments(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Adds the options to an `argparse` parser; `purpose` (str) says what the sample is for."""
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH", help="files, or folders that hold them")
    parser.add_argument("--sentences", type=int, default=120_000, help=f"number of sentences to sample for {purpose}")
    parser.add_argument("--exponent", type=float, default=0.7, help="language sampling exponent, 0 to 1")
    parser.add_argument(
        "--character_coverage", type=float, default=0.9995, help="share of all characters that get a piece"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")


def check_sample_arguments(options: argparse.Namespace) -> None:
    """Raises `InputError` for options of `add_sample_arguments` that are out of range."""
    if options.sentences < 1:
        raise InputError(f"--sentences {options.sentences}: must be at least 1")
    if not 0.98 <= options.character_coverage <= 1:
        raise InputError(f"--character_coverage {options.character_coverage}: must be within 0.98 to 1")
    if not 0 <= options.exponent <= 1:
        raise InputError(f"--exponent {options.exponent}: must be within 0 to 1")


def draw_sample(readers: Sequence[Reader], options: argparse.Namespace) -> tuple[dict[str, list[str]], dict[str, int]]:
    """(sentences by language, number of all sentences by language)."""
    with progress_bar("Sampling sentences"):
        counts = count_sentences(readers)
        sizes = sample_sizes(counts, options.sentences, options.exponent)
        return sample_sentences(readers, counts, sizes, options.seed), counts


def all_sentences(samples: Mapping[str, list[str]]) -> list[str]:
    """The sentences of `draw_sample`, one language after the other, by name."""
    return [sentence for language in sorted(samples) for sentence in samples[language]]


def tokens_and_unknown_rate(tokenizer: Tokenizer, sentences: list[str]) -> tuple[int, float]:
    """(number of tokens, share of unknown ones) that `tokenizer` makes of `sentences`."""
    token_ids, _ = tokenizer.encode_ragged(sentences)
    return len(token_ids), round(int((token_ids == UNKNOWN_ID).sum()) / max(len(token_ids), 1), 6)
