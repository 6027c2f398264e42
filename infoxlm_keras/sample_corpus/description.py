"""The files beside the stored corpus: `corpus.json` for programs, `README.md` for people."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.sample_corpus.storage import SUFFIX
from infoxlm_keras.sample_corpus.text_files import monolingual_lines

if TYPE_CHECKING:
    from infoxlm_keras.sample_corpus.alignment import Row

FORMAT = "infoxlm_keras/help_corpus"
VERSION = 1
DESCRIPTION_FILE = "corpus.json"
LICENCE_FILE = "LICENSE-MPL-2.0.txt"


def describe_corpus(
    directory: pathlib.Path, training: Sequence[Row], heldout: Sequence[Row], versions: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    """The contents of `corpus.json`.

    Args:
        directory: path. Where `storage.write_rows` put `train/` and `heldout/`.
        training, heldout: lists of `Row`.
        versions: dict, language code -> (package name, package version), English included.

    Returns:
        dict, ready for JSON: the source, and for each language its package and counts.
    """
    languages = []
    for code in sorted(versions):
        package, version = versions[code]
        files = [directory / split / f"{code}{SUFFIX}" for split in ("train", "heldout")]
        in_row = [row for row in training if code == "en" or code in row.translations]
        languages.append(
            {
                "language": code,
                "package": package,
                "version": version,
                "training_pairs": 0 if code == "en" else len(in_row),
                "monolingual_lines": sum(line != "" for line in monolingual_lines(in_row, code)),
                "heldout_pairs": 0 if code == "en" else len(heldout),
                "compressed_bytes": sum(file.stat().st_size for file in files),
            }
        )
    return {
        "format": FORMAT,
        "version": VERSION,
        "licence": "MPL-2.0",
        "rows": len(training),
        "languages": languages,
    }


def read_description(directory: PathLike) -> dict[str, Any]:
    """The contents of `corpus.json` in `directory`.

    Raises:
        InputError: if the file is missing or describes something else.
    """
    path = pathlib.Path(directory) / DESCRIPTION_FILE
    description = read_json(path)
    if description.get("format") != FORMAT or description.get("version") != VERSION:
        raise InputError(
            f"{path}: is not {FORMAT} version {VERSION}; give a folder that infoxlm make-sample-corpus wrote"
        )
    return description


def readme(description: Mapping[str, Any]) -> str:
    """The text of `README.md` for the contents of `corpus.json`."""
    languages = [entry for entry in description["languages"] if entry["language"] != "en"]
    codes = " ".join(entry["language"] for entry in languages)
    rows = "\n".join(table_row(entry) for entry in description["languages"])
    pairs = sum(entry["training_pairs"] for entry in languages)
    size = sum(entry["compressed_bytes"] for entry in description["languages"]) / 1e6
    heldout = languages[0]["heldout_pairs"]
    versions = " ".join(sorted({entry["version"] for entry in description["languages"]}))
    return TEMPLATE.format(
        number=len(languages),
        pairs=pairs,
        size=size,
        heldout=heldout,
        versions=versions,
        rows=rows,
        codes=codes,
        paragraphs=description["rows"],
        licence=LICENCE_FILE,
    )


def table_row(entry: Mapping[str, Any]) -> str:
    """One language's row of the table in `README.md`."""
    counts = [entry["training_pairs"], entry["monolingual_lines"], entry["heldout_pairs"]]
    cells = [entry["language"], entry["package"], *(f"{count:,}" for count in counts)]
    return f"| {' | '.join(cells)} | {entry['compressed_bytes'] / 1024:,.0f} |"


TEMPLATE = """# Sample corpus: the help of LibreOffice, in English and {number} languages

{pairs:,} training pairs in {size:.1f} MB, real text in the words of its translators. Every paragraph of the
help carries an id that is the same in all languages, so a pair is exact: no sentence aligner stood in
between. It is text of one kind, software help, made for trying out and testing; train for real on more.

    infoxlm unpack-sample-corpus --output_dir DIR

expands it to `DIR/monolingual/<lang>.txt`, `DIR/bitext/en-<lang>.tsv` and `DIR/heldout/en-<lang>.tsv`.

| language | package | training pairs | monolingual lines | held-out pairs | KB |
|---|---|---:|---:|---:|---:|
{rows}

All packages are of version {versions}.

## Files

Line n of every file in a folder is the same paragraph; an empty line means no usable translation.

| file | holds |
|---|---|
| `train/en.txt.xz` | {paragraphs:,} English paragraphs, in the order of the pages |
| `train/<lang>.txt.xz` | their translations |
| `train/pages.txt.xz` | the help page of line n, where it is not that of the line before |
| `heldout/` | the same for {heldout} paragraphs; no translation is missing |
| `corpus.json` | the table above, for programs |

## What was done to the text

- Mark-up was removed. Of variants for systems or applications the default one was taken. Unicode NFC, white
  space normalised, control characters removed. Nothing was translated or reworded.
- Left out: English of fewer than 2 words or 8 characters, or more than 400 characters; formulas; translations
  that repeat the English, wholly or in part, or have hardly a letter of their own script, or are three times
  longer or shorter than translations into that language are; pairs equal on both sides to an earlier one.
- Held out: {heldout} sentences of 4 to 40 words that are translated into all {number} languages, chosen by a
  hash of the English. Compared without case, digits and punctuation, none of them is, or is part of, a
  training text of its language, and no two of them are equal, in English or any other language.
- Left as it was: roughly one translation in a hundred renders an older or a neighbouring English sentence, the
  more so the less complete a language is.

## Licence

The text is the help of LibreOffice, (c) its authors and translators, from the Debian packages named above
(source package `libreoffice`; https://www.libreoffice.org). It is subject to the terms of the Mozilla Public
License, v. 2.0, in [{licence}]({licence}), and so are the files in `train/`
and `heldout/`, which are made from it. The rest of this repository has its own licence.

## Make it again

    infoxlm make-sample-corpus --packages PACKAGES --download --heldout {heldout} \\
        --languages {codes} \\
        --output_dir NEW

writes the same bytes from the same packages. `--languages all` makes the full corpus of about 30 languages.
"""
