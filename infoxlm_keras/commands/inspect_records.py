"""Shows what is in prepared records: samples as text, counts, lengths, unknown tokens, sampling, padding.

DIR holds mmlm/, bitext/ or both, or is one folder with a manifest.json. The command needs no TensorFlow. It reads the
first --records records of each stream; the builders shuffle, so these are a random sample. --records 0 reads and
checks every byte. Prints tables and saves them as inspection.json with plots in --output_dir, if that is given.

    infoxlm inspect-records records/ --language_exponent 0.7 --output_dir inspection/
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import rich
import rich.box
import rich.table

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import Contents, check_output, new_directory, staging, storage, write_json
from infoxlm_keras.files.remote_arguments import with_local_paths
from infoxlm_keras.files.written_files import naming
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.records.manifest import BUILDERS, FILE_NAME, check_tokenizer, read_manifest, read_manifest_in
from infoxlm_keras.records.statistics import FEATURES, describe, read_stream

if TYPE_CHECKING:
    from infoxlm_keras.records.manifest import Manifest
    from infoxlm_keras.records.statistics import StreamStatistics
    from infoxlm_keras.tokenizer import Tokenizer

CONTENTS = Contents(("inspection.json",), ("inspection.json", "*_languages.png", "*_lengths.png"))


@with_local_paths(outputs=("output_dir",))
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("directory", metavar="DIR", help="folder of the prepared data")
    parser.add_argument("--language_exponent", type=float, default=0.7, help="sampling exponent, 0 to 1")
    parser.add_argument(
        "--records", type=int, default=2000, help="number of records to read from each stream; 0 reads all"
    )
    parser.add_argument("--samples", type=int, default=1, help="number of samples to show for each language")
    parser.add_argument(
        "--output_dir", metavar="DIR", help="folder for inspection.json and plots; unset: nothing is written"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing inspection")
    options = parser.parse_args(arguments)
    if options.records < 0 or options.samples < 0:
        raise InputError("--records and --samples must not be negative")
    if not 0 <= options.language_exponent <= 1:
        raise InputError(f"--language_exponent {options.language_exponent}: must be within 0 to 1")
    manifests = find_manifests(options.directory)
    if options.output_dir:
        check_output(options.output_dir, options.overwrite, CONTENTS, [options.directory])
    print_settings("inspect_records", vars(options))
    results, lengths = {}, {}
    for manifest in manifests:
        tokenizer = load_tokenizer(pathlib.Path(manifest.directory or options.directory) / manifest.tokenizer.file)
        check_tokenizer(manifest, tokenizer)
        statistics = read_all(manifest, options)
        result = describe(manifest, statistics, options.language_exponent)
        result["samples"] = decode_samples(manifest, statistics, tokenizer, options.samples)
        print_result(result)
        results[manifest.kind] = result
        lengths[manifest.kind] = by_bucket(manifest, statistics)
    if options.output_dir:
        with (
            naming(options.output_dir),
            new_directory(options.output_dir, options.overwrite, CONTENTS, [options.directory]) as directory,
        ):
            write_json(directory / "inspection.json", results)
            save_plots(directory, results, lengths)
        print(f"wrote {options.output_dir}")


def find_manifests(directory: PathLike) -> list[Manifest]:
    """list of `Manifest`s in a folder of prepared data (or its address), or the one of a folder of one kind."""
    if storage.is_remote(directory):
        address = storage.trimmed(str(directory))
        found = storage.listing(address)
        storage.refuse_object(address, found)
        staging.refuse_half_written(address, found)
        directory, manifests = address, [name for name in found if name.rpartition("/")[2] == FILE_NAME]
    else:
        places = [FILE_NAME, *(f"{kind}/{FILE_NAME}" for kind in BUILDERS)]
        manifests = [name for name in places if (pathlib.Path(directory) / name).is_file()]
    if kinds := [kind for kind in BUILDERS if f"{kind}/{FILE_NAME}" in manifests]:
        return [read_manifest(directory, kind) for kind in kinds]
    if FILE_NAME in manifests:
        return [read_manifest_in(directory)]
    wanted = ", ".join(f"{kind}/{FILE_NAME}" for kind in BUILDERS)
    raise InputError(f"{directory}: holds no {wanted} or {FILE_NAME}; give the --output_dir of a builder")


def read_all(manifest: Manifest, options: argparse.Namespace) -> list[StreamStatistics]:
    """list of `StreamStatistics`, one a stream."""
    found = []
    with progress_bar(f"Reading {manifest.kind}", len(manifest.streams), "records") as advance:
        for stream in manifest.streams:
            found.append(read_stream(manifest, stream, options.records or None, options.samples))
            advance(1, units=len(found[-1].lengths))
    return found


def decode_samples(
    manifest: Manifest, statistics: Sequence[StreamStatistics], tokenizer: Tokenizer, number: int
) -> dict[str, list[dict[str, str]]]:
    """dict of language to list of dicts of feature to text."""
    samples: dict[str, list[dict[str, str]]] = {}
    for stream, found in zip(manifest.streams, statistics, strict=True):
        own = samples.setdefault(stream.name, [])
        for features in found.samples[: number - len(own)]:
            own.append({name: tokenizer.decode(features[name].tolist()) for name in FEATURES[manifest.kind]})
    return samples


def by_bucket(manifest: Manifest, statistics: Sequence[StreamStatistics]) -> dict[int, Array]:
    """dict of length to the lengths of the records read."""
    lengths: dict[int, list[Array]] = {}
    for stream, found in zip(manifest.streams, statistics, strict=True):
        lengths.setdefault(stream.length, []).append(found.lengths)
    return {length: np.concatenate(values) for length, values in lengths.items()}


def print_result(result: Mapping[str, Any]) -> None:
    """Prints samples and tables of one kind."""
    print(f"\n{result['kind']}: {result['records']:,} records")
    for name, samples in result["samples"].items():
        for sample in samples:
            print(f"  {name}: " + "  |  ".join(text[:150] for text in sample.values()))
    table = rich.table.Table(box=rich.box.SIMPLE)
    for heading in ("language", "records", "tokens", "unknown", "length 5/50/95%", "share", "sampled"):
        table.add_column(heading, justify="left" if heading == "language" else "right")
    for name, row in result["languages"].items():
        lengths = "/".join(f"{row['length_percentiles'][p]:.0f}" for p in ("5", "50", "95"))
        rates = [f"{row[key]:.2%}" for key in ("share", "sampling_probability")]
        counts = [f"{row['records']:,}", f"{row['tokens']:,}", f"{row['unknown_rate']:.3%}"]
        table.add_row(name, *counts, lengths, *rates)
    show_table(table)
    for length, row in result["buckets"].items():
        print(f"  up to {length} tokens: drawn {row['probability']:.1%}, padding {row['padding_waste']:.1%}")
    print(f"  padding expected overall: {result['expected_padding_waste']:.1%}")


def save_plots(
    directory: pathlib.Path, results: Mapping[str, Any], lengths: Mapping[str, Mapping[int, Array]]
) -> None:
    """Writes two PNG files a kind."""
    with quiet_imports():
        from infoxlm_keras.reports.plots.records import language_shares, length_histogram
        from infoxlm_keras.reports.plots.style import save_figure

    for kind, result in results.items():
        figure = language_shares(result["languages"], result["language_exponent"])
        save_figure(figure, directory / f"{kind}_languages.png")
        save_figure(length_histogram(lengths[kind]), directory / f"{kind}_lengths.png")
