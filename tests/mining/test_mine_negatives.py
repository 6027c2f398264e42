"""`infoxlm mine-negatives` from files to samples with negatives, against a search of the whole matrix."""

import json

import numpy as np
import pytest

from infoxlm_keras.commands.mine_negatives import main
from infoxlm_keras.evaluation import TextEmbedder
from infoxlm_keras.exporting.convert import convert_checkpoint
from infoxlm_keras.mining import negative_mining
from infoxlm_keras.mining.negative_mining import mine_negatives
from infoxlm_keras.mining.negatives import NegativeSettings
from infoxlm_keras.models.sentence_vector import sentence_vector
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, load_pretrained, save_pretrained
from infoxlm_keras.text.embedding_samples import EmbeddingSamples, read_embedding_samples
from running import refused, run
from sample_text import sentences

COUNT = 24
# The query of a sentence is the sentence without its last word.
POSITIVES = sentences("en", COUNT)
QUERIES = [" ".join(text.split()[:-1]) for text in POSITIVES]
# A random encoder's cosines are all near 1.
SHARE = 0.99
FURTHER = [f"{text} indeed" for text in POSITIVES[:7]]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("negatives")
    rows = [{"query": query, "pos": [text]} for query, text in zip(QUERIES, POSITIVES, strict=True)]
    # The first query has a second positive.
    rows.append({"query": QUERIES[0], "pos": [POSITIVES[1]]})
    (root / "train.en.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (root / "more.txt").write_text("".join(f"{text}\n\n" for text in FURTHER), encoding="utf-8")
    pairs = zip(POSITIVES[:10], sentences("de", 10), strict=True)
    (root / "x.en-de.tsv").write_text("".join(f"{one}\t{two}\n" for one, two in pairs), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def prompted_preset(tiny_masked_lm, tokenizer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("prompted") / "model"
    info = PretrainingInfo(universal_layer=1, prompts={"query": "the house ", "document": "a river "})
    save_pretrained(directory, tiny_masked_lm, tokenizer, info)
    return directory


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def expected_rows(model, documents, negatives, share, prompts=(None, None)):
    """[(query, positive, negatives)] by sorting the whole matrix of cosines."""

    def unit(texts, prompt):
        vectors = np.float64(model.encode(texts, prompt=prompt))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    queries, positives = [*QUERIES, QUERIES[0]], [*POSITIVES, POSITIVES[1]]
    cosines = unit(queries, prompts[0]) @ unit(documents, prompts[1]).T
    found = []
    for query, positive, row in zip(queries, positives, cosines, strict=True):
        own = {text for other, text in zip(queries, positives, strict=True) if other == query} | {query}
        limit = share * row[documents.index(positive)]
        order = [number for number in np.argsort(-row) if documents[number] not in own and row[number] <= limit]
        found.append((query, positive, [documents[number] for number in order[:negatives]]))
    return [row for row in found if len(row[2]) == negatives]


@pytest.mark.parametrize("prompts", [False, True])
def test_negatives_equal_those_of_the_whole_matrix(prompts, data, tiny_preset, prompted_preset, tmp_path, capsys):
    preset = prompted_preset if prompts else tiny_preset
    output, results = tmp_path / "new" / "out.jsonl", tmp_path / "results.json"
    files = ["--pairs", data / "train.en.jsonl", "--documents", data / "more.txt", "--output", output]
    options = ["--negatives", 3, "--max_score_share", SHARE, "--max_rank", 1000]
    run(main, "--model", preset, *files, "--results", results, *options)
    sides = ("query", "document") if prompts else (None, None)
    expected = expected_rows(load_pretrained(preset), [*POSITIVES, *FURTHER], 3, SHARE, sides)
    rows = rows_of(output)
    assert [(row["query"], row["positive"], row["negatives"]) for row in rows] == expected
    assert 0 < len(rows) and {row["language"] for row in rows} == {"en"}
    found = json.loads(results.read_text())["languages"]["en"]
    assert (found["samples"], found["queries"], found["documents"]) == (COUNT + 1, COUNT, COUNT + len(FURTHER))
    assert found["written"] == len(rows) == found["negatives"]["3"]
    assert sum(found["negatives"].values()) == COUNT + 1
    # Each query's own positive; the first query, which comes twice, has two.
    assert found["left_out"]["known_positives"] == COUNT + 3
    assert [path.name for path in output.parent.iterdir()] == ["out.jsonl"]
    assert f"{len(rows):,}" in capsys.readouterr().out
    # What was written is what training reads.
    (part,) = read_embedding_samples([output])
    assert (part.language, part.left_out) == ("en", 0)
    assert part.negatives == [row["negatives"] for row in rows]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"max_score_share": float("inf")}, {}),
        ({"max_score_share": float("inf"), "skip_top": 2}, {"range_min": 2}),
        ({"max_score_share": 0.99}, {"relative_margin": 0.01}),
        ({"max_score_share": float("inf"), "margin": 0.02}, {"absolute_margin": 0.02}),
        ({"max_score_share": 0.995, "margin": 0.01}, {"absolute_margin": 0.01, "relative_margin": 0.005}),
    ],
)
def test_sentence_transformers_mines_the_same(ours, theirs, tiny_preset, tmp_path):
    import datasets
    import sentence_transformers
    from sentence_transformers.util import mine_hard_negatives

    convert_checkpoint(tiny_preset, tmp_path / "st", "sentence-transformers")
    mined = mine_hard_negatives(
        datasets.Dataset.from_dict({"query": QUERIES, "positive": POSITIVES}),
        sentence_transformers.SentenceTransformer(str(tmp_path / "st"), device="cpu"),
        **{"num_negatives": 3, "range_max": COUNT, "output_format": "n-tuple", "verbose": False, **theirs},
    )
    model = load_pretrained(tiny_preset)
    samples = EmbeddingSamples("en", queries=QUERIES, positives=POSITIVES)
    settings = NegativeSettings(negatives=3, **ours)
    mine_negatives(model, sentence_vector(model, lowest=0), [samples], tmp_path / "out.jsonl", settings)
    expected = [(row["query"], row["positive"], [row[f"negative_{number}"] for number in (1, 2, 3)]) for row in mined]
    found = [(row["query"], row["positive"], row["negatives"]) for row in rows_of(tmp_path / "out.jsonl")]
    assert found == expected and len(found) > 3


