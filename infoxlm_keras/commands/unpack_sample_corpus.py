"""Expands the bundled sample corpus into plain text files.

Writes, for each language:

    DIR/monolingual/<lang>.txt     training text, a paragraph a line, an empty line between pages
    DIR/bitext/en-<lang>.tsv       training pairs: English, tab, translation
    DIR/heldout/en-<lang>.tsv      held-out pairs; none of their text is in the other two

Example:

    infoxlm unpack-sample-corpus --output_dir corpus --languages de fr
"""

import argparse
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import rich
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory
from infoxlm_keras.files.remote_arguments import with_local_paths
from infoxlm_keras.sample_corpus import BUNDLED_CORPUS
from infoxlm_keras.sample_corpus.description import read_description
from infoxlm_keras.sample_corpus.storage import read_rows
from infoxlm_keras.sample_corpus.text_files import monolingual_lines, pair_lines


@with_local_paths(inputs=("corpus",), outputs=("output_dir",))
def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command with `arguments` (list of str; default: those of the process)."""
    parser = argument_parser(__doc__)
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="folder to write; new or empty")
    parser.add_argument("--languages", nargs="+", metavar="CODE", help="languages to unpack; unset: all")
    parser.add_argument("--max_pairs", type=int, help="maximum number of training pairs per language; unset: all")
    parser.add_argument(
        "--corpus", default=BUNDLED_CORPUS, metavar="DIR", help="folder that infoxlm make-sample-corpus wrote"
    )
    options = parser.parse_args(arguments)
    print_settings("Unpacking the sample corpus", vars(options))

    languages = choose_languages(read_description(options.corpus), options)
    if options.max_pairs is not None and options.max_pairs < 1:
        raise InputError(f"--max_pairs {options.max_pairs}: must be at least 1")
    with new_directory(options.output_dir) as directory:
        training = read_rows(pathlib.Path(options.corpus) / "train", languages)
        heldout = read_rows(pathlib.Path(options.corpus) / "heldout", languages)
        counts = {language: [0, 0, 0] for language in ("en", *languages)}
        for language in counts:
            lines = monolingual_lines(training, language)
            counts[language][0] = write_lines(directory / f"monolingual/{language}.txt", lines)
        for language in languages:
            lines = pair_lines(training, language, options.max_pairs)
            counts[language][1] = write_lines(directory / f"bitext/en-{language}.tsv", lines)
            lines = pair_lines(heldout, language)
            counts[language][2] = write_lines(directory / f"heldout/en-{language}.tsv", lines)
    print_table(counts)


def choose_languages(description: Mapping[str, Any], options: argparse.Namespace) -> list[str]:
    """The languages of the corpus, or those asked for, sorted and without English."""
    known = [entry["language"] for entry in description["languages"] if entry["language"] != "en"]
    wanted = sorted(set(options.languages or known) - {"en"})
    unknown = [language for language in wanted if language not in known]
    if unknown or not wanted:
        asked = " ".join(unknown or options.languages)
        raise InputError(f"--languages {asked}: not in {options.corpus}; choose from {' '.join(known)}")
    return wanted


def write_lines(path: pathlib.Path, lines: Iterable[str]) -> int:
    """Writes lines (list of str) to `path`, and returns how many are not empty."""
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
    return sum(line != "" for line in lines)


def print_table(counts: Mapping[str, Sequence[int]]) -> None:
    """Prints the counts: {language: (monolingual lines, training pairs, held-out pairs)}."""
    table = rich.table.Table("language", "monolingual lines", "training pairs", "held-out pairs")
    for column in table.columns[1:]:
        column.justify = "right"
    for language, numbers in counts.items():
        table.add_row(language, *(f"{number:,}" for number in numbers))
    show_table(table)
