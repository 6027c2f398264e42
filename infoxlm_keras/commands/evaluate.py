"""`infoxlm evaluate-<name>`: measures a trained model by one of the evaluations of `evaluation/registry.py`."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import importlib
import io
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_atomically, write_json
from infoxlm_keras.files.overwriting import refuse_overwriting
from infoxlm_keras.files.remote_arguments import with_local_paths

if TYPE_CHECKING:
    from infoxlm_keras.evaluation.evaluation import Evaluation
    from infoxlm_keras.pretrained import PretrainedModel

with quiet_imports():
    from infoxlm_keras.evaluation.registry import evaluation_classes
    from infoxlm_keras.pretrained import load_pretrained


def command(name: str) -> Callable[..., None]:
    """The function `main(arguments=None)` of the command of the evaluation `name`."""
    return functools.partial(main, name)


@with_local_paths(outputs=("output", "csv", "plots"))
def main(name: str, arguments: Sequence[str] | None = None) -> None:
    """Runs the command of the evaluation `name` with `arguments` (list of str; None: those of the process)."""
    kind = evaluation_classes()[name]
    options = parse(kind, arguments)
    for option, path, ending in (("--output", options.output, "json"), ("--csv", options.csv, "csv")):
        if path is not None and path.is_dir():
            raise InputError(f"{option} {path}: is a directory; give a file, for instance {path}/{name}.{ending}")
    if options.plots is not None and options.plots.is_file():
        raise InputError(f"--plots {options.plots}: is a file; give a directory")
    refuse_overwriting(vars(options), ["output", "csv"])
    evaluation = kind.from_options(options)
    model = load_pretrained(options.model)
    print_settings(f"evaluate_{name}", {**vars(options), **evaluation.resolve(model)})
    for line in evaluation.notes:
        print(line)
    result = evaluation.evaluate(model)
    if options.output is not None:
        write_json(options.output, {"model": describe(options.model, model), **result})
    if options.csv is not None:
        write_rows(options.csv, at(kind.rows)(result))
    if options.plots is not None:
        draw(kind, result, options.plots)
    for part in at(kind.report)(result, model.info) if kind.report else ():
        print(part) if isinstance(part, str) else show_table(part)
    for path in (options.output, options.csv, options.plots):
        if path is not None:
            print(f"wrote {path}")


def parse(kind: type[Evaluation], arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command of `kind`, an `Evaluation` class."""
    parser = argument_parser(kind.description)
    parser.add_argument("--model", required=True, help="preset: a directory, or a name that KerasHub knows")
    kind.add_arguments(parser)
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE.json", help="file for all results")
    if kind.rows:
        parser.add_argument("--csv", type=pathlib.Path, metavar="FILE.csv", help="file for the scores, one a row")
    if kind.figures:
        files = ", ".join(kind.figures)
        parser.add_argument("--plots", type=pathlib.Path, metavar="DIR", help=f"folder for {files}")
    parser.set_defaults(csv=None, plots=None)
    parser.epilog = kind.epilog
    return parser.parse_args(arguments)


def describe(source: str, model: PretrainedModel) -> dict[str, Any]:
    """What was measured, for the JSON file."""
    return {
        "source": source,
        "num_layers": model.backbone.num_layers,
        "hidden_dim": model.backbone.hidden_dim,
        "vocabulary_size": model.backbone.vocabulary_size,
        "tokenizer_fingerprint": model.tokenizer.fingerprint,
        "pretraining": dataclasses.asdict(model.info) if model.info else None,
    }


def write_rows(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `rows` (list of dict with the same keys) as CSV, with a header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def draw(kind: type[Evaluation], result: dict[str, Any], directory: pathlib.Path) -> None:
    """Writes the figures of `kind` (an `Evaluation` class) from `result` into `directory`."""
    from infoxlm_keras.reports.plots import save_figure

    for file, address in kind.figures.items():
        save_figure(at(address)(result), directory / file)


def at(address: str) -> Any:
    """What stands at `module:name`."""
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)
