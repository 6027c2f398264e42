"""recipes/search.py against a search by NumPy, and its refusals."""

import bz2
import functools
import gzip
import json
import os
import runpy
import shutil
import subprocess
import sys
import types

import google_crc32c
import numpy as np
import pytest

from infoxlm_keras.commands import search
from infoxlm_keras.models import EncoderSize, build_masked_lm
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.search.index import IndexWriter
from infoxlm_keras.serving import export_embedding, export_masked_lm
from repository import REPOSITORY
from running import refused, run, tree
from sample_text import multilingual_sentences
from tiny_export import expected_vectors

LOADED = functools.lru_cache(search.load_embedder)
RECIPE = REPOSITORY / "recipes" / "search.py"
MAIN = runpy.run_path(str(RECIPE))["main"]
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


@pytest.fixture
def loaded_once(monkeypatch):
    """The tests that ask for it are not about loading models, so a model is loaded once for all of them."""
    monkeypatch.setattr(search, "load_embedder", LOADED)


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


def test_queries_are_embedded_in_batches(places, tmp_path, monkeypatch, capsys):
    embedder, sizes = LOADED(places["serving"] / "1"), []

    def counted(texts, side):
        sizes.append(len(texts))
        return embedder(texts, side)

    counted.facts, counted.dim, counted.directory = embedder.facts, embedder.dim, embedder.directory
    monkeypatch.setattr(search, "load_embedder", lambda directory: counted)
    (tmp_path / "queries").write_bytes(b"\n".join(SENTENCES))
    query = ["query", "--index", places["index"], "--file", tmp_path / "queries", "--exact"]
    found = []
    for options, expected in (
        ([], [64, 64, len(SENTENCES) - 128]),
        (["--batch_size", len(SENTENCES)], [len(SENTENCES)]),
    ):
        sizes.clear()
        run(MAIN, *query, *options, "--output", tmp_path / "results.json")
        assert sizes == expected
        found.append(json.loads((tmp_path / "results.json").read_text())["results"])
    for result, whole, text in zip(*found, SENTENCES, strict=True):
        assert result["query"] == whole["query"] == text.decode()
        cosines = [[hit["cosine"] for hit in one["hits"]] for one in (result, whole)]
        np.testing.assert_allclose(*cosines, rtol=0, atol=1e-5)
    assert "--batch_size 0: must be at least 1" in refused(capsys, MAIN, *query, "--batch_size", 0)


@pytest.fixture(scope="module")
def prompted(model, places, tmp_path_factory):
    """(model with prompts, its export, an index of it)."""
    directory = tmp_path_factory.mktemp("prompted")
    info = PretrainingInfo(universal_layer=1, prompts={"query": "house: ", "document": "the river "})
    model = PretrainedModel(model.masked_lm, model.tokenizer, info)
    export_embedding(model, directory / "serving", verify=False)
    run(MAIN, "index", "--model", directory / "serving", "--input", places["input"], "--output_dir",
        directory / "index", "--vectors", "float32")  # fmt: skip
    return model, directory / "serving", directory / "index"


def test_sentences_and_queries_take_their_prompts(prompted, tmp_path):
    model, _, index = prompted
    arguments = [part for text in QUERIES for part in ("--text", text)]
    run(MAIN, "query", "--index", index, *arguments, "--top_k", 4, "--exact", "--output", tmp_path / "results.json")
    documents = model.encode([text.decode() for text in SENTENCES], prompt="document")
    cosines = model.encode(QUERIES, prompt="query") @ documents.T
    for result, row in zip(json.loads((tmp_path / "results.json").read_text())["results"], cosines, strict=True):
        found = [hit["cosine"] for hit in result["hits"]]
        np.testing.assert_allclose(found, np.sort(row)[::-1][:4], rtol=0, atol=1e-5)


def test_an_index_made_with_other_prompts_is_refused(prompted, places, model, tmp_path, capsys):
    _, serving, index = prompted
    message = refused(capsys, MAIN, "query", "--index", places["index"], "--model", serving, "--text", "x")
    assert "has prompts {'query': 'house: ', 'document': 'the river '}" in message and "built with None" in message
    message = refused(capsys, MAIN, "query", "--index", index, "--model", places["serving"] / "1", "--text", "x")
    assert "has prompts None" in message and "index again" in message
    others = PretrainedModel(model.masked_lm, model.tokenizer, PretrainingInfo(1, prompts={"query": "house: "}))
    export_embedding(others, tmp_path / "serving", verify=False)
    message = refused(capsys, MAIN, "query", "--index", index, "--model", tmp_path / "serving", "--text", "x")
    assert "'document': ''" in message


