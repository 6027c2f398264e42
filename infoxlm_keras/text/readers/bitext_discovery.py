"""Command-line inputs -> readers of sentence pairs, by the names of the files."""

import pathlib
from collections.abc import Iterable, Sequence

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import UnusableNameError, pair_languages, pair_name
from infoxlm_keras.text.readers import tfds_examples
from infoxlm_keras.text.readers.aligned import ENGLISH, aligned_sides
from infoxlm_keras.text.readers.fields import PairFields
from infoxlm_keras.text.readers.formats import BITEXT_NAMES
from infoxlm_keras.text.readers.found import Entry, Found, found_in_folders
from infoxlm_keras.text.readers.inputs import (
    GivenOnce,
    PassedOver,
    folder_files,
    parse_input,
    path_kind,
    plain_name,
    refuse_archive,
    refuse_compressed,
)
from infoxlm_keras.text.readers.message_folders import CATALOG, find_message_folders
from infoxlm_keras.text.readers.moses import MosesPairs
from infoxlm_keras.text.readers.moses_discovery import MosesFiles, archive_entries, stem_reader, two_files
from infoxlm_keras.text.readers.names import PAIR_PATTERN, find_pair, moses_sides, split_pair
from infoxlm_keras.text.readers.parquet import open_folder
from infoxlm_keras.text.readers.registry import BITEXT, Selection, endings, find_format
from infoxlm_keras.text.readers.tab_separated import MARGIN_THRESHOLD
from infoxlm_keras.text.readers.tatoeba import TatoebaPairs

# Moses files inside, see `moses_discovery`.
ARCHIVE = ".zip"
TATOEBA_FILES = ("sentences.csv", "links.csv")


class BitextFinder:
    """Makes readers of inputs.

    Args:
        fields: (str, str) or None, see `PairFields`.
        margin: float, least margin of mined pairs.
        pivot: str, the language that is paired with each of the others where a folder has a file for each.
    """

    def __init__(self, fields: tuple[str, str] | None, margin: float, pivot: str = ENGLISH) -> None:
        self.fields = fields
        self.margin = margin
        self.pivot = pivot
        self.given = GivenOnce()
        self.moses = MosesFiles(pair_name)
        self.entries: list[Entry] = []
        self.passed_over: list[PassedOver] = []
        self.folders: list[pathlib.Path] = []
        # Files in folders whose languages cannot be known.
        self.unusable: list[tuple[pathlib.Path, UnusableNameError]] = []

    def add(self, item: PathLike) -> None:
        """Adds the readers of one input."""
        entry = parse_input(item, PAIR_PATTERN)
        codes = entry.name and split_pair(entry.name, item)
        if entry.name and codes is None:
            raise InputError(f"{item}: {entry.name!r} does not name two languages; give them as in en-de=PATH")
        pair = codes and pair_name(*codes, item)
        if entry.address.startswith(tfds_examples.PREFIX):
            self.entries.append(Entry(tfds_examples.open_pairs(entry.address, pair, self.fields), codes=codes or None))
        elif pair:
            self._add_named(entry.address, pair, codes)
        else:
            self._add_unnamed(entry.address)

    def found(self) -> Found:
        """`Found`.

        Raises:
            UnusableNameError: for a Moses file that was given by its own name without its other side, and for a folder
                in which nothing can be used.
        """
        moses, alone = self.moses.entries()
        return found_in_folders(self.folders, self.entries + moses, self.passed_over, self.unusable + alone)

    def _add_unnamed(self, address):
        kind = path_kind(address)
        if kind is None:
            raise InputError(f"{address}: no such file or directory; give files named {BITEXT_NAMES}, or their folder")
        if kind == "file":
            self.given.check(address)
            self._add_file(pathlib.Path(address), [], explicit=True)
            return
        self._add_folder(pathlib.Path(address))

    def _add_folder(self, folder):
        self.folders.append(folder)
        names = [plain_name(path) for path in folder.iterdir() if not path.is_dir()]
        sides, left = aligned_sides(names, folder, self.pivot)
        if (folder / TATOEBA_FILES[0]).exists():
            left |= dict.fromkeys(TATOEBA_FILES, f"Tatoeba's export: name the languages, as in en-de={folder}")
        messages, opened, beside = find_message_folders(folder)
        paths, passed_over = folder_files(
            folder, lambda name: name in sides or _is_bitext(name, folder), BITEXT_NAMES, left, not messages
        )
        self.passed_over += [item for item in passed_over if pathlib.Path(item.path) not in opened] + beside
        for catalogs in messages:
            found, passed_over = folder_files(catalogs, lambda name: name.endswith(CATALOG), CATALOG)
            self.passed_over += passed_over
            paths += found
        for path in paths:
            self.given.check(path)
            try:
                self._add_file(path, sides.get(plain_name(path), []), explicit=False)
            except UnusableNameError as error:
                self.unusable.append((path, error))

    def _add_file(self, path, sides, explicit):
        """Adds a file; `sides` are its `Side`s, known from the names of the files beside it."""
        name = plain_name(path)
        format = find_format(name, BITEXT)
        if format and not format.compressed:
            refuse_compressed(path)
        codes = find_pair(pathlib.Path(name).stem, path) if format and format.pair_in_name else None
        if format and codes:
            self._add(self._reader(format, path, pair_name(*codes, path)), explicit, codes)
        elif format and format.pairs_inside:
            pairs = format.pairs_inside(str(path))
            for pair in pairs:
                self._add(self._reader(format, path, pair), explicit and len(pairs) == 1)
        elif name.endswith(ARCHIVE):
            self._add_archive(path, None)
        elif (found := moses_sides(name, path)) and found[2] is not None:
            self.moses.add(path, found[0], found[1], found[2], explicit)
        elif sides:
            for side in sides:
                self.moses.add(path, side.corpus, side.codes, side.number, explicit)
        else:
            refuse_archive(path)
            if format:
                remedy = f"rename it, name its languages as in en-de={path}, or leave it out"
                reason = "its name does not say two languages: write them before it, as in en-de=FILE"
            else:
                remedy = (
                    "rename it, or leave it out; a pair a line, its two sides separated by a tab, is X.<src>-<tgt>.tsv"
                )
                reason = "its ending is that of no format: X.<src>-<tgt>.tsv holds a pair a line, separated by a tab"
            raise UnusableNameError(f"{path}: is not named {BITEXT_NAMES}; {remedy}", reason)

    def _add_named(self, address, pair, codes):
        """Adds the reader of `address`, whose languages are given."""
        path, hash_sign, split = address.partition("#")
        if hash_sign and path_kind(address) is None and path_kind(path) == "folder":
            self._add(open_folder(path, pair, split, self._finder(pair)), True, codes)
            return
        kind, plain = path_kind(address), plain_name(address)
        if kind is None:
            if files := two_files(address):
                reader = MosesPairs(pair, files)
            else:
                reader = stem_reader(address, pair, codes)
            self._add(reader, True, codes)
        elif kind == "folder" and (pathlib.Path(address) / TATOEBA_FILES[0]).exists():
            self._add_tatoeba(pathlib.Path(address), pair, codes)
        elif kind == "folder":
            self._add(open_folder(address, pair, None, self._finder(pair)), True, codes)
        elif plain == TATOEBA_FILES[0]:
            self._add_tatoeba(pathlib.Path(address).parent, pair, codes)
        elif plain.endswith(ARCHIVE):
            self._add_archive(address, pair)
        elif format := find_format(plain, BITEXT):
            self._add(self._reader(format, address, pair), True, codes)
        else:
            refuse_archive(address)
            known = ", ".join([*endings(BITEXT), ARCHIVE])
            raise InputError(
                f"{address}: has none of the endings {known}; its format is unknown; rename it, "
                f"or give a text and its translation, line by line, as in {'-'.join(codes)}=A.txt,B.txt"
            )

    def _add(self, reader, explicit, codes=None):
        self.entries.append(Entry(reader, explicit, codes))

    def _add_archive(self, path, pair):
        entries, passed_over = archive_entries(path, pair_name, pair)
        self.entries += entries
        self.passed_over += passed_over

    def _add_tatoeba(self, folder, pair, codes):
        sentences, links = (folder / name for name in TATOEBA_FILES)
        for file in (sentences, links):
            if path_kind(file) != "file":
                raise InputError(f"{file}: no such file; Tatoeba's export is sentences.csv and links.csv together")
        self._add(TatoebaPairs(pair, (str(sentences), str(links))), True, codes)

    def _reader(self, format, path, pair):
        if not format.compressed:
            refuse_compressed(path)
        return format.open(pair, (str(path),), Selection(self._finder(pair), self.margin))

    def _finder(self, pair):
        return PairFields(pair_languages(pair), self.fields)


