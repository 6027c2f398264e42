"""Mines translation pairs from two files: sentences, vectors, neighbours, scored pairs, threshold, output."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.embedding import TextEmbedder
from infoxlm_keras.evaluation.margin import MARGINS, NEIGHBOURS
from infoxlm_keras.files.content_digest import content_digest
from infoxlm_keras.files.written_files import whole_file
from infoxlm_keras.mining.candidates import DIRECTIONS, ScoredPairs, candidate_pairs
from infoxlm_keras.mining.gold import best_threshold, read_gold, scores_at
from infoxlm_keras.mining.neighbours import INDEXES, find_neighbours
from infoxlm_keras.mining.sentences import SentenceStore
from infoxlm_keras.mining.vectors import embed_side
from infoxlm_keras.mining.work_folder import WorkFolder, work_folder
from infoxlm_keras.models.sentence_vector import SentenceVector
from infoxlm_keras.pretrained.digest import model_digest
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.search.index import usearch_index
from infoxlm_keras.search.sentences import input_size

SIDES = ("source", "target")
# Sentences between two records of the progress.
CHUNK = 8192
ROWS_A_WRITE = 65_536
VECTOR_TYPES = ("float32", "float16")


@dataclasses.dataclass(frozen=True)
class MiningSettings:
    """How pairs are found and scored.

    Attributes:
        margin: one of `MARGINS`.
        neighbours: int, k, at least 1.
        direction: one of `DIRECTIONS`.
        threshold: float or None, the least score of a pair that is written. None: the one with the best F1 where gold
            pairs are given, else all candidates are written.
        index: one of `INDEXES`, how neighbours are found.
        ids: bool, the lines of the inputs are `id<TAB>sentence`.
        write_ids: bool, the output has the ids of both sentences in two more columns.
        vectors: "float32" or "float16", how vectors lie on the disk.
        batch_size: int, sentences a forward pass.

    Raises:
        InputError: for a value out of range.
    """

    margin: str = "ratio"
    neighbours: int = NEIGHBOURS
    direction: str = "union_max"
    threshold: float | None = None
    index: str = "exact"
    ids: bool = False
    write_ids: bool = False
    vectors: str = "float32"
    batch_size: int = 64

    def __post_init__(self) -> None:
        choices = {"margin": MARGINS, "direction": DIRECTIONS, "index": INDEXES, "vectors": VECTOR_TYPES}
        for name, values in choices.items():
            if getattr(self, name) not in values:
                raise InputError(f"{name} = {getattr(self, name)!r}: must be one of {', '.join(values)}")
        for name in ("neighbours", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: must be at least 1")
        if self.threshold is not None and math.isnan(self.threshold):
            raise InputError("threshold = nan: must be a number")


def mine_bitext(
    model: Any,
    vector: SentenceVector,
    source: PathLike,
    target: PathLike,
    output: PathLike,
    settings: MiningSettings,
    gold: PathLike | None = None,
    keep_work: bool = False,
    chunk: int = CHUNK,
) -> dict[str, Any]:
    """Writes the translation pairs of two text files as tab-separated `score source target`, best first.

    What is done lies in the folder `.NAME.work` beside the output: after an interruption the same call goes on. The
    output appears whole at the end.

    Memory holds a few hundred bytes a sentence, no vectors and no text; the folder needs 4 bytes a number of the
    vectors (2 as float16).

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        vector: `SentenceVector`, the layer and pooling of the sentence vectors.
        source, target: path of text files, a sentence a line.
        output: path of the file with the pairs.
        settings: `MiningSettings`.
        gold: path of gold pairs, see `read_gold`, or None.
        keep_work: bool, the folder stays after a run that ended well, so that the next one with other scores,
            directions or thresholds needs neither vectors nor neighbours.
        chunk: int, sentences between two records of the progress.

    Returns:
        dict, ready for JSON:

            {"source": {"lines", "blank", "repeated", "sentences"}, "target": {...}, "candidates": int, "pairs": int,
             "threshold": float or None, "resumed": bool,
             "gold": None or {"pairs": int, "threshold_from": "given" or "gold", "precision", "recall", "f1"}}

    Raises:
        InputError: for files that cannot be read, see `SentenceStore.write` and `read_gold`; if usearch is asked for
            and not installed.
    """
    paths = dict(zip(SIDES, (source, target), strict=True))
    for path in (*paths.values(), *([] if gold is None else [gold])):
        input_size(path)
    if settings.index == "usearch":
        usearch_index()
    depends_on = {
        "version": 1,
        "inputs": {side: content_digest(path) for side, path in paths.items()},
        "model": model_digest(model),
        "vector": dataclasses.asdict(vector),
        **{name: getattr(settings, name) for name in ("neighbours", "index", "ids", "vectors")},
    }
    with work_folder(output, depends_on, keep_work) as work:
        if work.resumed:
            print(f"continuing the work of an earlier run in {work.path}", flush=True)
        counts = {side: _read_side(side, path, settings.ids, work) for side, path in paths.items()}
        stores = {side: SentenceStore(work.path / side) for side in SIDES}
        known = None if gold is None else read_gold(gold, stores["source"], stores["target"])
        vectors = _embed(model, vector, stores, work, settings, chunk)
        directions = {"forward": SIDES, "backward": SIDES[::-1]}
        with progress_bar("Searching", sum(map(len, stores.values())), "sentences") as advance:
            forward, backward = (
                find_neighbours(
                    name,
                    vectors[queries],
                    vectors[candidates],
                    settings.neighbours,
                    settings.index,
                    work,
                    progress=lambda number: advance(number, number),
                )
                for name, (queries, candidates) in directions.items()
            )
        pairs = candidate_pairs(forward, backward, settings.margin, settings.direction)
        threshold, measured = thresholded(pairs, known, settings.threshold)
        kept = len(pairs.scores) if threshold is None else int((pairs.scores >= threshold).sum())
        _write(output, pairs, kept, stores, settings.write_ids)
    return {
        **counts,
        "candidates": len(pairs.scores),
        "pairs": kept,
        "threshold": threshold,
        "gold": measured,
        "resumed": work.resumed,
    }


def _read_side(side, path, with_ids, work: WorkFolder):
    stage = f"{side} sentences"
    counts = work.done(stage, None)
    if counts is None:
        with progress_bar(f"Reading {side}", input_size(path), "sentences") as advance:
            counts = SentenceStore.write(path, work.path / side, with_ids, advance)
        work.record(stage, counts)
    return counts


def _embed(model, vector, stores, work, settings, chunk):
    embedder = TextEmbedder(
        model.backbone, model.tokenizer, [vector.layer], vector.pooling, settings.batch_size, vector.max_length
    )
    with progress_bar("Embedding", sum(map(len, stores.values())), "sentences") as advance:
        return {
            side: embed_side(
                side,
                store,
                embedder,
                embedder.dim,
                work,
                chunk,
                settings.vectors,
                lambda number: advance(number, number),
            )
            for side, store in stores.items()
        }


def thresholded(
    pairs: ScoredPairs, gold: Iterable[tuple[int, int]] | None, threshold: float | None
) -> tuple[float | None, dict[str, Any] | None]:
    """(threshold or None, the measurement against gold pairs or None)."""
    if gold is None:
        return threshold, None
    gold = set(gold)
    origin = "gold" if threshold is None else "given"
    # `intersection` may leave no pair at all.
    if threshold is None and len(pairs.scores):
        threshold = best_threshold(pairs, gold)
    scores = scores_at(pairs, gold, -math.inf if threshold is None else threshold)
    return threshold, {"pairs": len(gold), "threshold_from": origin, **scores}


def _write(output, pairs, kept, stores, write_ids):
    with whole_file(output) as file:
        for start in range(0, kept, ROWS_A_WRITE):
            part = slice(start, min(start + ROWS_A_WRITE, kept))
            sides = (stores["source"].rows(pairs.sources[part]), stores["target"].rows(pairs.targets[part]))
            for score, source, target in zip(pairs.scores[part].tolist(), *sides, strict=True):
                columns = [f"{score:.6f}", source[1], target[1], *([source[0], target[0]] if write_ids else [])]
                file.write(("\t".join(columns) + "\n").encode())