@pytest.fixture(scope="module")
def trained_on(model, tmp_path_factory):
    """A function that exports layer 1 of a model with the same tokenizer, one value of layer `number` changed."""

    def export(number):
        size = EncoderSize(num_layers=2, hidden_dim=8, num_heads=2, intermediate_dim=16, max_sequence_length=64)
        masked_lm = build_masked_lm(size, model.tokenizer.vocabulary_size)
        masked_lm.set_weights(model.masked_lm.get_weights())
        bias = masked_lm.backbone.get_layer(f"transformer_layer_{number}").weights[-1]
        bias.assign(bias + np.eye(bias.shape[0], dtype="float32")[0])
        directory = tmp_path_factory.mktemp("trained_on") / "serving"
        other = PretrainedModel(masked_lm, model.tokenizer, PretrainingInfo(universal_layer=1))
        export_embedding(other, directory, layer=1, verify=False)
        return directory

    return export


def test_a_model_with_other_weights_is_refused(places, trained_on, capsys):
    query = ["query", "--index", places["index"], "--text", "x", "--model"]
    message = refused(capsys, MAIN, *query, trained_on(0))
    assert "has weights_digest '" in message and f"query with {places['serving'] / '1'}, or index again" in message
    # Layers above that of the vectors do not count.
    run(MAIN, *query, trained_on(1))


def test_a_model_that_cuts_texts_elsewhere_is_refused(places, model, tmp_path, capsys):
    export_embedding(model, tmp_path / "serving", layer=1, max_length=16, verify=False)
    message = refused(
        capsys, MAIN, "query", "--index", places["index"], "--text", "x", "--model", tmp_path / "serving"
    )
    assert "has max_length 16, the index was built with 64" in message


@pytest.mark.parametrize("older", ["export", "index"])
def test_facts_that_an_earlier_release_did_not_write_are_not_compared(places, tmp_path, older):
    later = ("weights_digest", "max_length")
    shutil.copytree(places["serving"] / "1", tmp_path / "serving/1")
    shutil.copytree(places["index"], tmp_path / "index")
    path = tmp_path / ("serving/1/assets.extra/infoxlm.json" if older == "export" else "index/index.json")
    facts = json.loads(path.read_text())
    of_export = facts if older == "export" else facts["model_facts"]
    for name in later:
        del of_export[name]
    facts.pop("crc32c", None)
    path.write_text(json.dumps(facts) if older == "export" else seal(facts))
    query = ["query", "--index", tmp_path / "index", "--model", tmp_path / "serving"]
    run(MAIN, *query, "--text", QUERIES[0], "--output", tmp_path / "results.json")
    [result] = json.loads((tmp_path / "results.json").read_text())["results"]
    assert result["query"] == QUERIES[0] and len(result["hits"]) == 5


@pytest.mark.parametrize("prompts", [["query"], {"passage": "p: "}])
def test_an_export_whose_facts_name_other_prompts_is_refused(prompted, tmp_path, capsys, prompts):
    shutil.copytree(prompted[1], tmp_path / "serving")
    facts = tmp_path / "serving/1/assets.extra/infoxlm.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "prompts": prompts}))
    message = refused(capsys, MAIN, "query", "--index", prompted[2], "--model", tmp_path / "serving", "--text", "x")
    assert "infoxlm.json: prompts = " in message and "export the model again" in message


