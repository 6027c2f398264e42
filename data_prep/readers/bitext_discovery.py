"""Command-line inputs -> readers of sentence pairs, by the names of the files."""

import pathlib
import re

from data_prep.readers import tfds_examples, tmx
from data_prep.readers.fields import PairFields
from data_prep.readers.formats import BITEXT_NAMES
from data_prep.readers.gettext_catalog import GettextPairs, find_pair
from data_prep.readers.inputs import GivenOnce, folder_files, parse_input, path_kind, plain_name
from data_prep.readers.json_lines import JsonLines
from data_prep.readers.languages import language_or_none, pair_name
from data_prep.readers.moses_discovery import LANGUAGE, MOSES, MosesFiles, archive_readers, stem_reader
from data_prep.readers.parquet import ParquetRows, open_folder
from data_prep.readers.tab_separated import MARGIN_THRESHOLD, MarginPairs, TabSeparatedPairs
from data_prep.readers.tatoeba import TatoebaPairs
from infoxlm_keras.errors import InputError

PAIR = re.compile(rf"(?P<source>{LANGUAGE})-(?P<target>{LANGUAGE})")
FILE = re.compile(rf"(?:.*[._])?{PAIR.pattern}(?P<ending>\.tsv|\.tmx|\.jsonl|\.parquet)")
ENDINGS = (".tsv", ".tmx", ".jsonl", ".parquet", ".po", ".zip")
# Nothing else has these endings: a file of another name than `FILE` is not passed over, but explained.
TAKEN_FROM_FOLDERS = (".tsv", ".tmx", ".po", ".zip")


class BitextFinder:
    """Makes readers of inputs.

    Args:
        fields: (str, str) or None, see `PairFields`.
        margin: float, least margin of mined pairs.
        as_named: bool, languages keep the codes of the files' names instead of `data_prep.readers.languages`'.
    """

    def __init__(self, fields, margin, as_named):
        self.fields = fields
        self.margin = margin
        self.as_named = as_named
        self.given = GivenOnce()
        self.moses = MosesFiles(self._pair)
        self.readers = []

    def add(self, item):
        """Adds the readers of one input."""
        entry = parse_input(item, PAIR)
        pair = entry.name and self._pair(*PAIR.fullmatch(entry.name).group("source", "target"), item)
        if entry.address.startswith(tfds_examples.PREFIX):
            self.readers.append(tfds_examples.open_pairs(entry.address, pair, self.fields))
        elif pair:
            self.given.check(entry.address, pair)
            self._add_named(entry.address, pair, entry.name)
        else:
            self._add_unnamed(entry.address)

    def _add_unnamed(self, address):
        kind = path_kind(address)
        if kind is None:
            raise InputError(f"{address}: no such file or directory; give files named {BITEXT_NAMES}, or their folder")
        paths = [pathlib.Path(address)]
        stems = {}
        if kind == "folder":
            stems = _bare_stems(address)
            paths = folder_files(address, lambda name: _is_bitext(name) or name in stems, BITEXT_NAMES)
        for path in paths:
            self.given.check(path)
            self._add_file(path, stems.get(plain_name(path)))

    def _add_file(self, path, stem_languages):
        """Adds a file; `stem_languages` are the two of a pair `X.en`, `X.hi`, or None."""
        name = plain_name(path)
        if match := FILE.fullmatch(name):
            pair = self._pair(match["source"], match["target"], path)
            self.readers.append(self._reader(path, match["ending"], pair))
        elif name.endswith(".tmx"):
            self.readers += [tmx.TmxPairs(pair, (str(path),)) for pair in tmx.find_pairs(str(path))]
        elif name.endswith(".po"):
            self.readers.append(GettextPairs(find_pair(str(path)), (str(path),)))
        elif name.endswith(".zip"):
            self.readers += archive_readers(path, self._pair)
        elif (match := MOSES.fullmatch(name)) and match["side"] in (match["source"], match["target"]):
            self.moses.add(path, match["corpus"], (match["source"], match["target"]), match["side"])
        elif stem_languages:
            self.moses.add(path, name.rpartition(".")[0], stem_languages, name.rpartition(".")[2])
        else:
            raise InputError(
                f"{path}: is not named {BITEXT_NAMES}; rename it, name its languages as in en-de={path}, or leave it "
                "out"
            )

    def _add_named(self, address, pair, name):
        """Adds the reader of `address`, whose languages are given."""
        path, hash_sign, split = address.partition("#")
        if hash_sign and path_kind(address) is None and path_kind(path) == "folder":
            self.readers.append(open_folder(path, pair, split, self._finder(pair)))
            return
        kind, plain = path_kind(address), plain_name(address)
        if kind is None:
            self.readers.append(stem_reader(address, pair, PAIR.fullmatch(name).group("source", "target")))
        elif kind == "folder" and (pathlib.Path(address) / "sentences.csv").exists():
            self._add_tatoeba(pathlib.Path(address), pair)
        elif kind == "folder":
            self.readers.append(open_folder(address, pair, None, self._finder(pair)))
        elif plain == "sentences.csv":
            self._add_tatoeba(pathlib.Path(address).parent, pair)
        elif plain.endswith(".zip"):
            self.readers += archive_readers(address, self._pair, pair)
        else:
            ending = pathlib.Path(plain).suffix
            if ending not in ENDINGS:
                raise InputError(
                    f"{address}: has none of the endings {', '.join(ENDINGS)}; its format is not known, rename it"
                )
            self.readers.append(self._reader(address, ending, pair))

    def _add_tatoeba(self, folder, pair):
        files = folder / "sentences.csv", folder / "links.csv"
        for file in files:
            if path_kind(file) != "file":
                raise InputError(f"{file}: no such file; Tatoeba's export is sentences.csv and links.csv together")
        self.readers.append(TatoebaPairs(pair, tuple(map(str, files))))

    def _reader(self, path, ending, pair):
        files = (str(path),)
        if ending == ".tsv":
            if pathlib.Path(path).name.startswith("WikiMatrix."):
                return MarginPairs(pair, files, self.margin)
            return TabSeparatedPairs(pair, files)
        if ending == ".tmx":
            return tmx.TmxPairs(pair, files)
        if ending == ".po":
            return GettextPairs(pair, files)
        kind = JsonLines if ending == ".jsonl" else ParquetRows
        return kind(pair, files, self._finder(pair))

    def _finder(self, pair):
        return PairFields(tuple(pair.split("-")), self.fields)

    def _pair(self, source, target, path):
        name = pair_name(source, target, path)
        return f"{source}-{target}" if self.as_named else name


