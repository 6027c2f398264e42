"""`tfds:NAME[/CONFIG][:VERSION][#SPLIT]`: a dataset that TensorFlow Datasets has prepared on this machine.

`tfds:FOLDER[#SPLIT]` is one prepared elsewhere, in the folder that holds its `dataset_info.json`. Nothing is
downloaded: `tfds build NAME` does that. TFDS looks in $TFDS_DATA_DIR, or ~/tensorflow_datasets.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infoxlm_keras.command_line import quiet_imports
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.parser_errors import describe, parsing
from infoxlm_keras.text.languages import language_or_none, pair_languages
from infoxlm_keras.text.readers.fields import DocumentField, PairFields
from infoxlm_keras.text.readers.packed import packed_chunks, unpack
from infoxlm_keras.text.readers.reader import Text

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.packed import Texts

PREFIX = "tfds:"
TRAINING_SPLIT = "train"


@dataclasses.dataclass(frozen=True)
class TfdsExamples:
    """Documents or pairs in a prepared dataset; implements `reader.Reader`.

    Args:
        name: str, a language or a pair.
        files: tuple of the folder that holds the dataset.
        split: str.
        fields: `DocumentField` or `PairFields`, finds the text in an example.
    """

    name: str
    files: tuple[str, ...]
    split: str
    fields: DocumentField | PairFields

    @property
    def texts(self) -> list[Text]:
        """List of `Text`: of each file what `fields` finds in it."""
        return [Text((file,), (self.split, self.fields.part)) for file in self.files]

    def chunks(self) -> Iterator[Chunk]:
        """Yields the `Chunk`s of the dataset, in the order in which it is stored."""
        done = [0]
        return packed_chunks(self._records(done), lambda: done[0])

    def read(self, chunk: Chunk) -> Texts:
        """`Texts` of str, "" where a document ends; or of (source, target)."""
        return unpack(chunk)

    def _records(self, done):
        tfds = _import_tfds(self.files[0])
        builder = tfds.builder_from_directory(self.files[0])
        examples = builder.info.splits[self.split].num_examples
        size = os.path.getsize(self.files[0])
        for number, (place, example) in enumerate(_examples(builder, self.split), start=1):
            done[0] = size * number // examples
            yield number, self.fields(example, place)


def open_documents(address: str, language: str | None, field: str | None) -> TfdsExamples:
    """Reader of the documents of `address` (str, `tfds:...`).

    Args:
        address: str.
        language: str or None; None where the dataset's configuration says it (`wikipedia/20230601.de`).
        field: str or None, the field with the text; None for `text`, or the only one that is text.

    Raises:
        InputError: if the library or the dataset is missing, or it does not say the language or the field.
    """
    builder, split = _open(address)
    if field is None:
        texts = sorted(_text_fields(builder.info.features))
        if "text" not in texts and len(texts) != 1:
            raise InputError(f"{address}: has the text fields {', '.join(texts) or '(none)'}; name one with --fields")
        field = "text" if "text" in texts else texts[0]
    if language is None:
        config = builder.builder_config.name if builder.builder_config else ""
        language = language_or_none(config.split(".")[-1])
        if language is None:
            raise InputError(f"{address}: does not say its language; name it as in de={address}")
    return TfdsExamples(language, (os.fspath(builder.data_dir),), split, DocumentField(field))


def open_pairs(address: str, pair: str | None, fields: tuple[str, str] | None) -> TfdsExamples:
    """Reader of the pairs of `address` (str, `tfds:...`).

    Args:
        address: str.
        pair: str or None; None where the dataset is one of translations and says its two languages.
        fields: (str, str) or None, the fields of the two sides; None for those named by the languages.

    Raises:
        InputError: as `open_documents`.
    """
    builder, split = _open(address)
    if pair is None:
        languages = [language_or_none(name) for name in builder.info.supervised_keys or ()]
        if len(languages) != 2 or None in languages or languages[0] == languages[1]:
            raise InputError(f"{address}: does not say its two languages; name them as in en-de={address}")
        pair = f"{languages[0]}-{languages[1]}"
    return TfdsExamples(pair, (os.fspath(builder.data_dir),), split, PairFields(pair_languages(pair), fields))


def read_texts(address: str) -> Iterator[str]:
    """Yields every text (str) in the examples of `address` (str, `tfds:...`).

    Raises:
        InputError: as `open_documents`.
    """
    builder, split = _open(address)
    for place, example in _examples(builder, split):
        yield from _texts(example, place)


def _texts(value, place):
    if isinstance(value, bytes):
        with parsing(place, "UTF-8 text"):
            yield value.decode()
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item, place)
    elif hasattr(value, "dtype") and value.dtype.hasobject:
        for item in value.reshape(-1).tolist():
            yield from _texts(item, place)


def _examples(builder, split):
    """Yields (place for messages, example) in the order in which a prepared dataset is stored."""
    tfds = _import_tfds(builder.data_dir)
    # One file after another, or the order would depend on the number of threads.
    config = tfds.ReadConfig(interleave_cycle_length=1)
    dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
    iterator = iter(tfds.as_numpy(dataset))
    for number in itertools.count(1):
        place = f"{PREFIX}{builder.data_dir}: example {number}"
        with parsing(place, "complete", "prepare it again"):
            example = next(iterator, None)
        if example is None:
            return
        yield place, example


def _open(address):
    """(prepared builder, split)."""
    tfds = _import_tfds(address)
    name, _, split = address.removeprefix(PREFIX).partition("#")
    split = split or TRAINING_SPLIT
    what, remedy = "a dataset that TFDS knows, or a folder of one", "check the name"
    try:
        with parsing(address, what, remedy):
            builder = tfds.builder_from_directory(name) if os.path.isdir(name) else tfds.builder(name)
    except OSError as error:
        raise InputError(f"{address}: is not {what}: {describe(error)}; {remedy}") from None
    if not builder.is_prepared():
        raise InputError(f"{address}: is not prepared in {builder.data_dir}; run `tfds build {name}` first")
    if split not in builder.info.splits:
        splits = ", ".join(builder.info.splits) or "none"
        raise InputError(f"{address}: has no split {split!r}, only {splits}; name one after #")
    return builder, split


def _text_fields(features):
    import tensorflow_datasets as tfds

    return [name for name, feature in features.items() if isinstance(feature, tfds.features.Text)]


def _import_tfds(address):
    try:
        with quiet_imports():
            import tensorflow  # noqa: F401 - TFDS imports it later, and it would then print
            import tensorflow_datasets
    except ImportError:
        raise InputError(f'{address}: needs tensorflow-datasets: pip install "infoxlm_keras[tfds]"') from None
    return tensorflow_datasets
