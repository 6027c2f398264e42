"""Where a build writes: checked before any work, so that nothing of somebody else's is lost in the end."""

from __future__ import annotations

import argparse
import os
import pathlib
from collections.abc import Sequence

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import Contents, resolved_output
from infoxlm_keras.files.replaceable import check_no_input_within, check_replaceable
from infoxlm_keras.files.unfinished import remove_abandoned
from infoxlm_keras.records.manifest import FILE_NAME, SHARD_ENDING
from infoxlm_keras.records.tfds_metadata import METADATA_FILES, VERSION
from infoxlm_keras.text.readers.reader import Reader

TOKENIZER_FILE = "tokenizer/vocabulary.spm"
# What builders and write-tfds-metadata write beside a manifest: `de/de-00000-of-00001.tfrecord`.
RECORDS = Contents(
    (FILE_NAME,),
    (
        *(FILE_NAME, TOKENIZER_FILE, f"*/*-[0-9][0-9][0-9][0-9][0-9]*-of-[0-9][0-9][0-9][0-9][0-9]*{SHARD_ENDING}"),
        *(f"*/{name}" for name in METADATA_FILES),
        *(f"*/{VERSION}/{name}" for name in METADATA_FILES),
    ),
)


def check_output(kind: str, options: argparse.Namespace, inputs: Sequence[PathLike] = ()) -> tuple[pathlib.Path, int]:
    """Checks the options that say where and how a build writes.

    Args:
        kind: `"mmlm"` or `"bitext"`.
        options: namespace with the options of `add_build_arguments`.
        inputs: paths of what the build reads.

    Returns:
        (directory of the output with links followed, bytes a shard).

    Raises:
        InputError: for a directory that cannot be made or replaced: it holds records and --overwrite is not given, a
            file that no builder wrote, or an input.
    """
    if not options.shard_megabytes > 0:
        raise InputError(f"--shard_megabytes {options.shard_megabytes}: must be above 0")
    given = pathlib.Path(options.output_dir) / kind
    directory = resolved_output(given)
    if os.path.ismount(directory):
        raise InputError(f"{directory}: is the root of a mounted file system; choose a folder in it as --output_dir")
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: is a file, not a directory; choose another --output_dir")
    remove_abandoned(directory, directory.name)
    if directory.is_dir() and any(directory.iterdir()):
        if not (directory / FILE_NAME).is_file():
            raise InputError(f"{directory}: holds no records and is not overwritten; choose another --output_dir")
        if not options.overwrite:
            raise InputError(
                f"{directory}: is not empty; remove it (or give --overwrite), or choose another output directory"
            )
        check_no_input_within(given, inputs)
        check_replaceable(given, directory, RECORDS)
    return directory, max(1, round(options.shard_megabytes * 1e6))


def inputs_of(readers: Sequence[Reader], options: argparse.Namespace) -> list[PathLike]:
    """The files that a build reads, but for its tokenizer, whose copy in the output stays as it is: list of paths."""
    return [*(file for reader in readers for file in reader.files), *(options.evaluation_files or ())]
