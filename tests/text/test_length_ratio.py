"""The ratio of a pair's lengths: the bound that the documentation advises keeps good pairs of every script."""

import pytest

from infoxlm_keras.sample_corpus import BUNDLED_CORPUS
from infoxlm_keras.sample_corpus.storage import read_rows
from infoxlm_keras.text.cleaning.lengths import LengthLimits, letters

CORPUS = BUNDLED_CORPUS
LANGUAGES = sorted({path.name.split(".")[0] for path in (CORPUS / "train").glob("*.xz")} - {"pages", "en"})
ADVISED = 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_advised_ratio_keeps_good_pairs(language):
    limits = LengthLimits(max_ratio=ADVISED)
    rows = read_rows(CORPUS / "train", [language])
    pairs = [(row.english, row.translations[language]) for row in rows if language in row.translations]
    assert len(pairs) > 4000
    dropped = sum(limits.pair_reason(*pair) is not None for pair in pairs)
    assert dropped < 0.002 * len(pairs)
    # And leaves out a good part of what does not belong together.
    wrong = [(pairs[number][0], pairs[-number][1]) for number in range(1, len(pairs), 7)]
    assert sum(limits.pair_reason(*pair) is not None for pair in wrong) > 0.1 * len(wrong)


def test_letters_of_scripts():
    assert [letters(text) for text in ("house", "größe", "дом", "今天", "カナかな", "한국", "a今b", "नमस्ते")] == [
        *(5, 5, 3, 6, 8, 4, 5),
        len("नमस्ते"),
    ]
    assert LengthLimits(max_ratio=4).pair_reason("a" * 12, "今") is None
    assert LengthLimits(max_ratio=4).pair_reason("a" * 13, "今") == "character_ratio"
