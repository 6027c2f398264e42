"""Word alignment by an encoder, and `infoxlm evaluate-alignment` from files to exit code."""

import csv
import json

import keras
import numpy as np
import pytest

from infoxlm_keras.commands.evaluate_alignment import main
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.alignment.aligner import WordAligner
from infoxlm_keras.evaluation.alignment.gold import AlignmentSet
from infoxlm_keras.evaluation.alignment.methods import METHODS
from infoxlm_keras.evaluation.alignment_evaluation import evaluate_alignment
from infoxlm_keras.models.encoder import hidden_states_model
from running import refused, run
from sample_text import sentences

PAIRS = [(a.split(), b.split()) for a, b in zip(sentences("en", 6), sentences("de", 6), strict=True)]


def states_of(backbone, ids):
    """List of float64 [tokens, dim], one a hidden state, of one sequence without padding."""
    inputs = {"token_ids": np.array([ids], np.int32), "padding_mask": np.ones((1, len(ids)), np.int32)}
    return [np.float64(keras.ops.convert_to_numpy(state))[0] for state in hidden_states_model(backbone)(inputs)]


def naive_links(backbone, tokenizer, pair, method, encoding, similarity):
    """List of sets of (source word, target word), one a hidden state, in plain loops."""
    pieces = [[(word, token) for word, text in enumerate(side) for token in tokenizer.encode(text)] for side in pair]
    source, target = ([token for _, token in side] for side in pieces)
    if encoding == "joint":
        all_states = states_of(backbone, [0, *source, 2, *target, 2])
        sides = [(states[1 : 1 + len(source)], states[2 + len(source) : -1]) for states in all_states]
    else:
        first, second = (states_of(backbone, [0, *side, 2]) for side in (source, target))
        sides = [(a[1:-1], b[1:-1]) for a, b in zip(first, second, strict=True)]
    found = []
    for first, second in sides:
        if similarity == "cosine":
            first, second = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (first, second))
        table = first @ second.T
        links = METHODS[method]((1 + table) / 2 if similarity == "cosine" else table)
        found.append({(pieces[0][i][0], pieces[1][j][0]) for i, j in zip(*links.nonzero(), strict=True)})
    return found


@pytest.mark.parametrize("encoding, similarity", [("joint", "dot"), ("separate", "cosine")])
def test_links_are_those_of_each_pair_by_itself(encoding, similarity, tiny_masked_lm, tokenizer):
    backbone = tiny_masked_lm.backbone
    pairs = [(source[:5], target[:4]) for source, target in PAIRS]
    aligner = WordAligner(backbone, tokenizer, None, encoding, similarity, batch_size=4)
    progress = []
    found = dict(aligner(pairs, ["argmax", "itermax", "optimal_transport_itermax"], progress.append))
    assert sorted(found) == list(range(6)) and sum(progress) == 6 and aligner.cut == aligner.empty == 0
    for number, pair in enumerate(pairs):
        for method, of_layers in found[number].items():
            expected = naive_links(backbone, tokenizer, pair, method, encoding, similarity)
            assert [set(map(tuple, np.argwhere(links).tolist())) for links in of_layers] == expected
            assert of_layers[0].shape == (len(pair[0]), len(pair[1]))


def test_a_sentence_beside_itself_scores_exactly(tiny_masked_lm, tokenizer):
    """Each word is its own nearest one. Then the gold alone decides: right, partly right, and wrong."""
    words = "Open File Help Print".split()
    every = np.array([[number, number] for number in range(4)])
    crossed = np.array([[0, 1], [1, 0], [2, 3], [3, 2]])

    def measured(sure, possible):
        alignment_set = AlignmentSet("en-en", [words], [words], [sure], [possible])
        aligner = WordAligner(tiny_masked_lm.backbone, tokenizer, [0, 2], "separate", "cosine")
        result = evaluate_alignment(aligner, [alignment_set], ["argmax", "itermax"])
        json.dumps(result, allow_nan=False)
        assert result["mean"] == result["languages"]["en-en"]["methods"]
        assert result["layers"] == [0, 2] and result["mean"]["argmax"]["best_layer"] == 0
        assert result["mean"]["argmax"] == result["mean"]["itermax"]
        scores = result["mean"]["argmax"]
        assert all(len(set(scores[name])) == 1 for name in ("aer", "precision", "recall"))
        return scores["aer"][0], scores["precision"][0], scores["recall"][0]

    assert measured(every, every) == (0.0, 1.0, 1.0)
    assert measured(every[:2], every[:3]) == (1 - 5 / 6, 3 / 4, 1.0)
    assert measured(crossed, crossed) == (1.0, 0.0, 0.0)


def test_long_pairs_are_cut_fairly_and_counted(tiny_masked_lm, tokenizer):
    backbone = tiny_masked_lm.backbone
    long, short = PAIRS[0][0] * 10, PAIRS[0][1][:1]
    aligner = WordAligner(backbone, tokenizer, [1], max_length=32)
    assert len(tokenizer.encode(short[0])) < 10
    ((_, both),) = aligner([(long, long)], ["itermax"])
    assert aligner.cut == 1
    # 29 pieces fit, half of them of each side; words beyond have no link.
    linked = both["itermax"][0]
    pieces = np.cumsum([len(tokenizer.encode(word)) for word in long])
    known = int(np.searchsorted(pieces, 14)) + 1
    assert linked[:known].any() and not linked[known + 1 :].any() and linked.shape == (len(long), len(long))
    # A short side leaves its space to the other.
    list(aligner([(long, short)], ["argmax"]))
    assert aligner.cut == 2
    source, target = aligner._fitted(aligner._pieces(long), aligner._pieces(short))
    assert len(source.ids) + len(target.ids) == 29 and len(target.ids) == len(tokenizer.encode(short[0]))
    for settings in ({"max_length": 4}, {"max_length": 65}, {"batch_size": 0}, {"encoding": "x"}, {"similarity": "x"}):
        with pytest.raises(InputError, match=next(iter(settings))):
            WordAligner(backbone, tokenizer, **settings)


