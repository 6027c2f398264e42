"""`manifest.json`: what a directory of prepared records holds, written by the builders and checked by the readers.

    DATA_DIR/mmlm/manifest.json      packed blocks, one stream a language
    DATA_DIR/bitext/manifest.json    pairs, one stream a language pair and length bucket

It has no timestamps and no absolute paths: building again from the same text gives the same bytes. docs/records.md
describes the file and the records field by field.
"""

import dataclasses
import hashlib
import os
import pathlib
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import local_copy, parse_json, read_bytes, storage, write_json
from infoxlm_keras.records.manifest_check import check_manifest_values, shown
from infoxlm_keras.tokenizer import Tokenizer

VERSION = 2
# Version 1 lacks the content of the inputs and samples of what was left out. `read` and `passed_over` were added
# within version 2; older packages ignore them.
READABLE_VERSIONS = (1, 2)
ACCOUNT = ("read", "passed_over")
FILE_NAME = "manifest.json"
SHARD_ENDING = ".tfrecord"
# Which command makes which kind; named in messages.
BUILDERS = {"mmlm": "infoxlm build-monolingual", "bitext": "infoxlm build-bitext"}


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file: `path` relative to the manifest, and what it must hold (`sha256` in hexadecimal)."""

    path: str
    records: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Stream:
    """Records of one shape that are shuffled together.

    Attributes:
        name: str. A language (`de`) or a language pair (`en-de`).
        length: int. Most tokens a record: of the whole block (mmlm), or of either side, without specials (bitext).
        records: int.
        tokens: int. Token ids stored in all records, special tokens included where they are stored (mmlm).
        unknown_tokens: int. How many of `tokens` are the unknown id.
        shards: tuple of `Shard`, in reading order.
    """

    name: str
    length: int
    records: int
    tokens: int
    unknown_tokens: int
    shards: tuple[Shard, ...]


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file of an input: its name, size and SHA-256 in hexadecimal (None for what is no file)."""

    file: str
    bytes: int
    sha256: str | None


@dataclasses.dataclass(frozen=True)
class Source:
    """An input of the build.

    Attributes:
        name: str. Its stream's name.
        file: str. Its file name, or both of a Moses pair.
        sentences: int. Sentences or pairs kept.
        dropped: dict of reason to int, what was left out.
        files: tuple of `SourceFile`.
        dropped_samples: dict of reason to tuple of str, some of what was left out.
        read: int or None. All that the input held: what was kept, dropped and passed over; None in older manifests.
        passed_over: dict of reason to int, what is no text, such as blank lines between documents.
    """

    name: str
    file: str
    sentences: int
    dropped: dict[str, int]
    files: tuple[SourceFile, ...] = ()
    dropped_samples: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    read: int | None = None
    passed_over: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PassedOver:
    """A file of a folder, or a member of an archive, that was not read: its name, and why."""

    file: str
    reason: str


