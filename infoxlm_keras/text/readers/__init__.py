"""Readers: one small file a format, all with the same interface.

`reader.Reader` documents the interface. `registry.py` has one row for each file format: to add a format, write a file
with its reader and add a row. `find_monolingual` and `find_bitext` turn command-line inputs into readers by the names
of the files. `formats.py` has the tables of `--help`.

Readers of line formats pass bytes to the workers, which decode them. Readers of other formats (XML, Parquet, ...)
parse in the main process and pack the records for the workers, see `packed.py`.
"""

from infoxlm_keras.text.readers.bitext_discovery import find_bitext
from infoxlm_keras.text.readers.chunks import Chunk
from infoxlm_keras.text.readers.formats import BITEXT_FORMATS, MONOLINGUAL_FORMATS
from infoxlm_keras.text.readers.monolingual_discovery import find_monolingual
from infoxlm_keras.text.readers.moses import MosesPairs
from infoxlm_keras.text.readers.packed import Texts
from infoxlm_keras.text.readers.plain_text import MonolingualText
from infoxlm_keras.text.readers.reader import Reader
from infoxlm_keras.text.readers.tab_separated import TabSeparatedPairs

__all__ = [
    "BITEXT_FORMATS",
    "MONOLINGUAL_FORMATS",
    "Chunk",
    "MonolingualText",
    "MosesPairs",
    "Reader",
    "TabSeparatedPairs",
    "Texts",
    "find_bitext",
    "find_monolingual",
]
