"""recipes/search.py against a search by NumPy, and its refusals."""

import gzip
import json
import lzma
import pathlib
import runpy

import numpy as np
import pytest

from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.serving import export_embedding, export_masked_lm
from running import refused, run, tree
from sample_text import multilingual_sentences
from tiny_export import expected_vectors

MAIN = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "recipes" / "search.py"))["main"]
SENTENCES = [text.encode() for text in multilingual_sentences(30)]
QUERIES = ["the house and a river", "улица", "房子"]


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


@pytest.fixture(scope="module")
def places(model, tmp_path_factory):
    """Paths by name: `serving` (embedding versions 1 and 2), `masked`, `input`, and `index` of it."""
    directory = tmp_path_factory.mktemp("search")
    for version in (1, 2):
        export_embedding(model, directory / "serving", layer=version, version=version, verify=False)
    export_masked_lm(model, directory / "masked", verify=False)
    gaps = ([text, b"", b" "] if number % 7 == 0 else [text] for number, text in enumerate(SENTENCES))
    lines = [line for part in gaps for line in part]
    (directory / "input").write_bytes(b"\n".join(lines))
    paths = {name: directory / name for name in ("serving", "masked", "input", "index")}
    run(MAIN, "index", "--model", paths["serving"] / "1", "--input", paths["input"], "--output_dir", paths["index"],
        "--vectors", "float32", "--batch_size", 17)  # fmt: skip
    return {**paths, "lines": lines}


def test_nearest_sentences_equal_numpy(places, model, tmp_path, capsys):
    arguments = [part for text in QUERIES for part in ("--text", text)]
    output = tmp_path / "results.json"
    run(MAIN, "query", "--index", places["index"], *arguments, "--top_k", 4, "--exact", "--output", output)
    printed = capsys.readouterr().out
    results = json.loads(output.read_text())["results"]
    assert [result["query"] for result in results] == QUERIES
    vectors = expected_vectors(model, SENTENCES, layer=1, pooling="mean")
    cosines = expected_vectors(model, [query.encode() for query in QUERIES], layer=1, pooling="mean") @ vectors.T
    for result, row in zip(results, cosines, strict=True):
        found = [hit["cosine"] for hit in result["hits"]]
        np.testing.assert_allclose(found, np.sort(row)[::-1][:4], rtol=0, atol=1e-5)
        for hit in result["hits"]:
            number = SENTENCES.index(hit["sentence"].encode())
            assert hit["cosine"] == pytest.approx(row[number], abs=1e-5)
            assert places["lines"][hit["line"] - 1] == SENTENCES[number]
        assert f"{found[0]:.4f}" in printed


@pytest.mark.parametrize("opener", [gzip.open, lzma.open])
def test_compressed_input_gives_the_same_index(places, tmp_path, opener):
    name = {gzip.open: "input.gz", lzma.open: "input.xz"}[opener]
    with opener(tmp_path / name, "wb") as file:
        file.write(places["input"].read_bytes())
    run(MAIN, "index", "--model", places["serving"] / "1", "--input", tmp_path / name, "--output_dir", tmp_path / "i")
    for file in ("sentences.txt", "offsets.bin", "lines.bin"):
        assert (tmp_path / "i" / file).read_bytes() == (places["index"] / file).read_bytes()
    # float16 vectors, the graph, and queries from a file.
    (tmp_path / "queries").write_bytes(SENTENCES[5] + b"\n\n" + SENTENCES[9] + b"\n")
    output = tmp_path / "results.json"
    run(MAIN, "query", "--index", tmp_path / "i", "--file", tmp_path / "queries", "--top_k", 1, "--output", output)
    results = json.loads(output.read_text())["results"]
    for result, sentence in zip(results, (SENTENCES[5], SENTENCES[9]), strict=True):
        [hit] = result["hits"]
        assert hit["cosine"] > 0.999
        assert result["query"].encode() == sentence


def test_bad_input(places, tmp_path, capsys):
    (tmp_path / "empty").write_text("\n \n")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"line\n" * 5000)[:-20])
    build = ["index", "--output_dir", tmp_path / "out", "--model", places["serving"], "--input"]
    ask = ["query", "--index", places["index"]]
    for arguments, words in [
        ([*build, tmp_path / "nothing"], "nothing: no such file"),
        ([*build, tmp_path / "empty"], "empty: holds no sentence"),
        ([*build, tmp_path / "cut.gz"], "cut.gz: is damaged after line"),
        ([*build, places["input"], "--batch_size", 0], "--batch_size 0: must be at least 1"),
        ([*build, places["input"], "--model", tmp_path], "holds no SavedModel"),
        ([*build, places["input"], "--model", places["masked"]], "not embedding; export the embedding head"),
        ([*ask], "give either --text TEXT or --file FILE"),
        ([*ask, "--text", "a", "--top_k", 0], "--top_k 0: must be at least 1"),
        ([*ask, "--text", "a", "--index", tmp_path], "is no index"),
        # The newest version is of another layer.
        ([*ask, "--text", "a", "--model", places["serving"]], "has layer 2, the index was built with 1"),
    ]:
        assert words in refused(capsys, MAIN, *arguments)
        assert not (tmp_path / "out").exists()


def test_a_damaged_index_is_told(places, tmp_path, capsys):
    for name, content in tree(places["index"]).items():
        for other, its_content in tree(places["index"]).items():
            (tmp_path / other).write_bytes(its_content)
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        assert name in refused(capsys, MAIN, "query", "--index", tmp_path, "--text", "a")