def test_fewer_negatives_are_written_on_request_and_infinity_is_no_limit(data, tiny_preset, tmp_path):
    files, results = ["--pairs", data / "train.en.jsonl"], tmp_path / "results.json"
    counts = {}
    for name, options in {
        "all": ["--max_score_share", "inf"],
        "fewer": ["--max_score_share", SHARE, "--keep_fewer"],
    }.items():
        output = tmp_path / f"{name}.jsonl"
        run(
            main, "--model", tiny_preset, *files, "--output", output, "--results", results, "--negatives", 20, *options
        )
        counts[name] = [len(row["negatives"]) for row in rows_of(output)]
        found = json.loads(results.read_text())
        assert found["max_score_share"] == (None if name == "all" else SHARE)
        assert found["languages"]["en"]["written"] == len(counts[name])
    assert counts["all"] == [20] * (COUNT + 1)
    assert len({*counts["fewer"]}) > 1 and min(counts["fewer"]) > 0


def test_each_language_has_its_own_candidates(data, tiny_preset, tmp_path):
    files = ["--pairs", data / "train.en.jsonl", data / "x.en-de.tsv"]
    options = ["--negatives", 2, "--max_score_share", "inf", "--sampling", "random", "--seed", 3]
    for name in ("one", "two"):
        run(main, "--model", tiny_preset, *files, "--output", tmp_path / f"{name}.jsonl", *options)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    rows = rows_of(tmp_path / "one.jsonl")
    assert [row["language"] for row in rows] == ["en"] * (COUNT + 1) + ["en-de"] * 10
    german = sentences("de", 10)
    for row in rows:
        pool = german if row["language"] == "en-de" else POSITIVES
        assert {*row["negatives"]} < {*pool} - {row["positive"]}
    run(main, "--model", tiny_preset, *files, "--output", tmp_path / "three.jsonl", *options[:-1], 4)
    assert [row["negatives"] for row in rows] != [row["negatives"] for row in rows_of(tmp_path / "three.jsonl")]


@pytest.fixture
def mine(data, tiny_masked_lm, tokenizer, tmp_path):
    model = PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
    usual = [data / "train.en.jsonl", data / "x.en-de.tsv"]

    def mine(name, keep_work=False, files=usual, **values):
        parts = read_embedding_samples(files)
        settings = NegativeSettings(**{"negatives": 2, "max_score_share": float("inf"), **values})
        vector = sentence_vector(model, lowest=0)
        return mine_negatives(model, vector, parts, tmp_path / name, settings, keep_work=keep_work, chunk=5)

    return mine


