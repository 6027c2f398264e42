"""Fine-tuning of question answering: data to windows, losses, scores and answers, and the command."""

import json

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from infoxlm_keras.commands import finetune_qa
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.answer_scores import answer_scores
from infoxlm_keras.finetuning.question_answering import load_question_answering
from infoxlm_keras.finetuning.question_answering_head import QuestionAnsweringHead, QuestionAnsweringSettings
from infoxlm_keras.models import EncoderSize, build_masked_lm
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, save_pretrained
from infoxlm_keras.serving import QuestionAnsweringModule
from infoxlm_keras.text.questions import Question, Questions
from running import refused, run
from sample_text import sentences

MARK = "opens"  # one token, in no German or Russian sentence
LIMITS = {"max_length": 48, "stride": 12, "max_question": 8, "max_answer": 6}


def part(language, count, sentences_each=1, rules="squad"):
    """Questions whose answer is the third word of a text; all of a language differ."""
    questions = []
    for number in range(count):
        context = " ".join(sentences(language, sentences_each, 5 + number * sentences_each))
        answer = context.split()[2]
        place = len(" ".join(context.split()[:2])) + 1
        questions.append(Question(f"{language}-{number}", "where?", context, (answer,), (place,)))
    return Questions(language, language, rules, questions, files=[f"{language}.json"])


def marked(language, count, start=0, rules="squad"):
    """Questions whose answer is the same word in every language, somewhere in the text."""
    questions = []
    for number, text in enumerate(sentences(language, count, start)):
        words = [word for word in text.strip(".").split() if word != MARK]
        words.insert(number % (len(words) + 1), MARK)
        context = " ".join(words)
        questions.append(Question(f"{language}-{number}", "where?", context, (MARK,), (context.index(MARK),)))
    return Questions(language, language, rules, questions, files=[f"{language}.json"])


def write(path, part, **other):
    paragraphs = [
        {
            "context": question.context,
            "qas": [
                {
                    "id": question.id,
                    "question": question.question,
                    "answers": [{"text": question.answers[0], "answer_start": question.starts[0]}],
                    **other,
                }
            ],
        }
        for question in part.questions
    ]
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    return path


@pytest.fixture
def head(tiny_masked_lm, tokenizer):
    head = QuestionAnsweringHead([part("en", 6, 4), part("de", 3)], [], [part("ru", 3, 4)])
    head.build(PretrainedModel(tiny_masked_lm, tokenizer, None), QuestionAnsweringSettings(**LIMITS))
    return head


def test_the_training_arrays_are_the_windows_of_all_parts(head, tokenizer):
    arrays = head.training_arrays()
    windows = [head.windows(part) for part in head.training]
    assert len(arrays["weights"]) == sum(map(len, windows)) > 9  # texts of several windows are among them
    assert arrays["token_ids"].shape == arrays["padding_mask"].shape
    np.testing.assert_array_equal(arrays["padding_mask"], arrays["token_ids"] != 1)
    held = 0
    for row, (first, last) in enumerate(arrays["targets"]):
        number, window = (0, row) if row < len(windows[0]) else (1, row - len(windows[0]))
        question = head.training[number].questions[windows[number].rows[window]]
        if first:
            ids = arrays["token_ids"][row, first : last + 1]
            assert question.answers[0].strip(".") in tokenizer.decode(ids) or 3 in ids
            assert windows[number].firsts[window] == 0  # the third word is in no later window
            held += 1
        else:
            assert last == 0
    assert held == 9


def test_losses_are_the_cross_entropy_of_start_and_end_by_numpy(head):
    arrays = head.training_arrays()
    logits = np.random.default_rng(1).normal(0, 3, (*arrays["token_ids"].shape, 2)).astype(np.float32)
    logits[0, arrays["targets"][0, 0], 0] = logits[0, arrays["targets"][0, 1], 1] = 20
    losses, correct = map(ops.convert_to_numpy, head.losses(ops.convert_to_tensor(logits), arrays))
    assert losses.shape == correct.shape == arrays["weights"].shape and correct[0] == 1
    for row, length in enumerate(arrays["padding_mask"].sum(axis=1)):
        of_side, right = [], []
        for side in range(2):
            seen, target = logits[row, :length, side].astype(np.float64), arrays["targets"][row, side]
            of_side.append(np.log(np.exp(seen).sum()) - seen[target])
            right.append(seen.argmax() == target)
        assert losses[row] == pytest.approx(np.mean(of_side), rel=1e-4, abs=1e-5)
        assert correct[row] == all(right)


