"""A folder of an object store with a local copy, in which all work is done.

Stores have no rename, so what appears at once on a disk is uploaded file by file. A folder with one of `MARKERS` is a
unit: complete or absent. Before a unit changes, the object `FLAG` is written into it. Its parts follow, then the
markers, the most important last; then the flag is removed. A unit with a flag whose marker is missing is half-written:
readers refuse it, and the next writer removes it.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import storage
from infoxlm_keras.files.disk_room import check_free
from infoxlm_keras.files.sealed_json import read_sealed, write_sealed
from infoxlm_keras.files.storage import Entry

# The small files that say what is in a folder. The first of them that a folder has is uploaded last.
MARKERS = (
    "manifest.json",
    "checkpoint.json",
    "modules.json",
    "config.json",
    "saved_model.pb",
    "index.json",
    "model.tflite",
)
FLAG = ".infoxlm-unfinished"
_active: list[Mirror] = []


def fetch(path: pathlib.Path) -> None:
    """Downloads the file `path`, if it lies in a mirror that has left it in the store until it is needed."""
    for mirror in _active:
        if mirror.local in path.parents:
            mirror.fetch(path)


class Mirror:
    """A local folder that is brought from and to `address`. Use it as a context; `fetch` then knows it.

    Args:
        address: str.
        local: path of the local folder (or file), which need not exist.
        on_demand: function of a name relative to `address` (str) that says whether the file stays in the store until
            `fetch` asks for it. An empty file stands for it.
        report: called with one line for each half-written folder that is removed.

    What is known of both sides is kept beside `local`. So a process that begins again after a lost connection finds
    the work that the store does not have yet.
    """

    def __init__(
        self,
        address: str,
        local: pathlib.Path,
        on_demand: Callable[[str], bool] = lambda name: False,
        report: Callable[[str], object] = print,
    ) -> None:
        self.address, self.local, self.on_demand, self.report = address, local, on_demand, report
        self._state = local.with_name(f".{local.name}.mirror.json")
        self.remote: dict[str, Entry] = {}
        # (size, time of the last change) of local files as the store has them.
        self._known: dict[str, tuple[int, int]] = {}
        self._absent: set[str] = set()

    def __enter__(self) -> Mirror:
        _active.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _active.remove(self)

    def pull(self, clean: bool = True, keep_newer: bool = True) -> None:
        """Makes `local` what the store holds.

        Args:
            clean: bool, remove half-written folders from the store; otherwise they are only left out.
            keep_newer: bool, keep `local` where nobody has changed the store since it was uploaded last.

        Raises:
            InputError: if the store cannot be read (or, with `clean`, written).
        """
        remote = self._without_halves(self._listing(), clean)
        saved = self._load()
        if keep_newer and saved is not None and self.local.exists():
            tried = set(saved["tried"])
            before = {name: Entry(*entry) for name, entry in saved["remote"].items()}
            if _without(before, tried) == _without(remote, tried):
                self.remote, self._absent = remote, set(saved["absent"])
                self._known = {name: tuple(stat) for name, stat in saved["known"].items() if name in remote}
                self._known = _without(self._known, tried)
                return
        self._download(remote)

    def _download(self, remote):
        stays = {
            name
            for name, entry in remote.items()
            if self.remote.get(name) == entry and self._known.get(name) == _stat(self._path(name))
        }
        for name in set(self._files()) - stays:
            self._path(name).unlink()
        wanted = {name: entry for name, entry in remote.items() if name not in stays}
        now = {name: entry for name, entry in wanted.items() if not self.on_demand(name)}
        self.local.parent.mkdir(parents=True, exist_ok=True)
        check_free(self.local.parent, sum(entry.size for entry in now.values()))
        storage.download(self.address, self.local, now)
        self._absent = {name for name in self._absent if name in stays} | (set(wanted) - set(now))
        for name in set(wanted) - set(now):
            path = self._path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        self._remove_empty_folders()
        self._settle(remote, {name: _stat(self._path(name)) for name in self._files()})

    def fetch(self, path: pathlib.Path) -> None:
        """Downloads the file `path` of `local`, unless it is there or another was written in its place."""
        name = "" if path == self.local else path.relative_to(self.local).as_posix()
        if name not in self._absent or self._known.get(name) != _stat(path):
            return
        check_free(path.parent, self.remote[name].size)
        storage.download(self.address, self.local, {name: self.remote[name]})
        self._absent.discard(name)
        self._known[name] = _stat(path)
        self._save()

    def push(self) -> None:
        """Makes the store hold what is in `local`: complete units appear, those that are gone are removed.

        Raises:
            InputError: if the store cannot be written, or another process has written there meanwhile.
        """
        local = {name: _stat(self._path(name)) for name in self._files()}
        changed = {name for name, stat in local.items() if self._known.get(name) != stat}
        gone = set(self.remote) - set(local)
        if not changed and not gone:
            return
        if self._listing() != self.remote:
            raise InputError(
                f"{self.address}: another process has written there since this one read it; let one write at a time, "
                "and run this again"
            )
        folders = {os.path.dirname(name) for name in {*local, *self.remote} if _rank(name) < len(MARKERS)}
        units: dict[str | None, tuple[set[str], set[str]]] = {}
        for number, names in enumerate((changed, gone)):
            for name in names:
                units.setdefault(_unit(name, folders), (set(), set()))[number].add(name)
        # Before the first object changes: a process that is killed here must know what was its own doing.
        loose = units.pop(None, (set(), set()))
        markers = {name for name in local if os.path.dirname(name) in units and _rank(name) < len(MARKERS)}
        self._save(tried=changed | gone | markers)
        storage.upload(self.address, self.local, sorted(loose[0]))
        # What is new comes before what is removed: an old checkpoint goes when the new one is there.
        for unit, (new, old) in sorted(units.items(), key=lambda item: (not item[1][0], item[0])):
            self._replace(unit, new, old, local)
        storage.remove(self.address, sorted(loose[1]))
        # As they were when they were read: a log may have grown since.
        self._settle(self._listing(), local)

    def _replace(self, unit, new, old, local):
        """Uploads and removes files of one unit: the flag first, the markers last."""
        own = {name for name in {*local, *self.remote} if os.path.dirname(name) == unit and _rank(name) < len(MARKERS)}
        markers = sorted(own, key=_rank, reverse=True)
        last = os.path.basename(next((name for name in reversed(markers) if name in local), markers[-1]))
        flag = _join(unit, FLAG)
        storage.write_bytes(storage.join(self.address, flag), json.dumps({"complete_with": last}).encode())
        storage.remove(self.address, [name for name in reversed(markers) if name in self.remote])
        storage.remove(self.address, sorted(old - set(markers)))
        storage.upload(self.address, self.local, sorted(new - set(markers)))
        for name in markers:
            if name in local:
                self.fetch(self._path(name))
                storage.upload(self.address, self.local, [name])
        storage.remove(self.address, [flag])

    def close(self) -> None:
        """Removes the local copy; call it when all is in the store."""
        if self.local.is_dir():
            shutil.rmtree(self.local)
        else:
            self.local.unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)

    def _without_halves(self, remote, clean):
        halves, flags = half_written(self.address, remote)
        for unit in halves:
            rest = [name for name in remote if not unit or name.startswith(f"{unit}/")]
            if clean:
                place = storage.join(self.address, unit) if unit else self.address
                self.report(f"{place}: its upload was cut short; it is removed")
                # The flag goes last: until then the rest counts as half-written.
                storage.remove(self.address, sorted(rest, key=lambda name: name.endswith(FLAG)))
            remote = _without(remote, rest)
        if clean:
            storage.remove(self.address, [flag for flag in flags if flag in remote])
        return _without(remote, flags)

    def _listing(self):
        """The objects, less what is hidden and is not ours: it is left alone."""
        entries = storage.listing(self.address)
        return {name: entry for name, entry in entries.items() if not _is_hidden(name) or _is_flag(name)}

    def _path(self, name):
        return self.local / name if name else self.local

    def _files(self):
        """Names of all local files, relative to `local`; "" if it is a file itself."""
        if self.local.is_file():
            return [""]
        return [
            os.path.relpath(os.path.join(folder, file), self.local)
            for folder, _, files in os.walk(self.local)
            for file in files
            # Locks and unfinished files of this machine.
            if not _is_hidden(os.path.relpath(os.path.join(folder, file), self.local))
        ]

    def _remove_empty_folders(self):
        for folder, _, _ in os.walk(self.local, topdown=False):
            if not os.listdir(folder):
                os.rmdir(folder)

    def _settle(self, remote, known):
        """Notes that both sides are equal."""
        self.remote, self._known = remote, known
        self._absent &= set(self._known)
        self._save()

    def _save(self, tried: Iterable[str] = ()) -> None:
        state = {"address": self.address, "remote": self.remote, "known": self._known}
        write_sealed(self._state, {**state, "absent": sorted(self._absent), "tried": sorted(tried)})

    def _load(self):
        saved = read_sealed(self._state)
        return saved if saved is not None and saved["address"] == self.address else None


def half_written(address: str, remote: dict[str, Entry]) -> tuple[list[str], list[str]]:
    """(folders whose upload was cut short, all flags) among the objects `remote` of the folder `address`."""
    flags = [name for name in remote if _is_flag(name)]
    halves = []
    for flag in flags:
        unit = os.path.dirname(flag)
        try:
            last = json.loads(storage.read_bytes(storage.join(address, flag)))["complete_with"]
        except (ValueError, KeyError, TypeError):
            last = FLAG + "?"
        if _join(unit, last) not in remote:
            halves.append(unit)
    return halves, flags


def _join(unit, name):
    return f"{unit}/{name}" if unit else name


def _is_hidden(name):
    return any(part.startswith(".") for part in pathlib.PurePosixPath(name).parts)


def _is_flag(name):
    return os.path.basename(name) == FLAG


def _rank(name):
    base = os.path.basename(name)
    return MARKERS.index(base) if base in MARKERS else len(MARKERS)


def _unit(name, folders):
    """The outermost of `folders` (those with a marker) that `name` lies in ("" is the whole); None without one."""
    parts = pathlib.PurePosixPath(name).parts[:-1]
    on_the_way = ("/".join(parts[:depth]) for depth in range(len(parts) + 1))
    return next((folder for folder in on_the_way if folder in folders), None)


def _stat(path):
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return (stat.st_size, stat.st_mtime_ns)


def _without(entries, names):
    names = set(names)
    return {name: entry for name, entry in entries.items() if name not in names}
