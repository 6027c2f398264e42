"""Corpus readers of every format, compression and archive."""

import bz2
import gzip
import json
import lzma
import pathlib
import shutil
import subprocess
import xml.etree.ElementTree
import zipfile

import zstandard

import corpus_files
from fuzz.harness import RefusedError, Target
from fuzz.mutations import mutate_json
from infoxlm_keras.text.readers import find_bitext, find_monolingual
from sample_text import sentences

LINES = sentences("de", 40)
PAIRS = list(zip(sentences("en", 25), sentences("de", 25), strict=True))
COMPRESS = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
TOOLS = {".gz": "gzip", ".xz": "xz", ".bz2": "bzip2", ".zst": "zstd"}


def squeezed(text):
    """`text` with single spaces only: how readers treat other white space differs by format."""
    return " ".join(text.split())


def read_monolingual(inputs):
    return _texts(find_monolingual(inputs))


def read_bitext(inputs):
    return _texts(find_bitext(inputs))


def _texts(readers):
    """list of [stream, text or pair] that holds text."""
    found = []
    for reader in readers:
        for chunk in reader.chunks():
            for item in reader.read(chunk):
                item = [item] if isinstance(item, str) else list(item)
                if any(map(squeezed, item)):
                    found.append([reader.name, *map(squeezed, item)])
    return found


def writer(name, content):
    """A `make` that writes one file."""
    return lambda directory: (directory / name).write_bytes(content)


def folder_writer(files):
    return lambda directory: corpus_files.write_files(directory, files)


def the_file(directory):
    [path] = [path for path in directory.rglob("*") if path.is_file()]
    return path


def by_name(read, prefix=""):
    """A `read` of the one file in the directory."""
    return lambda directory: read([f"{prefix}{the_file(directory)}"])


def decoded(data):
    """Lines of UTF-8, as text."""
    if b"\0" in data:
        raise RefusedError("NUL")
    try:
        return data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise RefusedError(str(error)) from None


def as_lines(data):
    return [["de", squeezed(line)] for line in decoded(data) if squeezed(line)]


def plain_reference(directory):
    return as_lines(the_file(directory).read_bytes())


def compressed_reference(ending):
    """What the compression's own command makes of the file; without the command, Python's module for whole files."""

    def reference(directory):
        data = the_file(directory).read_bytes()
        if shutil.which(TOOLS[ending]) is None:
            raise RuntimeError(f"{TOOLS[ending]} is not installed")
        process = subprocess.run([TOOLS[ending], "-dc"], input=data, capture_output=True, check=False)
        if process.returncode:
            raise RefusedError(process.stderr.decode(errors="replace").strip())
        if process.stderr:
            return None  # garbage after the end, which the command passes over with a warning
        return as_lines(process.stdout)

    return reference


def tsv_reference(directory):
    rows = [line.rstrip("\r").split("\t") for line in decoded(the_file(directory).read_bytes())]
    rows = [row for row in rows if "".join(row).strip()]
    if any(len(row) != 2 for row in rows):
        return None
    return [["en-de", *map(squeezed, row)] for row in rows]


def json_reference(directory):
    found = []
    for line in decoded(the_file(directory).read_bytes()):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RefusedError(str(error)) from None
        sides = record.get("translation") if isinstance(record, dict) else None
        if not isinstance(sides, dict) or set(sides) != {"en", "de"}:
            return None
        if not all(isinstance(side, str) for side in sides.values()):
            return None
        pair = [squeezed(sides["en"]), squeezed(sides["de"])]
        if any(pair):
            found.append(["en-de", *pair])
    return found


def parquet_reference(directory):
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.ParquetFile(the_file(directory)).read().to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, UnicodeDecodeError):
        return None  # a damaged column that nobody asked for is no reason to refuse
    pairs = []
    for row in rows:
        sides = row.get("translation")
        if not isinstance(sides, dict) or set(sides) != {"en", "de"} or None in sides.values():
            return None
        pair = [squeezed(sides["en"]), squeezed(sides["de"])]
        if any(pair):
            pairs.append(["en-de", *pair])
    return pairs


