"""Runs the tasks of XTREME on a model, and writes one table beside the published scores.

  infoxlm xtreme --model microsoft/infoxlm-base --data_dir xtreme/ --output_dir runs/xtreme
  infoxlm xtreme --model runs/mine/model --data_dir xtreme/ --output_dir runs/xtreme --dry_run

A task is run if its files lie anywhere below DATA_DIR under the names that they are distributed with
(docs/xtreme.md); what is missing is named. Settings are those of XTREME's scripts for base models; --set replaces
them: epochs=1, seed=0,1,2 (several runs, mean and standard deviation), xnli.learning_rate=1e-5, dtype=mixed_bfloat16.
Each stage is a command of this project, printed before it runs. A stage that is complete does not run again, and one
that was interrupted goes on, so repeat the command after an interruption.

Writes to OUTPUT_DIR: a folder for each task, and results.json, results.csv and results.md.
"""

import argparse
import csv
import io
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json, write_atomically, write_json
from infoxlm_keras.files.content_digest import content_digest
from infoxlm_keras.xtreme.discovery import TaskFiles, find_tasks
from infoxlm_keras.xtreme.plan import MEASURE, RESULTS, Stage, parse_settings, task_stages
from infoxlm_keras.xtreme.tasks import TASKS

# What a stage was started with, so that one of another model or other files is not taken for it.
COMMAND = "command.json"
# Options of a stage that name what it reads.
INPUTS = ("--model", "--train", "--dev", "--test", "--pairs", "--source", "--target", "--gold")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    chosen = list(dict.fromkeys(options.tasks))
    settings = parse_settings(options.set, chosen)
    output = pathlib.Path(options.output_dir)
    found = find_tasks(options.data_dir, chosen)
    print_settings("xtreme", vars(options))
    complete = [name for name in chosen if not found[name].missing]
    show_files(found)
    if not complete:
        raise InputError(f"--data_dir {options.data_dir}: holds the files of none of the tasks {', '.join(chosen)}")
    stages = {name: task_stages(name, found[name], options.model, output, settings.get(name)) for name in complete}
    everything = {stage.name: stage for part in stages.values() for stage in part}
    digests: dict[str, str] = {}
    started_with: dict[str, dict[str, Any]] = {}
    for name, stage in everything.items():
        started_with[name] = {"command": stage.words, "inputs": inputs_of(stage, output, digests)}
        check_stage(stage, output, started_with[name])
    for name, stage in everything.items():
        run_stage(stage, output, started_with[name], options.dry_run)
    if not options.dry_run:
        write_results(output, chosen, {name: files.missing for name, files in found.items() if files.missing})


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--model", required=True, help="model to measure: preset, Hugging Face directory or id")
    parser.add_argument("--data_dir", required=True, help="folder that holds the data sets, as they are distributed")
    parser.add_argument("--output_dir", required=True, help="folder for the models and results of all tasks")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK", help="tasks to run")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="[TASK.]NAME=VALUE",
        help="option of the fine-tuning commands, for all tasks or one",
    )
    parser.add_argument("--dry_run", action="store_true", help="say what would run, on which files, and end")
    return parser.parse_args(arguments)


def show_files(found: dict[str, TaskFiles]) -> None:
    """Prints what was found for each task, and what is missing."""
    for name, files in found.items():
        counts = ", ".join(f"{split} {len(paths)} files" for split, paths in files.files.items() if paths)
        missing = f"; not run, missing: {'; '.join(files.missing)}" if files.missing else ""
        print(f"{TASKS[name].title}: {counts or 'no file'}{missing}")
        if files.others:
            names = ", ".join(path.name for path in files.others[:5])
            more = f" and {len(files.others) - 5} more" if len(files.others) > 5 else ""
            print(f"  passed over, of languages that the task does not have: {names}{more}")


def inputs_of(stage: Stage, output: pathlib.Path, known: dict[str, str]) -> dict[str, str]:
    """{path: digest of its content} of the files and folders that a stage reads, but for those below `output`.

    What is in `known`, a dict of the same form, is not read again; the others are added.
    """
    option, found = "--test" if stage.words[0] == MEASURE else "", {}
    for word in stage.words[1:]:
        path = pathlib.Path(word)
        if word.startswith("--"):
            option = word
        elif option in INPUTS and path.exists() and output.resolve() not in path.resolve().parents:
            if word not in known:
                known[word] = content_digest(path)
            found[word] = known[word]
    return found


