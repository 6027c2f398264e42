"""The record builders on Apache Beam, for text that is too much for one machine: the same records, the same manifest.

`monolingual` makes what build_monolingual.py makes, `bitext` what build_bitext.py makes, with their options; the
shards are equal byte for byte. Beam's own options are passed on, --runner among them. Input and --output_dir must
be reachable under the same paths by this machine and by the workers (a shared or mounted file system); the files are
read by one worker each, and each piece of them is encoded by any. Needs `pip install "infoxlm_keras[beam]"`.

    python data_prep/build_with_beam.py bitext --input pairs/ --tokenizer tokenizer/ --output_dir data/ \\
        --runner DirectRunner --direct_running_mode multi_processing --direct_num_workers 2

    ... --runner FlinkRunner --flink_master host:8081 --environment_type LOOPBACK
    ... --runner SparkRunner --spark_master_url spark://host:7077
    ... --runner DataflowRunner --project P --region R --temp_location gs://B/tmp --sdk_container_image IMAGE

The image must hold this package; its paths must lead to the mounted data. A pipeline that fails leaves nothing behind;
it does not resume as the local builders do: the runner repeats what fails.
"""

import itertools
import logging
import re
import time

from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.building.build import check_output, complete_output, make_manifest, name_unmatched
from infoxlm_keras.building.input_account import Fingerprints, check_any_left, check_counts
from infoxlm_keras.building.summary import print_summary
from infoxlm_keras.command_line import argument_parser, print_settings, run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory
from infoxlm_keras.progress import progress_bar

BUILDERS = {"monolingual": build_monolingual, "bitext": build_bitext}
# How an error of ours looks within what a runner reports, and what Beam adds to a message.
OUR_ERROR = re.compile(r"InputError: (.+)")
ADDED = re.compile(r" \[while running .*", re.DOTALL)


def main(arguments=None):
    import_beam()
    parser = argument_parser(__doc__)
    kinds = parser.add_subparsers(dest="builder", required=True, metavar="|".join(BUILDERS))
    for name, builder in BUILDERS.items():
        kind = kinds.add_parser(name, help=f"see build_{name}.py", formatter_class=parser.formatter_class)
        builder.add_arguments(kind)
        kind.add_argument("--runner", default="DirectRunner", help="Beam's runner; its own options may follow")
    options, beam_arguments = parser.parse_known_args(arguments)
    start = time.perf_counter()
    print_settings("build_with_beam", {**vars(options), "options for Beam": " ".join(beam_arguments)})
    build = BUILDERS[options.builder].plan_build(options)
    manifest = build_with_beam(build, options, [f"--runner={options.runner}", *beam_arguments])
    print_summary(manifest, time.perf_counter() - start)


def build_with_beam(build, options, beam_arguments):
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
    beam = import_beam()
    from infoxlm_keras.building import beam_pipeline

    directory, shard_bytes = check_output(build.kind, options)
    fingerprints = Fingerprints(build.readers, threads=options.processes)
    beam_options = beam.options.pipeline_options.PipelineOptions(beam_arguments)
    with new_directory(directory, replace=options.overwrite) as temporary:
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
                raise InputError(ADDED.sub("", found[1])) from None
        fingerprints.check_unchanged()
        streams, counts = beam_pipeline.read_results(temporary, build.kind, build.readers)
        explicit = getattr(build.readers, "explicit", [True] * len(build.readers))
        by_name = itertools.groupby(zip(build.readers, counts, explicit, strict=True), key=lambda row: row[0].name)
        for _, group in by_name:
            check_counts(*zip(*group, strict=True))
        check_any_left(build.readers, counts)
        name_unmatched(build, counts)
        name_unmatched(build, counts)
        manifest = make_manifest(build, options, streams, counts, fingerprints)
        complete_output(temporary, manifest, build.encoder.tokenizer)
    return manifest


def import_beam():
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


if __name__ == "__main__":
    run_command(main)
