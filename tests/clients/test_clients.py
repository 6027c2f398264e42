"""The clients against servers on the loopback that speak TensorFlow Serving's own messages."""

import bz2
import gzip
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from fake_serving import Model, grpc_server, rest_server
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.serving import export_classifier, export_embedding
from repository import CLIENTS
from running import refused, run
from tiny_export import expected_vectors, tiny_classifier

sys.path.insert(0, str(CLIENTS))
import grpc_predict  # noqa: E402
import rest  # noqa: E402

TEXTS = ["Haus und Fluss", "the house and river", "", "房子", "\U0001f469 \u202e\u00df"]
LABELS = ["contradiction", "neutral", "entailment"]
SERVERS = {"rest": (rest.main, rest_server), "grpc": (grpc_predict.main, grpc_server)}


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    return Model(export_embedding(model, tmp_path_factory.mktemp("infoxlm"), verify=False).directory, "infoxlm")


@pytest.fixture(scope="module")
def classifier(model, tokenizer):
    return tiny_classifier(model.backbone, tokenizer)


@pytest.fixture(scope="module")
def served_classifier(classifier, tokenizer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("classifier")
    export = export_classifier(classifier, tokenizer, directory, verify=False, labels=LABELS)
    return Model(export.directory, "infoxlm")


@pytest.fixture(params=SERVERS)
def client(request, served):
    """(main of a client, address of a server for it)."""
    main, server = SERVERS[request.param]
    with server(served) as address:
        yield main, address


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_vectors(client, model, capsys):
    main, address = client
    run(main, "--address", address, *[part for text in TEXTS for part in ("--text", text)], "--batch_size", 2)
    [vectors] = zip(*(answer.values() for answer in lines(capsys)), strict=True)
    expected = expected_vectors(model, [text.encode() for text in TEXTS], layer=1, pooling="mean")
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)


def test_texts_with_the_prompts_of_queries_and_documents(model, tmp_path, capsys):
    info = PretrainingInfo(universal_layer=1, prompts={"query": "Haus ", "document": "river "})
    prompted = PretrainedModel(model.masked_lm, model.tokenizer, info)
    served = Model(export_embedding(prompted, tmp_path / "prompted", verify=False).directory, "infoxlm")
    (tmp_path / "texts").write_text("\n".join(TEXTS), encoding="utf-8")
    for main, server in SERVERS.values():
        with server(served) as address:
            for side in ("query", "document"):
                run(main, "--address", address, "--task", side, "--file", tmp_path / "texts")
                [vectors] = zip(*(answer.values() for answer in lines(capsys)), strict=True)
                np.testing.assert_allclose(vectors, prompted.encode(TEXTS, prompt=side), rtol=0, atol=1e-5)


@pytest.mark.parametrize("server", SERVERS)
def test_int8_vectors_and_bits(server, model, tmp_path, capsys):
    main, serve = SERVERS[server]
    expected = expected_vectors(model, [text.encode() for text in TEXTS], layer=1, pooling="mean")
    for vectors in ("int8", "binary"):
        exported = export_embedding(model, tmp_path / vectors, verify=False, vectors=vectors)
        with serve(Model(exported.directory, "infoxlm")) as address:
            run(main, "--address", address, *[part for text in TEXTS for part in ("--text", text)])
        [answer] = zip(*(answer.values() for answer in lines(capsys)), strict=True)
        if vectors == "int8":
            assert np.abs(np.array(answer) - 127 * expected).max() <= 0.5 + 127e-5
        else:
            np.testing.assert_array_equal(answer, np.packbits(expected > 0, axis=1))


