"""Evaluation text in every format is left out of the records, and a file that leaves nothing out is named."""

import csv
import gzip
import io
import json
import re
import shlex
import subprocess

import pytest

from corpus_files import (
    archive,
    catalog,
    json_lines,
    moses,
    tatoeba,
    tmx_pairs,
    translations,
    tsv,
    write_files,
    write_parquet,
)
from infoxlm_keras.commands import build_bitext, build_monolingual, build_with_beam
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.cleaning.evaluation_files import evaluation_texts
from infoxlm_keras.text.cleaning.evaluation_text import read_evaluation_text
from running import refused, run
from sample_text import sentences

PAIRS = list(zip(sentences("en", 40), sentences("de", 40), strict=True))
HELD_OUT = PAIRS[:20]
SGML = (
    b'<srcset setid="x" srclang="any">\n<doc docid="1">\n<seg id="1">A sentence &amp; more.</seg>\n</doc>\n</srcset>\n'
)


def comma_separated(pairs, **dialect):
    text = io.StringIO()
    csv.writer(text, **dialect).writerows(pairs)
    return text.getvalue().encode()


def parquet(tmp_path, records):
    write_parquet(tmp_path / "x.parquet", records)
    return (tmp_path / "x.parquet").read_bytes()


def sides(pairs):
    return {"X.en-de.en": moses(pairs, 0), "X.en-de.de": moses(pairs, 1)}


# name: (files below a folder, what to give)
FORMS = {
    "columns": lambda pairs, tmp: ({"heldout.tsv": tsv(pairs)}, ["heldout.tsv"]),
    "columns of another name": lambda pairs, tmp: ({"dev.txt": tsv(pairs)}, ["dev.txt"]),
    "score first": lambda pairs, tmp: (
        {"x.tsv": "".join(f"1.2\t{a}\t{b}\n" for a, b in pairs).encode()},
        ["x.tsv"],
    ),
    "one side": lambda pairs, tmp: ({"flores.deu_Latn": moses(pairs, 1)}, ["flores.deu_Latn"]),
    "both sides": lambda pairs, tmp: (sides(pairs), list(sides(pairs))),
    "a Moses stem": lambda pairs, tmp: ({"dev.en": moses(pairs, 0), "dev.de": moses(pairs, 1)}, ["en-de={}/dev"]),
    "JSON lines": lambda pairs, tmp: (
        {"heldout.en-de.jsonl": json_lines(translations(pairs))},
        ["heldout.en-de.jsonl"],
    ),
    "JSON lines of other fields": lambda pairs, tmp: (
        {"a.jsonl": json_lines([{"meta": {"id": 3, "q": [source]}, "label": "x"} for source, _ in pairs])},
        ["a.jsonl"],
    ),
    "JSON": lambda pairs, tmp: ({"a.json": json.dumps({"data": [{"p": pairs}]}).encode()}, ["a.json"]),
    "TMX": lambda pairs, tmp: ({"a.tmx": tmx_pairs(pairs)}, ["a.tmx"]),
    "TMX of languages nobody trains on": lambda pairs, tmp: ({"a.tmx": tmx_pairs(pairs, ("fr", "es"))}, ["a.tmx"]),
    "gettext": lambda pairs, tmp: ({"app.po": catalog(pairs)}, ["app.po"]),
    "CSV": lambda pairs, tmp: ({"a.csv": comma_separated(pairs, quoting=csv.QUOTE_ALL)}, ["a.csv"]),
    "CSV by need": lambda pairs, tmp: ({"a.csv": comma_separated([("en", "de"), *pairs])}, ["a.csv"]),
    "CSV by semicolons": lambda pairs, tmp: ({"a.csv": comma_separated(pairs, delimiter=";")}, ["a.csv"]),
    "CSV by tabs": lambda pairs, tmp: (tatoeba(pairs), ["sentences.csv"]),
    "Parquet": lambda pairs, tmp: ({"a.parquet": parquet(tmp, translations(pairs))}, ["a.parquet"]),
    "an archive": lambda pairs, tmp: ({"a.zip": archive({"README": b"x", **sides(pairs)})}, ["a.zip"]),
    "an archive of anything": lambda pairs, tmp: ({"a.zip": archive({"d/t.tmx": tmx_pairs(pairs)})}, ["a.zip"]),
    "compressed": lambda pairs, tmp: ({"a.tmx.gz": gzip.compress(tmx_pairs(pairs))}, ["a.tmx.gz"]),
    "compressed JSON": lambda pairs, tmp: (
        {"a.jsonl.gz": gzip.compress(json_lines(translations(pairs)))},
        ["a.jsonl.gz"],
    ),
    "compressed CSV": lambda pairs, tmp: ({"a.csv.gz": gzip.compress(comma_separated(pairs))}, ["a.csv.gz"]),
    "a folder": lambda pairs, tmp: ({"f/d/x.tsv": tsv(pairs[:9]), "f/y.tmx": tmx_pairs(pairs[9:])}, ["f"]),
    "with its languages": lambda pairs, tmp: ({"a.tsv": tsv(pairs)}, ["en-de={}/a.tsv"]),
    "the other way round": lambda pairs, tmp: ({"a.tsv": tsv([pair[::-1] for pair in pairs])}, ["a.tsv"]),
}


