"""Sentences on disk with an index of their vectors (usearch), built by streaming.

index.usearch    the graph; key = number of the sentence
sentences.txt    the sentences, one a line, as bytes
offsets.bin      uint64, where each sentence starts in it, and where the last ends
lines.bin        uint64, line of the input each came from
index.json       how many, which model, how vectors are kept
"""

import contextlib
import gzip
import lzma
import os
import pathlib
import sys

import numpy as np

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json, write_json

INDEX_FILE, SENTENCES_FILE = "index.usearch", "sentences.txt"
OFFSETS_FILE, LINES_FILE, FACTS_FILE = "offsets.bin", "lines.bin", "index.json"
NUMBER = np.dtype("<u8")
OPENERS = {".gz": gzip.open, ".xz": lzma.open}
VERSION = 1


class IndexWriter:
    """Adds sentences to a new index.

    Args:
        directory: path, empty.
        embedder: function of a list of bytes to unit vectors, with `dim`, `directory` and `facts`
            (`SavedModelEmbedder`).
        vector_type: "f16", "f32" or "i8", usearch's name of how vectors are kept.

    Raises:
        InputError: if usearch is not installed.
    """

    def __init__(self, directory, embedder, vector_type):
        self.directory = pathlib.Path(directory)
        self.embedder = embedder
        self.vector_type = vector_type
        self.index = usearch_index().Index(ndim=embedder.dim, metric="cos", dtype=vector_type)
        self.count = self.position = 0
        self._files = contextlib.ExitStack()
        self._sentences, self._offsets, self._lines = (
            self._files.enter_context(open(self.directory / name, "wb"))
            for name in (SENTENCES_FILE, OFFSETS_FILE, LINES_FILE)
        )

    def add(self, sentences):
        """Adds `sentences`, a list of (line number, bytes)."""
        texts = [text for _, text in sentences]
        keys = np.arange(self.count, self.count + len(texts), dtype=np.uint64)
        self.index.add(keys, self.embedder(texts))
        lengths = np.array([len(text) + 1 for text in texts], NUMBER)
        starts = self.position + np.cumsum(lengths) - lengths
        self._offsets.write(starts.astype(NUMBER).tobytes())
        self._lines.write(np.array([line for line, _ in sentences], NUMBER).tobytes())
        self._sentences.write(b"".join(text + b"\n" for text in texts))
        self.count += len(texts)
        self.position += int(lengths.sum())

    def close(self, source):
        """Writes the graph and the facts, which are returned; `source` (str) is where the sentences came from.

        Raises:
            InputError: if no sentence was added.
        """
        self._offsets.write(np.array([self.position], NUMBER).tobytes())
        self._files.close()
        if not self.count:
            raise InputError(f"{source}: holds no sentence")
        self.index.save(str(self.directory / INDEX_FILE))
        facts = {
            "version": VERSION,
            "sentences": self.count,
            "dim": self.embedder.dim,
            "vectors": self.vector_type,
            "source": source,
            "model": str(self.embedder.directory),
            "model_facts": self.embedder.facts,
        }
        write_json(self.directory / FACTS_FILE, facts)
        return {name: facts[name] for name in ("sentences", "dim", "vectors", "source", "model")}