def find_bitext(inputs, fields=None, margin=MARGIN_THRESHOLD, as_named=False):
    """Readers of the pairs among `inputs`, sorted by pair of languages.

    Args:
        inputs: sequence of str or path, in the forms of `formats.BITEXT_FORMATS`. A folder is not searched any deeper;
            other files in it are passed over.
        fields: sequence of two str or None, the fields with source and target in formats that have fields.
        margin: float, least margin of WikiMatrix's pairs.
        as_named: bool, name readers by the very codes in the files' names (`eng-deu`), not by the languages' one
            name (`en-de`).

    Raises:
        InputError: as `find_monolingual`, and for a Moses file whose other side is missing, an archive that is not
            safe, or a TMX file without pairs.
    """
    if fields is not None and len(fields) != 2:
        raise InputError(f"--fields {' '.join(fields)}: pairs are in two fields; name source and target")
    finder = BitextFinder(tuple(fields) if fields else None, margin, as_named)
    for item in inputs:
        finder.add(item)
    return sorted(finder.readers + finder.moses.readers(), key=lambda reader: reader.name)


def _is_bitext(name):
    return name.endswith(TAKEN_FROM_FOLDERS) or bool(FILE.fullmatch(name)) or bool(MOSES.fullmatch(name))


def _bare_stems(folder):
    """dict of plain name to its two languages, for the files `X.en` + `X.hi` in `folder` (IIT Bombay's layout).

    Endings of three letters are too often something else than a language.
    """
    sides = {}
    for path in pathlib.Path(folder).iterdir():
        stem, _, side = plain_name(path).rpartition(".")
        if stem and len(side) == 2 and language_or_none(side) and not _is_bitext(plain_name(path)):
            sides.setdefault(stem, set()).add(side)
    return {
        f"{stem}.{side}": tuple(sorted(languages))
        for stem, languages in sides.items()
        if len(languages) == 2
        for side in languages
    }
