"""The command recipes/evaluate_retrieval.py, from files to exit code."""

import json
import os
import pathlib
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest

from infoxlm_keras.command_line import run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation import PairSet, embed_texts, evaluate_retrieval, read_pair_sets, retrieval_accuracy
from infoxlm_keras.reports.retrieval_tables import read_retrieval
from repository import REPOSITORY
from sample_text import sentences

RECIPE = REPOSITORY / "recipes" / "evaluate_retrieval.py"


def run(*arguments):
    """Exit code of the command, run in this process."""
    main = runpy.run_path(str(RECIPE))["main"]
    with pytest.raises(SystemExit) as caught:
        run_command(lambda: main([str(argument) for argument in arguments]))
    return caught.value.code


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A directory of 12 pairs with German, 10 with Hindi, in two formats."""
    directory = tmp_path_factory.mktemp("pairs")
    english = sentences("en", 12)
    (directory / "test.en-de.en").write_text("\n".join(english) + "\n", encoding="utf-8")
    (directory / "test.en-de.de").write_text("\n".join(sentences("de", 12)) + "\n", encoding="utf-8")
    rows = [f"{hindi}\t{text}\n" for hindi, text in zip(sentences("hi", 10), english[:10], strict=True)]
    (directory / "hi-en.tsv").write_text("".join(rows), encoding="utf-8")
    return directory


def test_all_layers_are_measured_written_and_drawn(tiny_preset, tiny_masked_lm, tokenizer, pairs, tmp_path, capsys):
    output = tmp_path / "new" / "retrieval.json"
    assert run("--model", tiny_preset, "--pairs", pairs, "--output", output, "--plots", tmp_path / "plots") == 0
    result = json.loads(output.read_text())
    assert result["layers"] == [0, 1, 2] and result["pooling"] == "mean"
    assert "0 is the embeddings" in result["layer_definition"]
    assert result["model"]["pretraining"]["universal_layer"] == 1
    assert result["model"]["tokenizer_fingerprint"] == tokenizer.fingerprint
    assert {name: row["candidates"] for name, row in result["languages"].items()} == {"de": 12, "hi": 10}
    assert all(row["source"] == "en" for row in result["languages"].values())

    source = embed_texts(tiny_masked_lm.backbone, tokenizer, sentences("en", 10))
    target = embed_texts(tiny_masked_lm.backbone, tokenizer, sentences("hi", 10))
    expected = np.array([retrieval_accuracy(*layer) for layer in zip(source, target, strict=True)])
    hindi = result["languages"]["hi"]
    np.testing.assert_allclose(hindi["source_to_target"], expected[:, 0])
    np.testing.assert_allclose(hindi["target_to_source"], expected[:, 1])
    means = [
        np.mean(
            [
                row[way][layer]
                for row in result["languages"].values()
                for way in ("source_to_target", "target_to_source")
            ]
        )
        for layer in range(3)
    ]
    assert result["best_layer"] == int(np.argmax(means))

    assert [item.name for item in (tmp_path / "plots").iterdir()] == ["retrieval_heatmap.png"]
    printed = capsys.readouterr().out
    assert printed.index("pooling") < printed.index("en→xx") < printed.index("best on these pairs")
    assert "universal layer" in printed and "0 is the embeddings" in printed


def test_one_layer_other_pooling_and_fewer_pairs(tiny_preset, pairs, tmp_path, capsys):
    output = tmp_path / "retrieval.json"
    arguments = ["--layer", 2, "--pooling", "cls", "--max_pairs", 5, "--batch_size", 3, "--max_length", 16]
    assert run("--model", tiny_preset, "--pairs", pairs / "hi-en.tsv", "--output", output, *arguments) == 0
    result = json.loads(output.read_text())
    assert (result["layers"], result["best_layer"], result["pooling"]) == ([2], 2, "cls")
    assert list(result["languages"]) == ["hi"]
    assert result["languages"]["hi"]["candidates"] == 5
    assert len(result["languages"]["hi"]["source_to_target"]) == 1
    assert "best on these pairs" not in capsys.readouterr().out


def test_an_encoder_is_measured_twice_alike_and_a_shared_english_side_is_embedded_once(
    tiny_masked_lm, tokenizer, tmp_path
):
    for language in ("de", "hi"):
        rows = zip(sentences("en", 6), sentences(language, 6), strict=True)
        (tmp_path / f"en-{language}.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in rows), encoding="utf-8")
    pair_sets = read_pair_sets([tmp_path])
    counts = []
    first = evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, pair_sets, progress=counts.append)
    assert sum(counts) == 24
    alone = evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, pair_sets[1:], batch_size=4)
    assert json.dumps(first["languages"]["hi"]) == json.dumps(alone["languages"]["hi"])
    assert json.dumps(first) == json.dumps(evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, pair_sets))


@pytest.mark.parametrize("english", ["en", "eng", "en_US", "en-GB", "eng_Latn"])
def test_a_direction_is_the_same_whatever_the_order_of_the_pair_and_the_code_of_english(
    tiny_masked_lm, tokenizer, english
):
    sides = {language: sentences(language, 12) for language in ("en", "de", "hi")}
    sides["de"][3:6] = sides["de"][:3]  # duplicates make the two directions differ
    backbone = tiny_masked_lm.backbone
    expected = evaluate_retrieval(
        backbone,
        tokenizer,
        [PairSet("en", language, sides["en"], sides[language], ("x",)) for language in ("de", "hi")],
        layers=[1, 2],
    )
    assert expected["languages"]["de"]["source_to_target"] != expected["languages"]["de"]["target_to_source"]
    turned = [
        PairSet("de", english, sides["de"], sides["en"], ("x",)),
        PairSet(english, "hi", sides["en"], sides["hi"], ("x",)),
    ]
    found = evaluate_retrieval(backbone, tokenizer, turned, layers=[1, 2])
    assert found["mean"] == expected["mean"] and list(found["languages"]) == ["de", "hi"]
    for language in ("de", "hi"):
        assert found["languages"][language] == {**expected["languages"][language], "source": english}


def test_pairs_without_english_keep_their_order_and_name(tiny_masked_lm, tokenizer):
    pair_set = PairSet("hi", "de", sentences("hi", 4), sentences("de", 4), ("x",))
    languages = evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, [pair_set], layers=[1])["languages"]
    assert (list(languages), languages["hi-de"]["source"], languages["hi-de"]["target"]) == (["hi-de"], "hi", "de")
    with pytest.raises(InputError, match="pair sets of hi-de, hi-de: give one or more, no two of the same languages"):
        evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, [pair_set, pair_set])
    with pytest.raises(InputError, match="pair sets of no language"):
        evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, [])


def test_equal_candidates_share_the_credit(tiny_masked_lm, tokenizer):
    """Eight translations in four pairs of equal ones: half the credit each; all equal: an eighth."""
    english = [text for text in sentences("en", 4) for _ in range(2)]
    pair_sets = [
        PairSet("en", "de", english, english, ("x",)),
        PairSet("en", "hi", english, english[:1] * 8, ("x",)),
    ]
    languages = evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, pair_sets, layers=[2])["languages"]
    assert languages["de"]["source_to_target"] == languages["de"]["target_to_source"] == [0.5]
    assert languages["hi"]["source_to_target"] == pytest.approx([1 / 8])
    # Each of the eight equal queries ties with the two equal sources that are nearest to it.
    assert languages["hi"]["target_to_source"] == pytest.approx([2 * (1 / 2) / 8])


def test_a_vector_that_is_not_finite_names_language_and_sentence(tiny_masked_lm, tokenizer, monkeypatch):
    from infoxlm_keras.evaluation import TextEmbedder

    embed = TextEmbedder.__call__

    def broken(embedder, texts, progress=None):
        vectors = embed(embedder, texts, progress)
        vectors[:, [text == "broken" for text in texts]] = np.nan
        return vectors

    monkeypatch.setattr(TextEmbedder, "__call__", broken)
    pair_set = PairSet("en", "de", ["a", "b", "c"], ["x", "broken", "y"], ("x",))
    with pytest.raises(InputError, match=r"de: the vector of sentence 1 \(from 0\) is not finite"):
        evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, [pair_set], layers=[2])


def test_odd_paths(tiny_preset, pairs, tmp_path):
    folder = tmp_path / "run [lr=1e-3] *? \u4e2d"
    shutil.copytree(tiny_preset, folder / "model [v2]")
    shutil.copytree(pairs, folder / "pairs[a]")
    output, plots = folder / "out[1].json", folder / "plots[1]"
    options = ["--model", folder / "model [v2]", "--pairs", folder / "pairs[a]", "--output", output, "--plots", plots]
    assert run(*options, "--layer", 1) == 0
    assert set(read_retrieval(output)["languages"]) == {"de", "hi"}
    assert [path.name for path in plots.iterdir()] == ["retrieval_heatmap.png"]


# case: (options that are changed, words of the message); FOLDER stands for the test's own directory.
BAD_INPUT = {
    "no model": ({"--model": "FOLDER/absent"}, ["absent", "no such directory"]),
    "no preset": ({"--model": "FOLDER/empty"}, ["empty", "config.json"]),
    "no pairs": ({"--pairs": "FOLDER/absent"}, ["absent", "no such file or directory"]),
    "empty folder": ({"--pairs": "FOLDER/empty"}, ["empty", "<src>-<tgt>.tsv"]),
    "bad line": ({"--pairs": "FOLDER/en-de.tsv"}, ["en-de.tsv: line 2", "has 1 column"]),
    "uneven": ({"--pairs": "FOLDER/uneven"}, ["uneven.de-en.de: has 3 lines", "has 2"]),
    "layer too high": ({"--layer": "3"}, ["layer 3", "0..2"]),
    "layer no number": ({"--layer": "last"}, ["--layer last", "all", "0..2"]),
    "one pair": ({"--max_pairs": "1"}, ["max_pairs = 1", "at least 2"]),
    "no batch": ({"--batch_size": "0"}, ["batch_size = 0", "at least 1"]),
    "too long": ({"--max_length": "1000"}, ["max_length = 1000", "3..64"]),
    "output is a folder": ({"--output": "FOLDER/empty"}, ["empty", "is a directory"]),
    "plots is a file": ({"--plots": "FOLDER/en-de.tsv"}, ["--plots", "is a file"]),
}


@pytest.mark.parametrize("changed, words", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_ends_with_one_message_and_nothing_written(changed, words, tiny_preset, pairs, tmp_path, capsys):
    for folder in ("empty", "uneven"):
        (tmp_path / folder).mkdir()
    (tmp_path / "en-de.tsv").write_text("a\tb\nc\n")
    (tmp_path / "uneven" / "uneven.de-en.de").write_text("a\nb\nc\n")
    (tmp_path / "uneven" / "uneven.de-en.en").write_text("a\nb\n")
    present = sorted(tmp_path.rglob("*"))
    options = {"--model": tiny_preset, "--pairs": pairs, "--output": tmp_path / "out" / "retrieval.json", **changed}
    assert run(*(str(word).replace("FOLDER", str(tmp_path)) for option in options.items() for word in option)) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    assert all(word in message for word in words), message
    assert sorted(tmp_path.rglob("*")) == present


def test_help_teaches(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert "tatoeba.deu-eng.deu" in text and "infoxlm evaluate-retrieval" in text and "--pooling" in text


def test_the_script_runs_by_itself_from_another_directory(tmp_path):
    command = [sys.executable, RECIPE, "--model", tmp_path / "absent", "--pairs", tmp_path / "absent"]
    environment = {**os.environ, "PYTHONPATH": str(RECIPE.parent.parent)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/absent: no such file or directory")


@pytest.mark.skipif("INFOXLM_EVAL_DATA" not in os.environ, reason="INFOXLM_EVAL_DATA names no folder with tatoeba/")
def test_real_tatoeba_files(tiny_preset, tmp_path):
    folder, output = pathlib.Path(os.environ["INFOXLM_EVAL_DATA"]) / "tatoeba", tmp_path / "retrieval.json"
    sizes = {pair_set.language: len(pair_set.sources) for pair_set in read_pair_sets([folder])}
    assert len(sizes) == 36
    assert (sizes["de"], sizes["jv"], sizes["sw"], sizes["te"], sizes["ka"]) == (1000, 205, 390, 234, 746)
    assert run("--model", tiny_preset, "--pairs", folder, "--max_pairs", 100, "--output", output) == 0
    result = json.loads(output.read_text())
    assert all(row["source"] == "en" and row["candidates"] == 100 for row in result["languages"].values())
    # Random weights find shared names and numbers, some, and far from all: chance is 0.01.
    assert 0.01 < result["mean"]["source_to_target"][0] < 0.5