def test_small_blocks_of_queries_choose_the_same(mine, tmp_path, monkeypatch):
    expected = mine("whole.jsonl")
    monkeypatch.setattr(negative_mining, "CELLS", 1)
    assert mine("small.jsonl") == expected
    assert (tmp_path / "small.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_an_interrupted_run_goes_on_and_its_output_appears_whole(mine, tmp_path, monkeypatch):
    expected = mine("whole.jsonl")
    embed, embedded, stop_at = TextEmbedder.__call__, [], [15]
    search, stop_search = negative_mining.nearest_neighbours, [True]

    def failing(embedder, texts, progress=None):
        if len(embedded) in stop_at:
            stop_at.clear()
            raise KeyboardInterrupt
        embedded.extend(texts)
        return embed(embedder, texts, progress)

    def stopping(*arguments):
        # The second language: the first one's samples are in the temporary file.
        if len(arguments[0]) == 10 and stop_search:
            stop_search.clear()
            raise KeyboardInterrupt
        return search(*arguments)

    monkeypatch.setattr(TextEmbedder, "__call__", failing)
    monkeypatch.setattr(negative_mining, "nearest_neighbours", stopping)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            mine("out.jsonl")
        assert {path.name for path in tmp_path.iterdir()} == {"whole.jsonl", ".out.jsonl.work"}
    assert mine("out.jsonl") == {**expected, "resumed": True}
    # Each text was embedded once.
    assert len(embedded) == sum(row["queries"] + row["documents"] for row in expected["languages"].values())
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "whole.jsonl"]


def test_kept_vectors_serve_another_choice(mine, tmp_path, monkeypatch):
    assert not mine("out.jsonl", keep_work=True)["resumed"]
    monkeypatch.setattr(TextEmbedder, "__call__", None)
    again = mine("out.jsonl", negatives=1, skip_top=2)
    assert again["resumed"] and not (tmp_path / ".out.jsonl.work").exists()
    assert {len(row["negatives"]) for row in rows_of(tmp_path / "out.jsonl")} == {1}


def test_vectors_of_the_same_texts_with_other_sides_are_not_taken(mine, data, tmp_path):
    texts = [f"text {number}" for number in range(12)]

    def written(name, queries):
        """Samples of which `queries` texts are queries, and all texts in their order are queries, then documents."""
        rows = [{"query": texts[n], "pos": [texts[-1]]} for n in range(queries)]
        rows[0]["pos"] = texts[queries:]
        (data / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return [data / name]

    first, second = written("first.en.jsonl", 6), written("second.en.jsonl", 4)
    assert not mine("out.jsonl", keep_work=True, files=first, negatives=1)["resumed"]
    assert not mine("out.jsonl", keep_work=True, files=second, negatives=1)["resumed"]


BAD_INPUT = {
    "no pairs": ({"--pairs": "absent.tsv"}, "absent.tsv: no such file"),
    "no positive": ({"--pairs": "bad.jsonl"}, "bad.jsonl: no column with a positive among query"),
    "no documents": ({"--documents": "absent.txt"}, "absent.txt: no such file"),
    "records": ({"--documents": "bad.jsonl"}, "a .jsonl file holds no plain lines"),
    "language": ({"--languages": "fr"}, "no sample of fr"),
    "output": ({"--output": "out.tsv"}, "is written as JSON lines; let its name end with .jsonl"),
    "the pairs as output": ({"--pairs": "bad.jsonl", "--output": "bad.jsonl"}, "is an input as well (--pairs)"),
    "rank": ({"--max_rank": "2"}, "max_rank = 2: must be at least skip_top + negatives = 4"),
    "layer": ({"--layer": "3"}, "layer 3: the encoder has hidden states 0..2"),
    "nothing is left": ({"--max_score_share": "0.01"}, "is not written: no sample has 4 negatives"),
}


@pytest.mark.parametrize("changed, words", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_ends_with_one_message_and_no_output(changed, words, data, tiny_preset, tmp_path, capsys):
    (tmp_path / "bad.jsonl").write_text('{"query": "q"}\n')
    given = {"--model": tiny_preset, "--pairs": data / "train.en.jsonl", "--output": tmp_path / "out.jsonl"}
    for option, value in changed.items():
        is_file = option in ("--pairs", "--documents", "--output")
        given[option] = tmp_path / value if is_file else value
    message = refused(capsys, main, *(part for item in given.items() for part in item))
    assert words in message
    assert not (tmp_path / "out.jsonl").exists()
