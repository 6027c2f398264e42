"""A build on this machine: chunks -> spills -> duplicates -> shuffled shards, in memory that does not grow.

Each step notes in the journal what it has finished, and passes over what it finds there.
"""

import contextlib
import dataclasses
import itertools

import numpy as np

from data_prep import spills
from data_prep.duplicates import DUPLICATE, KEPT, NEAR_DUPLICATE, compared_name, find_duplicates
from data_prep.encoded_chunk import EncodedChunk
from data_prep.shuffled_shards import number_of_shards, shard_path, shard_stem
from data_prep.sources import SourceCounts, check_counts, input_size
from data_prep.spills import DigestRun, RecordRun, SpilledStream
from data_prep.worker_pool import map_in_order
from infoxlm_keras.data.manifest import Shard, Stream
from infoxlm_keras.errors import InputError
from infoxlm_keras.progress import progress_bar

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

    def __init__(self, kind, readers, encoder, seed, shard_bytes, processes, journal):
        self.kind, self.readers, self.encoder = kind, readers, encoder
        self.seed, self.shard_bytes, self.processes, self.journal = seed, shard_bytes, processes, journal
        self.names = sorted({reader.name for reader in readers})
        # Records are numbered, and compared, across all names of a group.
        self.groups = {name: compared_name(kind, name) for name in self.names}

    def run(self, directory):
        """Writes the shards below `directory`; returns (list of `Stream`, list of `SourceCounts`, one a reader)."""
        repeated = None
        if self.encoder.deduplicate:
            self._spill("sentences", "Finding repeats", self.encoder.digests, lambda index: DigestRun())
            repeated = self._repeated_sentences()
        self._spill("records", "Encoding", self.encoder, self._record_run, repeated, self._check)
        found = {group: self._duplicates("records", group) for group in sorted({*self.groups.values()})}
        verdicts = {name: found[group] for name, group in self.groups.items()}
        streams = self._write_shards(directory, verdicts)
        return streams, self._counts(verdicts)

    def _spill(self, phase, title, function, new_run, extra=None, check=None):
        """Writes what `function` makes of all chunks, in runs.

        Args:
            phase: str, prefix of the journal's keys and of the files.
            title: str, for the progress bar.
            function: picklable, (reader, chunk) or (reader, chunk, extra) -> what the runs' `add` takes.
            new_run: callable, number of a reader -> empty run.
            extra: callable or None, (number of a reader, number of its chunk) -> third argument of `function`.
            check: callable or None, gets a name once all of its runs are written.
        """
        total = input_size(self.readers)
        self._next_run = len(self._runs(phase))
        self._next_number = dict.fromkeys(self.groups.values(), 0)
        for name, group in self.groups.items():
            self._next_number[group] += sum(run["count"] for run in self._runs(phase, name))
        numbers = {id(reader): number for number, reader in enumerate(self.readers)}
        with (
            progress_bar(title, total, UNITS[self.kind]) as advance,
            contextlib.closing(map_in_order(function, self._items(phase, extra, advance), self.processes)) as results,
        ):
            for name, of_name in itertools.groupby(results, key=lambda result: result[0][0].name):
                for number, of_reader in itertools.groupby(of_name, key=lambda result: numbers[id(result[0][0])]):
                    chunk_number, run = self._chunks_done(phase, number), new_run(number)
                    for (_, chunk, *_), result in of_reader:
                        run.add(chunk_number, result)
                        chunk_number += 1
                        units = result.sentences if isinstance(result, EncodedChunk) else len(result)
                        advance(chunk.bytes_read, units=units)
                        if run.size >= spills.RUN_BYTES:
                            self._write_run(phase, number, run)
                            run = new_run(number)
                    if run.chunks:
                        self._write_run(phase, number, run)
                    self.journal.note(phase, "file", number, value=chunk_number)
                if check:
                    check(name)

    def _items(self, phase, extra, advance):
        for number, reader in enumerate(self.readers):
            if self.journal.get(phase, "file", number) is not None:
                advance(input_size([reader]))
                continue
            done, chunk_number = self._chunks_done(phase, number), -1
            for chunk_number, chunk in enumerate(reader.chunks()):
                if chunk_number < done:
                    advance(chunk.bytes_read)
                else:
                    yield (reader, chunk, extra(number, chunk_number)) if extra else (reader, chunk)
            if chunk_number < 0:
                raise InputError(f"{reader.files[0]}: is empty; remove it from --input, or fetch it again")

    def _chunks_done(self, phase, number):
        return sum(run["chunks"] for run in self._runs(phase) if run["reader"] == number)

    def _runs(self, phase, name=None):
        runs = self.journal.values(phase, "run")
        return [run for run in runs if name is None or self.readers[run["reader"]].name == name]

    def _write_run(self, phase, number, run):
        group, path = self.groups[self.readers[number].name], f"{phase}/{self._next_run:06d}"
        first = self._next_number[group]
        self.journal.folder(phase)
        written = run.write(self._path(path), first)
        noted = {"reader": number, "chunks": run.chunks, "path": path, "first": first, **written}
        self.journal.note(phase, "run", self._next_run, value=noted)
        self._next_run += 1
        self._next_number[group] += written["count"]

    def _path(self, path):
        return str(self.journal.directory / path)

    def _record_run(self, number):
        name = self.readers[number].name
        file_number = sum(reader.name == name for reader in self.readers[:number])
        return RecordRun(self.kind, self.seed, name, file_number)

    def _check(self, name):
        numbers = [number for number, reader in enumerate(self.readers) if reader.name == name]
        counts = [self._reader_counts(number) for number in numbers]
        check_counts([self.readers[number] for number in numbers], counts)

    def _reader_counts(self, number):
        counts = SourceCounts()
        for run in self._runs("records"):
            if run["reader"] == number:
                counts.add(SourceCounts(**run["counts"]))
        return counts

    def _duplicates(self, phase, group):
        """The file of verdicts on the records (or sentences) of a group of names; None where equal ones are kept."""
        names = [name for name in self.names if self.groups[name] == group]
        runs = [run for name in names for run in self._runs(phase, name)]
        exact = [self._path(f"{run['path']}.exact") for run in runs if run.get("exact", run["count"])]
        near = [self._path(f"{run['path']}.near") for run in runs if run.get("near")]
        if not exact and not near:
            return None
        path = str(self.journal.folder(phase) / f"verdict-{group}.npy")
        if self.journal.get(phase, "verdict", group) is None:
            count = sum(run["count"] for run in runs)
            with progress_bar(f"Comparing {' and '.join(names)}", None):
                find_duplicates(path, count, exact, near, max(count, sum(run.get("near", 0) for run in runs)))
            self.journal.note(phase, "verdict", group, value=True)
        return path

    def _repeated_sentences(self):
        """Callable, (number of a reader, number of its chunk) -> bool [sentences], whether an earlier one is equal."""
        bounds, verdicts = {number: [] for number in range(len(self.readers))}, {}
        for run in self._runs("sentences"):
            ends = np.cumsum([run["first"], *run["chunk_counts"]]).tolist()
            bounds[run["reader"]] += itertools.pairwise(ends)
        for name in self.names:
            path = self._duplicates("sentences", self.groups[name])
            verdicts[name] = path and np.load(path, mmap_mode="r")

        def repeated(number, chunk_number):
            start, end = bounds[number][chunk_number]
            verdict = verdicts[self.readers[number].name]
            return np.zeros(0, bool) if start == end else verdict[start:end] != KEPT

        return repeated

    def _write_shards(self, directory, verdicts):
        spilled, shards, totals = [], [], []
        for name in self.names:
            runs = self._runs("records", name)
            for length in sorted({length for run in runs for length in run["lengths"]}):
                paths = tuple(self._path(f"{run['path']}-{length}") for run in runs if length in run["lengths"])
                stream = SpilledStream(name, length, paths, verdicts[name])
                total = stream.totals()
                if total[0]:
                    spilled.append(stream)
                    totals.append(total)
                    shards.append(number_of_shards(total[0], total[1], self.shard_bytes))
            # Of pairs in both directions, one may have nothing that the other has not.
            if name in {stream.name for stream in spilled}:
                (directory / name).mkdir(exist_ok=True)
        writer = ShardWriter(self.kind, str(directory), tuple(spilled), tuple(shards))
        jobs = [(stream, shard) for stream, count in enumerate(shards) for shard in range(count)]
        open_jobs = [job for job in jobs if self.journal.get("shard", writer.path(*job)) is None]
        processes = max(1, min(self.processes, len(open_jobs)))
        with (
            progress_bar("Writing shards", sum(size for _, size, *_ in totals), "records") as advance,
            contextlib.closing(map_in_order(writer, open_jobs, processes)) as results,
        ):
            advance(sum(self.journal.get("shard", writer.path(*job))[1] for job in {*jobs} - {*open_jobs}))
            for job, written in results:
                self.journal.note("shard", writer.path(*job), value=written)
                advance(written[1], units=written[0])
        streams = []
        for number, (stream, (records, _, tokens, unknown)) in enumerate(zip(spilled, totals, strict=True)):
            paths = [writer.path(number, shard) for shard in range(shards[number])]
            written = tuple(Shard(path, *self.journal.get("shard", path)) for path in paths)
            streams.append(Stream(stream.name, stream.length, records, tokens, unknown, written))
        return streams

    def _counts(self, verdicts):
        """List of `SourceCounts`, one a reader, with the duplicates among records."""
        counts = [self._reader_counts(number) for number in range(len(self.readers))]
        for name, path in verdicts.items():
            verdict = path and np.load(path, mmap_mode="r")
            for run in self._runs("records", name) if path else ():
                found = np.bincount(verdict[run["first"] : run["first"] + run["count"]], minlength=3)
                counts[run["reader"]].drop("duplicate", int(found[DUPLICATE]))
                if run["near"]:
                    counts[run["reader"]].drop("near_duplicate", int(found[NEAR_DUPLICATE]))
        return counts


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

    def path(self, stream, shard):
        """Path of a shard of stream number `stream`, relative to the directory."""
        chosen = self.streams[stream]
        stem = shard_stem(self.kind, chosen.name, chosen.length)
        return shard_path(chosen.name, stem, shard, self.shards[stream])

    def __call__(self, stream, shard):
        """[records, bytes, sha256] of the shard written."""
        path = f"{self.directory}/{self.path(stream, shard)}"
        return self.streams[stream].write_shard(path, shard, self.shards[stream])