def test_a_model_that_is_sure_of_the_gold_answers_scores_one(head, monkeypatch):
    """From logits to text, windows included: 12 of a text's logits are high, those of the answer highest."""
    ru = head.test[0]
    windows = head.windows(ru)
    logits = np.zeros((*windows.token_ids.shape, 2), np.float32)
    logits[:, 0] = 90  # outside of the text
    for window, row in enumerate(windows.rows):
        question = ru.questions[row]
        tokens = windows.contexts[row].tokens_of(question.starts[0], question.starts[0] + len(question.answers[0]))
        for side in range(2):
            place = tokens[side] - windows.firsts[window] + windows.places[window]
            if windows.places[window] <= place < windows.places[window] + windows.counts[window]:
                logits[window, place, side] = 9
    monkeypatch.setattr(head, "predict", lambda inputs, batch_size, progress=None: logits)
    measured = []
    scores = head.measure([ru], 4, measured.append)
    assert scores == {"f1": {"ru": 1.0}, "exact_match": {"ru": 1.0}} and measured == [3]
    logits[:] = np.nan
    with pytest.raises(InputError, match="ru: the model's outputs for question ru-0 are not finite"):
        head.measure([ru], 4, measured.append)


def test_the_guess_is_the_place_of_the_training_answers(tiny_masked_lm, tokenizer):
    """All training answers are the first word, and so is a third of the test answers."""

    def first_words(language, answers):
        questions = [
            Question(str(number), "x", "der Fluss der Wald", (answer,), ("der Fluss der Wald".index(answer),))
            for number, answer in enumerate(answers)
        ]
        return Questions(language, language, "squad", questions, files=["f"])

    head = QuestionAnsweringHead([first_words("en", ["der"] * 9)], [], [first_words("de", ["der", "Wald", "Fluss"])])
    assert head.chance() is None
    head.build(PretrainedModel(tiny_masked_lm, tokenizer, None), QuestionAnsweringSettings(**LIMITS))
    assert head.chance() == pytest.approx(1 / 3)


def test_what_is_passed_over_is_named(tiny_masked_lm, tokenizer):
    training = part("en", 3)
    long = "river " * 30
    training.questions += [
        Question("moved", "x", "the house", ("house",), (None,)),
        Question("long", "x", long, (long.strip(),), (0,)),
        Question("wordy", "river " * 9, "the house", ("house",), (4,)),
    ]
    training.misplaced["en.json"] = ["moved"]
    head = QuestionAnsweringHead([training], [training])
    assert head.notes()[0] == (
        "note: training: en.json: 1 question (moved) with an answer that is not at its offset; only its other answers "
        "are learned"
    )
    head.build(PretrainedModel(tiny_masked_lm, tokenizer, None), QuestionAnsweringSettings(**LIMITS))
    assert head.fitting_notes() == [
        "note: training in en: 1 question (wordy) cut to max_question = 8 tokens",
        "note: development in en: 1 question (wordy) cut to max_question = 8 tokens",
        "note: training in en: 1 question (moved) passed over, with an answer that is not at its offset",
        "note: training in en: 1 question (long) passed over, with an answer that fits in no window",
    ]
    assert len(head.training_arrays()["weights"]) == 4
    nowhere = Questions("en", "en", "squad", [training.questions[3]], files=["f.json"])
    with pytest.raises(InputError, match="f.json: no answer is at its offset"):
        QuestionAnsweringHead([nowhere])
    head = QuestionAnsweringHead([Questions("en", "en", "squad", [training.questions[4]], files=["f.json"])])
    head.build(PretrainedModel(tiny_masked_lm, tokenizer, None), QuestionAnsweringSettings(**LIMITS))
    with pytest.raises(InputError, match="f.json: no window holds a whole answer; give a larger --max_length"):
        head.training_arrays()