def give(form, tmp_path, pairs=HELD_OUT):
    files, items = FORMS[form](pairs, tmp_path)
    write_files(tmp_path / "heldout", files)
    return [item.format(tmp_path / "heldout") if "=" in item else tmp_path / "heldout" / item for item in items]


def build(main, folder, items, tokenizer_dir, output, *options):
    arguments = ("--tokenizer", tokenizer_dir, "--output_dir", output, "--processes", 1, *options)
    run(main, "--input", folder, *arguments, "--evaluation_files", *items)


@pytest.mark.parametrize("form", FORMS)
def test_held_out_pairs_are_left_out_in_every_form(form, tmp_path, tokenizer_dir, capsys):
    items = give(form, tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/en-de.tsv").write_bytes(tsv(PAIRS))
    (tmp_path / "in/de-fr.tsv").write_bytes(tsv([(target, f"{source} fr") for source, target in PAIRS]))
    build(build_bitext.main, tmp_path / "in", items, tokenizer_dir, tmp_path / "out")
    sources = {source.name: source for source in read_manifest(tmp_path / "out", "bitext").sources}
    assert (sources["en-de"].sentences, sources["en-de"].dropped["evaluation"]) == (20, 20)
    # In every other pair of the languages too, where the evaluation file has that side.
    expected = 0 if form == "JSON lines of other fields" else 20
    assert sources["de-fr"].dropped.get("evaluation", 0) == expected
    assert "none of its" not in capsys.readouterr().err


def test_saved_datasets(tmp_path):
    import datasets

    dataset = datasets.Dataset.from_list(
        [{"id": number, **record} for number, record in enumerate(translations(PAIRS))]
    )
    datasets.DatasetDict({"dev": dataset}).save_to_disk(tmp_path / "saved")
    assert {text for pair in PAIRS for text in pair} <= {*evaluation_texts(tmp_path / "saved")}


def test_a_file_that_matches_nothing_is_named(tmp_path, tokenizer_dir, capsys):
    (tmp_path / "de.txt").write_bytes(moses(PAIRS, 1))
    (tmp_path / "good.de").write_bytes(moses(HELD_OUT, 1))
    (tmp_path / "other.tmx").write_bytes(tmx_pairs([("nothing of", "dergleichen")]))
    items = [tmp_path / "good.de", tmp_path / "other.tmx"]
    build(build_monolingual.main, tmp_path / "de.txt", items, tokenizer_dir, tmp_path / "out")
    (warning,) = capsys.readouterr().err.splitlines()
    assert f"{items[1]}: none of its 2 sentences was found" in warning and "good.de" not in warning
    (source,) = read_manifest(tmp_path / "out", "mmlm").sources
    assert source.dropped["evaluation"] == 20
    # The same from several processes, and from Beam.
    (tmp_path / "en-de.tsv").write_bytes(tsv(PAIRS))
    build(build_bitext.main, tmp_path / "en-de.tsv", items, tokenizer_dir, tmp_path / "two", "--processes", 2)
    assert "other.tmx: none" in (error := capsys.readouterr().err) and "good.de" not in error
    run(
        build_with_beam.main,
        *(
            "bitext",
            "--input",
            tmp_path / "en-de.tsv",
            "--tokenizer",
            tokenizer_dir,
            "--output_dir",
            tmp_path / "beam",
        ),
        *("--processes", 1, "--runner", "DirectRunner", "--direct_running_mode", "in_memory"),
        *("--evaluation_files", *items),
    )
    assert "other.tmx: none" in (error := capsys.readouterr().err) and "good.de: none" not in error


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.tmx", b"<tmx><body>", ("a.tmx: line 1", "well-formed")),
        ("a.jsonl", b'{"a": "b"}\n{"a"\n', ("a.jsonl: line 2", "is not valid JSON")),
        ("a.json", b"[" * 100_000, ("a.json", "nested too deeply")),
        ("a.po", b"rubbish\n", ("a.po: line 1", "msgfmt")),
        ("a.parquet", b"rubbish", ("a.parquet", "is not a complete Parquet file")),
        ("a.txt", b"\xff\xfea\0", ("a.txt: line 1", "UTF-16")),
        ("a.txt", b"\n \n", ("a.txt: holds no text",)),
        ("a.tar.gz", gzip.compress(b"x", mtime=0), ("a.tar.gz: is an archive", "tar -xf")),
        ("a.zip", archive({"x.po": b""}), ("a.zip: x.po: is not read from inside an archive; unpack it",)),
        ("a.zip", archive({"../x": b""}), ("leads out of the archive",)),
        ("a.txt.bz2", b"BZh91AY&SY\0", ("a.txt.bz2: the compressed data ends too early",)),
        ("a.txt.bz2", b"rubbish", ("a.txt.bz2: is not what its ending .bz2 says", "not compressed: take the ending")),
        ("a.po.gz", gzip.compress(b"x", mtime=0), ("a.po.gz: is compressed, and a .po file", "gzip -dk")),
        ("a.parquet.xz", b"x", ("a.parquet.xz: is compressed, and a .parquet file", "xz -dk")),
        ("a.sgm", SGML, ("a.sgm: is SGML, XML or HTML", "sacrebleu", "<seg")),
        ("newstest-src.en", SGML, ("newstest-src.en: is SGML, XML or HTML", "sacrebleu")),
        ("a.XML.gz", gzip.compress(b'<?xml version="1.0"?>\n<dataset id="x"/>\n', mtime=0), ("is SGML, XML or HTML",)),
        ("a.zip", archive({"x.sgml": SGML}), ("a.zip: x.sgml: is SGML",)),
        ("a.jsonl", b"<html><p>Not found</p></html>\n", ("a.jsonl: is SGML, XML or HTML",)),
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\n", ("a.txt: is a Git LFS pointer", "git lfs pull")),
        ("a.xliff", b"<xliff>\n", ("a.xliff: is SGML, XML or HTML",)),
        ("a.pdf", b"%PDF-1.4\n1 0 obj\n", ("a.pdf: is not plain text; it is a PDF document", "pdftotext")),
        ("a.pdf", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", ("a.pdf: line 2", "it is a PDF document")),
        ("a.rtf", b"{\\rtf1 Text}\n", ("a.rtf: is not plain text", "Rich Text Format: save it as plain text")),
        ("a.docx", archive({"word/document.xml": b"<w/>"}), ("a.docx: line 1", "an office document")),
        ("a.png", b"\x89PNG\r\n\x1a\n\0", ("a.png: line 1", "it is an image")),
        ("saved_model.pb", b"\x08\x01\x12\x03abc", ("saved_model.pb: line 1: holds control characters",)),
    ],
)
def test_bad_evaluation_files_are_refused(name, content, parts, tmp_path, tokenizer_dir, capsys):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "in.de-en.tsv").write_bytes(tsv(PAIRS))
    arguments = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out", "--evaluation_files", tmp_path / name)
    message = refused(capsys, build_bitext.main, "--input", tmp_path / "in.de-en.tsv", *arguments)
    assert all(part in message for part in parts)
    assert not (tmp_path / "out").exists()


