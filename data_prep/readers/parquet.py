"""Parquet files, and folders that the Hugging Face `datasets` library saved: rows streamed, a few columns of them."""

import dataclasses
import json
import pathlib
import re

from data_prep.readers.fields import DocumentField, PairFields
from data_prep.readers.packed import packed_chunks, unpack
from infoxlm_keras.errors import InputError

BATCH_ROWS = 1024
TRAINING_SPLIT = "train"
SAVED_DATASET, SAVED_SPLITS = "state.json", "dataset_dict.json"
# `train-00000-of-00004.parquet`, as the Hugging Face Hub names its files.
SPLIT_FILE = re.compile(r"(?P<split>[A-Za-z_]+)(?:[-.]\d.*)?\.parquet")


@dataclasses.dataclass(frozen=True)
class ParquetRows:
    """Documents or pairs in Parquet files; the interface is described in `data_prep.readers`.

    Args:
        name: str, a language or a pair.
        files: tuple of paths, read in this order.
        fields: `DocumentField` or `PairFields`, finds the text in a row.
    """

    name: str
    files: tuple[str, ...]
    fields: DocumentField | PairFields

    def chunks(self):
        """Yields the `Chunk`s of the files."""
        done = [0]
        return packed_chunks(self._records(done), lambda: done[0])

    def read(self, chunk):
        """`Texts` of str, "" where a document ends; or of (source, target)."""
        return unpack(chunk)

    def _records(self, done):
        pyarrow_parquet = _import_parquet(self.files[0])
        first = 1
        for path in self.files:
            size = pathlib.Path(path).stat().st_size
            before, rows = done[0], 0
            for batch, total in _batches(pyarrow_parquet, path, self.fields.columns):
                rows += len(batch)
                done[0] = before + size * rows // total
                yield from _rows(batch, path, first, self.fields)
                first += len(batch)
            done[0] = before + size


@dataclasses.dataclass(frozen=True)
class SavedDataset:
    """Documents or pairs in a folder of `Dataset.save_to_disk`; the interface is described in `data_prep.readers`.

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

    def chunks(self):
        """Yields the `Chunk`s of the dataset."""
        done = [0]
        return packed_chunks(self._records(done), lambda: done[0])

    def read(self, chunk):
        """`Texts` of str, "" where a document ends; or of (source, target)."""
        return unpack(chunk)

    def _records(self, done):
        dataset = _load(self.folder, self.split)
        columns = self.fields.columns
        if columns and set(columns) <= set(dataset.column_names):
            dataset = dataset.select_columns(list(columns))
        size = sum(pathlib.Path(file).stat().st_size for file in self.files)
        first = 1
        for table in dataset.with_format("arrow").iter(BATCH_ROWS):
            done[0] = size * (first - 1 + len(table)) // len(dataset)
            yield from _rows(table, self.folder, first, self.fields)
            first += len(table)


def open_folder(folder, name, split, fields):
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
    files = tuple(sorted(str(path) for path in data.glob("*.arrow")))
    if not files:
        raise InputError(f"{data}: holds no .arrow file; save the dataset again")
    return SavedDataset(name, files, str(folder), split, fields)


def _splits(folder):
    try:
        return list(json.loads((folder / SAVED_SPLITS).read_text(encoding="utf-8"))["splits"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder / SAVED_SPLITS}: is damaged; save the dataset again") from None


def _parquet_files(folder, split):
    files = {}
    for path in sorted(folder.rglob("*.parquet")):
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


def _import_parquet(path):
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError(f'{path}: reading it needs pyarrow: pip install "infoxlm_keras[parquet]"') from None
    return pyarrow.parquet


def _batches(pyarrow_parquet, path, columns):
    """Yields (batch, rows of the file)."""
    import pyarrow

    try:
        with pyarrow_parquet.ParquetFile(path) as file:
            present = set(file.schema_arrow.names)
            # A column that is not there is told by the first row's error, which names those that are.
            columns = list(columns) if columns and set(columns) <= present else None
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                yield batch, file.metadata.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path}: is no complete Parquet file ({_first_line(error)}); fetch it again") from None


def _load(folder, split):
    try:
        import datasets
    except ImportError:
        raise InputError(f'{folder}: reading it needs datasets: pip install "infoxlm_keras[parquet]"') from None
    import pyarrow

    try:
        dataset = datasets.load_from_disk(folder)
    except (pyarrow.ArrowException, ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise InputError(f"{folder}: is no complete saved dataset ({_first_line(error)}); save it again") from None
    return dataset[split] if split else dataset


def _rows(table, path, first, fields):
    for number, record in enumerate(table.to_pylist(), start=first):
        yield number, fields(record, f"{path}: row {number}")


def _first_line(error):
    return str(error).strip().split("\n")[0] or type(error).__name__
