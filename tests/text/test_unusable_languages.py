"""Text whose language cannot be used is passed over, counted and named; the good text beside it is kept."""

import pytest

from corpus_files import archive, catalog, moses, tmx, write_files
from corpus_formats import read_all
from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.pairs import read_pair_sets
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.readers import find_bitext, find_monolingual
from infoxlm_keras.text.readers.tmx import MOST_UNKNOWN
from running import refused, run
from sample_text import sentences

PAIRS = list(zip(sentences("en", 12), sentences("de", 12), strict=True))
UNUSABLE = ["x-none", "x-unknown", "und", "", "i-default", "qq-rubbish", "German", "zxx", "x\u2028y", "z" * 99]


def dropped(reader):
    total = {}
    for chunk in reader.chunks():
        for reason, number in reader.read(chunk).dropped.items():
            total[reason] = total.get(reason, 0) + number
    return total


def reasons(found):
    return {item.name: item.reason for item in found.passed_over}


@pytest.mark.parametrize("code", UNUSABLE)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_side_of_no_language_leaves_the_rest_of_a_translation_memory(code, place, tmp_path):
    units = [[("en", source), ("de", target)] for source, target in PAIRS]
    units[3].insert(place, (code, "odd"))
    units.append([("en", "alone"), (code, "odd")])
    (tmp_path / "memory.tmx").write_bytes(tmx(units))
    for item in (tmp_path, tmp_path / "memory.tmx", f"en-de={tmp_path}/memory.tmx"):
        found = find_bitext([item])
        assert read_all(found) == {"en-de": PAIRS}
        counts = dropped(found[0])
        assert counts.pop("other_languages") == 1
        ((reason, number),) = counts.items()
        assert number == 2 and reason.isprintable() and len(reason) < 80
        assert reason.startswith("unknown_language ") and (code[:9].isprintable() is False or code[:9] in reason)


def test_a_side_without_a_language_counts_as_one_whose_language_is_empty(tmp_path):
    units = [[("en", source), ("de", target), ("", "odd")] for source, target in PAIRS]
    units.append([("en", "alone"), ("", "odd")])
    (tmp_path / "en-de.tmx").write_bytes(tmx(units))
    expected = dropped(*find_bitext([tmp_path]))
    content = (tmp_path / "en-de.tmx").read_bytes()
    assert content.count(b' xml:lang=""') == len(units)
    (tmp_path / "en-de.tmx").write_bytes(content.replace(b' xml:lang=""', b""))
    found = find_bitext([tmp_path])
    assert read_all(found) == {"en-de": PAIRS}
    assert dropped(found[0]) == expected == {"unknown_language (empty)": len(units), "other_languages": 1}


def test_the_manifest_and_evaluation_name_what_is_no_language(tmp_path, tokenizer_dir):
    units = [[("en", source), ("de", target), ("x-none", "a")] for source, target in PAIRS]
    units += [[("und", "a"), ("de", "b")]] * 3
    (tmp_path / "memory.tmx").write_bytes(tmx(units))
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data", "--processes", 1)
    run(build_bitext.main, "--input", tmp_path / "memory.tmx", *output)
    (source,) = read_manifest(tmp_path / "data", "bitext").sources
    assert source.passed_over == {"other_languages": 3, "unknown_language und": 3, "unknown_language x-none": 12}
    assert source.read == source.sentences + sum(source.dropped.values()) + 18
    told = {item.reason for item in read_pair_sets([tmp_path / "memory.tmx"]).passed_over}
    assert {"12 pairs of en-de (unknown_language x-none)", "3 pairs of en-de (unknown_language und)"} <= told


def test_any_number_of_codes_is_counted_but_not_all_are_named(tmp_path):
    units = [[("en", source), ("de", target)] for source, target in PAIRS]
    units += [[(f"x-{number}", "a")] for number in range(500)]
    (tmp_path / "en-de.tmx").write_bytes(tmx(units))
    counts = dropped(*find_bitext([tmp_path]))
    assert len(counts) == MOST_UNKNOWN + 2
    assert sum(number for reason, number in counts.items() if reason.startswith("unknown_language")) == 500


