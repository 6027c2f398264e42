"""Readers: one small file a format, all with the same interface.

A reader is a small picklable object that stands for one input of one stream:

    reader.name              the stream: a language (`de`) or a pair of languages (`en-de`)
    reader.files             tuple of str, the paths it reads
    reader.chunks()          yields `Chunk`s in order; runs in the main process, streams; the same input gives the same
                             chunks, always
    reader.read(chunk)       the chunk's sentences (list of str, "" between documents) or pairs (list of (str, str));
                             strict about encoding and columns, runs in a worker. It may be a `Texts`, whose `dropped`
                             counts what the reader left out, by reason

Formats of lines hand their bytes on undecoded, and workers do the rest; the others (XML, Parquet, ...) are parsed
where they are read, see `packed.py`. `find_monolingual` and `find_bitext` turn command-line inputs into readers by
their file names; `formats.py` has the tables of all of them.
"""

from infoxlm_keras.text.readers.bitext_discovery import find_bitext
from infoxlm_keras.text.readers.chunks import Chunk
from infoxlm_keras.text.readers.formats import BITEXT_FORMATS, MONOLINGUAL_FORMATS
from infoxlm_keras.text.readers.monolingual_discovery import find_monolingual
from infoxlm_keras.text.readers.moses import MosesPairs
from infoxlm_keras.text.readers.packed import Texts
from infoxlm_keras.text.readers.plain_text import MonolingualText
from infoxlm_keras.text.readers.tab_separated import TabSeparatedPairs

__all__ = [
    "BITEXT_FORMATS",
    "MONOLINGUAL_FORMATS",
    "Chunk",
    "MonolingualText",
    "MosesPairs",
    "TabSeparatedPairs",
    "Texts",
    "find_bitext",
    "find_monolingual",
]
