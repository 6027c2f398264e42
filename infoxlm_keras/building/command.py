"""The command of a record builder: options, settings, records, summary."""

import time
from collections.abc import Sequence
from types import ModuleType

from infoxlm_keras.building.build import build_records
from infoxlm_keras.building.summary import print_summary
from infoxlm_keras.command_line import argument_parser, print_settings
from infoxlm_keras.files.remote_arguments import with_local_paths


@with_local_paths(inputs=("input", "tokenizer", "evaluation_files"), outputs=("output_dir",))
def run_builder(name: str, description: str, plan: ModuleType, arguments: Sequence[str] | None) -> None:
    """Runs a builder on this machine.

    Args:
        name: str, the title of the settings.
        description: str, the text of `--help`.
        plan: module with `add_arguments(parser)` and `plan_build(options)`, such as `bitext_plan`.
        arguments: list of str; None: those of the process.
    """
    parser = argument_parser(description)
    plan.add_arguments(parser)
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    print_settings(name, vars(options))
    manifest = build_records(plan.plan_build(options), options)
    print_summary(manifest, time.perf_counter() - start)
