"""The formats of corpora that readers know: what each makes of pairs, and all that its readers give."""

import pickle

from corpus_files import archive, catalog, json_lines, margins, moses, tatoeba, tmx_pairs, translations, tsv

# name: callable, pairs in English and German -> (files, the input that reads them; "." for their folder)
BITEXT = {
    "two columns": lambda pairs: ({"en-de.tsv": tsv(pairs)}, "."),
    "columns named by hand": lambda pairs: ({"pairs.tsv": tsv(pairs)}, "en-de={}/pairs.tsv"),
    "Moses": lambda pairs: ({"X.en-de.en": moses(pairs, 0), "X.en-de.de": moses(pairs, 1)}, "."),
    "Moses of bare names": lambda pairs: ({"dev.en": moses(pairs, 0), "dev.de": moses(pairs, 1)}, "en-de={}/dev"),
    "Moses in an archive": lambda pairs: (
        {
            "en-de.txt.zip": archive(
                {"README": b"x", "Books.en-de.en": moses(pairs, 0), "Books.en-de.de": moses(pairs, 1)}
            )
        },
        ".",
    ),
    "TMX": lambda pairs: ({"en-de.tmx": tmx_pairs(pairs)}, "."),
    "TMX without a language in its name": lambda pairs: ({"memory.tmx": tmx_pairs(pairs)}, "."),
    "WikiMatrix": lambda pairs: ({"WikiMatrix.en-de.tsv": margins(pairs)}, "."),
    "JSON": lambda pairs: ({"en-de.jsonl": json_lines(translations(pairs, ("eng", "de-DE")))}, "."),
    "JSON without nesting": lambda pairs: (
        {"en-de.jsonl": json_lines({"id": 1, "en": source, "de": target} for source, target in pairs)},
        ".",
    ),
    "gettext": lambda pairs: ({"de.po": catalog(pairs)}, "."),
    "Tatoeba": lambda pairs: (tatoeba(pairs), "en-de={}"),
    "Tatoeba by file": lambda pairs: (tatoeba(pairs), "en-de={}/sentences.csv"),
}


def read_all(readers):
    """dict of stream name to list of all that its readers read, from chunks that went through a pickle."""
    found = {}
    for reader in readers:
        reader = pickle.loads(pickle.dumps(reader))
        for chunk in reader.chunks():
            found.setdefault(reader.name, []).extend(reader.read(pickle.loads(pickle.dumps(chunk))))
    return found


def as_input(folder, form):
    return folder if form == "." else form.format(folder)
