"""What comes from elsewhere at run time: search indexes and answers of servers."""

import contextlib
import io
import json
import sys
from types import SimpleNamespace

import numpy as np

from fuzz.harness import Target
from fuzz.mutations import mutate_json
from infoxlm_keras.search.index import IndexReader, IndexWriter
from repository import CLIENTS

DIM, SENTENCES = 8, [f"sentence {number}".encode() for number in range(30)]
ANSWER = {"outputs": {"label": ["b", "a"], "probabilities": [[0.25, 0.75], [0.5, 0.5]]}}


class Embedder:
    """Unit vectors that are a function of the text."""

    dim, directory, facts = DIM, "model", {"dim": DIM, "layer": 1}

    def __call__(self, texts, side=None):
        vectors = np.array([np.random.default_rng(list(text)).normal(size=DIM) for text in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_index(directory):
    writer = IndexWriter(directory, Embedder(), "f32")
    writer.add(list(enumerate(SENTENCES, 1)))
    writer.close("sentences.txt")


def search(directory):
    """Hits of three queries: in the graph, and by all vectors."""
    reader = IndexReader(directory)
    embedder = Embedder()
    reader.check(embedder)
    queries = SENTENCES[:3]
    return [reader.search(queries, embedder(queries), 4, exact) for exact in (False, True)]


def is_near(value, _):
    """Every hit is a sentence with its own cosine: what was damaged does not show."""
    embedder = Embedder()
    for results in value:
        for query, result in zip(SENTENCES, results, strict=False):
            for hit in result["hits"]:
                text = hit["sentence"].encode()
                cosine = float(embedder([query])[0] @ embedder([text])[0])
                if SENTENCES[hit["line"] - 1 : hit["line"]] != [text] or abs(cosine - hit["cosine"]) > 1e-3:
                    return False
    return True


def make_answer(directory):
    (directory / "answer.json").write_text(json.dumps(ANSWER))


def rest_answer(directory):
    """The lines that recipes/clients/rest.py prints for an answer of a server to two texts."""
    if str(CLIENTS) not in sys.path:
        sys.path.insert(0, str(CLIENTS))
    import rest

    body = (directory / "answer.json").read_bytes()

    def request(self, method, url, **options):
        import requests

        response = requests.Response()
        response.status_code, response.raw = 200, io.BytesIO(body)
        return response

    printed = io.StringIO()
    arguments = ["--address", "http://localhost:1", "--text", "a", "--text", "b"]
    with patched_request(request), contextlib.redirect_stdout(printed):
        rest.main(arguments)
    return [json.loads(line) for line in printed.getvalue().splitlines()]


@contextlib.contextmanager
def patched_request(request):
    import requests

    before = requests.Session.request
    requests.Session.request = request
    try:
        yield SimpleNamespace()
    finally:
        requests.Session.request = before


def is_one_line_a_text(value, _):
    return len(value) == 2 and all(isinstance(line, dict) for line in value)


TARGETS = [
    Target("search index", make_index, search, lambda directory: True, agrees=is_near),
    Target(
        "client answers",
        make_answer,
        rest_answer,
        lambda directory: True,
        agrees=is_one_line_a_text,
        mutate=mutate_json,
    ),
]
