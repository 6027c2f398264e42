"""Small corpora in the formats that readers know, for tests."""

import io
import json
import zipfile
from xml.sax.saxutils import escape, quoteattr


def moses(pairs, side):
    """Bytes of one side (0 or 1) of `pairs`, a line each."""
    return "".join(f"{pair[side]}\n" for pair in pairs).encode()


def tsv(pairs):
    return "".join(f"{source}\t{target}\n" for source, target in pairs).encode()


def json_lines(records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def translations(pairs, languages=("en", "de")):
    """Records with both sides of `pairs` in `translation`."""
    return [{"translation": dict(zip(languages, pair, strict=True))} for pair in pairs]


def archive(members):
    """Bytes of a ZIP archive; `members` is a dict of name to bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def tmx(units, source_language="en", doctype='<!DOCTYPE tmx SYSTEM "tmx14.dtd">'):
    """Bytes of a TMX file; `units` are lists of (language code, text)."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', doctype, '<tmx version="1.4">']
    lines += [f'<header srclang="{source_language}" datatype="plaintext"/>', "<body>"]
    for unit in units:
        lines.append("<tu>")
        lines += [f"<tuv xml:lang={quoteattr(code)}><seg>{escape(text)}</seg></tuv>" for code, text in unit]
        lines.append("</tu>")
    return "\n".join([*lines, "</body>", "</tmx>", ""]).encode()


def tmx_pairs(pairs, languages=("en-US", "de-DE")):
    return tmx([list(zip(languages, pair, strict=True)) for pair in pairs], languages[0])


def catalog(pairs, language="de", extra=""):
    """Bytes of a gettext catalog."""
    entries = [f'msgid ""\nmsgstr "Language: {language}\\nContent-Type: text/plain; charset=UTF-8\\n"\n']
    entries += [f"msgid {_quoted(source)}\nmsgstr {_quoted(target)}\n" for source, target in pairs]
    return ("\n".join(entries) + extra).encode()


def tatoeba(pairs, languages=("eng", "deu")):
    """dict of file name to bytes: an export that holds `pairs`, and sentences in a third language."""
    sentences, links = ["1\tfra\tBonjour.\n"], []
    for number, pair in enumerate(pairs, start=1):
        for side, (code, text) in enumerate(zip(languages, pair, strict=True)):
            sentences.append(f"{10 * number + side}\t{code}\t{text}\n")
        links += [f"{10 * number}\t{10 * number + 1}\n", f"{10 * number + 1}\t{10 * number}\n", f"{10 * number}\t1\n"]
    return {"sentences.csv": "".join(sentences).encode(), "links.csv": "".join(links).encode()}


def margins(pairs, margin=1.1):
    return "".join(f"{margin}\t{source}\t{target}\n" for source, target in pairs).encode()


def write_files(folder, files):
    """Writes `files` (dict of relative path to bytes) below `folder` (path)."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_parquet(path, records, rows_per_group=3):
    """Writes records (list of dict) to a Parquet file of several row groups."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path, row_group_size=rows_per_group)


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
