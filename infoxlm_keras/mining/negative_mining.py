"""Mines hard negatives for samples of queries and positives: texts, vectors, neighbours, choice, output."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.embedding import TextEmbedder
from infoxlm_keras.evaluation.margin import QUERY_BLOCK, nearest_neighbours
from infoxlm_keras.files.written_files import whole_file
from infoxlm_keras.mining.negative_pool import NegativePool
from infoxlm_keras.mining.negatives import NegativeSettings, choose_negatives
from infoxlm_keras.mining.vectors import embed_side
from infoxlm_keras.mining.work_folder import work_folder
from infoxlm_keras.models.sentence_vector import SentenceVector
from infoxlm_keras.pretrained.digest import model_digest
from infoxlm_keras.pretrained.prompts import DOCUMENT, QUERY, side_prompts
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.search.sentences import input_size, read_sentences
from infoxlm_keras.text.embedding_samples import EmbeddingSamples

# Texts between two records of the progress.
CHUNK = 8192
# Candidates of a block of queries that are in memory.
CELLS = 1 << 20
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def mine_negatives(
    model: Any,
    vector: SentenceVector,
    parts: Sequence[EmbeddingSamples],
    output: PathLike,
    settings: NegativeSettings,
    documents: Sequence[PathLike] = (),
    keep_work: bool = False,
    chunk: int = CHUNK,
) -> dict[str, Any]:
    """Writes samples with hard negatives as JSON lines {"query", "positive", "negatives", "language"}.

    The candidates of a query are the positives of all samples of its language, and the lines of `documents`, without
    what belongs to the query: the positives of the same query, and its own text. Queries and documents are embedded
    with the model's prompts for them, if it has such. All candidates are compared with each query.

    The output appears whole at the end. Vectors lie in the folder `.NAME.work` beside it until then: after an
    interruption the same call goes on. Memory holds the texts; vectors are read in blocks.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        vector: `SentenceVector`, the layer and pooling of the vectors, which are compared by cosine.
        parts: list of `EmbeddingSamples`; their negatives are not used.
        output: path of the file.
        settings: `NegativeSettings`.
        documents: paths of text files, a document a line, which are candidates in every language.
        keep_work: bool, the folder stays after a run that ended well, so that the next one with other settings needs
            no vectors.
        chunk: int, texts between two records of the progress.

    Returns:
        dict, ready for JSON: {"resumed": bool, "languages": {language: {"samples": int, "queries": int, "documents":
        int, "written": int, "negatives": {number: samples}, "left_out": {reason: candidates}, "positive_scores":
        {quantile: float}, "negative_scores": {quantile: float}}}}; the last is empty without any negative.

    Raises:
        InputError: for a file of documents that cannot be read, a vector that is not finite, or if no sample has
            enough negatives.
    """
    further = _documents(documents)
    pools = [NegativePool(part, further) for part in parts]
    prompts = side_prompts(model.info)
    depends_on = {
        "version": 2,
        "texts": [[_digest(side.texts) for side in (pool.queries, pool.documents)] for pool in pools],
        "model": model_digest(model),
        "vector": dataclasses.asdict(vector),
        "prompts": prompts,
    }
    with work_folder(output, depends_on, keep_work) as work:
        if work.resumed:
            print(f"continuing the work of an earlier run in {work.path}", flush=True)
        embedder = TextEmbedder(
            model.backbone, model.tokenizer, [vector.layer], vector.pooling, settings.batch_size, vector.max_length
        )
        vectors: dict[tuple[int, str], Array] = {}
        sides = {
            (n, side): pool.queries if side == QUERY else pool.documents
            for n, pool in enumerate(pools)
            for side in (QUERY, DOCUMENT)
        }
        with progress_bar("Embedding", sum(map(len, sides.values())), "texts") as advance:
            for (number, side), texts in sides.items():
                vectors[number, side] = embed_side(
                    f"{side}-{number}",
                    texts,
                    _prompted(embedder, prompts.get(side, "")),
                    embedder.dim,
                    work,
                    chunk,
                    progress=lambda count: advance(count, count),
                )
        languages = {}
        with (
            whole_file(output) as file,
            progress_bar("Searching", sum(map(len, parts)), "samples") as advance,
        ):
            for number, (part, pool) in enumerate(zip(parts, pools, strict=True)):
                both = vectors[number, QUERY], vectors[number, DOCUMENT]
                languages[part.language] = _mine(part, pool, *both, settings, file, advance)
            if not any(found["written"] for found in languages.values()):
                raise _nothing_found(output, settings, languages)
    return {"resumed": work.resumed, "languages": languages}


def _mine(part, pool, query_vectors, document_vectors, settings, file, advance):
    """Writes the samples of one language, and returns their summary."""
    wanted = min(settings.max_rank + max(map(len, pool.known)), len(pool.documents))
    rows = max(1, min(QUERY_BLOCK, CELLS // wanted))
    numbers_of_negatives: collections.Counter[int] = collections.Counter()
    left_out: collections.Counter[str] = collections.Counter()
    positive_scores, negative_scores = [], []
    for start in range(0, len(part), rows):
        queries = pool.query_numbers[start : start + rows]
        block = np.asarray(query_vectors[queries], np.float32)
        positives = np.asarray(document_vectors[pool.positive_numbers[start : start + rows]], np.float32)
        scores = np.einsum("nd,nd->n", block, positives)
        cosines, numbers = nearest_neighbours(block, document_vectors, wanted)
        known = pool.is_known(queries, numbers)
        chosen = choose_negatives(cosines, numbers, known, scores, settings, start)
        for sample, found in enumerate(chosen.numbers, start):
            numbers_of_negatives[len(found)] += 1
            if len(found) == settings.negatives or (settings.keep_fewer and len(found)):
                row = {
                    "query": part.queries[sample],
                    "positive": part.positives[sample],
                    "negatives": [pool.documents.texts[number] for number in found],
                    "language": part.language,
                }
                file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
        left_out.update(chosen.left_out)
        positive_scores.append(scores)
        negative_scores += chosen.scores
        advance(len(queries), len(queries))
    counts = dict(sorted(numbers_of_negatives.items(), reverse=True))
    written = sum(samples for found, samples in counts.items() if found)
    return {
        "samples": len(part),
        "queries": len(pool.queries),
        "documents": len(pool.documents),
        "written": written if settings.keep_fewer else counts.get(settings.negatives, 0),
        "negatives": {str(found): samples for found, samples in counts.items()},
        "left_out": dict(left_out),
        "positive_scores": _quantiles(positive_scores),
        "negative_scores": _quantiles(negative_scores),
    }


def _nothing_found(output, settings, languages):
    left_out: collections.Counter[str] = collections.Counter()
    for found in languages.values():
        left_out.update(found["left_out"])
    counts = ", ".join(f"{reason} {number:,}" for reason, number in left_out.items())
    return InputError(
        f"{output}: is not written: no sample has {1 if settings.keep_fewer else settings.negatives} negatives "
        f"(candidates left out: {counts}); give more texts, a greater max_rank, or looser limits"
    )


def _quantiles(arrays):
    values = np.concatenate(arrays) if arrays else np.empty(0)
    if not len(values):
        return {}
    return {
        f"{share:g}": round(float(value), 6)
        for share, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
    }


def _prompted(embedder, prompt):
    return lambda texts: embedder([prompt + text for text in texts])


def _documents(paths):
    """The lines of files, list of str."""
    found: list[str] = []
    for path in paths:
        with progress_bar("Reading documents", input_size(path), "documents") as advance:
            for batch, read in read_sentences(path, CHUNK):
                found += [text.decode() for _, text in batch]
                advance(read, len(batch))
    return found


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
