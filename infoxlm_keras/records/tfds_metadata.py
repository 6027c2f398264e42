"""Metadata that lets TensorFlow Datasets open prepared records where they are, without copying them."""

import json
import os
import types

from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import Manifest

VERSION = "1.0.0"
METADATA_FILES = ("dataset_info.json", "features.json")
FEATURES = {"mmlm": ("token_ids",), "bitext": ("source_ids", "target_ids")}
# TFDS's template of a shard's file name; `stem-00000-of-00001.tfrecord` is ours.
TEMPLATE = "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}"


def write_tfds_metadata(manifest: Manifest) -> dict[str, list[str]]:
    """Writes TFDS's `dataset_info.json` and `features.json` for every language or pair of a manifest.

    They go beside the shards, for `tfds.builder_from_directory(DATA_DIR/KIND/NAME)`, and into a folder for the
    version there, for `tfds.load("KIND/NAME", data_dir=DATA_DIR)`. Splits are the streams: the language itself (mmlm),
    or the buckets, `length-016` and so on (bitext).

    Args:
        manifest: `Manifest` that was read or written.

    Returns:
        dict of name to list of its splits.

    Raises:
        InputError: if tensorflow_datasets is not installed.
    """
    tfds = import_tfds()
    import tensorflow as tf

    ids = tfds.features.Sequence(tfds.features.Scalar(tf.int64))
    features = tfds.features.FeaturesDict({name: ids for name in FEATURES[manifest.kind]})
    written = {}
    for name in sorted({stream.name for stream in manifest.streams}):
        directory = manifest.directory / name
        streams = [stream for stream in manifest.streams if stream.name == name]
        template = tfds.core.ShardedFileTemplate(directory, template=TEMPLATE, filetype_suffix="tfrecord")
        splits = [_split_info(tfds, manifest.kind, stream, template) for stream in streams]
        written[name] = [split.name for split in splits]
        tfds.folder_dataset.write_metadata(
            data_dir=str(directory),
            features=features,
            split_infos=splits,
            version=VERSION,
            filename_template=TEMPLATE,
            check_data=False,
            description=f"Prepared records of {name} ({manifest.kind}): {manifest.tokenizer.fingerprint}",
        )
        _write_version(directory)
    return written


def import_tfds() -> types.ModuleType:
    """The module `tensorflow_datasets`, or `InputError` that says how to install it."""
    try:
        import tensorflow_datasets
    except ImportError:
        raise InputError('TensorFlow Datasets is not installed; run `pip install "infoxlm_keras[tfds]"`') from None
    return tensorflow_datasets


def _split_info(tfds, kind, stream, template):
    return tfds.core.SplitInfo(
        name=stream.name if kind == "mmlm" else f"length-{stream.length:03d}",
        shard_lengths=[shard.records for shard in stream.shards],
        num_bytes=sum(shard.bytes for shard in stream.shards),
        filename_template=template,
    )


def _write_version(directory):
    """A folder `1.0.0` with the same metadata, whose shards are those of the folder above."""
    version = directory / VERSION
    version.mkdir(exist_ok=True)
    for file in METADATA_FILES:
        value = json.loads((directory / file).read_text())
        for split in value.get("splits", ()):
            split["filepathTemplate"] = os.path.join("..", TEMPLATE)
        (version / file).write_text(json.dumps(value, indent=1) + "\n")
