"""A new corpus format is one reader and one row of the registry."""

import dataclasses
import pathlib

import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers import bitext_discovery, find_bitext, find_monolingual, monolingual_discovery
from infoxlm_keras.text.readers.chunks import decode_lines, file_chunks
from infoxlm_keras.text.readers.registry import BITEXT, MONOLINGUAL, FileFormat, find_format


@dataclasses.dataclass(frozen=True)
class Shouted:
    """A reader of the format that the tests add: text is lower-cased; a `|` separates the sides of a pair."""

    name: str
    files: tuple[str, ...]

    def chunks(self):
        return file_chunks(self.files[0])

    def read(self, chunk):
        lines = [line.lower() for line in decode_lines(chunk.bodies[0], self.files[0], chunk.first_line)]
        return [tuple(line.split("|")) for line in lines] if "-" in self.name else lines


ROW = FileFormat(".shout", lambda name, files, selection: Shouted(name, files), always_corpus=True)


def texts(readers):
    return [(reader.name, text) for reader in readers for chunk in reader.chunks() for text in reader.read(chunk)]


def test_one_row_adds_a_monolingual_format(tmp_path, monkeypatch):
    monkeypatch.setattr(monolingual_discovery, "MONOLINGUAL", (*MONOLINGUAL, ROW))
    (tmp_path / "de.shout").write_text("HALLO\n")
    (tmp_path / "fr.txt").write_text("Bonjour\n")
    assert texts(find_monolingual([tmp_path / "de.shout"])) == [("de", "hallo")]
    assert texts(find_monolingual([f"it={tmp_path / 'de.shout'}"])) == [("it", "hallo")]


def test_one_row_adds_a_format_of_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(bitext_discovery, "BITEXT", (*BITEXT, ROW))
    (tmp_path / "news.en-de.shout").write_text("GOOD DAY|GUTEN TAG\n")
    (tmp_path / "en-fr.tsv").write_text("yes\toui\n")
    found = find_bitext([tmp_path])
    assert texts(found) == [("en-de", ("good day", "guten tag")), ("en-fr", ("yes", "oui"))]
    assert not found.passed_over


def test_an_unknown_ending_names_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(bitext_discovery, "BITEXT", (*BITEXT, ROW))
    path = pathlib.Path(tmp_path / "pairs.odd")
    path.write_text("x\n")
    with pytest.raises(InputError, match=r"has none of the endings \.tsv, .*\.shout, \.zip; its format"):
        find_bitext([f"en-de={path}"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("WikiMatrix.de-en.tsv", "MarginPairs"), ("de-en.tsv", "TabSeparatedPairs"), ("x.po", "GettextPairs")],
)
def test_the_first_row_that_fits_counts(name, kind):
    assert type(find_format(name, BITEXT).open("de-en", (name,), selection())).__name__ == kind


def selection():
    from infoxlm_keras.text.readers.fields import PairFields
    from infoxlm_keras.text.readers.registry import Selection

    return Selection(PairFields(("de", "en")))
