"""Parquet files, and folders that the Hugging Face `datasets` library saved: rows streamed, a few columns of them."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.first_bytes import HEAD_BYTES, refuse_other_format
from infoxlm_keras.files.parser_errors import describe, parsing
from infoxlm_keras.files.text_and_json import read_json
from infoxlm_keras.text.readers.chunks import open_regular
from infoxlm_keras.text.readers.fields import DocumentField, PairFields
from infoxlm_keras.text.readers.inputs import litter_reason
from infoxlm_keras.text.readers.packed import packed_chunks, unpack
from infoxlm_keras.text.readers.reader import Text

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.packed import Texts

BATCH_ROWS = 1024
PARQUET_SIGNATURE = b"PAR1"
TRAINING_SPLIT = "train"
SAVED_DATASET, SAVED_SPLITS = "state.json", "dataset_dict.json"
# `train-00000-of-00004.parquet`, as the Hugging Face Hub names its files.
SPLIT_FILE = re.compile(r"(?P<split>[A-Za-z_]+)(?:[-.]\d.*)?\.parquet")


@dataclasses.dataclass(frozen=True)
class ParquetRows:
    """Documents or pairs in Parquet files; implements `reader.Reader`.

    Args:
        name: str, a language or a pair.
        files: tuple of paths, read in this order.
        fields: `DocumentField` or `PairFields`, finds the text in a row.
    """

    name: str
    files: tuple[str, ...]
    fields: DocumentField | PairFields

    @property
    def texts(self) -> list[Text]:
        """List of `Text`: of each file what `fields` finds in it."""
        return [Text((file,), self.fields.part) for file in self.files]

    def chunks(self) -> Iterator[Chunk]:
        """Yields the `Chunk`s of the files."""
        done = [0]
        return packed_chunks(self._records(done), lambda: done[0])

    def read(self, chunk: Chunk) -> Texts:
        """`Texts` of str, "" where a document ends; or of (source, target)."""
        return unpack(chunk)

    def _columns(self, path, schema):
        return self.fields.columns(_field_names(schema), path)

    def _records(self, done):
        first = 1
        for path in self.files:
            size = pathlib.Path(path).stat().st_size
            before, rows = done[0], 0
            for batch, total in _batches(path, functools.partial(self._columns, path)):
                rows += len(batch)
                done[0] = before + size * rows // total
                yield from _rows(batch, path, first, self.fields)
                first += len(batch)
            done[0] = before + size


@dataclasses.dataclass(frozen=True)
class SavedDataset:
    """Documents or pairs in a folder of `Dataset.save_to_disk`; implements `reader.Reader`.

    Args:
        name: str, a language or a pair.
        files: tuple of the data's files.
        folder: str.
        split: str or None, its name in a folder of several.
        fields: `DocumentField` or `PairFields`, finds the text in a row.
    """

    name: str
    files: tuple[str, ...]
    folder: str
    split: str | None
    fields: DocumentField | PairFields

    @property
    def texts(self) -> list[Text]:
        """List of `Text`: of each file what `fields` finds in it."""
        return [Text((file,), (self.split, self.fields.part)) for file in self.files]

    def chunks(self) -> Iterator[Chunk]:
        """Yields the `Chunk`s of the dataset."""
        done = [0]
        return packed_chunks(self._records(done), lambda: done[0])

    def read(self, chunk: Chunk) -> Texts:
        """`Texts` of str, "" where a document ends; or of (source, target)."""
        return unpack(chunk)

    def _records(self, done):
        dataset = _load(self.folder, self.split)
        columns = self.fields.columns(_field_names(dataset.features.arrow_schema), self.folder)
        # `datasets` selects whole columns, with all of their nested fields.
        top = list(dict.fromkeys(column.split(".")[0] for column in columns))
        dataset = dataset.select_columns(top).with_format("arrow")
        size = sum(pathlib.Path(file).stat().st_size for file in self.files)
        first = 1
        tables = dataset.iter(BATCH_ROWS)
        while (table := _next(tables, self.folder, "a complete saved dataset", "save it again")) is not None:
            done[0] = size * (first - 1 + len(table)) // len(dataset)
            yield from _rows(table, self.folder, first, self.fields)
            first += len(table)


def open_folder(
    folder: PathLike, name: str, split: str | None, fields: DocumentField | PairFields
) -> ParquetRows | SavedDataset:
    """The reader of a folder that holds a saved dataset, or Parquet files at any depth.

    Args:
        folder: path.
        name: str, a language or a pair.
        split: str or None; None takes `train` where there are several.
        fields: `DocumentField` or `PairFields`.

    Raises:
        InputError: if there is no such split, or nothing of either kind.
    """
    folder = pathlib.Path(folder)
    if (folder / SAVED_SPLITS).is_file():
        splits = _splits(folder)
        split = split or TRAINING_SPLIT
        if split not in splits:
            raise InputError(f"{folder}: has no split {split!r}, only {', '.join(splits) or 'none'}; name it after #")
        data = folder / split
    elif (folder / SAVED_DATASET).is_file():
        data, split = folder, None
    else:
        return ParquetRows(name, _parquet_files(folder, split), fields)
    files = tuple(sorted(str(path) for path in data.glob("*.arrow") if not litter_reason(path.name)))
    if not files:
        raise InputError(f"{data}: holds no .arrow file; save the dataset again")
    return SavedDataset(name, files, str(folder), split, fields)


def _splits(folder):
    content = read_json(folder / SAVED_SPLITS)
    splits = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(splits, list) or not all(isinstance(split, str) for split in splits):
        raise InputError(f"{folder / SAVED_SPLITS}: has no list of splits; save the dataset again")
    return splits


def _parquet_files(folder, split):
    files: dict[str | None, list[str]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        if litter_reason(path.relative_to(folder).as_posix()):
            continue
        match = SPLIT_FILE.fullmatch(path.name)
        files.setdefault(match["split"] if match else None, []).append(str(path))
    if not files:
        raise InputError(f"{folder}: holds no Parquet file and no dataset saved by the `datasets` library")
    if split is None and len(files) == 1:
        return tuple(*files.values())
    chosen = split or TRAINING_SPLIT
    if chosen not in files:
        names = ", ".join(sorted(map(str, files)))
        raise InputError(f"{folder}: has no files of the split {chosen!r}, only of {names}; name one after #")
    return tuple(files[chosen])


def read_texts(path: str) -> Iterator[str]:
    """Yields every text (str) in the text columns of a Parquet file, those inside of records and lists too."""
    first = 1
    for batch, _ in _batches(path, _text_columns):
        for record in _values(batch, path, first):
            yield from _texts(record)
        first += len(batch)


def read_saved_texts(folder: PathLike) -> Iterator[str]:
    """As `read_texts`, of a folder that `datasets` saved, and all of its splits."""
    folder = pathlib.Path(folder)
    for split in _splits(folder) if (folder / SAVED_SPLITS).is_file() else [None]:
        dataset = _load(str(folder), split)
        dataset = dataset.select_columns(list(_text_columns(dataset.features.arrow_schema)))
        tables, first = dataset.with_format("arrow").iter(BATCH_ROWS), 1
        while (table := _next(tables, folder, "a complete saved dataset", "save it again")) is not None:
            for record in _values(table, folder, first):
                yield from _texts(record)
            first += len(table)


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _text_columns(schema):
    """Names of the columns of a schema that hold text, directly or in nested fields."""
    return [field.name for field in schema if "string" in str(field.type)]


def _import_parquet(path):
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError(f'{path}: reading it needs pyarrow: pip install "infoxlm_keras[parquet]"') from None
    return pyarrow.parquet


def _batches(path, columns_of):
    """Yields (batch, rows of the file): only the columns that are needed; others may be unreadable.

    Args:
        path: str.
        columns_of: callable, schema -> names of columns.
    """
    pyarrow_parquet = _import_parquet(path)
    what, remedy = "a complete Parquet file", "fetch it again"
    with open_regular(path) as file:
        check_parquet(file, path)
        with parsing(path, what, remedy):
            table = pyarrow_parquet.ParquetFile(file, page_checksum_verification=True)
            rows, schema = table.metadata.num_rows, table.schema_arrow
        columns = list(columns_of(schema))
        with parsing(path, what, remedy):
            batches = table.iter_batches(BATCH_ROWS, columns=columns)
        while (batch := _next(batches, path, what, remedy)) is not None:
            yield batch, rows


def check_parquet(file: IO[bytes], path: PathLike) -> None:
    """Raises `InputError` if `file` (binary, at its beginning), opened from `path`, begins as another format does."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head.startswith(PARQUET_SIGNATURE):
        refuse_other_format(head, path, "a Parquet file")


