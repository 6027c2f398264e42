"""Tagging: a rule that is learned in one language and holds in others, its model on disk, and what does not fit."""

import json

import numpy as np
import pytest
from keras import ops

from infoxlm_keras.commands import finetune_tagging
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.tag_scores import span_f1, tag_accuracy
from infoxlm_keras.finetuning.tagging import TaggingHead, TaggingSettings, encode_words
from infoxlm_keras.finetuning.token_classification import load_token_classification, save_token_classification
from infoxlm_keras.models import EncoderSize, TokenClassification, build_masked_lm
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, save_pretrained
from infoxlm_keras.text.tagged_sentences import TaggedSentences, read_tagged_sentences
from running import refused, run
from sample_text import sentences

# Names, each word one token, in no German or Russian sentence.
NAMES = (("opens", "near"), ("city",), ("opens",))
TAGS = (("B-X", "I-X"), ("B-Y",), ("B-X",))


def write_samples(path, language, count, start=0):
    """Sentences with a name somewhere: the same ones in every language."""
    lines = []
    for number, text in enumerate(sentences(language, count, start)):
        words = [word for word in text.strip("。.").split() if (word,) not in NAMES and word != "near"]
        place, kind = number % (len(words) + 1), number % len(NAMES)
        tags = ["O"] * len(words)
        words[place:place], tags[place:place] = NAMES[kind], TAGS[kind]
        lines += [f"{language}:{word}\t{tag}" for word, tag in zip(words, tags, strict=True)] + [""]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def preset(tokenizer, tmp_path_factory):
    size = EncoderSize(num_layers=2, hidden_dim=32, num_heads=4, intermediate_dim=64, max_sequence_length=40)
    directory = tmp_path_factory.mktemp("preset") / "model"
    masked_lm = build_masked_lm(size, tokenizer.vocabulary_size, dropout=0.0)
    save_pretrained(directory, masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
    return directory


@pytest.fixture(scope="module")
def finished(preset, tmp_path_factory):
    root = tmp_path_factory.mktemp("tagging")
    train = write_samples(root / "train", "en", 300)
    tests = [write_samples(root / language / "test", language, 40, 700) for language in ("en", "de", "ru")]
    options = ["--model", preset, "--train", train, "--test", *tests, "--output_dir", root / "run"]
    options += [
        "--epochs",
        3,
        "--batch_size",
        16,
        "--learning_rate",
        0.02,
        "--dropout",
        0,
        "--max_length",
        40,
        "--predictions",
    ]
    run(finetune_tagging.main, *options)
    return root


def test_a_rule_transfers_to_other_languages(finished):
    results = json.loads((finished / "run/results.json").read_text())
    assert results["labels"] == ["O", "B-X", "B-Y", "I-X"] and results["samples"] == {"de": 40, "en": 40, "ru": 40}
    # A tagger that always says O has an F1 of 0.
    assert results["f1"]["en"] > 0.9 and results["f1"]["de"] > 0.3 and results["f1"]["ru"] > 0.3
    assert results["transfer_gap"] == pytest.approx(
        results["f1"]["en"] - (results["f1"]["de"] + results["f1"]["ru"]) / 2
    )
    assert (finished / "run/f1.png").is_file()


def test_the_predictions_are_those_of_the_saved_model_and_give_the_scores(finished, preset):
    results = json.loads((finished / "run/results.json").read_text())
    (folder,) = (finished / "run/runs").glob("*/predictions")
    model, tokenizer, labels = load_token_classification(finished / "run/model")
    assert labels == results["labels"]
    for part in read_tagged_sentences([finished / language / "test" for language in ("de", "en", "ru")]):
        predicted = json.loads((folder / f"{part.language}.json").read_text())
        assert results["f1"][part.language] == pytest.approx(span_f1(part.tags, predicted)["f1"])
        assert results["accuracy"][part.language] == pytest.approx(tag_accuracy(part.tags, predicted))
        inputs, firsts = encode_words(tokenizer, part.words, 40)
        best = ops.convert_to_numpy(model(inputs)).argmax(axis=-1)
        tags = [[labels[tag] for tag in row[places]] for row, places in zip(best, firsts, strict=True)]
        assert tags == predicted


def made(*sentences_of_tags, language="en"):
    part = TaggedSentences(language, files=["f"])
    for number, tags in enumerate(sentences_of_tags, start=1):
        part.words.append(["river"] * len(tags.split()))
        part.tags.append(tags.split())
        part.lines.append(("f", number))
        for tag in tags.split():
            part.places.setdefault(tag, f"f: line {number}")
    return part


def test_the_first_token_of_a_word_has_its_tag_and_what_does_not_fit_is_counted(tiny_masked_lm, tokenizer):
    part = made("A B", "B A B A B A B A")
    part.words[0] = ["\u200b", "the bridge"]
    head = TaggingHead([part], [], [part])
    head.build(PretrainedModel(tiny_masked_lm, tokenizer, None), TaggingSettings(max_length=8))
    arrays = head.training_arrays()
    bridge, river = tokenizer.encode(["the bridge", "river"])
    room = 6 // len(river)
    assert arrays["token_ids"][0].tolist() == [0, 3, *bridge, 2, 1, 1, 1][:8] or len(bridge) > 5
    assert arrays["weights"][0, :3].tolist() == [0, 1, 1] and arrays["weights"][0].sum() == 2
    assert arrays["targets"][0, 1:3].tolist() == [0, 1]
    assert arrays["weights"][1].sum() == room
    assert arrays["targets"][1, arrays["weights"][1] > 0].tolist() == [1, 0, 1, 0, 1, 0][:room]
    assert [note.split(" (the first")[0] for note in head.fitting_notes()] == [
        f"note: training in en: {8 - room} words of 1 sentences are beyond max_length = 8 tokens and are not learned",
        f"note: test in en: {8 - room} words of 1 sentences are beyond max_length = 8 tokens and get the tag O",
    ]
    (tags,) = [head.tags(part)[1]]
    assert set(tags[:room]) <= {"A", "B"} and tags[room:] == ["O"] * (8 - room)
    scores = head.measure([part], 2, lambda samples: None)
    assert scores["accuracy"]["en"] <= (2 + room) / 10


def test_losses_are_those_of_the_words_by_numpy(tiny_masked_lm, tokenizer):
    head = TaggingHead([made("A B C", "C B")])
    head.build(PretrainedModel(tiny_masked_lm, tokenizer, None), TaggingSettings(max_length=16))
    arrays = head.training_arrays()
    logits = np.random.default_rng(0).normal(0, 1, (*arrays["targets"].shape, 3)).astype(np.float32)
    losses, correct = map(ops.convert_to_numpy, head.losses(ops.convert_to_tensor(logits), arrays))
    for row, place in zip(*np.nonzero(arrays["weights"]), strict=True):
        target, found = arrays["targets"][row, place], logits[row, place]
        assert losses[row, place] == pytest.approx(np.log(np.exp(found).sum()) - found[target], rel=1e-5)
        assert correct[row, place] == (found.argmax() == target)


def test_what_does_not_match_the_training_data_is_refused_before_training(finished, preset, capsys, tmp_path):
    other = tmp_path / "test.de.txt"
    other.write_text("Haus O\nFluss B-Z\n")
    options = ["--model", preset, "--train", finished / "train", "--output_dir", tmp_path / "run"]
    message = refused(capsys, finetune_tagging.main, *options, "--test", other)
    assert f"{other}: line 2: tag 'B-Z' is not one of the training data's: O, B-X, B-Y, I-X" in message
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"tags = \['A'\]: a tagger needs at least two"):
        TaggingHead([made("A A")])
    assert TaggingHead([made("A B")], [], [made("A", language="de")]).notes() == [
        "note: test in de has no word tagged B"
    ]


def test_a_model_that_lacks_its_labels_or_is_another_is_refused(tiny_masked_lm, tokenizer, tiny_preset, tmp_path):
    model = TokenClassification(tiny_masked_lm.backbone, num_classes=2)
    save_token_classification(tmp_path / "tags", model, tokenizer, ["A", "B"])
    again, its_tokenizer, labels = load_token_classification(tmp_path / "tags")
    assert labels == ["A", "B"] and its_tokenizer.fingerprint == tokenizer.fingerprint
    for weight, expected in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    (tmp_path / "tags/labels.json").write_text('["A"]')
    with pytest.raises(InputError, match="names 1 classes, but the model has 2 outputs"):
        load_token_classification(tmp_path / "tags")
    with pytest.raises(InputError, match="holds no token-classification model"):
        load_token_classification(tiny_preset)
