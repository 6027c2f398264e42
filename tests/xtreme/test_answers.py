"""A question-answering model measured after its training has the scores that its training command reported."""

import json

import numpy as np
import pytest

from infoxlm_keras.commands import xtreme
from infoxlm_keras.commands.registry import main_of
from quick_runs import quick_graphs
from sample_text import sentences


def write_questions(path, language, count):
    """Questions in SQuAD's form: each text is two sentences, the answer is a word of the first one."""
    texts = sentences(language, count + 1)
    paragraphs = []
    for number, (first, second) in enumerate(zip(texts, texts[1:], strict=False)):
        word = first.split()[0]
        answers = [{"text": word, "answer_start": 0}]
        question = {"id": f"{language}-{number}", "question": second, "answers": answers}
        paragraphs.append({"context": f"{first} {second}", "qas": [question]})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"data": [{"title": "x", "paragraphs": paragraphs}]}), encoding="utf-8")


@pytest.mark.parametrize("seeds", [["0"], ["0", "1"]])
def test_squads_models_are_trained_once_a_seed_and_measured_on_both_test_sets(
    seeds, tiny_preset, tmp_path, monkeypatch
):
    data, out = tmp_path / "data", tmp_path / "out"
    write_questions(data / "squad/train-v1.1.json", "en", 8)
    write_questions(data / "squad/dev-v1.1.json", "en", 6)
    write_questions(data / "xquad/xquad.en.json", "en", 6)
    write_questions(data / "xquad/xquad.de.json", "de", 4)
    write_questions(data / "mlqa/test/test-context-de-question-de.json", "de", 4)
    ran = []

    def run_here(words, check):
        ran.append(words[3])
        main_of(words[3])(words[4:])
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(xtreme.subprocess, "run", run_here)
    settings = ["epochs=1", "accumulation_steps=1", "batch_size=4", "jit_compile=false"]
    settings += ["max_length=64", "stride=16", "max_question=16"]
    settings += [f"seed={','.join(seeds)}"]
    arguments = ["--model", tiny_preset, "--data_dir", data, "--output_dir", out, "--tasks", "xquad", "mlqa"]
    with quick_graphs():
        xtreme.main([*map(str, arguments), "--set", *settings])
    assert ran == ["finetune-qa"] * len(seeds)
    folders = [f"squad-seed-{seed}" for seed in seeds] if len(seeds) > 1 else ["squad"]
    trained = [json.loads((out / name / "results.json").read_text()) for name in folders]
    xquad, mlqa = (json.loads((out / name / "results.json").read_text()) for name in ("xquad", "mlqa"))
    table = (out / "results.md").read_text()
    for score in ("f1", "exact_match"):
        # xquad.en.json has the questions of dev-v1.1.json.
        assert xquad[score]["en"] == pytest.approx(np.mean([part[score]["en"] for part in trained]))
        assert set(xquad[score]) == {"de", "en"} and set(mlqa[score]) == {"de"}
    assert 0 < trained[0]["f1"]["en"] < 1
    assert "| XQuAD F1/EM | MLQA F1/EM |" in table and "InfoXLM base | – | 68.1/49.6" in table
    assert (" ± " in table) == (len(seeds) > 1)
    if len(seeds) > 1:
        f1 = [np.mean(list(scores["f1"].values())) for scores in xquad["models"].values()]
        assert f"{100 * np.mean(f1):.1f} ± {100 * np.std(f1, ddof=1):.1f}/" in table
