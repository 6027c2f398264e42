"""Measures a trained question-answering model on further files, by the head that trained it."""

import pathlib
from collections.abc import Sequence
from typing import Any

from infoxlm_keras.files import parsing, read_json, write_json
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.xtreme.plan import RESULTS


def measure_answers(trained: pathlib.Path, files: Sequence[str], output: pathlib.Path) -> None:
    """Writes the scores of the model in the folder `trained` of infoxlm finetune-qa on `files` to `output`.

    Args:
        trained: path; model/, and results.json with the settings of windows and spans.
        files: list of str, questions in SQuAD's form.
        output: path of a JSON file: {score: {language: float}, "model": str, "samples": {language: int}}.

    Raises:
        InputError: for files or a model that cannot be read.
    """
    from infoxlm_keras.finetuning.question_answering import load_question_answering
    from infoxlm_keras.finetuning.question_answering_head import QuestionAnsweringHead, QuestionAnsweringSettings

    parts = QuestionAnsweringHead.read(files)
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
    samples = {part.language: len(part) for part in parts}
    write_json(output, {"model": str(trained / "model"), "samples": samples, **scores})