SIDES = {"a.en-de.en": moses(PAIRS, 0), "a.en-de.de": moses(PAIRS, 1)}
# Files of a folder that cannot be used, and the part of the reason that tells why.
LEFT = {
    "x.en-de.en": "its other side is missing",
    "x.en-de.de": "its other side is missing",
    "x.en-fr.fr": "its other side is missing",
    "x.en-xx.en": "'xx' is not an ISO 639 language code",
    "x.en-xx.xx": "'xx' is not an ISO 639 language code",
    "x.en-de.fr": "its ending is that of no format",
    "en-xx.tsv": "'xx' is not an ISO 639 language code",
    "xx-en.jsonl": "'xx' is not an ISO 639 language code",
    "xx.yy-zz.parquet": "'yy' is not an ISO 639 language code",
    "en-pt-br.tsv": "'en-pt-br' may be en and pt-br",
    "de-deu.tsv": "names de on both sides",
    "LANGUAGES.tsv": "does not say two languages",
    "en.po": "messages' own language",
    "app.po": "language is not known",
    "xx.po": "'xx' is not an ISO 639 language code",
    "one.tmx": "does not hold two languages",
    "other.zip": "holds no pair of files",
    "one.zip": "its other side is missing",
}


def content(name):
    if name.endswith(".po"):
        return catalog(PAIRS, {"en.po": "en", "xx.po": "xx"}.get(name, ""))
    if name.endswith(".zip"):
        return archive({"x.en-de.en" if name == "one.zip" else "README": b"a\n"})
    return tmx([[("en", "a"), ("und", "b")]]) if name.endswith(".tmx") else b"a\n"


@pytest.mark.parametrize("name", LEFT)
def test_one_file_that_cannot_be_used_leaves_the_rest_of_a_folder(name, tmp_path, tokenizer_dir, capsys):
    write_files(tmp_path / "pairs", {**SIDES, name: content(name)})
    found = find_bitext([tmp_path / "pairs"])
    assert read_all(found) == {"en-de": PAIRS}
    assert [key.split(":")[0] for key in reasons(found)] == [name]
    assert LEFT[name] in next(iter(reasons(found).values()))
    # Given by its own name, or if nothing else is there, it is an error.
    items = [[tmp_path / "pairs" / name], [tmp_path / "pairs/a.en-de.en", tmp_path / "pairs/a.en-de.de"]]
    with pytest.raises(InputError, match=name):
        find_bitext(items[0] + items[1])
    write_files(tmp_path / "alone", {name: content(name), "README": b"x"})
    arguments = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data", "--input", tmp_path / "alone")
    assert name in refused(capsys, build_bitext.main, *arguments)
    assert not (tmp_path / "data").exists()
    # A folder with nothing of use is an error beside a good one.
    with pytest.raises(InputError, match=name):
        find_bitext([tmp_path / "pairs", tmp_path / "alone"])


def test_all_of_them_at_once_are_named(tmp_path):
    write_files(tmp_path, {**SIDES, **{name: content(name) for name in LEFT if name != "x.en-de.de"}})
    found = find_bitext([tmp_path])
    assert read_all(found) == {"en-de": PAIRS}
    assert {key.split(":")[0] for key in reasons(found)} == {*LEFT} - {"x.en-de.de"}


def test_the_parts_of_an_archive_that_cannot_be_used_are_named(tmp_path):
    members = {"b.en-fr.fr": b"a\n", "b.en-xx.xx": b"a\n", "b.en-xx.en": b"a\n", "b.en-pt-br.hi": b"a\n"}
    (tmp_path / "all.zip").write_bytes(archive(SIDES | members))
    found = find_bitext([tmp_path / "all.zip"])
    assert read_all(found) == {"en-de": PAIRS}
    assert {*reasons(found)} == {f"all.zip: {name}" for name in members}
    assert read_all(find_bitext([f"en-de={tmp_path}/all.zip"])) == {"en-de": PAIRS}
    with pytest.raises(InputError, match="holds en-de, not en-fr"):
        find_bitext([f"en-fr={tmp_path}/all.zip"])


@pytest.mark.parametrize("name", ["xx.txt", "README.txt", "und.txt", "notes.new.txt", "qq.jsonl"])
def test_one_text_of_no_language_leaves_the_rest_of_a_folder(name, tmp_path, tokenizer_dir, capsys):
    write_files(tmp_path / "text", {"de.txt": b"eins\n", name: b"a\n"})
    found = find_monolingual([tmp_path / "text"])
    assert read_all(found) == {"de": ["eins"]} and [*reasons(found)] == [name]
    with pytest.raises(InputError, match=name):
        find_monolingual([tmp_path / "text" / name, tmp_path / "text/de.txt"])
    write_files(tmp_path / "alone", {name: b"a\n", "LICENSE.txt": b"a\n"})
    arguments = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data", "--input", tmp_path / "alone")
    message = refused(capsys, build_monolingual.main, *arguments)
    assert name in message or "LICENSE.txt" in message
    assert "1 more file" in message
