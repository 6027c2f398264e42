"""Makes a multilingual corpus from the translated help of LibreOffice.

Reads the Debian packages `libreoffice-help-<lang>` and brings the paragraphs of all languages together by
their ids. Writes training and held-out text, line n the same paragraph in every language, with a README.
The same packages and settings give the same bytes.

Example (the corpus in infoxlm_keras/sample_corpus/data):

    infoxlm make-sample-corpus --packages packages --download --max_megabytes 8 \\
        --output_dir sample_corpus

Example (every language there is, about 700,000 pairs, in a few minutes):

    infoxlm make-sample-corpus --packages packages --download --languages all \\
        --output_dir help_corpus
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory, write_atomically, write_json
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.sample_corpus import BUNDLED_CORPUS
from infoxlm_keras.sample_corpus.alignment import align, read_english, read_translations
from infoxlm_keras.sample_corpus.description import DESCRIPTION_FILE, LICENCE_FILE, describe_corpus, readme
from infoxlm_keras.sample_corpus.packages import (
    PACKAGE_PREFIX,
    choose_packages,
    download_packages,
    find_packages,
    package_language,
    package_version,
)
from infoxlm_keras.sample_corpus.splitting import split_rows
from infoxlm_keras.sample_corpus.storage import write_rows
from infoxlm_keras.worker_pool import available_processes, map_in_order

if TYPE_CHECKING:
    from infoxlm_keras.sample_corpus.alignment import Key

BUNDLED_LANGUAGES = "de el es et fi fr hi hu id ja ko pl pt ru tr vi zh".split()
LICENCE_TEXT = BUNDLED_CORPUS / LICENCE_FILE


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command with `arguments` (list of str; default: those of the process)."""
    parser = argument_parser(__doc__)
    parser.add_argument("--packages", required=True, metavar="DIR", help="folder with the .deb files")
    parser.add_argument("--download", action="store_true", help="fetch missing packages with apt-get")
    parser.add_argument("--languages", nargs="+", default=BUNDLED_LANGUAGES, metavar="CODE", help="or `all`")
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="folder to write; new or empty")
    parser.add_argument("--heldout", type=int, default=350, help="held-out sentences, in every language")
    parser.add_argument("--max_megabytes", type=float, help="fail if the corpus is larger than this; None: no limit")
    parser.add_argument("--processes", type=int, default=available_processes(), help="worker processes")
    options = parser.parse_args(arguments)
    print_settings("Making the sample corpus", vars(options))
    check_options(options)

    languages = None if options.languages == ["all"] else options.languages
    if options.download:
        download_packages(options.packages, languages)
    packages = find_packages(options.packages)
    chosen = choose_packages(packages, languages)

    with new_directory(options.output_dir) as directory:
        english, _ = read_english(packages["en"])
        translations, dropped = read_in_parallel(chosen, english, options.processes)
        rows = align(english, translations)
        training, heldout = split_rows(rows, list(chosen), options.heldout)
        write_rows(directory / "train", training, list(chosen))
        write_rows(directory / "heldout", heldout, list(chosen))
        versions = {
            code: (PACKAGE_PREFIX + package_language(path), package_version(path))
            for code, path in {"en": packages["en"], **chosen}.items()
        }
        description = describe_corpus(directory, training, heldout, versions)
        write_json(directory / DESCRIPTION_FILE, description)
        write_atomically(directory / "README.md", readme(description))
        shutil.copyfile(LICENCE_TEXT, directory / LICENCE_FILE)
        megabytes = check_size(directory, options.max_megabytes, description)
    print_table(description, dropped)
    print(f"{options.output_dir}: {len(training):,} paragraphs, {megabytes:.2f} MB")


def check_options(options: argparse.Namespace) -> None:
    """Raises `InputError` on values that no corpus can be made with."""
    if options.heldout < 1:
        raise InputError(f"--heldout {options.heldout}: must be at least 1")
    if options.processes < 1:
        raise InputError(f"--processes {options.processes}: must be at least 1")
    if "all" in options.languages and len(options.languages) > 1:
        raise InputError("--languages all: stands alone; leave out the other codes")


def read_in_parallel(packages: Mapping[str, pathlib.Path], english: Mapping[Key, str], processes: int) -> Any:
    """`read_translations` of each package: {code: translations}, {code: why others were dropped}."""
    function = functools.partial(read_translations, english=english)
    items = [(path, code) for code, path in packages.items()]
    translations, dropped = {}, {}
    with progress_bar("Reading translations", total=len(packages), unit="paragraphs") as advance:
        for (_, code), (kept, faults) in map_in_order(function, items, processes):
            translations[code], dropped[code] = kept, faults
            advance(1, units=len(kept))
    return translations, dropped


def check_size(directory: pathlib.Path, limit: float, description: Mapping[str, Any]) -> float:
    """Megabytes (10^6 bytes) of all files in `directory`; `InputError` if they are over `limit`."""
    megabytes = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6
    if limit is not None and megabytes > limit:
        largest = sorted(description["languages"], key=lambda entry: -entry["compressed_bytes"])
        codes = " ".join(entry["language"] for entry in largest[:5])
        raise InputError(f"--max_megabytes {limit:g}: the corpus has {megabytes:.2f}; drop one of {codes}")
    return megabytes


def print_table(description: Mapping[str, Any], dropped: Any) -> None:
    """Prints counts for each language; `dropped` tells why translations were left out."""
    table = rich.table.Table("language", "pairs", "lines", "held out", "KB", "untranslated", "other faults")
    for column in table.columns[1:]:
        column.justify = "right"
    for entry in description["languages"]:
        faults = dict(dropped.get(entry["language"], {}))
        untranslated = faults.pop("untranslated", 0)
        numbers = [entry["training_pairs"], entry["monolingual_lines"], entry["heldout_pairs"]]
        numbers += [entry["compressed_bytes"] // 1024, untranslated, sum(faults.values())]
        table.add_row(entry["language"], *(f"{number:,}" for number in numbers))
    show_table(table)
