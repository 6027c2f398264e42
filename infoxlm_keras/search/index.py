"""Stores sentences on disk with an index of their vectors (usearch); the input is read as a stream.

index.usearch    the graph; key = number of the sentence
sentences.txt    the sentences, one a line, as UTF-8
offsets.bin      uint64, start of each sentence in sentences.txt, and the end of the last
lines.bin        uint64, line number of each sentence in the input
index.json       number of sentences, model, type of the vectors; checksums of the other files and of itself
"""

import contextlib
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import describe, parsing, read_json, staging, without_wildcards, write_json
from infoxlm_keras.pretrained.prompts import DOCUMENT
from infoxlm_keras.serving.checksums import check_files, checksums, text_checksum

if TYPE_CHECKING:
    from infoxlm_keras.search.embedder import SavedModelEmbedder

INDEX_FILE, SENTENCES_FILE = "index.usearch", "sentences.txt"
OFFSETS_FILE, LINES_FILE, FACTS_FILE = "offsets.bin", "lines.bin", "index.json"
DATA_FILES = (INDEX_FILE, SENTENCES_FILE, OFFSETS_FILE, LINES_FILE)
VECTOR_TYPES = ("f16", "f32", "i8")
NUMBER = np.dtype("<u8")
# Version 1 had no checksums; usearch ends the process on a damaged graph.
VERSION = 2
REMEDY = "index the sentences again (infoxlm search index)"


class IndexWriter:
    """Adds sentences to a new index; a context manager, which closes its files after an error too.

    Args:
        directory: path, empty.
        embedder: function of a list of bytes and "document" to unit vectors, with `dim`, `directory` and `facts`
            (`SavedModelEmbedder`).
        vector_type: one of `VECTOR_TYPES`, usearch's name of the type in which vectors are stored.

    Raises:
        InputError: if usearch is not installed.
    """

    def __init__(self, directory: PathLike, embedder: "SavedModelEmbedder", vector_type: str) -> None:
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

    def __enter__(self) -> "IndexWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def add(self, sentences: Sequence[tuple[int, bytes]]) -> None:
        """Adds `sentences`, a list of (line number, bytes)."""
        texts = [text for _, text in sentences]
        keys = np.arange(self.count, self.count + len(texts), dtype=np.uint64)
        vectors = self.embedder(texts, DOCUMENT)
        try:
            self.index.add(keys, vectors)
        except RuntimeError as error:
            # What usearch makes of Ctrl-C.
            if "terminated" in str(error):
                raise KeyboardInterrupt from error
            raise
        lengths = np.array([len(text) + 1 for text in texts], NUMBER)
        starts = self.position + np.cumsum(lengths) - lengths
        self._offsets.write(starts.astype(NUMBER).tobytes())
        self._lines.write(np.array([line for line, _ in sentences], NUMBER).tobytes())
        self._sentences.write(b"".join(text + b"\n" for text in texts))
        self.count += len(texts)
        self.position += int(lengths.sum())

    def close(self, source: str) -> dict[str, Any]:
        """Writes the graph and the facts, and returns the main facts; `source` (str) is the input's name.

        Raises:
            InputError: if no sentence was added, or the disk has no space for the graph.
        """
        self._offsets.write(np.array([self.position], NUMBER).tobytes())
        self._files.close()
        if not self.count:
            raise InputError(f"{source}: holds no sentence")
        self._save_graph()
        facts = {
            "version": VERSION,
            "sentences": self.count,
            "dim": self.embedder.dim,
            "vectors": self.vector_type,
            "source": staging.named(source),
            "model": staging.named(str(self.embedder.directory)),
            "model_facts": self.embedder.facts,
            "files": checksums(self.directory, DATA_FILES),
        }
        write_json(self.directory / FACTS_FILE, {**facts, "crc32c": text_checksum(_json(facts))})
        return {name: facts[name] for name in ("sentences", "dim", "vectors", "source", "model")}

    def _save_graph(self):
        path = self.directory / INDEX_FILE
        expected = self.index.serialized_length
        with without_wildcards(self.directory) as plain:
            try:
                self.index.save(f"{plain}/{INDEX_FILE}")
                error = None
            except RuntimeError as raised:
                error = raised
        # usearch ignores errors when it closes the file, so the size is checked.
        size = path.stat().st_size if path.exists() else 0
        if error is not None or size != expected:
            reason = "" if error is None else f" ({describe(error)})"
            raise InputError(
                f"{path}: {size:,} of {expected:,} bytes could be written{reason}; "
                "is the disk full, or the size of a file limited? Free some space or choose another output folder"
            )


