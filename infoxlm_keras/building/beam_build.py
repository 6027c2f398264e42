"""A build on Apache Beam: the same records and manifest as `build_records`."""

from __future__ import annotations

import argparse
import itertools
import logging
import re
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from infoxlm_keras.building.build import complete_output, make_manifest, name_unmatched
from infoxlm_keras.building.input_account import Fingerprints, check_any_left, check_counts
from infoxlm_keras.building.output_directory import RECORDS, check_output, inputs_of
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory
from infoxlm_keras.progress import progress_bar

if TYPE_CHECKING:
    from infoxlm_keras.building.build import Build
    from infoxlm_keras.records.manifest import Manifest

# How an error of ours looks within what a runner reports, and what Beam adds to a message.
OUR_ERROR = re.compile(r"InputError: (.+)")


ADDED = re.compile(r" \[while running .*", re.DOTALL)


def build_with_beam(build: Build, options: argparse.Namespace, beam_arguments: Sequence[str]) -> Manifest:
    """`build_records` on Beam.

    Args:
        build: `Build`.
        options: namespace with the options of the builder.
        beam_arguments: list of str, options of `beam.Pipeline`.

    Returns:
        `Manifest`.

    Raises:
        InputError: for bad input, unknown options of Beam, or an output that exists; nothing is left behind.
    """
    if getattr(build.encoder, "held_out", 0):
        raise InputError("--held_out: Beam does not look for it; build on one machine with infoxlm build-bitext")
    beam = import_beam()
    from infoxlm_keras.building import beam_pipeline

    inputs = inputs_of(build.readers, options)
    directory, shard_bytes = check_output(build.kind, options, inputs)
    fingerprints = Fingerprints(build.readers, threads=options.processes)
    beam_options = beam.options.pipeline_options.PipelineOptions(beam_arguments)
    with new_directory(directory, options.overwrite, RECORDS, inputs) as temporary:
        with progress_bar(f"Running on {options.runner}"):
            try:
                with beam.Pipeline(options=beam_options) as pipeline:
                    beam_pipeline.add_build(
                        pipeline, build.kind, build.readers, build.encoder, options.seed, shard_bytes, str(temporary)
                    )
            except Exception as error:
                fingerprints.check_unchanged()
                found = OUR_ERROR.search(f"{type(error).__name__}: {error}")
                if found is None:
                    raise
                # What lies in the temporary folder is of no use to the reader: it is removed.
                in_temporary = re.compile(f"{re.escape(str(temporary))}/[^:]*")
                raise InputError(in_temporary.sub(lambda _: str(directory), ADDED.sub("", found[1]))) from None
        fingerprints.check_unchanged()
        streams, counts = beam_pipeline.read_results(temporary, build.kind, build.readers)
        explicit = getattr(build.readers, "explicit", [True] * len(build.readers))
        by_name = itertools.groupby(zip(build.readers, counts, explicit, strict=True), key=lambda row: row[0].name)
        for _, group in by_name:
            check_counts(*zip(*group, strict=True))
        check_any_left(build.readers, counts)
        name_unmatched(build, counts)
        manifest = make_manifest(build, options, streams, counts, fingerprints)
        complete_output(temporary, manifest, build.encoder.tokenizer)
    return manifest


def import_beam() -> ModuleType:
    """The module `apache_beam`, or `InputError` that says how to install it."""
    # Beam warns of every optional library that is missing.
    logging.disable(logging.WARNING)
    try:
        import apache_beam
        import apache_beam.options.pipeline_options
    except ImportError:
        raise InputError('Apache Beam is not installed; run `pip install "infoxlm_keras[beam]"`') from None
    finally:
        logging.disable(logging.NOTSET)
    # It logs the traceback of an exception that reaches us anyway.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    return apache_beam