def test_vectors_that_are_not_scaled_are_found_by_their_cosine(places, model, tmp_path):
    info = PretrainingInfo(universal_layer=1, normalize=False)
    export_embedding(PretrainedModel(model.masked_lm, model.tokenizer, info), tmp_path / "serving", verify=False)
    run(MAIN, "index", "--model", tmp_path / "serving", "--input", places["input"], "--output_dir", tmp_path / "index",
        "--vectors", "int8")  # fmt: skip
    arguments = [part for text in QUERIES for part in ("--text", text)]
    run(MAIN, "query", "--index", tmp_path / "index", *arguments, "--exact", "--output", tmp_path / "results.json")
    vectors = expected_vectors(model, SENTENCES, layer=1, pooling="mean")
    cosines = expected_vectors(model, [query.encode() for query in QUERIES], layer=1, pooling="mean") @ vectors.T
    for result, row in zip(json.loads((tmp_path / "results.json").read_text())["results"], cosines, strict=True):
        for hit in result["hits"]:
            assert hit["cosine"] == pytest.approx(row[SENTENCES.index(hit["sentence"].encode())], abs=0.03)


def test_int8_vectors_are_searched_and_bits_refused(places, model, tmp_path, capsys):
    for vectors in ("int8", "binary"):
        export_embedding(model, tmp_path / vectors, verify=False, vectors=vectors)
    arguments = ["--input", places["input"], "--output_dir", tmp_path / "index", "--vectors", "float32"]
    assert "vectors of bits" in refused(capsys, MAIN, "index", "--model", tmp_path / "binary", *arguments)
    run(MAIN, "index", "--model", tmp_path / "int8", *arguments)
    output = tmp_path / "results.json"
    query = ["query", "--index", tmp_path / "index", "--text", QUERIES[0], "--top_k", 3, "--exact", "--output", output]
    run(MAIN, *query)
    [result] = json.loads(output.read_text())["results"]
    stored = np.rint(127 * expected_vectors(model, [QUERIES[0].encode(), *SENTENCES], layer=1, pooling="mean"))
    unit = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    best = np.sort(unit[1:] @ unit[0])[::-1][:3]
    np.testing.assert_allclose([hit["cosine"] for hit in result["hits"]], best, rtol=0, atol=2e-3)
    # Other vectors than those of the index.
    assert "has vectors 'float32'" in refused(capsys, MAIN, *query, "--model", places["serving"] / "1")


# Ending -> a tool that writes it, none of them the project's.
COMPRESSORS = {
    "gz": ["gzip", "-c"],
    "xz": ["xz", "-c"],
    "bz2": ["bzip2", "-c"],
    "zst": [sys.executable, "-c", "import sys, zstandard\n"
            "zstandard.ZstdCompressor().copy_stream(sys.stdin.buffer, sys.stdout.buffer)"],
}  # fmt: skip


@pytest.mark.usefixtures("loaded_once")
@pytest.mark.parametrize("ending", ["txt", "bom", "crlf", *COMPRESSORS])
def test_every_form_of_the_input_gives_the_same_index(places, tmp_path, ending):
    content = places["input"].read_bytes()
    if ending == "bom":
        content = b"\xef\xbb\xbf" + content
    elif ending == "crlf":
        content = content.replace(b"\n", b"\r\n")
    elif ending in COMPRESSORS:
        content = subprocess.run(COMPRESSORS[ending], input=content, stdout=subprocess.PIPE, check=True).stdout
    name = f"input.{ending}"
    (tmp_path / name).write_bytes(content)
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


