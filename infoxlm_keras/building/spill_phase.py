"""One phase of a build: applies a function to all chunks and writes the results to disk in runs."""

from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from infoxlm_keras.building import spills
from infoxlm_keras.building.encoded_chunk import EncodedChunk
from infoxlm_keras.building.input_account import input_size
from infoxlm_keras.errors import InputError
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.worker_pool import map_in_order

if TYPE_CHECKING:
    from infoxlm_keras.building.journal import BuildJournal
    from infoxlm_keras.text.readers.reader import Reader


Run: TypeAlias = spills.RecordRun | spills.DigestRun


class SpillPhase:
    """Runs of the chunks of all readers, each noted in the journal once it is written.

    A run holds consecutive chunks of one name. A reader with more than a run holds is in several of them, and small
    ones share one: ten thousand small files take as many runs as one file with the same text.

    Args:
        phase: str, prefix of the journal's keys and of the files.
        readers: list of readers, those of one name together.
        journal: `BuildJournal`.
        groups: dict of name to str, equal for the names whose records are compared, and so are numbered together;
            None if each name is read alone.

    Attributes:
        runs: list of dict, what is noted of each run: `path`, `name`, `first` (number of its first record among
            those of the name's group), `parts` (a dict for each of its readers: `reader`, `chunks`, `count`, and what
            the kind of run adds), `finished` (readers that have no more chunks), `files`, and what the kind of run
            adds.
        file_numbers: list of int, number of each reader among those of its name.
    """

    def __init__(
        self, phase: str, readers: Sequence[Reader], journal: BuildJournal, groups: Mapping[str, str] | None = None
    ) -> None:
        self.phase, self.readers, self.journal = phase, readers, journal
        # Of many texts in a folder some may hold nothing.
        self.explicit = getattr(readers, "explicit", [True] * len(readers))
        self.runs = journal.values(phase, "run")
        self._chunks_done = [0] * len(readers)
        self._finished = {number for run in self.runs for number in run["finished"]}
        self._finished.update(*journal.values(phase, "finished"))
        self._runs: dict[str, list[dict[str, Any]]] = {reader.name: [] for reader in readers}
        self._groups = groups or {name: name for name in self._runs}
        self._count = dict.fromkeys(self._groups.values(), 0)
        self.file_numbers = []
        earlier: collections.Counter[str] = collections.Counter()
        for reader in readers:
            self.file_numbers.append(earlier[reader.name])
            earlier[reader.name] += 1
        for run in self.runs:
            self._take(run)

    def runs_by_name(self) -> dict[str, list[dict[str, Any]]]:
        """dict of every name to the list of its runs."""
        return dict(self._runs)

    def parts(self, name: str | None = None) -> Iterator[tuple[dict[str, Any], dict[str, Any], int]]:
        """Yields (part, run, number of the part's first record) of all runs, or those of a name, in input order."""
        for run in self.runs if name is None else self._runs[name]:
            first = run["first"]
            for part in run["parts"]:
                yield part, run, first
                first += part["count"]

    def write(
        self,
        title: str,
        units: str,
        processes: int,
        function: Callable[..., Any],
        new_run: Callable[[str], Run],
        extra: Callable[[int, int], Any] | None = None,
        check: Callable[[str], None] | None = None,
    ) -> None:
        """Writes the runs that are missing.

        Args:
            title: str, for the progress bar.
            units: str, what its rate counts.
            processes: int.
            function: picklable, (reader, chunk) or (reader, chunk, extra) -> what the runs' `add` takes.
            new_run: callable, name -> empty run.
            extra: callable or None, (number of a reader, number of its chunk) -> third argument of `function`.
            check: callable or None, gets each name once all of its runs are written.

        Raises:
            InputError: if a text that was given by its name has no chunk, and what `function` and `check` raise.
        """
        numbers = {id(reader): number for number, reader in enumerate(self.readers)}
        unchecked = dict.fromkeys(self._runs)
        with (
            progress_bar(title, input_size(self.readers), units) as advance,
            contextlib.closing(map_in_order(function, self._items(extra, advance), processes)) as results,
        ):
            for name, of_name in itertools.groupby(results, key=lambda result: result[0][0].name):
                writer = _NameWriter(self, name, new_run)
                for (reader, chunk, *_), result in of_name:
                    writer.add(numbers[id(reader)], result)
                    units_made = result.sentences if isinstance(result, EncodedChunk) else len(result)
                    advance(chunk.bytes_read, units=units_made)
                writer.end()
                if check:
                    check(name)
                del unchecked[name]
        if check:
            for name in unchecked:
                check(name)

    def _items(self, extra, advance):
        for number, reader in enumerate(self.readers):
            if number in self._finished:
                advance(input_size([reader]))
                continue
            # What is done by now: runs that are written meanwhile are of chunks that were yielded here.
            done, chunk_number = self._chunks_done[number], -1
            for chunk_number, chunk in enumerate(reader.chunks()):
                if chunk_number < done:
                    advance(chunk.bytes_read)
                else:
                    yield (reader, chunk, extra(number, chunk_number)) if extra else (reader, chunk)
            if chunk_number < 0 and self.explicit[number]:
                raise InputError(f"{reader.files[0]}: is empty; remove it from --input, or fetch it again")

    def chunks_done(self, number: int) -> int:
        """int: chunks of a reader that are in runs."""
        return self._chunks_done[number]

    def note(self, name: str, run: Run, numbers: Sequence[int], finished: Sequence[int | None]) -> None:
        """Writes a run and notes it.

        Args:
            name: str.
            run: `RecordRun` or `DigestRun` with a part for each of `numbers`.
            numbers: list of int, readers.
            finished: list of int, readers that have no chunk after the run.
        """
        self.journal.folder(self.phase)
        path, first = f"{self.phase}/{len(self.runs):06d}", self._count[self._groups[name]]
        written = run.write(str(self.journal.directory / path), first)
        parts = [{"reader": number, **part} for number, part in zip(numbers, written.pop("parts"), strict=True)]
        files = self.journal.file_sums([path + suffix for suffix in written.pop("suffixes")])
        noted = {"path": path, "name": name, "first": first, "parts": parts, "finished": finished, "files": files}
        self.journal.note(self.phase, "run", len(self.runs), value={**noted, **written})
        self.runs.append({**noted, **written})
        self._take(self.runs[-1])

    def note_finished(self, name: str, finished: Sequence[int | None]) -> None:
        """Notes that all chunks of some readers of a name are in runs already."""
        self.journal.note(self.phase, "finished", name, value=finished)

    def _take(self, run):
        self._runs[run["name"]].append(run)
        for part in run["parts"]:
            self._chunks_done[part["reader"]] += part["chunks"]
            self._count[self._groups[run["name"]]] += part["count"]


