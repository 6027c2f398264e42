"""The record builders on Apache Beam, for text that is too much for one machine: the same records, the same manifest.

`monolingual` does the work of infoxlm build-monolingual, and `bitext` that of infoxlm build-bitext, with the same
options; the shards are equal byte for byte. The command passes Beam's own options on, for instance --runner. This
machine and the workers must reach the input and --output_dir under the same paths (a shared or mounted file system).
One worker reads a file, and any worker encodes a piece of it. Needs `pip install "infoxlm_keras[beam]"`.

    infoxlm build-with-beam bitext --input pairs/ --tokenizer tokenizer/ --output_dir data/ \\
        --runner DirectRunner --direct_running_mode multi_processing --direct_num_workers 2

    ... --runner FlinkRunner --flink_master host:8081 --environment_type LOOPBACK
    ... --runner SparkRunner --spark_master_url spark://host:7077
    ... --runner DataflowRunner --project P --region R --temp_location gs://B/tmp --sdk_container_image IMAGE

The image must hold this package; its paths must lead to the mounted data. A pipeline that fails leaves nothing behind;
it does not resume as the local builders do: the runner repeats what fails.
"""

import time
from collections.abc import Sequence

from infoxlm_keras.building import bitext_plan, monolingual_plan
from infoxlm_keras.building.beam_build import build_with_beam, import_beam
from infoxlm_keras.building.summary import print_summary
from infoxlm_keras.command_line import argument_parser, print_settings

BUILDERS = {"monolingual": monolingual_plan, "bitext": bitext_plan}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__)
    kinds = parser.add_subparsers(dest="builder", required=True, metavar="|".join(BUILDERS))
    for name, builder in BUILDERS.items():
        kind = kinds.add_parser(name, help=f"see infoxlm build-{name}", formatter_class=parser.formatter_class)
        builder.add_arguments(kind)
        kind.add_argument("--runner", default="DirectRunner", help="Beam's runner; its own options may follow")
    options, beam_arguments = parser.parse_known_args(arguments)
    import_beam()
    start = time.perf_counter()
    print_settings("build_with_beam", {**vars(options), "options for Beam": " ".join(beam_arguments)})
    build = BUILDERS[options.builder].plan_build(options)
    manifest = build_with_beam(build, options, [f"--runner={options.runner}", *beam_arguments])
    print_summary(manifest, time.perf_counter() - start)