@pytest.fixture(scope="module")
def finished(tokenizer, tmp_path_factory):
    root = tmp_path_factory.mktemp("qa")
    size = EncoderSize(num_layers=2, hidden_dim=32, num_heads=4, intermediate_dim=64, max_sequence_length=64)
    masked_lm = build_masked_lm(size, tokenizer.vocabulary_size, dropout=0.0)
    save_pretrained(root / "model", masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
    tests = [
        write(root / "xquad.ru.json", marked("ru", 20)),
        write(root / "test-context-de-question-de.json", marked("de", 20)),
    ]
    options = [
        "--model",
        root / "model",
        "--train",
        write(root / "xquad.en.json", marked("en", 160)),
        "--test",
        *tests,
    ]
    options += ["--output_dir", root / "run", "--epochs", 4, "--batch_size", 16, "--learning_rate", 0.02]
    options += ["--dropout", 0, "--no-jit_compile", "--predictions"]
    run(finetune_qa.main, *options, *(f"--{name}={value}" for name, value in LIMITS.items()))
    return root


def test_what_is_learned_in_one_language_beats_the_guess_in_others(finished, tiny_masked_lm, tokenizer):
    results = json.loads((finished / "run/results.json").read_text())
    head = QuestionAnsweringHead([marked("en", 160)], [], [marked("ru", 20), marked("de", 20, rules="mlqa")])
    head.build(PretrainedModel(tiny_masked_lm, tokenizer, None), QuestionAnsweringSettings(**LIMITS))
    assert results["mean"] > head.chance() + 0.2


def test_the_predictions_give_the_scores_by_each_files_rules(finished):
    results = json.loads((finished / "run/results.json").read_text())
    assert results["samples"] == {"de": 20, "ru": 20} and results["rules"] == ["mlqa", "squad"]
    assert results["settings"]["stride"] == 12 and (finished / "run/f1.png").is_file()
    (folder,) = (finished / "run/runs").glob("*/predictions")
    for language, rules in (("ru", "squad"), ("de", "mlqa")):
        predicted = json.loads((folder / f"{language}.json").read_text())
        n_best = json.loads((folder / f"{language}.nbest.json").read_text())
        every = []
        for question in marked(language, 20).questions:
            assert predicted[question.id] in question.context
            texts, scores = zip(*((found["text"], found["score"]) for found in n_best[question.id]), strict=True)
            assert texts[0] == predicted[question.id] and 1 <= len(set(texts)) == len(texts) <= 5
            assert list(scores) == sorted(scores, reverse=True)
            every.append(answer_scores(predicted[question.id], question.answers, rules, language))
        for name in ("f1", "exact_match"):
            assert results[name][language] == pytest.approx(np.mean([scores[name] for scores in every]))


def test_the_served_model_gives_the_same_answers(finished):
    """For texts of one window; of longer ones the SavedModel's windows overlap by half."""
    (folder,) = (finished / "run/runs").glob("*/predictions")
    model, tokenizer = load_question_answering(finished / "run/model")
    module = QuestionAnsweringModule(model, tokenizer, LIMITS["max_length"], LIMITS["max_question"], 6)
    for language in ("ru", "de"):
        predicted = json.loads((folder / f"{language}.json").read_text())
        questions = [
            question
            for question in marked(language, 20).questions
            if len(tokenizer.encode(question.context)) <= 48 - 4 - 8
        ]
        assert len(questions) >= 3
        asked, contexts = (
            tf.constant([getattr(question, name) for question in questions]) for name in ("question", "context")
        )
        answers = module.answer(asked, contexts, module.predict)["answer"].numpy()
        assert [answer.decode() for answer in answers] == [predicted[question.id] for question in questions]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stride", 0], "stride = 0: must be at least 1"),
        (["--max_answer", 0], "max_answer = 0: must be at least 1"),
        (["--max_length", 12], "max_length = 12: leaves no room for a text beside 64 tokens of a question"),
        (["--max_length", 500], "max_length = 500: the model has 64 positions"),
        (["--test", "{impossible}"], "no question with a gold answer of en; left out: 6 x no possible answer"),
    ],
)
def test_settings_and_data_that_do_not_fit_are_refused(finished, tiny_preset, capsys, tmp_path, options, message):
    impossible = write(tmp_path / "dev-v2.0.json", part("en", 6), is_impossible=True)
    given = ["--model", tiny_preset, "--train", finished / "xquad.en.json", "--test", finished / "xquad.ru.json"]
    options = [str(option).format(impossible=impossible) for option in options]
    assert message in refused(capsys, finetune_qa.main, *given, "--output_dir", tmp_path / "run", *options)
    assert not (tmp_path / "run/model").exists()