class IndexReader:
    """Opens what `IndexWriter` wrote; vectors and sentences stay on disk until they are needed.

    Args:
        directory: path.

    Attributes:
        facts: dict, the content of `index.json`.

    Raises:
        InputError: if it is no index, is damaged, or usearch is not installed.
    """

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        path = self.directory / FACTS_FILE
        if not path.is_file():
            raise InputError(f"{directory}: is no index (it has no {FACTS_FILE}); make one with search.py index")
        self.facts = read_json(path)
        if self.facts.get("version") != VERSION:
            raise InputError(f"{path}: version {self.facts.get('version')!r}, but this release reads {VERSION}")
        count = self.facts["sentences"]
        self._offsets, self._lines = self._numbers(OFFSETS_FILE, count + 1), self._numbers(LINES_FILE, count)
        sentences = self.directory / SENTENCES_FILE
        if not sentences.is_file() or sentences.stat().st_size != self._offsets[-1]:
            raise InputError(f"{sentences}: is missing or not of {self._offsets[-1]} bytes; index again")
        index = usearch_index().Index(ndim=self.facts["dim"], metric="cos", dtype=self.facts["vectors"])
        try:
            index.view(str(self.directory / INDEX_FILE))
        except (RuntimeError, OSError, ValueError) as error:
            raise InputError(f"{self.directory / INDEX_FILE}: cannot be opened ({error}); index again") from None
        if len(index) != count:
            path = self.directory / INDEX_FILE
            raise InputError(f"{path}: has {len(index)} vectors for {count} sentences; index again")
        self._index = index

    def check(self, embedder):
        """Raises InputError unless `embedder` is the export that the index was built with."""
        for name in ("tokenizer_fingerprint", "layer", "pooling", "storage", "dim"):
            built, given = self.facts["model_facts"].get(name), embedder.facts.get(name)
            if given != built:
                raise InputError(
                    f"{embedder.directory}: has {name} {given!r}, the index was built with {built!r}; "
                    f"query with {self.facts['model']}, or index again"
                )

    def search(self, texts, vectors, top_k, exact=False):
        """The nearest sentences.

        Args:
            texts: list of bytes, the queries.
            vectors: float32 [queries, dim].
            top_k: int.
            exact: bool, compare with every vector instead of walking the graph.

        Returns:
            list of {"query": str, "hits": [{"cosine": float, "line": int, "sentence": str}, ...]}, nearest first.
        """
        results = []
        with open(self.directory / SENTENCES_FILE, "rb") as file:
            for text, vector in zip(texts, vectors, strict=True):
                matches = self._index.search(vector, min(top_k, self.facts["sentences"]), exact=exact)
                hits = [
                    {
                        "cosine": float(1 - distance),
                        "line": int(self._lines[key]),
                        "sentence": self._sentence(file, int(key)),
                    }
                    for key, distance in zip(matches.keys, matches.distances, strict=True)
                ]
                results.append({"query": text.decode("utf-8", "replace"), "hits": hits})
        return results

    def _sentence(self, file, key):
        start, end = int(self._offsets[key]), int(self._offsets[key + 1])
        file.seek(start)
        return file.read(end - start - 1).decode("utf-8", "replace")

    def _numbers(self, name, count):
        path = self.directory / name
        if not path.is_file() or path.stat().st_size != count * NUMBER.itemsize:
            raise InputError(f"{path}: is missing or not of {count} numbers; index again")
        return np.memmap(path, NUMBER, mode="r")


def usearch_index():
    """The module `usearch.index`.

    Raises:
        InputError: if usearch is not installed.
    """
    try:
        import usearch.index
    except ImportError:
        raise InputError("usearch is not installed: pip install infoxlm_keras[search]") from None
    return usearch.index


def input_size(path):
    """Bytes of an input file for a progress bar; None for standard input.

    Raises:
        InputError: if there is no such file.
    """
    if str(path) == "-":
        return None
    if not pathlib.Path(path).is_file():
        raise InputError(f"{path}: no such file")
    return os.path.getsize(path)


def read_sentences(path, size):
    """Yields (list of at most `size` (line number, bytes), bytes of the file read since): empty lines left out.

    Raises:
        InputError: if the file is damaged (compressed ones).
    """
    with contextlib.ExitStack() as stack:
        if str(path) == "-":
            raw = lines = sys.stdin.buffer
        else:
            raw = stack.enter_context(open(path, "rb"))
            opener = OPENERS.get(pathlib.Path(path).suffix)
            lines = raw if opener is None else stack.enter_context(opener(raw))
        seekable = raw.seekable()
        batch, before, number = [], 0, 0
        try:
            for number, line in enumerate(lines, 1):
                text = line.strip()
                if text:
                    batch.append((number, text))
                if len(batch) == size:
                    place = raw.tell() if seekable else 0
                    yield batch, place - before
                    batch, before = [], place
        except (EOFError, lzma.LZMAError, gzip.BadGzipFile, OSError) as error:
            raise InputError(f"{path}: is damaged after line {number}: {error}") from None
        if batch:
            yield batch, (raw.tell() if seekable else 0) - before


def read_queries(texts, path):
    """The queries of a command line, list of bytes.

    Args:
        texts: list of str or None.
        path: file with one a line, or None.

    Raises:
        InputError: if there is none, or not exactly one of both is given.
    """
    if (texts is None) == (path is None):
        raise InputError("no query: give either --text TEXT or --file FILE")
    if texts is not None:
        return [os.fsencode(text) for text in texts]
    input_size(path)
    queries = [text for batch, _ in read_sentences(path, 1000) for _, text in batch]
    if not queries:
        raise InputError(f"{path}: holds no query")
    return queries