def find_bitext(
    inputs: Iterable[PathLike],
    fields: Sequence[str] | None = None,
    margin: float = MARGIN_THRESHOLD,
    pivot: str = ENGLISH,
) -> Found:
    """Readers of the pairs among `inputs`, sorted by pair of languages.

    Args:
        inputs: sequence of str or path, in the forms of `formats.BITEXT_FORMATS`. Subfolders are not searched.
        fields: sequence of two str or None, the fields with source and target in formats that have fields.
        margin: float, least margin of WikiMatrix's pairs.
        pivot: str, the language that is paired with each of the others where a folder has a file for each (FLORES,
            NTREX).

    Returns:
        `Found`, a list that also says what was passed over in folders and archives.

    Raises:
        InputError: as `find_monolingual`, and for an archive that is not safe; for a Moses file whose other side is
            missing, or an archive or TMX file without pairs, if it was given by its own name or nothing else is in its
            folder.
    """
    if fields is not None and len(fields) != 2:
        raise InputError(f"--fields {' '.join(fields)}: pairs are in two fields; name source and target")
    if fields is not None and fields[0] == fields[1]:
        raise InputError(f"--fields {' '.join(fields)}: is one field for both sides of a pair; name source and target")
    finder = BitextFinder((fields[0], fields[1]) if fields else None, margin, pivot)
    for item in inputs:
        finder.add(item)
    return finder.found()


def _is_bitext(name, folder):
    format, place = find_format(name, BITEXT), pathlib.Path(folder) / name
    if name.endswith(ARCHIVE) or (format and format.always_corpus):
        return True
    named = format is not None and format.pair_in_name
    try:
        return bool(find_pair(pathlib.Path(name).stem, place) if named else moses_sides(name, place))
    except UnusableNameError:
        # A corpus, to be passed over with this reason.
        return True
