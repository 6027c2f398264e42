"""Only a malformed unit of a translation memory is left out, and it is counted; all others are read."""

import itertools
import pickle
import re
import xml.etree.ElementTree

import hypothesis
import hypothesis.strategies as st
import pytest

from corpus_files import tmx, tmx_pairs
from infoxlm_keras.commands import build_bitext
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.readers import chunks, find_bitext
from infoxlm_keras.text.readers.packed import Texts
from running import refused, run
from sample_text import sentences

PAIRS = list(zip(sentences("en", 31), sentences("de", 31), strict=True))
# What stands in the place of a unit: (of the whole unit, what of it is wrong)
BAD = {
    "a control character reference": ("<seg>", "<seg>&#x1F;"),
    "a NUL reference": ("<seg>", "<seg>&#0;"),
    "a reference beyond Unicode": ("<seg>", "<seg>&#x110000;"),
    "half a surrogate pair": ("<seg>", "<seg>&#xD800;"),
    "a control character": ("<seg>", "<seg>\x0b"),
    "a noncharacter": ("<seg>", "<seg>\uffff"),
    "a bare ampersand": ("<seg>", "<seg>AT&T "),
    "an entity of HTML": ("<seg>", "<seg>&nbsp;"),
    "a bare less-than": ("<seg>", "<seg>a < b "),
    "a segment that is not closed": ("</seg>", ""),
    "a variant that is not closed": ("</tuv>", ""),
    "a stray end tag": ("</seg>", "</seg></b>"),
    "a tag of another name": ("</tu>", "</tux>"),
    "a unit that is not closed": ("</tu>", ""),
    "an attribute that is not closed": ('"de-DE"', '"de-DE'),
    "an attribute twice": ('xml:lang="de-DE"', 'xml:lang="de-DE" xml:lang="de-DE"'),
    "a control character in the unit's own tag": ("<tu>", '<tu tuid="&#x1F;">'),
    "a bare less-than in the unit's own tag": ("<tu>", '<tu tuid="a<b">'),
    "a CDATA section with a control character": ("<seg>", "<seg><![CDATA[\x1f</tu>]]>"),
    "a comment with two hyphens": ("<seg>", "<seg><!-- a -- b -->"),
}


def damaged(number, name, pairs=PAIRS):
    """A memory whose unit `number` has a fault."""
    good, bad = BAD[name]
    head, *units = re.split("(?=<tu>)", tmx_pairs(pairs).decode())
    assert good in units[number]
    # In the midst of a unit rather than at its first tag.
    units[number] = bad.join(units[number].rsplit(good, 1))
    return "".join([head, *units])


def with_faults(faults):
    """A memory whose units have these faults, dict of number to name."""
    head, *units = re.split("(?=<tu>)", tmx_pairs(PAIRS).decode())
    for number, name in faults.items():
        good, bad = BAD[name]
        units[number] = bad.join(units[number].rsplit(good, 1))
    return "".join([head, *units])


def read(path, item=None):
    texts = Texts()
    (reader,) = find_bitext([item or path])
    for chunk in reader.chunks():
        found = reader.read(pickle.loads(pickle.dumps(chunk)))
        texts += found
        texts.dropped.update(found.dropped)
    return texts


@pytest.mark.parametrize("number", [0, 13, 30])
@pytest.mark.parametrize("name", BAD)
def test_one_malformed_unit_is_left_out_and_counted(name, number, tmp_path, monkeypatch):
    path = tmp_path / "memory.en-de.tmx"
    text = damaged(number, name)
    with pytest.raises(xml.etree.ElementTree.ParseError):
        xml.etree.ElementTree.fromstring(text)
    for size in (1 << 18, 97):
        monkeypatch.setattr(chunks, "BUFFER_BYTES", size)
        for encoding in ("utf-8", "utf-16"):
            header = text.replace('encoding="UTF-8"', f'encoding="{encoding}"')
            path.write_bytes(header.encode(encoding, "surrogatepass"))
            texts = read(path)
            assert texts == [pair for index, pair in enumerate(PAIRS) if index != number]
            assert texts.dropped == {"malformed": 1}