def gettext_reference(directory):
    import polib

    try:
        catalog = polib.pofile(str(the_file(directory)))
    except (OSError, ValueError, IndexError, UnicodeDecodeError, LookupError):
        return None
    texts = []
    for entry in catalog:
        texts += [entry.msgid, entry.msgid_plural, entry.msgstr, *entry.msgstr_plural.values()]
    return [squeezed(text) for text in texts]


def tmx_reference(directory):
    try:
        tree = xml.etree.ElementTree.parse(the_file(directory))
    except (xml.etree.ElementTree.ParseError, ValueError, LookupError):
        return None
    return [squeezed("".join(segment.itertext())) for segment in tree.iter("seg")]


def is_part(value, texts):
    """Every text that was read is one of the reference's."""
    return {text for _, *pair in value for text in pair} <= {*texts, ""}


def archive_reference(directory):
    try:
        with zipfile.ZipFile(the_file(directory)) as archive:
            if archive.testzip() is not None:
                raise RefusedError("CRC")
            sides = [[line.rstrip("\r") for line in decoded(archive.read(f"X.de-en.{side}"))] for side in ("de", "en")]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, KeyError, OSError, ValueError):
        return None
    except Exception as error:
        raise RefusedError(str(error)) from None
    sides = [side[:-1] if side[-1] == "" else side for side in sides]
    if len(sides[0]) != len(sides[1]):
        raise RefusedError("unequal sides")
    return [["de-en", *map(squeezed, pair)] for pair in zip(*sides, strict=True) if any(map(squeezed, pair))]


def make_parquet(directory):
    rows = [{"id": number, **row} for number, row in enumerate(corpus_files.translations(PAIRS))]
    corpus_files.write_parquet(directory / "en-de.parquet", rows)


def make_deflated(directory):
    members = {f"X.de-en.{code}": corpus_files.moses(PAIRS, side) for side, code in ((1, "de"), (0, "en"))}
    (directory / "corpus.zip").write_bytes(corpus_files.archive(members))


TEXT = "".join(f"{line}\n" for line in LINES).encode()
MOSES = {f"X.en-de.{code}": corpus_files.moses(PAIRS, side) for side, code in enumerate(("en", "de"))}
TARGETS = [
    Target("text", writer("de.txt", TEXT), by_name(read_monolingual), plain_reference),
    *(
        Target(
            f"text{ending}",
            writer(f"de.txt{ending}", compress(TEXT[:500]) + compress(TEXT[500:])),
            by_name(read_monolingual),
            compressed_reference(ending),
            must_read=True,
        )
        for ending, compress in COMPRESS.items()
    ),
    Target("tsv", writer("en-de.tsv", corpus_files.tsv(PAIRS)), by_name(read_bitext), tsv_reference),
    Target("margins", writer("WikiMatrix.en-de.tsv", corpus_files.margins(PAIRS)), by_name(read_bitext)),
    Target("moses", folder_writer(MOSES), lambda directory: read_bitext([directory])),
    Target(
        "jsonl pairs",
        writer("en-de.jsonl", corpus_files.json_lines(corpus_files.translations(PAIRS))),
        by_name(read_bitext),
        json_reference,
        mutate=mutate_json,
    ),
    Target(
        "jsonl documents",
        writer("de.jsonl", corpus_files.json_lines([{"text": line, "id": 5} for line in LINES])),
        by_name(read_monolingual),
        mutate=mutate_json,
    ),
    Target("parquet", make_parquet, by_name(read_bitext), parquet_reference),
    Target(
        "gettext",
        writer("de.po", corpus_files.catalog(PAIRS)),
        by_name(read_bitext),
        gettext_reference,
        agrees=is_part,
    ),
    Target("tmx", writer("m.tmx", corpus_files.tmx_pairs(PAIRS)), by_name(read_bitext), tmx_reference, agrees=is_part),
    Target("archive", make_deflated, by_name(read_bitext), archive_reference),
    Target(
        "tatoeba",
        folder_writer(corpus_files.tatoeba(PAIRS)),
        lambda directory: read_bitext([f"en-de={pathlib.Path(directory)}"]),
    ),
]