class _NameWriter:
    """Collects the results of one name in runs.

    Args:
        phase: `SpillPhase`.
        name: str.
        new_run: callable, name -> empty run.
    """

    def __init__(self, phase, name, new_run):
        self.phase, self.name, self.new_run = phase, name, new_run
        self.reader, self.chunk_number = None, 0
        self._start()

    def _start(self):
        self.run, self.numbers, self.finished = self.new_run(self.name), [], []

    def add(self, number, result):
        """Adds what came of the next chunk of reader `number`."""
        if number != self.reader:
            if self.reader is not None:
                self.finished.append(self.reader)
            self.reader, self.chunk_number = number, self.phase.chunks_done(number)
        if number not in self.numbers[-1:]:
            self.numbers.append(number)
            self.run.begin_part(self.phase.file_numbers[number])
        self.run.add(self.chunk_number, result)
        self.chunk_number += 1
        if self.run.size >= spills.RUN_BYTES or self.run.chunks >= spills.RUN_CHUNKS:
            self._write()

    def end(self):
        """Writes what is left; the name has no more chunks."""
        self.finished.append(self.reader)
        if self.numbers:
            self._write()
        else:
            self.phase.note_finished(self.name, self.finished)

    def _write(self):
        self.phase.note(self.name, self.run, self.numbers, self.finished)
        self._start()
