"""The nearest neighbours of each sentence on the other side: by exact search, or by a graph of usearch."""

import errno
import os
from collections.abc import Callable

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.evaluation.margin import nearest_neighbours
from infoxlm_keras.files import without_wildcards
from infoxlm_keras.mining.row_file import RowFile
from infoxlm_keras.mining.work_folder import WorkFolder
from infoxlm_keras.search.index import usearch_index

INDEXES = ("exact", "usearch")
QUERY_BLOCK = 1024


def find_neighbours(
    name: str,
    queries: Array,
    candidates: Array,
    neighbours: int,
    index: str,
    work: WorkFolder,
    query_block: int = QUERY_BLOCK,
    progress: Callable[[int], object] | None = None,
) -> tuple[Array, Array]:
    """The nearest `candidates` of each of `queries`, computed and written block by block.

    Args:
        name: str, of the direction: "forward", "backward".
        queries, candidates: float [n, dim] and [m, dim], rows of unit length, on disk.
        neighbours: int.
        index: one of `INDEXES`: "exact" compares all pairs, "usearch" walks a graph and may miss some.
        work: `WorkFolder`.
        query_block: int, queries between two records of the progress.
        progress: optional function of the number of queries that are done, the earlier run's first.

    Returns:
        (cosines, numbers): float32 and int64 [n, min(neighbours, m)], nearest first.

    Raises:
        InputError: if usearch is asked for and not installed.
    """
    columns = min(neighbours, len(candidates))
    cosines = RowFile(work.path / f"{name}.cosines", np.float32, columns)
    numbers = RowFile(work.path / f"{name}.numbers", np.int64, columns)
    done = min(work.done(name), cosines.rows, numbers.rows)
    if progress is not None:
        progress(done)
    if done < len(queries):
        search = _graph_search(name, candidates, work) if index == "usearch" else _exact_search(candidates)
        for start in range(done, len(queries), query_block):
            rows = slice(start, min(start + query_block, len(queries)))
            found = search(np.asarray(queries[rows], np.float32), columns)
            for file, block in zip((cosines, numbers), found, strict=True):
                file.write(start, block)
            work.record(name, rows.stop)
            if progress is not None:
                progress(rows.stop - start)
    return np.array(cosines.open()), np.array(numbers.open())


def _exact_search(candidates):
    return lambda queries, count: nearest_neighbours(queries, candidates, count)


def _graph_search(name, candidates, work):
    """A function of (queries, count) that searches a graph of `candidates`, built or left by an earlier run."""
    path, stage = work.path / f"{name}.usearch", f"{name} graph"
    index = usearch_index().Index(ndim=candidates.shape[1], metric="cos", dtype="f16")
    with without_wildcards(path.parent) as plain:
        if not (work.done(stage) and path.exists()):
            for start in range(0, len(candidates), QUERY_BLOCK):
                vectors = np.asarray(candidates[start : start + QUERY_BLOCK], np.float32)
                _interruptible(index.add, np.arange(start, start + len(vectors), dtype=np.uint64), vectors)
            index.save(f"{plain}/{path.name}")
            # usearch ignores errors when it closes the file, so the size is checked.
            if path.stat().st_size != index.serialized_length:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            work.record(stage, True)
        index.load(f"{plain}/{path.name}")

    def search(queries, count):
        # Half-precision distances order the neighbours; their cosines are computed from the vectors. A graph of
        # few vectors can give fewer neighbours than it has: those rows are searched exactly.
        matches = _interruptible(index.search, queries, count)
        keys = np.asarray(matches.keys).reshape(len(queries), -1)[:, :count].astype(np.int64)
        found = np.atleast_1d(matches.counts) if len(queries) > 1 else np.array([len(matches)])
        short = (found < count) | (keys.shape[1] < count)
        numbers = np.zeros((len(queries), count), np.int64)
        numbers[~short] = keys[~short]
        if short.any():
            numbers[short] = nearest_neighbours(queries[short], candidates, count)[1]
        cosines = np.stack(
            [np.asarray(candidates[row], np.float32) @ query for row, query in zip(numbers, queries, strict=True)]
        )
        order = np.lexsort((numbers, -cosines), axis=-1)
        return np.take_along_axis(cosines, order, 1), np.take_along_axis(numbers, order, 1)

    return search


def _interruptible(call, *arguments):
    try:
        return call(*arguments)
    except RuntimeError as error:
        # What usearch makes of Ctrl-C.
        if "terminated" in str(error):
            raise KeyboardInterrupt from error
        raise