@dataclasses.dataclass(frozen=True)
class TokenizerReference:
    """The tokenizer that made the records; `file` is a copy of it, relative to the manifest."""

    fingerprint: str
    vocabulary_size: int
    file: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        kind: `"mmlm"` or `"bitext"`.
        seed: int. Seed of the global shuffle of every stream.
        tokenizer: `TokenizerReference`.
        lengths: tuple of int, ascending. The block length alone (mmlm), or the bucket bounds (bitext).
        streams: tuple of `Stream`, sorted by (name, length).
        sources: tuple of `Source`, in the order they were read.
        created_by: dict. Package, version, command and the arguments that shaped the output.
        directory: path of the directory with `manifest.json`, once it was read or written.
        passed_over: tuple of `PassedOver`, what of the inputs' folders and archives was not read.
        digest: str, `"sha256:..."` of the file that was read; empty for a manifest that was not.
        address: str, where the shards lie if that is in a store; `directory` then holds a copy of all but them.
    """

    kind: str
    seed: int
    tokenizer: TokenizerReference
    lengths: tuple[int, ...]
    streams: tuple[Stream, ...]
    sources: tuple[Source, ...]
    created_by: dict[str, Any]
    # None only while a builder puts the manifest together.
    directory: pathlib.Path = None  # type: ignore[assignment]
    passed_over: tuple[PassedOver, ...] = ()
    # Two manifests of equal values are equal, whether they were read or not.
    digest: str = dataclasses.field(default="", compare=False)
    address: str = dataclasses.field(default="", compare=False)

    @property
    def sequence_length(self) -> int:
        """The largest of `lengths`."""
        return self.lengths[-1]

    def shard_path(self, shard: Shard) -> str:
        """The path of `shard` on this machine, or its address in a store, as str."""
        if self.address:
            return storage.join(self.address, shard.path)
        return str(self.directory / shard.path)


def write_manifest(directory: PathLike, manifest: Manifest) -> None:
    """Writes `manifest` to `directory`/manifest.json, atomically."""
    streams = sorted(manifest.streams, key=lambda stream: (stream.name, stream.length))
    value = {"format": f"infoxlm_keras/{manifest.kind}", "version": VERSION, "seed": manifest.seed}
    value["tokenizer"] = dataclasses.asdict(manifest.tokenizer)
    if manifest.kind == "mmlm":
        value["sequence_length"] = manifest.sequence_length
    else:
        value["lengths"] = list(manifest.lengths)
    value["streams"] = [dataclasses.asdict(stream) for stream in streams]
    value["sources"] = [_without_nothing(dataclasses.asdict(source)) for source in manifest.sources]
    value["passed_over"] = [dataclasses.asdict(item) for item in manifest.passed_over]
    value = _without_nothing(value)
    value["created_by"] = manifest.created_by
    write_json(pathlib.Path(directory) / FILE_NAME, value)


def read_manifest(data_dir: PathLike, kind: str) -> Manifest:
    """The manifest of the records of `kind` in `data_dir`, checked against the files beside it.

    Args:
        data_dir: str or path. The `--output_dir` of the builders, or its address in a store (`gs://`, `s3://`).
        kind: `"mmlm"` or `"bitext"`.

    Returns:
        `Manifest`.

    Raises:
        InputError: if there is none (names the command that makes it), if it is of another format or version or
            lacks something, or if a shard is missing or has another size. Shards' checksums are not computed:
            TFRecord readers check each record's own.
    """
    remote = storage.is_remote(data_dir)
    folder = storage.join(str(data_dir), kind) if remote else pathlib.Path(data_dir) / kind
    directory, address, sizes = _opened(folder)
    if not (directory / FILE_NAME).is_file():
        if remote:
            storage.refuse_object(str(data_dir), storage.listing(str(data_dir)))
        raise InputError(
            f"{folder}/{FILE_NAME}: no such file; make the records with "
            f"`{BUILDERS[kind]} --input ... --tokenizer ... --output_dir {data_dir}`"
        )
    return _read(directory, address, sizes, kind)


def read_manifest_in(folder: PathLike) -> Manifest:
    """The manifest in `folder`, which may have any name: as `read_manifest`, of the kind that it says itself.

    Args:
        folder: str or path of the folder with `manifest.json`, or its address in a store.

    Raises:
        InputError: as `read_manifest`; or if the manifest is of neither kind.
    """
    directory, address, sizes = _opened(folder)
    return _read(directory, address, sizes, None)


def _opened(folder):
    """(path on this machine, address, dict of name to size or None) of a folder of records, perhaps in a store."""
    if not storage.is_remote(folder):
        return pathlib.Path(folder), "", None
    address = str(folder)
    sizes = {name: entry.size for name, entry in storage.listing(address).items()}
    if not sizes:
        return pathlib.Path(folder), address, sizes
    return local_copy(address, lambda name: not name.endswith(SHARD_ENDING)), address, sizes


def _read(directory, address, sizes, kind):
    path = directory / FILE_NAME
    # One read for both: the digest is that of the values, even if the file is replaced meanwhile.
    content = read_bytes(path)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    value = parse_json(content, path)
    manifest = dataclasses.replace(_parse(value, kind or _kind_of(value, path), path), digest=digest, address=address)
    for stream in manifest.streams:
        for shard in stream.shards:
            _check_shard(manifest, shard, sizes)
    return manifest


def check_tokenizer(manifest: Manifest, tokenizer: Tokenizer) -> None:
    """Raises `InputError` unless `tokenizer` (of `infoxlm_keras.tokenizer`) gives the ids of the one in the records.

    Files of the same vocabulary may differ in their bytes, for instance a model that was converted from a
    `tokenizer.json`. In that case the behaviour is compared, by the copy beside the records.
    """
    made_with = manifest.tokenizer
    if made_with.fingerprint == tokenizer.fingerprint:
        return
    copy = manifest.directory / made_with.file
    if made_with.vocabulary_size == tokenizer.vocabulary_size and copy.is_file():
        original = Tokenizer(copy.read_bytes(), copy)
        if original.fingerprint == made_with.fingerprint and original.behaviour == tokenizer.behaviour:
            return
    raise InputError(
        f"{manifest.directory}: its records were made with another tokenizer ({made_with.fingerprint[:19]}, "
        f"{made_with.vocabulary_size} ids) than {tokenizer.source} ({tokenizer.fingerprint[:19]}, "
        f"{tokenizer.vocabulary_size} ids); use {manifest.directory / made_with.file}, or build the records "
        f"again with {BUILDERS[manifest.kind]} --tokenizer {tokenizer.source}"
    )


def _kind_of(value, path):
    found = value.get("format") if isinstance(value, dict) else None
    for kind in BUILDERS:
        if found == f"infoxlm_keras/{kind}":
            return kind
    known = " or ".join(f"infoxlm_keras/{kind}" for kind in BUILDERS)
    raise InputError(f"{path}: format is {shown(found)}, but {known} is needed; give the --output_dir of a builder")


def _parse(value, kind, path):
    found = value.get("format") if isinstance(value, dict) else None
    if found != f"infoxlm_keras/{kind}":
        raise InputError(
            f"{path}: format is {shown(found)}, but infoxlm_keras/{kind} is needed; build it with {BUILDERS[kind]}"
        )
    version = value.get("version")
    if type(version) is not int or version not in READABLE_VERSIONS:
        readable = " and ".join(map(str, READABLE_VERSIONS))
        raise InputError(
            f"{path}: version is {shown(version)}, but this package reads versions {readable}; "
            f"build the records again with {BUILDERS[kind]}, or install the version of infoxlm_keras that made them"
        )
    check_manifest_values(value, kind, path, BUILDERS[kind])
    try:
        lengths = [value["sequence_length"]] if kind == "mmlm" else value["lengths"]
        streams = [_dataclass(Stream, item) for item in value["streams"]]
        manifest = Manifest(
            kind=kind,
            seed=value["seed"],
            tokenizer=_dataclass(TokenizerReference, value["tokenizer"]),
            lengths=tuple(int(length) for length in lengths),
            streams=tuple(
                dataclasses.replace(stream, shards=tuple(_dataclass(Shard, item) for item in stream.shards))
                for stream in streams
            ),
            sources=tuple(_source(item) for item in value["sources"]),
            created_by=value["created_by"],
            directory=path.parent,
            passed_over=tuple(_dataclass(PassedOver, item) for item in value.get("passed_over", ())),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is not a complete manifest ({type(error).__name__}: {error}); "
            f"build the records again with {BUILDERS[kind]}"
        ) from None
    for stream in manifest.streams:
        if stream.records != sum(shard.records for shard in stream.shards) or stream.records == 0:
            raise InputError(
                f"{path}: stream {stream.name} of length {stream.length} says {stream.records} records, its shards "
                f"{sum(shard.records for shard in stream.shards)}; build the records again with {BUILDERS[kind]}"
            )
    if not manifest.streams:
        raise InputError(f"{path}: lists no streams; build the records again with {BUILDERS[kind]}")
    return manifest


def _dataclass(kind, value):
    return kind(**{field.name: value[field.name] for field in dataclasses.fields(kind)})


def _without_nothing(value):
    """`value` (dict) without an account that is not known or has nothing to say."""
    return {key: item for key, item in value.items() if key not in ACCOUNT or item not in (None, {}, [])}


def _source(value):
    files = tuple(_dataclass(SourceFile, item) for item in value.get("files", ()))
    samples = {reason: tuple(texts) for reason, texts in value.get("dropped_samples", {}).items()}
    account = value.get("read"), value.get("passed_over", {})
    return Source(value["name"], value["file"], value["sentences"], value["dropped"], files, samples, *account)


def _check_shard(manifest, shard, sizes):
    """Compares a shard's size with the manifest's; `sizes` of the objects, for records in a store."""
    path = manifest.shard_path(shard)
    remedy = f"copy it again, or build the records again with {BUILDERS[manifest.kind]}"
    if sizes is None:
        size = os.path.getsize(path) if os.path.isfile(path) else None
    else:
        size = sizes.get(shard.path)
    if size is None:
        raise InputError(f"{path}: is listed in {FILE_NAME} but is missing; {remedy}")
    if size != shard.bytes:
        raise InputError(f"{path}: has {size} bytes, but {FILE_NAME} says {shard.bytes}; {remedy}")