@pytest.mark.usefixtures("loaded_once")
def test_bad_input(places, tmp_path, capsys):
    (tmp_path / "empty").write_text("\n \n")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"line\n" * 5000)[:-20])
    os.mkfifo(tmp_path / "fifo")
    damaged = bytearray(bz2.compress(b"".join(b"line %d\n" % number for number in range(5000))))
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "flipped.bz2").write_bytes(damaged)
    (tmp_path / "utf16.txt").write_text("Haus\nFluss\n", encoding="utf-16")
    (tmp_path / "latin1.txt").write_text("Haus\nBrücke\n", encoding="latin-1")
    (tmp_path / "nul.txt").write_bytes(b"a\0b\n")
    (tmp_path / "pointer.txt").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (tmp_path / "page.txt").write_bytes(b"<!DOCTYPE html>\n<p>Not found</p>\n")
    (tmp_path / "bare").write_bytes(bz2.compress("straße\n".encode() * 50))
    (tmp_path / "de.jsonl.xz").write_bytes(b"")
    build = ["index", "--output_dir", tmp_path / "out", "--model", places["serving"], "--input"]
    ask = ["query", "--index", places["index"]]
    for arguments, words in [
        ([*build, tmp_path / "nothing"], "nothing: no such file"),
        ([*build, tmp_path], "is a folder; name a file in it"),
        ([*build, tmp_path / "fifo"], "fifo: is neither a file nor a folder"),
        ([*build, tmp_path / "flipped.bz2"], "flipped.bz2: the compressed data is damaged"),
        ([*build, tmp_path / "utf16.txt"], "utf16.txt: line 1: is not UTF-8 (invalid start byte); it is UTF-16"),
        ([*build, tmp_path / "latin1.txt"], "latin1.txt: line 2: is not UTF-8"),
        ([*build, tmp_path / "nul.txt"], "nul.txt: line 1: holds a NUL byte"),
        ([*build, tmp_path / "pointer.txt"], "pointer.txt: is a Git LFS pointer, not the file itself"),
        ([*build, tmp_path / "page.txt"], "page.txt: is SGML, XML or HTML"),
        ([*build, tmp_path / "bare"], "it is compressed by bzip2: give its name the ending .bz2"),
        ([*build, tmp_path / "de.jsonl.xz"], "a .jsonl file holds no plain lines"),
        ([*ask, "--file", tmp_path / "utf16.txt"], "it is UTF-16: convert it"),
        ([*build, tmp_path / "empty"], "empty: holds no sentence"),
        ([*build, tmp_path / "cut.gz"], "cut.gz: the compressed data ends too early"),
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


@pytest.fixture
def copy(places, tmp_path):
    """A copy of the index."""
    for name, content in tree(places["index"]).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("name", ["index.usearch", "sentences.txt", "offsets.bin", "lines.bin", "index.json"])
def test_a_damaged_index_is_told(copy, name, capsys):
    content = (copy / name).read_bytes()
    generator = np.random.default_rng(17)
    damages = [content[: len(content) // 2], content[:-2], content + b"\0", b"", content[:1] * len(content)]
    # One changed bit, anywhere: usearch itself reads on, and may end the process.
    for place in generator.integers(0, len(content), 40):
        damages.append(content[:place] + bytes([content[place] ^ (1 << generator.integers(8))]) + content[place + 1 :])
    for damaged in damages:
        (copy / name).write_bytes(damaged)
        message = refused(capsys, MAIN, "query", "--index", copy, "--text", "a")
        assert str(copy / name) in message
    (copy / name).unlink()
    assert name in refused(capsys, MAIN, "query", "--index", copy, "--text", "a")
    (copy / name).mkdir()
    assert name in refused(capsys, MAIN, "query", "--index", copy, "--text", "a")


def seal(facts):
    """`index.json` with a right checksum of its own: CRC-32C of the JSON without it."""
    plain = json.dumps(facts, indent=1, ensure_ascii=False)
    return json.dumps({**facts, "crc32c": google_crc32c.Checksum(plain.encode()).hexdigest().decode()})


@pytest.mark.usefixtures("loaded_once")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sentences": 7}, "offsets.bin: does not hold 8 numbers"),
        ({"sentences": -1}, "sentences = -1"),
        ({"sentences": True}, "sentences = True"),
        ({"sentences": "30"}, "sentences = '30'"),
        ({"dim": 9}, "index.usearch: does not hold the vectors that index.json describes"),
        ({"dim": None}, "dim = None"),
        ({"vectors": "f16"}, "index.usearch: does not hold the vectors that index.json describes"),
        ({"vectors": "f64"}, "lists other vectors or files"),
        ({"model_facts": []}, "model_facts = []"),
        ({"files": {}}, "lists other vectors or files"),
        ({"files": {"../x": {}}}, "lists other vectors or files"),
        ({"version": 3}, "version 3, but this release reads 2"),
        ({"version": 1, "files": None}, "was written by an older release, without checksums"),
    ],
)
def test_the_facts_of_an_index_are_checked(copy, change, words, capsys):
    facts = json.loads((copy / "index.json").read_text())
    del facts["crc32c"]
    (copy / "index.json").write_text(seal(facts))
    run(MAIN, "query", "--index", copy, "--text", "a")
    (copy / "index.json").write_text(seal({**facts, **change}))
    message = refused(capsys, MAIN, "query", "--index", copy, "--text", "a")
    assert words in message and "index the sentences again" in message


def test_an_index_of_an_older_release_is_told_what_to_do(copy, capsys):
    facts = json.loads((copy / "index.json").read_text())
    old = {name: value for name, value in facts.items() if name not in ("files", "crc32c")}
    (copy / "index.json").write_text(json.dumps({**old, "version": 1}, indent=1))
    message = refused(capsys, MAIN, "query", "--index", copy, "--text", "a")
    assert "older release, without checksums of its files; index the sentences again (infoxlm search index" in message


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "null", "{", '"x"', "1e999", "\0"])
def test_odd_facts_are_one_error(copy, text, capsys):
    (copy / "index.json").write_text(text)
    assert "index.json: " in refused(capsys, MAIN, "query", "--index", copy, "--text", "a")


