"""Measures trained question-answering models on further files, by the head that trained them."""

import pathlib
from collections.abc import Sequence
from typing import Any

from infoxlm_keras.files import parsing, read_json, write_json
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.xtreme.plan import RESULTS


def measure_answers(trained: Sequence[pathlib.Path], files: Sequence[str], output: pathlib.Path) -> None:
    """Writes the scores of models that infoxlm finetune-qa has trained to `output`.

    Args:
        trained: list of folders, one a seed; model/, and results.json with the settings of windows and spans.
        files: list of str, questions in SQuAD's form.
        output: path of a JSON file: {score: {language: float}, "model": str, "samples": {language: int}}. Of several
            models the scores are the means, `models` has the scores of each, and `settings` and `summary` are as in
            the results of a fine-tuning command.

    Raises:
        InputError: for files or a model that cannot be read.
    """
    from infoxlm_keras.finetuning.development_scores import DEVELOPMENT_MEAN
    from infoxlm_keras.finetuning.question_answering_head import QuestionAnsweringHead
    from infoxlm_keras.finetuning.trials import Trial, summary

    parts = QuestionAnsweringHead.read(files)
    samples = {part.language: len(part) for part in parts}
    measured = [_measured(folder, parts) for folder in trained]
    if len(trained) == 1:
        write_json(output, {"model": str(trained[0] / "model"), "samples": samples, **measured[0][1]})
        return
    trials = [
        Trial(folder, {"settings": settings, "scores": scores, DEVELOPMENT_MEAN: None})
        for folder, (settings, scores) in zip(trained, measured, strict=True)
    ]
    (row,) = summary(trials)
    means = {name: {code: cell["mean"] for code, cell in part.items()} for name, part in row["scores"].items()}
    models = {str(trial.directory / "model"): trial.result["scores"] for trial in trials}
    settings = {"learning_rate": row["learning_rate"]}
    write_json(output, {"models": models, "samples": samples, **means, "settings": settings, "summary": [row]})


def _measured(trained, parts):
    """(settings, {score: {language: float}}) of one trained model."""
    from infoxlm_keras.finetuning.question_answering import load_question_answering
    from infoxlm_keras.finetuning.question_answering_head import QuestionAnsweringHead, QuestionAnsweringSettings

    content = read_json(trained / RESULTS, dict)
    with parsing(trained / RESULTS, "the results of infoxlm finetune-qa", "remove its folder, and run this again"):
        settings: Any = QuestionAnsweringSettings(**content["settings"])
    head = QuestionAnsweringHead([], [], parts)
    head.model, head.tokenizer = load_question_answering(trained / "model")
    head.backbone = head.model.backbone
    head.settings = settings
    positions = head.backbone.max_sequence_length
    head.max_length = min(settings.max_length or head.default_max_length, positions)
    with progress_bar("Measuring", sum(map(len, parts)), "questions") as advance:
        scores = head.measure(parts, settings.batch_size, lambda number: advance(number, number))
    return content["settings"], scores
