"""The commands of each task of XTREME, and what each leaves when it is complete."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.xtreme.discovery import TaskFiles
from infoxlm_keras.xtreme.tasks import TASKS

RESULTS = "results.json"
# SQuAD's model is trained once a seed, for XQuAD and MLQA.
SQUAD = "squad"


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step of a task.

    Attributes:
        name: str, the folder of its output, under which a finished one is found again.
        words: list of str, a command of `infoxlm` with its options; or `MEASURE`, the folders of trained
            question-answering models (one a seed), `product`, and the files of questions.
        product: path, the file that exists once the stage is complete.
        threshold_from: path of the product of an earlier stage, whose threshold this one takes; or None.
        only_reported: str or None, the option whose files change nothing that a later stage takes.
    """

    name: str
    words: list[str]
    product: pathlib.Path
    threshold_from: pathlib.Path | None = None
    only_reported: str | None = None


# Options of which each value is a run.
NUMBERS = {"seed": int, "learning_rate": float}
# Not a command: done by `infoxlm_keras.xtreme.answers`.
MEASURE = "measure-answers"


def task_stages(
    name: str,
    found: TaskFiles,
    model: str,
    output: PathLike,
    settings: Mapping[str, Sequence[str]] | None = None,
) -> list[Stage]:
    """The stages of a task, in their order.

    Args:
        name: str, a key of `TASKS`.
        found: `TaskFiles` with all files that are needed.
        model: str, what `--model` of the commands takes.
        output: path of the folder of all tasks.
        settings: {option: list of str}, options of the fine-tuning commands that replace the task's own.

    Raises:
        InputError: for several learning rates of a task without development data, which would choose one.
    """
    task, output = TASKS[name], pathlib.Path(output)
    files = {split: list(map(str, paths)) for split, paths in found.files.items()}
    if task.kind == "retrieval":
        return [_retrieval(name, files["test"], model, output / name)]
    if task.kind == "mining":
        return _mining(name, found, model, output / name)
    options = {**{key: [f"{value:g}"] for key, value in task.settings.items()}, **(settings or {})}
    command = f"finetune-{'qa' if task.kind == 'squad' else task.kind}"
    words = [command, "--model", model, "--train", *files["train"], "--train_languages", "en"]
    if task.kind == "squad":
        # XTREME takes the last update; these files only say how well it answers in English.
        words += ["--test", *files["dev"]]
    else:
        if files.get("dev"):
            words += ["--dev", *files["dev"], "--dev_languages", "en"]
        words += ["--test", *files["test"]]
    rates = options["learning_rate"]
    if len(rates) > 1 and "--dev" not in words:
        why = "takes the last update" if task.kind == "squad" else "has no development data"
        raise InputError(
            f"--set learning_rate={','.join(rates)}: {task.title} {why}, so nothing chooses one of them; give it one, "
            f"such as {name}.learning_rate={rates[0]}"
        )
    seeds = options.get("seed", [])
    if task.kind != "squad":
        return [_training(words, options, output / name)]
    # A command of several seeds keeps the model of one alone.
    folders = {output / f"{SQUAD}-seed-{seed}": {**options, "seed": [seed]} for seed in seeds if len(seeds) > 1}
    training = [
        dataclasses.replace(_training(words, part, path), only_reported="--test")
        for path, part in (folders or {output / SQUAD: options}).items()
    ]
    measured = output / name / RESULTS
    trained = [str(stage.product.parent) for stage in training]
    return [*training, Stage(name, [MEASURE, *trained, str(measured), *files["test"]], measured)]


def parse_settings(given: Sequence[str], chosen: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """{task: {option: values}} of `--set` arguments, such as `epochs=1`, `seed=0,1,2` or `xnli.epochs=2`.

    Args:
        given: list of str.
        chosen: names of the tasks that are run.

    Raises:
        InputError: for another form, a task that is not run, or a seed or learning rate that is given twice.
    """
    tuned = {name: TASKS[name].kind for name in chosen if TASKS[name].settings}
    found: dict[str, dict[str, list[str]]] = {name: {} for name in tuned}
    for item in given:
        key, equals, value = item.partition("=")
        task, dot, option = key.rpartition(".")
        if not equals or not option or not value:
            raise InputError(f"--set {item}: write NAME=VALUE or TASK.NAME=VALUE, such as epochs=1 or xnli.epochs=2")
        if option in ("model", "train", "dev", "test", "output_dir", "train_languages", "dev_languages"):
            raise InputError(f"--set {item}: {option} is what this command chooses")
        if dot and task not in tuned:
            raise InputError(f"--set {item}: {task!r} is none of the tasks that are fine-tuned, {', '.join(tuned)}")
        values = value.split(",")
        if option in NUMBERS:
            _check_numbers(item, values, NUMBERS[option])
        for name in [task] if dot else tuned:
            found[name][option] = values
    shared = [found[name] for name, kind in tuned.items() if kind == "squad"]
    if len(shared) == 2 and shared[0] != shared[1]:
        raise InputError("--set: xquad and mlqa share one model, so give both the same settings")
    return found


def _check_numbers(item, values, kind):
    """Raises `InputError` unless `values`, of which each is a run, are different numbers."""
    try:
        numbers = [kind(value) for value in values]
    except ValueError:
        raise InputError(f"--set {item}: must be numbers, such as 0,1,2") from None
    if len(set(numbers)) < len(numbers):
        raise InputError(f"--set {item}: names a number twice; give each once")


def _training(words, options, folder):
    for option, values in options.items():
        # Options without a value: `predictions=true`, `jit_compile=false`.
        flag = {"true": [f"--{option}"], "false": [f"--no-{option}"]}.get(" ".join(values))
        words = [*words, *(flag or [f"--{option}", *values])]
    return Stage(folder.name, [*words, "--output_dir", str(folder)], folder / RESULTS)


def _retrieval(name, files, model, folder):
    folders = sorted({str(pathlib.Path(file).parent) for file in files})
    words = ["evaluate-retrieval", "--model", model, "--pairs", *folders, "--pooling", "mean"]
    product = folder / RESULTS
    return Stage(name, [*words, "--output", str(product)], product)


def _mining(name, found, model, folder):
    """For each language: the threshold with the best F1 on the sample, then the test set's pairs above it."""
    stages = []
    samples = {file.name.split("-")[0].lower(): file for file in found.files["dev"]}
    for gold in found.files["test"]:
        language = gold.name.split("-")[0].lower()
        threshold = None
        for split, file in (("dev", samples.get(language)), ("test", gold)):
            if file is None:
                raise InputError(f"{gold}: there is no sample of {language} beside it, which gives the threshold")
            sides = [str(file)[: -len("gold")] + code for code in (file.name.split("-")[0], "en")]
            product = folder / f"{language}_{split}.json"
            words = ["mine-bitext", "--model", model, "--source", sides[0], "--target", sides[1], "--ids"]
            words += ["--gold", str(file), "--pooling", "cls", "--output", str(product.with_suffix(".tsv"))]
            stages.append(Stage(f"{name}/{language}_{split}", [*words, "--results", str(product)], product, threshold))
            threshold = product
    return stages
