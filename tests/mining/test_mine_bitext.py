"""`infoxlm mine-bitext` from files to pairs: what is written, what is left out, and how it goes on after a kill."""

import gzip
import json

import numpy as np
import pytest

from infoxlm_keras.commands.mine_bitext import main
from infoxlm_keras.evaluation import TextEmbedder, embed_texts
from infoxlm_keras.evaluation.retrieval import unit_rows
from infoxlm_keras.mining import mining
from infoxlm_keras.mining.candidates import ScoredPairs, candidate_pairs
from infoxlm_keras.mining.mining import MiningSettings, mine_bitext, thresholded
from infoxlm_keras.mining.row_file import RowFile
from infoxlm_keras.models.sentence_vector import sentence_vector
from infoxlm_keras.pretrained import load_pretrained
from running import refused, run
from sample_text import sentences

TRUE, ALONE = 10, 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two sides of unequal length: 10 sentences are on both (the encoder is random), 6 or 3 on one side only."""
    root = tmp_path_factory.mktemp("mining")
    english, german = sentences("en", TRUE + ALONE), sentences("de", 3)
    left = [*english[:4], "", english[0], *english[4:]]
    right = [*german, *english[:TRUE][::-1]]
    (root / "left.txt").write_text("".join(f"{text}\n" for text in left), encoding="utf-8")
    with gzip.open(root / "right.txt.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"{text}\n" for text in right)
    # The fifth line is blank, and the sixth repeats the first: gold pairs may name either.
    lines = [6, 2, 3, 4, 7, 8, 9, 10, 11, 12]
    rows = [f"{line}\t{3 + TRUE - number}\n" for number, line in enumerate(lines)]
    (root / "gold.txt").write_text("".join(rows))
    for name, texts in (("left", left), ("right", right)):
        ids = [f"{name}-{number:05}\t{text}\n" for number, text in enumerate(texts, start=1) if text]
        (root / f"{name}.ids").write_text("".join(ids), encoding="utf-8")
    named = [f"left-{line:05}\tright-{3 + TRUE - number:05}\n" for number, line in enumerate(lines)]
    (root / "gold.ids").write_text("".join(named))
    return root


@pytest.fixture(scope="module")
def model(tiny_preset):
    return load_pretrained(tiny_preset)


def rows_of(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def test_pairs_scores_and_counts_are_written(data, tiny_preset, model, tmp_path, capsys):
    output, results = tmp_path / "new" / "pairs.tsv", tmp_path / "results.json"
    options = ["--gold", data / "gold.txt", "--results", results, "--write_ids", "--neighbours", 2]
    run(
        main,
        *("--model", tiny_preset, "--source", data / "left.txt", "--target", data / "right.txt.gz"),
        *("--output", output, *options),
    )
    result = json.loads(results.read_text())
    assert result["source"] == {"lines": TRUE + ALONE + 2, "blank": 1, "repeated": 1, "sentences": TRUE + ALONE}
    assert result["target"]["sentences"] == TRUE + 3
    assert (result["layer"], result["pooling"], result["margin"]) == (1, "mean", "ratio")
    rows = rows_of(output)
    assert len(rows) == result["pairs"] and [path.name for path in output.parent.iterdir()] == ["pairs.tsv"]
    left = (data / "left.txt").read_text(encoding="utf-8").splitlines()
    assert all(left[int(row[3]) - 1] == row[1] for row in rows)
    # The same from the whole matrix.
    sides = [sentences("en", TRUE + ALONE), [*sentences("de", 3), *sentences("en", TRUE)[::-1]]]
    vectors = [unit_rows(embed_texts(model.backbone, model.tokenizer, side, [1])[0]) for side in sides]
    cosines = np.float64(vectors[0] @ vectors[1].T)
    neighbours = [(np.sort(c)[:, :-3:-1], np.argsort(c)[:, :-3:-1]) for c in (cosines, cosines.T)]
    expected = candidate_pairs(*neighbours, "ratio", "union_max")
    kept = expected.scores >= result["threshold"]
    texts = [(sides[0][x], sides[1][y]) for x, y in zip(expected.sources, expected.targets, strict=True)]
    assert [(row[1], row[2]) for row in rows] == [text for text, keep in zip(texts, kept, strict=True) if keep]
    np.testing.assert_allclose([float(row[0]) for row in rows], expected.scores[kept], atol=2e-5)
    # The gold pairs are equal sentences, which have the cosine 1.
    hits = sum(row[1] == row[2] for row in rows)
    gold = result["gold"]
    assert gold == {
        "pairs": TRUE,
        "threshold_from": "gold",
        "precision": hits / len(rows),
        "recall": hits / TRUE,
        "f1": pytest.approx(2 * hits / (len(rows) + TRUE)),
    }
    assert hits >= TRUE - 1
    printed = capsys.readouterr().out
    assert "1 blank, 1 repeated" in printed and "chosen on these gold pairs" in printed


def test_ids_a_given_threshold_and_the_cosine(data, tiny_preset, tmp_path):
    output, results = tmp_path / "pairs.tsv", tmp_path / "results.json"
    sides = ["--source", data / "left.ids", "--target", data / "right.ids", "--ids", "--write_ids"]
    options = ["--gold", data / "gold.ids", "--threshold", 0.9999, "--margin", "absolute", "--layer", 0]
    run(main, "--model", tiny_preset, *sides, "--output", output, "--results", results, *options)
    result = json.loads(results.read_text())
    # Equal sentences, and only they, have a cosine of 1 here.
    assert result["gold"] == {"pairs": 10, "threshold_from": "given", "precision": 1.0, "recall": 1.0, "f1": 1.0}
    rows = rows_of(output)
    assert {tuple(row[3:]) for row in rows} == {
        tuple(line.replace("left-00006", "left-00001").split("\t"))
        for line in (data / "gold.ids").read_text().splitlines()
    }
    assert all(row[0] == "1.000000" for row in rows)


@pytest.fixture
def arguments(data, model, tmp_path):
    """(arguments of `mine_bitext`, settings) with chunks of 3 sentences."""
    vector = sentence_vector(model, None, None, lowest=0)
    return lambda name, **settings: (
        (model, vector, data / "left.txt", data / "right.txt.gz", tmp_path / name, MiningSettings(**settings)),
        {"gold": data / "gold.txt", "chunk": 3},
    )


def test_an_interrupted_run_goes_on_where_it_was_and_ends_alike(arguments, tmp_path, monkeypatch):
    whole, named = arguments("whole.tsv")
    expected = mine_bitext(*whole, **named)
    embed, embedded, stop_at = TextEmbedder.__call__, [], [12]
    search, searched = mining.find_neighbours, []

    def failing(embedder, texts, progress=None):
        if len(embedded) in stop_at:
            stop_at.clear()
            raise KeyboardInterrupt
        embedded.extend(texts)
        return embed(embedder, texts, progress)

    def stopping(name, *arguments, **named):
        searched.append(name)
        if searched == ["forward", "backward"]:
            raise KeyboardInterrupt
        return search(name, *arguments, **named)

    monkeypatch.setattr(TextEmbedder, "__call__", failing)
    monkeypatch.setattr(mining, "find_neighbours", stopping)
    given, named = arguments("pairs.tsv")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            mine_bitext(*given, **named)
        assert not (tmp_path / "pairs.tsv").exists() and (tmp_path / ".pairs.tsv.work").is_dir()
    found = mine_bitext(*given, **named)
    # No sentence was embedded again.
    assert len(embedded) == expected["source"]["sentences"] + expected["target"]["sentences"]
    assert searched == ["forward", "backward", "forward", "backward"]
    assert found == {**expected, "resumed": True}
    assert (tmp_path / "pairs.tsv").read_bytes() == (tmp_path / "whole.tsv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.tsv", "whole.tsv"]


def test_kept_work_serves_other_scores_and_not_other_vectors(arguments, tmp_path, monkeypatch):
    given, named = arguments("pairs.tsv")
    assert not mine_bitext(*given, **named, keep_work=True)["resumed"]
    calls = []
    embed = TextEmbedder.__call__
    monkeypatch.setattr(TextEmbedder, "__call__", lambda embedder, *more: calls.append(1) or embed(embedder, *more))
    other, named = arguments("pairs.tsv", margin="distance", direction="intersection")
    again = mine_bitext(*other, **named, keep_work=True)
    assert again["resumed"] and not calls
    alone, named = arguments("alone.tsv", margin="distance", direction="intersection")
    assert mine_bitext(*alone, **named) == {**again, "resumed": False} and calls
    assert (tmp_path / "pairs.tsv").read_bytes() == (tmp_path / "alone.tsv").read_bytes()
    # Other neighbours are other work.
    fewer, named = arguments("pairs.tsv", neighbours=1)
    assert not mine_bitext(*fewer, **named)["resumed"] and not (tmp_path / ".pairs.tsv.work").exists()


def test_the_command_keeps_the_work_and_warns_of_gold_pairs_that_do_not_match(data, tiny_preset, tmp_path, capsys):
    (tmp_path / "other.gold").write_text("7\t1\n")
    output, results = tmp_path / "pairs.tsv", tmp_path / "results.json"
    files = ["--source", data / "left.txt", "--target", data / "right.txt.gz", "--output", output]
    options = ["--gold", tmp_path / "other.gold", "--direction", "intersection", "--results", results]
    for resumed in (False, True):
        run(main, "--model", tiny_preset, *files, *options, "--keep_work")
        assert json.loads(results.read_text())["resumed"] is resumed
        assert (tmp_path / ".pairs.tsv.work").is_dir()
    assert "no pair that was found is a gold pair" in capsys.readouterr().out


def test_the_graph_of_usearch_and_half_precision_give_the_exact_pairs_here(arguments, tmp_path):
    pytest.importorskip("usearch")
    found = []
    for index, vectors in (("exact", "float32"), ("usearch", "float16")):
        given, named = arguments(f"{index}.tsv", index=index, vectors=vectors)
        found.append(mine_bitext(*given, **named)["gold"])
    assert found[0]["f1"] == pytest.approx(found[1]["f1"], abs=0.1)
    exact, graph = (
        {tuple(row[1:3]): float(row[0]) for row in rows_of(tmp_path / f"{index}.tsv")}
        for index in ("exact", "usearch")
    )
    shared = exact.keys() & graph.keys()
    assert len(shared) >= 0.9 * len(exact)
    assert [exact[pair] for pair in shared] == pytest.approx([graph[pair] for pair in shared], abs=2e-3)


def test_another_run_on_the_same_output_is_refused(arguments, monkeypatch):
    given, named = arguments("pairs.tsv")

    def inner(*_, **__):
        with pytest.raises(Exception, match="pairs.tsv: another run is writing it"):
            mine_bitext(*given, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(mining, "find_neighbours", inner)
    with pytest.raises(KeyboardInterrupt):
        mine_bitext(*given, **named)


def test_blocks_that_were_written_but_not_recorded_are_written_again(tmp_path):
    file = RowFile(tmp_path / "rows", np.float16, 3)
    assert file.rows == 0
    file.write(0, np.arange(12).reshape(4, 3))
    file.write(2, np.full((1, 3), 7))
    with open(file.path, "ab") as cut:
        cut.write(b"12345")
    assert file.rows == 3 and file.open().tolist() == [[0, 1, 2], [3, 4, 5], [7, 7, 7]]


BAD_INPUT = {
    "no file": ({"--source": "absent.txt"}, "absent.txt: no such file"),
    "no sentence": ({"--source": "blank.txt"}, "blank.txt: holds no sentence"),
    "records": ({"--target": "x.jsonl"}, "a .jsonl file holds no plain lines"),
    "not UTF-8": ({"--source": "latin.txt"}, "latin.txt: line 2: is not UTF-8"),
    "no id": ({"--ids": None}, "line 1: has no id; with --ids each line is `id<TAB>sentence`"),
    "gold of other ids": (
        {"--gold": "gold.ids"},
        "gold.ids: line 1: the source has no sentence with the id left-00006",
    ),
    "gold of one column": ({"--gold": "one.gold"}, "one.gold: line 2: '7' is no pair"),
    "gold of a blank line": ({"--gold": "five.gold"}, "five.gold: line 1: the source has no sentence with the id 5"),
    "no gold": ({"--gold": "blank.txt"}, "blank.txt: holds no pair"),
    "neighbours": ({"--neighbours": "0"}, "neighbours = 0: must be at least 1"),
    "layer": ({"--layer": "3"}, "layer 3: the encoder has hidden states 0..2"),
    "output": ({"--output": "."}, "is a directory; give a file"),
    "the gold pairs as output": ({"--gold": "five.gold", "--output": "five.gold"}, "is an input as well (--gold)"),
    "compressed output": ({"--output": "five.gold.gz"}, "is written as plain text; leave .gz out"),
    "threshold": ({"--threshold": "nan"}, "threshold = nan: must be a number"),
}


@pytest.mark.parametrize("changed, words", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_ends_with_one_message_and_no_output(changed, words, data, tiny_preset, tmp_path, capsys):
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "x.jsonl").write_text("{}\n")
    (tmp_path / "latin.txt").write_bytes(b"a\n\xe4\n")
    (tmp_path / "one.gold").write_text("1\t2\n7\n")
    (tmp_path / "five.gold").write_text("5\t2\n")
    given = {
        "--model": tiny_preset,
        "--source": data / "left.txt",
        "--target": data / "right.txt.gz",
        "--output": tmp_path / "new" / "out.tsv",
        **{
            option: value if value is None or not (tmp_path / value).exists() else tmp_path / value
            for option, value in changed.items()
        },
    }
    if given.get("--gold") == "gold.ids":
        given["--gold"] = data / "gold.ids"
    arguments = [word for option in given.items() for word in option if word is not None]
    before = sorted(tmp_path.iterdir())
    assert words in refused(capsys, main, *arguments)
    assert sorted(tmp_path.iterdir()) == before


def test_without_a_pair_nothing_is_found():
    """Both directions may agree on none."""
    nothing = ScoredPairs(np.zeros(0), np.zeros(0, int), np.zeros(0, int))
    threshold, measured = thresholded(nothing, {(0, 0), (1, 2)}, None)
    assert threshold is None
    assert measured == {"pairs": 2, "threshold_from": "gold", "precision": 0.0, "recall": 0.0, "f1": 0.0}