def _next(tables, path, what, remedy):
    """The next of an iterator of another library, or None at its end."""
    with parsing(path, what, remedy):
        return next(tables, None)


def _field_names(schema):
    """dict of the field names of a schema (or struct) to the same dict of their nested fields, or None.

    Lists of records count as their records.
    """
    import pyarrow

    names = {}
    for field in schema:
        type = field.type
        if pyarrow.types.is_list(type) or pyarrow.types.is_large_list(type):
            type = type.value_type
        names[field.name] = _field_names(type) if pyarrow.types.is_struct(type) else None
    return names


def _load(folder, split):
    try:
        import datasets
    except ImportError:
        raise InputError(f'{folder}: reading it needs datasets: pip install "infoxlm_keras[parquet]"') from None
    what, remedy = "a complete saved dataset", "save it again"
    try:
        with parsing(folder, what, remedy):
            dataset = datasets.load_from_disk(folder)
            return dataset[split] if split else dataset
    except FileNotFoundError as error:
        raise InputError(f"{folder}: is not {what}: {describe(error)}; {remedy}") from None


def _rows(table, path, first, fields):
    for number, record in enumerate(_values(table, path, first), start=first):
        yield number, fields(record, f"{path}: row {number}")


def _values(table, path, first):
    """The rows of a table or batch as Python values, iterable of dict."""
    try:
        return table.to_pylist()
    except Exception:
        # Text that is not UTF-8, a date that Python does not have: find the row, for the message.
        return _values_one_by_one(table, path, first)


def _values_one_by_one(table, path, first):
    for number in range(len(table)):
        with parsing(f"{path}: row {first + number}", "readable", "remove the row, or write the file again"):
            (record,) = table.slice(number, 1).to_pylist()
        yield record
