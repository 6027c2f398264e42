"""Checks the JSON of a `manifest.json` value by value, before a `Manifest` is made of it."""

import itertools
import pathlib
import re
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError

# What NumPy's and TensorFlow's indices hold.
LARGEST = 2**63 - 1
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
# Bytes; a part of a path cannot be longer, and ours have two parts.
_LONGEST_PATH = 255
# The most characters of a wrong value in a message.
_SHOWN = 60


def check_manifest_values(value: dict[str, Any], kind: str, path: PathLike, builder: str) -> None:
    """Raises `InputError` for the first invalid value of a manifest.

    Args:
        value: dict, the JSON of a manifest whose format and version are right.
        kind: `"mmlm"` or `"bitext"`.
        path: path of the file, for messages.
        builder: str, command that makes such a manifest, for messages.

    Raises:
        InputError: names the file, the place in it (`streams[2].shards[0].records`), the value and what is wanted.
    """
    check = _Check(path, builder)
    check.count(value, "seed", least=-LARGEST - 1)
    if kind == "mmlm":
        lengths = [check.count(value, "sequence_length", least=1)]
    else:
        lengths = [check.number(item, f"lengths[{index}]", 1) for index, item in check.items(value, "lengths")]
        if not lengths or any(first >= second for first, second in itertools.pairwise(lengths)):
            raise check.error("lengths", lengths, "ascending numbers")
    tokenizer = check.dict(value, "tokenizer")
    check.text(tokenizer, "fingerprint", "tokenizer.")
    check.count(tokenizer, "vocabulary_size", "tokenizer.", least=1)
    check.inside(tokenizer, "file", "tokenizer.")
    check.dict(value, "created_by")
    streams = [_stream(check, item, f"streams[{index}]", lengths) for index, item in check.items(value, "streams")]
    if len(set(streams)) < len(streams):
        twice = next(stream for stream in streams if streams.count(stream) > 1)
        raise check.error("streams", twice, "each stream once")
    for index, item in check.items(value, "sources"):
        _source(check, item, f"sources[{index}].")
    for index, item in check.items(value, "passed_over") if "passed_over" in value else ():
        check.text(item, "file", f"passed_over[{index}].")
        check.text(item, "reason", f"passed_over[{index}].")


def _stream(check, item, place, lengths):
    """(name, length) of a stream."""
    place += "."
    name, length = check.name(item, "name", place), check.count(item, "length", place)
    if length not in lengths:
        raise check.error(f"{place}length", length, f"one of {', '.join(map(str, lengths))}")
    # A stream without records is refused by `read_manifest`, which compares the sum over shards.
    for key in ("records", "tokens", "unknown_tokens"):
        check.count(item, key, place)
    for index, shard in check.items(item, "shards", place):
        own = f"{place}shards[{index}]."
        check.inside(shard, "path", own)
        check.count(shard, "records", own)
        check.count(shard, "bytes", own)
        if not _HEXADECIMAL.fullmatch(check.text(shard, "sha256", own)):
            raise check.error(f"{own}sha256", shard["sha256"], "a checksum in hexadecimal")
    return name, length


def _source(check, item, place):
    check.name(item, "name", place)
    check.text(item, "file", place)
    check.count(item, "sentences", place)
    for reason in check.dict(item, "dropped", place):
        check.count(item["dropped"], reason, f"{place}dropped.")
    if item.get("read") is not None:
        check.count(item, "read", place)
    for reason in check.dict(item, "passed_over", place) if "passed_over" in item else ():
        check.count(item["passed_over"], reason, f"{place}passed_over.")
    for index, file in check.items(item, "files", place) if "files" in item else ():
        own = f"{place}files[{index}]."
        check.text(file, "file", own)
        check.count(file, "bytes", own)
        if check.get(file, "sha256", own) is not None:
            check.text(file, "sha256", own)
    for reason in check.dict(item, "dropped_samples", place) if "dropped_samples" in item else ():
        for index, sample in enumerate(check.list(item["dropped_samples"], reason, f"{place}dropped_samples.")):
            if not isinstance(sample, str):
                raise check.error(f"{place}dropped_samples.{reason}[{index}]", sample, "a text")


def shown(value: object) -> str:
    """A JSON value as a short text for messages."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class _Check:
    """Typed access to JSON values; every method raises `InputError` with the place of a value of another type."""

    def __init__(self, path, builder):
        self.path, self.builder = path, builder

    def error(self, place, value, wanted):
        return InputError(
            f"{self.path}: is not a complete manifest ({place} is {shown(value)}, not {wanted}); "
            f"build the records again with {self.builder}"
        )

    def get(self, value, key, place=""):
        if not isinstance(value, dict):
            raise self.error(place.rstrip(".") or "it", value, "an object")
        if key not in value:
            owner = place.rstrip(".") or "it"
            raise InputError(
                f"{self.path}: is not a complete manifest ({owner} lacks {key!r}); "
                f"build the records again with {self.builder}"
            )
        return value[key]

    def number(self, found, place, least=0):
        if type(found) is not int or not least <= found <= LARGEST:
            raise self.error(place, found, f"a whole number of at least {least}")
        return found

    def count(self, value, key, place="", least=0):
        return self.number(self.get(value, key, place), f"{place}{key}", least)

    def _typed(self, kind, wanted, value, key, place):
        found = self.get(value, key, place)
        if not isinstance(found, kind):
            raise self.error(f"{place}{key}", found, wanted)
        return found

    def text(self, value, key, place=""):
        return self._typed(str, "a text", value, key, place)

    def list(self, value, key, place=""):
        return self._typed(list, "a list", value, key, place)

    def dict(self, value, key, place=""):
        return self._typed(dict, "an object", value, key, place)

    def items(self, value, key, place=""):
        return enumerate(self.list(value, key, place))

    def name(self, value, key, place):
        """A language or a pair of languages."""
        found = self.text(value, key, place)
        if not found or not found.isprintable():
            raise self.error(f"{place}{key}", found, "a name")
        return found

    def inside(self, value, key, place):
        """A path below the manifest's directory."""
        found = self.text(value, key, place)
        parts = pathlib.PurePosixPath(found).parts
        leaves = not parts or found.startswith(("/", "~")) or ".." in parts or "\\" in found
        if leaves or not found.isprintable() or len(found.encode()) > _LONGEST_PATH:
            raise self.error(f"{place}{key}", found, "a path inside the manifest's directory")
        return found
