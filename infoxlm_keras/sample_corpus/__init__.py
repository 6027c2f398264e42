"""Turns the translated help of LibreOffice into a corpus aligned across languages.

In reading order:

    debian_archive.py    a .deb file -> the files in it
    packages.py          help packages: found, fetched, read page by page
    pages.py             an HTML page -> paragraphs with their ids
    paragraph_faults.py  which paragraphs and translations are worth keeping
    alignment.py         pages of all languages -> rows, one paragraph each
    splitting.py         rows -> training and held-out rows that share no sentence
    storage.py           rows <-> compressed files, line n the same paragraph in every language
    description.py       corpus.json and README.md of the stored corpus
    text_files.py        rows -> text files and tab-separated pairs
    tfds_builder.py      the corpus as a data set of TensorFlow Datasets

Only `tfds_builder` needs more than the standard library.
"""

import pathlib

BUNDLED_CORPUS = pathlib.Path(__file__).parent / "data"
