"""Which pairs a translation memory offers whose name says none."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus_files import tmx, tsv, write_files
from corpus_formats import read_all
from infoxlm_keras.commands import build_bitext
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.languages import UnusableNameError
from infoxlm_keras.text.readers import find_bitext
from infoxlm_keras.text.readers.tmx import UnitLanguages
from running import refused, run
from sample_text import sentences

PAIRS = list(zip(sentences("en", 12), sentences("de", 12), strict=True))


def unit(*languages):
    return [(language, f"text in {language}") for language in languages]


def offered(tmp_path, units, source_language):
    (tmp_path / "memory.tmx").write_bytes(tmx(units, source_language))
    found = find_bitext([tmp_path])
    # Reading refuses a pair without a unit.
    read_all(found)
    return [reader.name for reader in found]


@pytest.mark.parametrize(
    ("source_language", "units", "expected"),
    [
        ("en", [unit("en", "de"), unit("de", "fr")], ["en-de"]),
        ("en", [unit("en", "de"), unit("fr", "de"), unit("en-GB", "fr-CA")], ["en-de", "en-fr"]),
        ("*all*", [unit("de", "en"), unit("fr", "en")], ["en-de", "en-fr"]),
        ("*all*", [unit("de", "fr"), unit("fr", "es"), unit("es")], ["fr-de", "fr-es"]),
        # Texts and variants of one language in one unit count once.
        ("*all*", [unit("de", "de-AT", "de", "fr"), unit("fr", "es")], ["fr-de", "fr-es"]),
        # As many units: the first in the file.
        ("*all*", [unit("de", "fr"), unit("fr", "de")], ["de-fr"]),
        ("", [unit("de", "en")], ["en-de"]),
        # A source language that is never translated, and one that is not there.
        ("en", [unit("en"), unit("de", "fr"), unit("fr", "es")], ["fr-de", "fr-es"]),
        ("*all*", [unit("en"), unit("de", "fr"), unit("de", "es")], ["de-es", "de-fr"]),
        ("it", [unit("de", "fr")], ["de-fr"]),
    ],
)
def test_only_languages_that_share_a_unit_are_paired(source_language, units, expected, tmp_path):
    assert offered(tmp_path, units, source_language) == expected


@given(
    st.lists(st.lists(st.sampled_from(["en", "de", "fr", "es", None]), max_size=5), max_size=8),
    st.sampled_from([None, "en", "de", "it"]),
)
def test_pairs_against_plain_counting(units, declared):
    languages = UnitLanguages()
    for names in units:
        languages.add(names)
    together = {pair for names in units for pair in itertools.permutations({*names} - {None}, 2)}
    pairs = [tuple(name.split("-")) for name in languages.pairs(declared)]
    assert bool(pairs) == bool(together) and {*pairs} <= together and len({source for source, _ in pairs}) <= 1
    if pairs:
        (source, _), counts = pairs[0], {name: sum(name in unit for unit in units) for unit in units for name in unit}
        partners = {target for one, target in together if one == source}
        assert sorted(target for _, target in pairs) == sorted(partners)
        able = {one for one, _ in together}
        wanted = [name for name in (declared, "en") if name in able]
        assert source == wanted[0] if wanted else counts[source] == max(counts[name] for name in able)


def test_a_memory_without_a_translation_is_named(tmp_path, tokenizer_dir, capsys):
    apart = tmx([unit("en"), unit("de")])
    write_files(tmp_path, {"pairs/memory.tmx": apart, "pairs/en-de.tsv": tsv(PAIRS)})
    with pytest.raises(UnusableNameError, match=r"holds 2 languages \(en, de\), but no unit in two of them"):
        find_bitext([tmp_path / "pairs/memory.tmx"])
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data", "--processes", 1)
    assert "no unit in two" in refused(capsys, build_bitext.main, "--input", tmp_path / "pairs/memory.tmx", *output)
    run(build_bitext.main, "--input", tmp_path / "pairs", *output)
    assert "holds no unit in two languages: 1: memory.tmx" in capsys.readouterr().out
    assert [source.file for source in read_manifest(tmp_path / "data", "bitext").sources] == ["en-de.tsv"]