def test_similarity_of_a_file_with_any_bytes(client, model, tmp_path, capsys):
    main, address = client
    pairs = [(b"Haus", b"house"), (b"\xff\x00", b"\xe2\x82 cut"), (b"same", b"same")]
    (tmp_path / "pairs.tsv").write_bytes(b"\n".join(b"\t".join(pair) for pair in pairs))
    arguments = ["--task", "similarity", "--file", tmp_path / "pairs.tsv", "--model_version", 1]
    run(main, "--address", address, *arguments)
    [values] = zip(*(answer.values() for answer in lines(capsys)), strict=True)
    sides = [expected_vectors(model, side, layer=1, pooling="mean") for side in zip(*pairs, strict=True)]
    np.testing.assert_allclose(values, (sides[0] * sides[1]).sum(axis=1), rtol=0, atol=1e-5)


def test_both_clients_print_the_same_names(served, served_classifier, tmp_path, capsys):
    """A lone output has no name in an answer over REST: the client looks it up in the model's metadata."""
    (tmp_path / "pairs.tsv").write_text("the house\tHaus\nriver\tFluss\n")
    for model, task, names in [
        (served, "serving_default", {"embedding"}),
        (served, "similarity", {"similarity"}),
        (served_classifier, "pairs", {"probabilities", "label", "labels"}),
        (served_classifier, "serving_default", {"probabilities", "label", "labels"}),
    ]:
        answers = []
        for main, server in SERVERS.values():
            with server(model) as address:
                run(main, "--address", address, "--task", task, "--file", tmp_path / "pairs.tsv")
            answers.append(lines(capsys))
        for of_rest, of_grpc in zip(*answers, strict=True):
            assert set(of_rest) == set(of_grpc) == names
            for output in names & {"label", "labels"}:
                assert of_rest[output] == of_grpc[output]
            for output in names - {"label", "labels"}:
                np.testing.assert_allclose(of_rest[output], of_grpc[output], rtol=0, atol=1e-6)


def test_pairs_of_a_classifier(served_classifier, classifier, tokenizer, tmp_path, capsys):
    pairs = [("the house", "Haus und Fluss"), ("", "river"), ("das Haus", "")]
    (tmp_path / "pairs.tsv").write_text("\n".join("\t".join(pair) for pair in pairs), encoding="utf-8")
    sides = [tokenizer.encode(list(side)) for side in zip(*pairs, strict=True)]
    expected = []
    for first, second in zip(*sides, strict=True):
        ids = np.array([[0, *first, 2, 2, *second, 2]], np.int32)
        logits = np.asarray(classifier({"token_ids": ids, "padding_mask": np.ones_like(ids)}), np.float64)[0]
        expected.append(np.exp(logits) / np.exp(logits).sum())
    for main, server in SERVERS.values():
        with server(served_classifier) as address:
            run(main, "--address", address, "--task", "pairs", "--file", tmp_path / "pairs.tsv", "--batch_size", 2)
        answers = lines(capsys)
        np.testing.assert_allclose([answer["probabilities"] for answer in answers], expected, rtol=0, atol=1e-5)
        assert [answer["labels"] for answer in answers] == [LABELS] * 3
        assert [answer["label"] for answer in answers] == [LABELS[np.argmax(row)] for row in expected]


def test_files_are_read_as_the_builders_read_them(client, tmp_path, capsys):
    main, address = client
    content = "\n".join(TEXTS).encode()
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbf" + content)
    (tmp_path / "crlf").write_bytes(content.replace(b"\n", b"\r\n"))
    (tmp_path / "texts.bz2").write_bytes(bz2.compress(content[:20]) + bz2.compress(content[20:]))
    answers = []
    for name in ("plain", "bom", "crlf", "texts.bz2"):
        run(main, "--address", address, "--file", tmp_path / name)
        answers.append(lines(capsys))
    assert len(answers[0]) == len(TEXTS) and all(other == answers[0] for other in answers)


