"""Prepared records and how they are read. Importing this package does not import TensorFlow."""

from infoxlm_keras.records.manifest import (
    Manifest,
    Shard,
    Source,
    SourceFile,
    Stream,
    TokenizerReference,
    check_tokenizer,
    read_manifest,
    write_manifest,
)

__all__ = [
    "Manifest",
    "Shard",
    "Source",
    "SourceFile",
    "Stream",
    "TokenizerReference",
    "check_tokenizer",
    "read_manifest",
    "write_manifest",
]