def check_stage(stage: Stage, output: pathlib.Path, started_with: dict[str, Any]) -> None:
    """Raises `InputError` if the folder of the stage holds results of another model, other files or settings."""
    path = output / stage.name / COMMAND
    if path.is_file():
        before = read_json(path, dict)
        remedy = "give another --output_dir, or remove this folder"
        # A trained model stays, whatever else it is measured on.
        option = stage.only_reported if stage.product.exists() else None
        command = list(map(str, before.get("command", ())))
        if without_option(command, option) != without_option(stage.words, option):
            raise InputError(f"{path.parent}: holds the work of another command ({shlex.join(command)}); {remedy}")
        inputs = {**before.get("inputs", {})}
        kept = without_option(stage.words, option)
        changed = [
            place
            for place, digest in started_with["inputs"].items()
            if inputs.get(place) != digest and (option is None or place in kept)
        ]
        if changed:
            raise InputError(f"{path.parent}: holds the work of another state of {changed[0]}; {remedy}")
    elif stage.product.exists():
        raise InputError(f"{stage.product}: is not of this command; give another --output_dir, or remove it")


def without_option(words: Sequence[str], option: str | None) -> list[str]:
    """The words of a command without `option` (str or None) and its values."""
    kept, inside = [], False
    for word in words:
        inside = word == option if word.startswith("--") else inside
        if not inside:
            kept.append(word)
    return kept


def run_stage(stage: Stage, output: pathlib.Path, started_with: dict[str, Any], dry_run: bool) -> None:
    """Runs a stage unless it is complete."""
    print(f"\n=== {stage.name} ===", flush=True)
    words = stage.words if stage.words[0] == MEASURE else ["infoxlm", *stage.words]
    if stage.product.exists():
        print(f"done before: {stage.product}", flush=True)
        return
    print("$ " + shlex.join(words) + (f" --threshold (of {stage.threshold_from})" if stage.threshold_from else ""))
    if dry_run:
        return
    sys.stdout.flush()
    (output / stage.name).mkdir(parents=True, exist_ok=True)
    write_json(output / stage.name / COMMAND, started_with)
    if stage.words[0] == MEASURE:
        measure(stage)
        return
    words = [*stage.words, *threshold_of(stage)]
    status = subprocess.run([sys.executable, "-m", "infoxlm_keras", *words], check=False).returncode
    if status:
        raise InputError(f"{words[0]} ended with status {status}; its message is above")
    if not stage.product.exists():
        raise InputError(f"{words[0]} was stopped before {stage.product} was complete; repeat the command to continue")


def measure(stage: Stage) -> None:
    """Measures trained question-answering models on further files."""
    with quiet_imports():
        from infoxlm_keras.xtreme.answers import measure_answers

    end = stage.words.index(str(stage.product))
    measure_answers([pathlib.Path(trained) for trained in stage.words[1:end]], stage.words[end + 1 :], stage.product)


def threshold_of(stage: Stage) -> list[str]:
    """Options that give a stage the threshold of an earlier one, list of str."""
    if stage.threshold_from is None:
        return []
    threshold = read_json(stage.threshold_from, dict).get("threshold")
    if not isinstance(threshold, int | float):
        raise InputError(f"{stage.threshold_from}: holds no threshold; remove it, and repeat the command")
    return ["--threshold", repr(threshold)]


def write_results(output: pathlib.Path, chosen: Sequence[str], missing: dict[str, list[str]]) -> None:
    """Reads the scores of all finished tasks, writes them and prints the table."""

    from infoxlm_keras.xtreme import results

    read = {name: results.read_task(name, output) for name in chosen}
    found = {name: scores for name, scores in read.items() if scores is not None}
    lines = results.notes(found)
    lines += [f"{TASKS[name].title}: not run, missing: {'; '.join(names)}" for name, names in missing.items()]
    headings, rows = results.table_cells(found, chosen)
    content: dict[str, Any] = {
        "tasks": {
            name: {"mean": scores.means, "sd": scores.deviations, "missing": scores.missing, **scores.scores}
            for name, scores in found.items()
        },
        "not_run": missing,
        "published": {name: TASKS[name].published for name in chosen},
    }
    table = io.StringIO()
    csv_rows = results.results_rows(found)
    writer = csv.DictWriter(table, list(csv_rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(csv_rows)
    write_json(output / RESULTS, content)
    write_atomically(output / "results.csv", table.getvalue())
    write_atomically(output / "results.md", results.markdown(headings, rows, lines))
    show_table(results.console_table(headings, rows))
    for line in lines:
        print(line)
    print(f"wrote {output}/results.json, results.csv and results.md")
