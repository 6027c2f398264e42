"""Readers: one small file a format, all with the same interface.

A reader is a small picklable object that stands for one input of one stream:

    reader.name              the stream: a language (`de`) or a pair of languages (`en-de`)
    reader.files             tuple of str, the paths it reads
    reader.chunks()          yields `Chunk`s in order; cheap, runs in the main process, streams
    reader.read(chunk)       the chunk's sentences (list of str, "" between documents) or pairs (list of (str, str));
                             strict about encoding and columns, runs in a worker

`find_monolingual` and `find_bitext` turn command-line inputs into readers by their file names.
"""

from data_prep.readers.chunks import Chunk
from data_prep.readers.discovery import find_bitext, find_monolingual
from data_prep.readers.monolingual import MonolingualText
from data_prep.readers.moses import MosesPairs
from data_prep.readers.tab_separated import TabSeparatedPairs

__all__ = ["Chunk", "MonolingualText", "MosesPairs", "TabSeparatedPairs", "find_bitext", "find_monolingual"]