def test_no_cleaning_does_not_ignore_evaluation_files_in_silence(tmp_path, tokenizer_dir, capsys):
    (tmp_path / "en-de.tsv").write_bytes(tsv(PAIRS))
    arguments = ("--input", tmp_path / "en-de.tsv", "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out")
    evaluation = ("--evaluation_files", tmp_path / "en-de.tsv")
    assert "--no_clean" in refused(capsys, build_bitext.main, *arguments, "--no_clean", *evaluation)


def test_text_of_several_lines_is_found_whole_and_by_its_lines(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(json_lines([{"context": "First line.\nSecond line."}]))
    found = read_evaluation_text([tmp_path / "a.jsonl"])
    assert all(map(found.overlaps, ["First line", "second line", "First line. Second line."]))
    assert not found.overlaps("Third line.")
    with pytest.raises(InputError, match="no such file"):
        read_evaluation_text([tmp_path / "b.jsonl"])


def test_the_advice_for_test_sets_in_sgml_gives_their_sentences(tmp_path):
    (tmp_path / "a.sgm").write_bytes(SGML)
    with pytest.raises(InputError) as error:
        list(evaluation_texts(tmp_path / "a.sgm"))
    command = re.search(r"`(sed [^`]*) FILE`", str(error.value))[1]
    printed = subprocess.run([*shlex.split(command), tmp_path / "a.sgm"], capture_output=True, check=True).stdout
    assert printed == b"A sentence &amp; more.\n"


def test_text_about_markup_is_text(tmp_path):
    lines = ["<b>bold</b> is HTML", "Ein Tab:\tund mehr", "PDF begins with %PDF-"]
    (tmp_path / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    assert {*evaluation_texts(tmp_path / "a.txt")} == {lines[0], "Ein Tab:", "und mehr", lines[2]}
