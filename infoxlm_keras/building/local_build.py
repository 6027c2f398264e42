"""A build on this machine: chunks -> spills -> duplicates -> shuffled shards, in bounded memory.

Each step writes its finished work to the journal, and skips work that the journal lists.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from infoxlm_keras.building.held_out import Sides, copied_verdicts, leave_out_shared_sides
from infoxlm_keras.building.input_account import SourceCounts, check_any_left, check_counts
from infoxlm_keras.building.repeated_records import (
    DUPLICATE,
    HELD_OUT,
    KEPT,
    NEAR_DUPLICATE,
    compared_name,
    find_duplicates,
)
from infoxlm_keras.building.shuffled_shards import number_of_shards, shard_path, shard_stem
from infoxlm_keras.building.spill_phase import SpillPhase
from infoxlm_keras.building.spills import SENTENCES, SIDES, DigestRun, RecordRun, SpilledStream
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.records.manifest import Shard, Stream
from infoxlm_keras.worker_pool import map_in_order

if TYPE_CHECKING:
    from infoxlm_keras.building.encoder import Encoder, SentenceEncoder
    from infoxlm_keras.building.journal import BuildJournal
    from infoxlm_keras.text.readers.reader import Reader

UNITS = {"mmlm": "sentences", "bitext": "pairs"}


class LocalBuild:
    """All records of `readers`, written as shards.

    Args:
        kind: `"mmlm"` or `"bitext"`.
        readers: list of readers, those of one name together.
        encoder: picklable callable, (reader, chunk) -> `EncodedChunk`. If its `deduplicate` is true, it also has
            `digests(reader, chunk)` -> uint64 [sentences], and takes a third argument, bool [sentences]: those to
            leave out because an earlier one of the same name is equal.
        seed: int.
        shard_bytes: int.
        processes: int.
        journal: `BuildJournal`.
    """

    def __init__(
        self,
        kind: str,
        readers: Sequence[Reader],
        encoder: Encoder,
        seed: int,
        shard_bytes: int,
        processes: int,
        journal: BuildJournal,
    ) -> None:
        self.kind, self.readers, self.encoder = kind, readers, encoder
        self.seed, self.shard_bytes, self.processes, self.journal = seed, shard_bytes, processes, journal
        self.numbers: dict[str, list[int]] = {}
        for number, reader in enumerate(readers):
            self.numbers.setdefault(reader.name, []).append(number)
        self.names = sorted(self.numbers)
        # Records are numbered, and compared, across all names of a group.
        self.groups = {name: compared_name(kind, name) for name in self.names}

    def run(self, directory: pathlib.Path) -> tuple[list[Stream], list[SourceCounts]]:
        """Writes the shards below `directory`; returns (list of `Stream`, list of `SourceCounts`, one a reader)."""
        repeated, common = None, (UNITS[self.kind], self.processes)
        if self.encoder.deduplicate:
            sentences = SpillPhase("sentences", self.readers, self.journal, self.groups)
            digests = cast("SentenceEncoder", self.encoder).digests
            sentences.write("Finding repeats", *common, digests, lambda name: DigestRun())
            repeated = self._repeated_sentences(sentences)
        records = SpillPhase("records", self.readers, self.journal, self.groups)
        new_run, check = functools.partial(RecordRun, self.kind, self.seed), functools.partial(self._check, records)
        records.write("Encoding", *common, self.encoder, new_run, repeated, check)
        runs = records.runs_by_name()
        check_any_left(self.readers, list(self._counts_before(records).values()))
        verdicts = self._hold_out(runs, self._verdicts("records", runs))
        streams = self._write_shards(directory, runs, verdicts)
        return streams, self._counts(records, verdicts)

    def _check(self, records, name):
        numbers, counts = self.numbers[name], self._counts_before(records, name)
        explicit = [records.explicit[number] for number in numbers]
        check_counts([self.readers[number] for number in numbers], list(counts.values()), explicit)

    def _counts_before(self, records, name=None):
        """dict of the readers' numbers, of one name or of all, to `SourceCounts` before duplicates are found."""
        numbers = range(len(self.readers)) if name is None else self.numbers[name]
        counts = {number: SourceCounts() for number in numbers}
        for part, _, _ in records.parts(name):
            counts[part["reader"]].add(SourceCounts(**part["counts"]))
        return counts

    def _path(self, path):
        return str(self.journal.directory / path)

    def _verdicts(self, phase, runs):
        """dict of every name to the file of verdicts on its group's records; `runs` is a dict of name to its runs."""
        members: dict[str, list[str]] = {}
        for name, group in self.groups.items():
            members.setdefault(group, []).append(name)
        found = {group: self._duplicates(phase, names, runs) for group, names in members.items()}
        return {name: found[group] for name, group in self.groups.items()}

    def _duplicates(self, phase, names, runs):
        """The file of verdicts on the records (or sentences) of a group's names, or None where equal ones are kept."""
        runs, name = [run for name in names for run in runs[name]], " and ".join(names)
        exact = [self._path(f"{run['path']}.exact") for run in runs if run["exact"]]
        near = [self._path(f"{run['path']}.near") for run in runs if run.get("near")]
        if not exact and not near:
            return None
        self.journal.folder(phase)
        path = f"{phase}/verdict-{'+'.join(names)}.npy"
        if self.journal.get(phase, "verdict", name) is None:
            count = sum(run["count"] for run in runs)
            keys = max(count, sum(run.get("near", 0) for run in runs))
            with progress_bar(f"Comparing {name}", None):
                find_duplicates(self._path(path), count, exact, near, keys)
            self.journal.note(phase, "verdict", name, value={"files": self.journal.file_sums([path])})
        return self._path(path)

    def _hold_out(self, runs, verdicts):
        """`verdicts`, or in their place files in which the records that share a side with held-out ones are marked."""
        number = getattr(self.encoder, "held_out", 0)
        if not number:
            return verdicts
        counts: dict[str, int] = {}
        sides = []
        for name in self.names:
            group = self.groups[name]
            for run in runs[name]:
                counts[group] = counts.get(group, 0) + run["count"]
                if run["count"]:
                    sides.append(Sides(group, run["first"], self._path(run["path"] + SIDES)))
        copies: dict[str, str] = {}
        for name in self.names:
            group = self.groups[name]
            if group not in copies:
                path = self._path(f"records/held-out-{group}.npy")
                copies[group] = copied_verdicts(path, verdicts[name], counts.get(group, 0))
        found = {name: copies[self.groups[name]] for name in self.names}
        with progress_bar("Holding out", None):
            leave_out_shared_sides(self._streams(runs, found), self.groups, sides, number)
        return found

    def _streams(self, runs, verdicts):
        """List of `SpilledStream`: all streams, also those of which nothing is left."""
        streams = []
        for name in self.names:
            for length in sorted({length for run in runs[name] for length in run["lengths"]}):
                paths = [self._path(f"{run['path']}-{length}") for run in runs[name] if length in run["lengths"]]
                streams.append(SpilledStream(name, length, tuple(paths), verdicts[name]))
        return streams

    def _repeated_sentences(self, sentences):
        """Callable, (number of a reader, number of its chunk) -> bool [sentences], whether an earlier one is equal."""
        bounds: dict[int, list[tuple[int, int]]] = {number: [] for number in range(len(self.readers))}
        verdicts, runs = {}, sentences.runs_by_name()
        for part, _, first in sentences.parts():
            ends = np.cumsum([first, *part["chunk_counts"]]).tolist()
            bounds[part["reader"]] += itertools.pairwise(ends)
        for name, path in self._verdicts("sentences", runs).items():
            verdicts[name] = path and np.load(path, mmap_mode="r")

        def repeated(number, chunk_number):
            start, end = bounds[number][chunk_number]
            verdict = verdicts[self.readers[number].name]
            return np.zeros(0, bool) if start == end else verdict[start:end] != KEPT

        return repeated

    def _write_shards(self, directory, runs, verdicts):
        spilled, shards, totals = [], [], []
        for stream in self._streams(runs, verdicts):
            total = stream.totals()
            if total[0]:
                spilled.append(stream)
                totals.append(total)
                shards.append(number_of_shards(total[0], total[1], self.shard_bytes))
                (directory / stream.name).mkdir(exist_ok=True)
        writer = ShardWriter(self.kind, str(directory), tuple(spilled), tuple(shards))
        jobs = [(stream, shard) for stream, count in enumerate(shards) for shard in range(count)]
        open_jobs = [job for job in jobs if self._written(writer, job) is None]
        processes = max(1, min(self.processes, len(open_jobs)))
        with (
            progress_bar("Writing shards", sum(size for _, size, *_ in totals), "records") as advance,
            contextlib.closing(map_in_order(writer, open_jobs, processes)) as results,
        ):
            advance(sum(self._written(writer, job)[1] for job in {*jobs} - {*open_jobs}))
            for job, written in results:
                path = writer.path(*job)
                files = {os.path.relpath(directory / path, self.journal.directory): written[1:]}
                self.journal.note("shard", path, value={"records": written[0], "files": files})
                advance(written[1], units=written[0])
        streams = []
        for number, (stream, (records, _, tokens, unknown)) in enumerate(zip(spilled, totals, strict=True)):
            jobs = [(number, shard) for shard in range(shards[number])]
            written = tuple(Shard(writer.path(*job), *self._written(writer, job)) for job in jobs)
            streams.append(Stream(stream.name, stream.length, records, tokens, unknown, written))
        return streams

    def _written(self, writer, job):
        """[records, bytes, sha256] of a shard that is noted in the journal, or None."""
        noted = self.journal.get("shard", writer.path(*job))
        if noted is None:
            return None
        (total,) = noted["files"].values()
        return [noted["records"], *total]

    def _counts(self, records, verdicts):
        """List of `SourceCounts`, one a reader, with the duplicates among records."""
        counts = self._counts_before(records)
        mapped = {name: path and np.load(path, mmap_mode="r") for name, path in verdicts.items()}
        for part, run, first in records.parts():
            count, verdict = counts[part["reader"]], mapped[run["name"]]
            if verdict is None:
                continue
            verdict, sentences = verdict[first : first + part["count"]], None
            path = self._path(run["path"] + SENTENCES)
            if os.path.exists(path):
                start = first - run["first"]
                sentences = np.load(path, mmap_mode="r")[start : start + part["count"]]
            found = np.bincount(verdict, sentences, minlength=HELD_OUT + 1)
            if run["exact"]:
                count.drop("duplicate", int(found[DUPLICATE]))
            if part["near"]:
                count.drop("near_duplicate", int(found[NEAR_DUPLICATE]))
            if found[HELD_OUT]:
                count.drop("held_out", int(found[HELD_OUT]))
        return list(counts.values())


@dataclasses.dataclass(frozen=True)
class ShardWriter:
    """Writes any shard of any stream from the spills; workers get it.

    Args:
        kind: `"mmlm"` or `"bitext"`.
        directory: str, where the shards go.
        streams: tuple of `SpilledStream`.
        shards: tuple of int, number of shards of each.
    """

    kind: str
    directory: str
    streams: tuple[SpilledStream, ...]
    shards: tuple[int, ...]

    def path(self, stream: int, shard: int) -> str:
        """Path of a shard of stream number `stream`, relative to the directory."""
        chosen = self.streams[stream]
        stem = shard_stem(self.kind, chosen.name, chosen.length)
        return shard_path(chosen.name, stem, shard, self.shards[stream])

    def __call__(self, stream: int, shard: int) -> list[Any]:
        """[records, bytes, sha256] of the shard written."""
        path = f"{self.directory}/{self.path(stream, shard)}"
        return self.streams[stream].write_shard(path, shard, self.shards[stream])