class IndexReader:
    """Opens an index of `IndexWriter` after checking its checksums; vectors and sentences stay on disk.

    Args:
        directory: path.

    Attributes:
        facts: dict, the content of `index.json`.

    Raises:
        InputError: if it is no index, is damaged, was written by an older release, or usearch is not installed.
    """

    def __init__(self, directory: PathLike) -> None:
        self.directory = pathlib.Path(directory)
        self.facts = read_facts(self.directory)
        check_files(self.directory, self.facts["files"], self.directory / FACTS_FILE, REMEDY)
        count = self.facts["sentences"]
        self._offsets, self._lines = self._numbers(OFFSETS_FILE, count + 1), self._numbers(LINES_FILE, count)
        size = (self.directory / SENTENCES_FILE).stat().st_size
        # Each sentence has at least a character and a line end. Signed numbers, so that descending offsets give
        # negatives.
        lengths = np.diff(self._offsets.astype(np.int64))
        if self._offsets[0] != 0 or self._offsets[-1] != size or (lengths < 2).any():
            raise InputError(f"{self.directory / OFFSETS_FILE}: does not fit {SENTENCES_FILE}; {REMEDY}")
        self._index = self._open_graph(count)

    def check(self, embedder: "SavedModelEmbedder") -> None:
        """Raises InputError unless `embedder` has the properties of the export that the index was built with."""
        # Exports of earlier releases do not say `vectors`.
        built = {"vectors": "float32", **self.facts["model_facts"], "dim": self.facts["dim"]}
        given = {"vectors": "float32", **embedder.facts, "dim": embedder.dim}
        # Facts that exports of earlier releases do not hold are compared if both hold them.
        later = [name for name in ("max_length", "weights_digest") if name in built and name in given]
        for name in ("tokenizer_fingerprint", "layer", "pooling", "storage", "vectors", "dim", "prompts", *later):
            if given.get(name) != built.get(name):
                raise InputError(
                    f"{embedder.directory}: has {name} {given.get(name)!r}, the index was built with "
                    f"{built.get(name)!r}; query with {self.facts['model']}, or index again"
                )

    def search(self, texts: list[bytes], vectors: Array, top_k: int, exact: bool = False) -> list[dict[str, Any]]:
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

    def _open_graph(self, count):
        path = self.directory / INDEX_FILE
        usearch = usearch_index()
        index = usearch.Index(ndim=self.facts["dim"], metric="cos", dtype=self.facts["vectors"])
        with without_wildcards(self.directory) as plain, parsing(path, "an index of usearch", REMEDY):
            found = usearch.Index.metadata(f"{plain}/{INDEX_FILE}")
            fits = found is not None and (found["dimensions"], found["kind_scalar"], found["count_present"]) == (
                self.facts["dim"],
                index.dtype,
                count,
            )
            if not fits:
                raise InputError(f"{path}: does not hold the vectors that {FACTS_FILE} describes; {REMEDY}")
            index.view(f"{plain}/{INDEX_FILE}")
        if len(index) != count:
            raise InputError(f"{path}: has {len(index)} vectors for {count} sentences; {REMEDY}")
        return index

    def _sentence(self, file, key):
        start, end = int(self._offsets[key]), int(self._offsets[key + 1])
        file.seek(start)
        return file.read(end - start - 1).decode("utf-8", "replace")

    def _numbers(self, name, count):
        path = self.directory / name
        if path.stat().st_size != count * NUMBER.itemsize:
            raise InputError(f"{path}: does not hold {count} numbers; {REMEDY}")
        return np.memmap(path, NUMBER, mode="r")


def read_facts(directory: PathLike) -> dict[str, Any]:
    """The content of `index.json` in a directory (path), checked.

    Raises:
        InputError: if there is none, it is damaged, or of another version.
    """
    path = pathlib.Path(directory) / FACTS_FILE
    if not path.exists():
        raise InputError(f"{directory}: is no index (it has no {FACTS_FILE}); make one with infoxlm search index")
    facts = read_json(path, dict)
    version = facts.get("version")
    if version == 1:
        raise InputError(f"{path}: was written by an older release, without checksums of its files; {REMEDY}")
    if version != VERSION:
        raise InputError(f"{path}: version {version!r:.100}, but this release reads {VERSION}; {REMEDY}")
    checksum = facts.pop("crc32c", None)
    if checksum != text_checksum(_json(facts)):
        raise InputError(f"{path}: differs from its own checksum: it was damaged or changed; {REMEDY}")
    kinds: dict[str, Any] = {
        "sentences": int,
        "dim": int,
        "vectors": str,
        "source": str,
        "model": str,
        "model_facts": dict,
        "files": dict,
    }
    for name, kind in kinds.items():
        value = facts.get(name)
        if type(value) is not kind or (kind is int and value < 1):
            raise InputError(f"{path}: {name} = {value!r:.100}: is not a valid {kind.__name__}; {REMEDY}")
    if facts["vectors"] not in VECTOR_TYPES or set(facts["files"]) != set(DATA_FILES):
        raise InputError(f"{path}: lists other vectors or files than those of an index; {REMEDY}")
    return facts


def _json(facts):
    return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)


def usearch_index() -> Any:
    """The module `usearch.index`.

    Raises:
        InputError: if usearch is not installed.
    """
    try:
        import usearch.index
    except ImportError:
        raise InputError("usearch is not installed: pip install infoxlm_keras[search]") from None
    return usearch.index