def test_any_paths(places, tmp_path, capsys):
    """Brackets, links and bytes that are no UTF-8 in every path; the model moved, the output a link."""
    odd = tmp_path / os.fsdecode(b"a [v2] \xff*?\n")
    odd.mkdir()
    shutil.copytree(places["serving"] / "1", odd / "model" / "1")
    (odd / "in [1].txt").write_bytes(places["input"].read_bytes())
    (odd / "target").mkdir()
    (odd / "link").symlink_to("target")
    index = ["index", "--model", odd / "model", "--input", odd / "in [1].txt", "--output_dir", odd / "link"]
    for overwrite in ([], ["--overwrite"]):
        run(MAIN, *index, *overwrite)
        assert (odd / "link").is_symlink() and (odd / "target" / "index.json").is_file()
    assert "is not empty" in refused(capsys, MAIN, *index)
    results = odd / "results [x].json"
    run(MAIN, "query", "--index", odd / "link", "--text", QUERIES[0], "--output", results)
    hits = json.loads(results.read_text())["results"][0]["hits"]
    assert len(hits) == 5 and all(hit["sentence"].encode() in SENTENCES for hit in hits)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_of_the_output(places, encoding, forked_python):
    """What the terminal cannot show is replaced; brackets of a sentence are no markup."""
    texts = ["улица 房子 [/red] [bold]", "\udcff"]
    command = [sys.executable, RECIPE, "query", "--index", places["index"], "--top_k", "30"]
    process = forked_python.run(
        [*command, *[os.fsencode(part) for text in texts for part in ("--text", text)]],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(RECIPE.parents[1]), "COLUMNS": "200"},
        capture_output=True,
    )
    assert process.returncode == 0, process.stderr
    output = process.stdout.decode(encoding)
    assert "[/red] [bold]" in output
    if encoding == "utf-8":
        assert texts[0] in output


def test_a_full_disk_leaves_nothing(places, tmp_path, forked_python):
    """Under a limit of file sizes each write may be the one that fails."""
    # JAX's import sets this variable; a user's shell does not.
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    words = ["index", "--model", places["serving"] / "1", "--input", places["input"]]
    words += ["--output_dir", tmp_path / "new" / "out"]
    under_limit = (
        "import resource, runpy, sys\n"
        "limit = int(sys.argv.pop(1))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    # One as a user runs it, where an import may print too.
    starts = [(subprocess.run, 700), *((forked_python.run, limit) for limit in (100, 700, 1500, 4000))]
    for start, limit in starts:
        command = [sys.executable, "-c", under_limit, str(limit), RECIPE, *words]
        process = start(command, env=environment, capture_output=True, text=True)
        assert process.returncode == 2, process.stderr
        assert process.stderr.startswith("error: ") and process.stderr.count("\n") == 1, process.stderr
        assert "would be larger than a file may be" in process.stderr or "size of a file limited" in process.stderr
        assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_usearch_works_is_an_interruption(tmp_path, monkeypatch):
    """usearch makes a RuntimeError of it."""

    class Embedder:
        dim = 3

        def __call__(self, texts, side):
            return np.eye(3, dtype="float32")[: len(texts)]

    def terminated(*arguments, **options):
        raise RuntimeError("Operation has been terminated")

    with IndexWriter(tmp_path, Embedder(), "f32") as writer:
        writer.add([(1, b"a")])
        monkeypatch.setattr(writer, "index", types.SimpleNamespace(add=terminated))
        with pytest.raises(KeyboardInterrupt):
            writer.add([(2, b"b")])
