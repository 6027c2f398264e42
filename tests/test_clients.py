"""The clients against servers on the loopback that speak TensorFlow Serving's own messages."""

import json
import pathlib
import sys

import numpy as np
import pytest

from fake_serving import Model, grpc_server, rest_server
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.serving import export_embedding
from running import refused, run
from tiny_export import expected_vectors

CLIENTS = pathlib.Path(__file__).parents[1] / "clients"
sys.path.insert(0, str(CLIENTS))
import grpc_predict  # noqa: E402
import rest  # noqa: E402

TEXTS = ["Haus und Fluss", "the house and river", "", "房子", "\U0001f469 \u202e\u00df"]
SERVERS = {"rest": (rest.main, rest_server), "grpc": (grpc_predict.main, grpc_server)}


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    return Model(export_embedding(model, tmp_path_factory.mktemp("infoxlm"), verify=False).directory, "infoxlm")


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


def test_similarity_of_a_file_with_any_bytes(client, model, tmp_path, capsys):
    main, address = client
    pairs = [(b"Haus", b"house"), (b"\xff\x00", b"\xe2\x82 cut"), (b"same", b"same")]
    (tmp_path / "pairs.tsv").write_bytes(b"\n".join(b"\t".join(pair) for pair in pairs))
    arguments = ["--task", "similarity", "--file", tmp_path / "pairs.tsv", "--model_version", 1]
    run(main, "--address", address, *arguments)
    [values] = zip(*(answer.values() for answer in lines(capsys)), strict=True)
    sides = [expected_vectors(model, side, layer=1, pooling="mean") for side in zip(*pairs, strict=True)]
    np.testing.assert_allclose(values, (sides[0] * sides[1]).sum(axis=1), rtol=0, atol=1e-5)


def test_what_the_server_refuses_is_told(client, capsys):
    main, address = client
    message = refused(capsys, main, "--address", address, "--model", "other", "--text", "a")
    assert address in message and "Servable not found" in message
    message = refused(capsys, main, "--address", address, "--task", "qa", "--text", "a\tb")
    assert address in message and "the server answered" in message  # this model has no question answering


@pytest.mark.parametrize("main", [main for main, _ in SERVERS.values()], ids=SERVERS)
def test_bad_input(main, tmp_path, capsys):
    (tmp_path / "one.tsv").write_text("a\tb\nonly one\n")
    nowhere = "127.0.0.1:9" if main is grpc_predict.main else "http://127.0.0.1:9"  # discard: nobody listens
    for arguments, words in [
        ([], "give either --text TEXT or --file FILE"),
        (["--text", "a", "--batch_size", "0"], "--batch_size 0: must be at least 1"),
        (["--file", tmp_path / "nothing"], "nothing: No such file"),
        (["--task", "similarity", "--text", "a"], "--text number 1: has 1 tab-separated columns"),
        (["--task", "similarity", "--file", tmp_path / "one.tsv", "--batch_size", "9"], "one.tsv, line 2: has 1"),
        (["--text", "a"], f"{nowhere}"),
    ]:
        assert words in refused(capsys, main, "--address", nowhere, *arguments)


def test_a_port_of_something_else_is_told(served, capsys):
    with rest_server(served) as address:
        message = refused(capsys, grpc_predict.main, "--address", address.removeprefix("http://"), "--text", "a")
    assert "the server answered" in message or "cannot be reached" in message