@hypothesis.given(st.sets(st.tuples(st.integers(0, 30), st.sampled_from(sorted(BAD))), max_size=4))
@hypothesis.example({(0, "a unit that is not closed"), (1, "a control character in the unit's own tag")})
@hypothesis.example({(0, "a unit that is not closed"), (1, "a bare less-than in the unit's own tag")})
@hypothesis.example({(7, "a variant that is not closed"), (8, "a control character in the unit's own tag")})
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], deadline=None)
def test_several_malformed_units(tmp_path, faults):
    faults = dict(faults)
    (tmp_path / "en-de.tmx").write_text(with_faults(faults))
    texts = read(tmp_path / "en-de.tmx")
    assert texts == [pair for index, pair in enumerate(PAIRS) if index not in faults]
    assert texts.dropped.get("malformed", 0) == len(faults)


def test_any_two_neighbours(tmp_path):
    kept = [pair for index, pair in enumerate(PAIRS) if index not in (4, 5)]
    for faults in itertools.product(BAD, BAD):
        (tmp_path / "en-de.tmx").write_text(with_faults(dict(zip((4, 5), faults, strict=True))))
        texts = read(tmp_path / "en-de.tmx")
        assert texts == kept and texts.dropped == {"malformed": 2}, faults


def test_the_build_counts_malformed_units_and_passes_over_other_languages(tmp_path, tokenizer_dir):
    units = [[("en", source), ("de", target)] for source, target in PAIRS[:20]]
    units += [[("en", source), ("fr", source)] for source, _ in PAIRS[:5]]
    text = tmx(units).decode().replace("<seg>", "<seg>&#x1;", 1)
    (tmp_path / "memory.tmx").write_text(text)
    run(
        build_bitext.main,
        *("--input", f"en-de={tmp_path}/memory.tmx", "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out"),
    )
    (source,) = read_manifest(tmp_path / "out", "bitext").sources
    assert (source.sentences, source.dropped["malformed"]) == (19, 1)
    assert source.passed_over == {"other_languages": 5} and source.read == 25


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        # What is lost cannot be told from what is not, or is too much.
        (lambda: tmx_pairs(PAIRS)[:-200], ("line", "not well-formed", "export it again")),
        (lambda: tmx_pairs(PAIRS).replace(b"<body>", b"<body>&#x1;", 1), ("line 5: is not well-formed",)),
        (lambda: tmx_pairs(PAIRS).replace(b"datatype=", b"datatype=&", 1), ("line 4: is not well-formed",)),
        (lambda: tmx_pairs(PAIRS) + b"<tmx>", ("is not well-formed",)),
        (lambda: tmx_pairs(PAIRS).replace(b"<seg>", b"<seg>&", 30), ("line 7: is not", "so are 15 of its 31 units")),
        (lambda: tmx_pairs(PAIRS).replace(b"<seg>", b"<seg>&"), ("line 7: is not", "so are 31 of its 31 units")),
        (lambda: tmx_pairs(PAIRS).replace(b"<seg>", b"<seg>\xff"), ("line 7: is not", "check its encoding")),
        (lambda: tmx_pairs(PAIRS).decode().encode("utf-16")[:-1], ("is not UTF-16 throughout",)),
        (lambda: tmx_pairs(PAIRS).replace(b"<seg>", b"<seg><![CDATA[", 1), ("is not well-formed",)),
    ],
)
def test_what_cannot_be_left_out_by_itself_is_refused(text, parts, tmp_path, tokenizer_dir, capsys):
    path = tmp_path / "en-de.tmx"
    path.write_bytes(text())
    arguments = ("--input", path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out", "--processes", 1)
    message = refused(capsys, build_bitext.main, *arguments)
    assert all(part in message for part in ("en-de.tmx: ", *parts))
    assert not (tmp_path / "out").exists()


def test_line_numbers_are_those_of_the_file_behind_malformed_units(tmp_path):
    text = damaged(3, "a bare ampersand")
    lines = text.split("\n")
    last = max(number for number, line in enumerate(lines, start=1) if "</body>" in line)
    (tmp_path / "en-de.tmx").write_text(text.replace("</body>", "</bodies>"))
    with pytest.raises(InputError, match=f"line {last}: is not well-formed XML .mismatched tag"):
        read(tmp_path / "en-de.tmx")