def test_words_of_which_the_tokenizer_makes_nothing_have_no_link(tiny_masked_lm, tokenizer):
    assert tokenizer.encode("\u200b") == []
    aligner = WordAligner(tiny_masked_lm.backbone, tokenizer, [1])
    pairs = [(["Open", "\u200b"], ["File"]), (["\u200b"], ["File"])]
    found = dict(aligner(pairs, ["argmax"]))
    assert aligner.empty == 2
    assert found[0]["argmax"][0].tolist() == [[True], [False]] and not found[1]["argmax"][0].any()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two pairs of languages with links between words of equal place."""
    root = tmp_path_factory.mktemp("alignments")
    for name, pairs in (("en-de", PAIRS), ("en-hi", PAIRS[:3])):
        folder = root / name
        folder.mkdir()
        for code, side in zip(name.split("-"), zip(*pairs, strict=True), strict=True):
            (folder / f"test.{code}").write_text("".join(" ".join(words) + "\n" for words in side), encoding="utf-8")
        rows = [
            f"{number} {word} {word} {'SP'[word % 2]}\n"
            for number, pair in enumerate(pairs, start=1)
            for word in range(1, min(map(len, pair)) + 1)
        ]
        (folder / "gold.txt").write_text("".join(rows) + rows[0])
    return root


def test_the_command_measures_writes_and_draws(data, tiny_preset, tmp_path, capsys):
    output, table, plots = tmp_path / "new" / "a.json", tmp_path / "a.csv", tmp_path / "plots"
    options = ["--output", output, "--csv", table, "--plots", plots, "--methods", *METHODS]
    run(main, "--model", tiny_preset, "--data", data, *options)
    result = json.loads(output.read_text())
    assert (result["layers"], result["encoding"], result["similarity"]) == ([0, 1, 2], "joint", "dot")
    assert {name: row["sentences"] for name, row in result["languages"].items()} == {"en-de": 6, "en-hi": 3}
    for method in METHODS:
        rows = [row["methods"][method] for row in result["languages"].values()]
        assert result["mean"][method]["aer"] == pytest.approx(np.mean([row["aer"] for row in rows], axis=0))
        assert rows[0]["best_layer"] == int(np.argmin(rows[0]["aer"]))
        assert all(0 <= value <= 1 for row in rows for score in ("aer", "precision", "recall") for value in row[score])
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 2 * len(METHODS) * 3
    (cell,) = [row for row in rows if (row["languages"], row["method"], row["layer"]) == ("en-hi", "itermax", "2")]
    scores = result["languages"]["en-hi"]["methods"]["itermax"]
    assert [float(cell[name]) for name in ("aer", "precision", "recall")] == [
        scores[name][2] for name in ("aer", "precision", "recall")
    ]
    assert [path.name for path in plots.iterdir()] == ["alignment_by_layer.png"]
    printed = capsys.readouterr().out
    assert "given more than once: 1" in printed and "universal layer" in printed and "0 is the embeddings" in printed
    assert printed.index("mean over languages") > printed.index("en-hi: 3 sentence pairs")


def test_one_layer_of_three_files(data, tiny_preset, tmp_path, capsys):
    output = tmp_path / "a.json"
    folder = data / "en-de"
    files = ["--source", folder / "test.en", "--target", folder / "test.de", "--gold", folder / "gold.txt"]
    options = ["--layer", 1, "--max_length", 10, "--encoding", "separate", "--similarity", "cosine"]
    run(main, "--model", tiny_preset, *files, "--output", output, *options)
    result = json.loads(output.read_text())
    assert result["layers"] == [1] and list(result["languages"]) == ["en-de"]
    assert list(result["mean"]) == ["argmax", "itermax", "optimal_transport"]
    cut = result["languages"]["en-de"]["cut"]
    assert cut > 0 and f"en-de: sentence pairs that were too long, and cut: {cut}" in capsys.readouterr().out


BAD_INPUT = {
    "nothing": ({}, "give either --data DIR, or all of --source, --target and --gold"),
    "two of three": ({"--source": "FILE", "--gold": "FILE"}, "give either --data DIR"),
    "both": ({"--data": "DATA", "--gold": "FILE"}, "give either --data DIR"),
    "no folder": ({"--data": "FILE"}, "is a file, not a folder"),
    "layer": ({"--data": "DATA", "--layer": "3"}, "layer 3: the encoder has hidden states 0..2"),
    "length": ({"--data": "DATA", "--max_length": "4"}, "max_length = 4: must be in 5..64"),
    "output": ({"--data": "DATA", "--csv": "DATA"}, "is a directory; give a file, for instance"),
}


@pytest.mark.parametrize("options, words", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_ends_with_one_message_and_nothing_written(options, words, data, tiny_preset, tmp_path, capsys):
    places = {"DATA": data, "FILE": data / "en-de" / "gold.txt"}
    given = {"--model": tiny_preset, "--output": tmp_path / "out" / "a.json", **options}
    arguments = [places.get(str(word), word) for option in given.items() for word in option]
    assert words in refused(capsys, main, *arguments)
    assert list(tmp_path.iterdir()) == []