@pytest.mark.parametrize("name", SERVERS)
def test_any_encoding_of_the_output(served_classifier, tmp_path, name):
    """JSON has escapes for what an encoding cannot hold: nothing is replaced."""
    labelled = Model(pathlib.Path(served_classifier.directory), "infoxlm")
    labelled.rename = {b"neutral": "Улица".encode(), b"entailment": b"\xff", b"contradiction": "\u2028".encode()}
    with SERVERS[name][1](labelled) as address:
        script = CLIENTS / {"rest": "rest.py", "grpc": "grpc_predict.py"}[name]
        process = subprocess.run(
            [sys.executable, script, "--address", address, "--text", "a"],
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(CLIENTS.parent)},
            capture_output=True,
        )
    assert process.returncode == 0 and process.stderr == b""
    answer = json.loads(process.stdout.decode("ascii"))
    assert answer["labels"][:2] == ["\u2028", "Улица"]


def test_what_the_server_refuses_is_told(client, capsys):
    main, address = client
    message = refused(capsys, main, "--address", address, "--model", "other", "--text", "a")
    assert address in message and "Servable not found" in message
    message = refused(capsys, main, "--address", address, "--task", "qa", "--text", "a\tb")
    assert address in message and "the server answered" in message  # this model has no question answering


@pytest.mark.parametrize("main", [main for main, _ in SERVERS.values()], ids=SERVERS)
def test_bad_input(main, tmp_path, capsys):
    (tmp_path / "one.tsv").write_text("a\tb\nonly one\n")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "utf16.txt").write_text("a\n", encoding="utf-16")
    (tmp_path / "texts").write_bytes(gzip.compress(b"a\n"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a\n" * 5000)[:14])
    (tmp_path / "long").write_bytes(b"x" * (2**24 + 1))
    nowhere = "127.0.0.1:9" if main is grpc_predict.main else "http://127.0.0.1:9"  # discard: nobody listens
    for arguments, words in [
        ([], "give either --text TEXT or --file FILE"),
        (["--text", "a", "--batch_size", "0"], "--batch_size 0: must be at least 1"),
        (["--file", tmp_path / "nothing"], "nothing: no such file"),
        (["--task", "similarity", "--text", "a"], "--text number 1: has 1 tab-separated columns"),
        (["--task", "similarity", "--file", tmp_path / "one.tsv", "--batch_size", "9"], "one.tsv, line 2: has 1"),
        (["--text", "a"], f"{nowhere}"),
        (["--text", "a", "--timeout", "0"], "--timeout 0: must be above 0"),
        (["--text", "a", "--timeout", "nan"], "--timeout nan: must be above 0"),
        (["--text", "a", "--timeout", "inf"], "--timeout inf: must be above 0"),
        (["--text", "a", "--model_version", "-1"], "--model_version -1: must be in 0.."),
        (["--text", "a", "--model_version", str(2**63)], "must be in 0.."),
        (["--text", "a", "--model", ""], "--model '': must be printable"),
        (["--text", "a", "--model", "a\udcffb"], "--model 'a\\udcffb': must be printable"),
        (
            ["--task", "pairs", "--text", "a\tb\tc"],
            "has 3 tab-separated columns, --task pairs needs 2: text, text_pair",
        ),
        (["--file", tmp_path], "is a folder; name a file in it"),
        (["--file", tmp_path / "fifo"], "fifo: is neither a file nor a folder"),
        (["--file", tmp_path / "utf16.txt"], "utf16.txt, line 1: is no text; it is UTF-16"),
        (["--file", tmp_path / "texts"], "texts, line 1: is no text; it is compressed by gzip"),
        (["--file", tmp_path / "cut.gz"], "cut.gz: the compressed data ends too early"),
        (["--file", tmp_path / "long"], "long: line 1: is longer than 16,777,216 bytes"),
    ]:
        message = refused(capsys, main, "--address", nowhere, *arguments)
        assert words in message and len(message) < 600


def test_a_port_of_something_else_is_told(served, capsys):
    with rest_server(served) as address:
        message = refused(capsys, grpc_predict.main, "--address", address.removeprefix("http://"), "--text", "a")
    assert "the server answered" in message or "cannot be reached" in message
