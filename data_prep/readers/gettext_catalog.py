"""`.po` files of gettext: the messages of a program and their translation.

Left out, and counted: messages that are untranslated or marked fuzzy. Obsolete ones are passed over.
"""

import dataclasses
import pathlib
import re

from data_prep.readers.languages import language_name, language_or_none
from data_prep.readers.packed import LeftOut, check_text, one_line, packed_chunks, unpack
from infoxlm_keras.errors import InputError

MESSAGE_LANGUAGE = "en"


@dataclasses.dataclass(frozen=True)
class GettextPairs:
    """Pairs in one catalog; the interface is described in `data_prep.readers`.

    Args:
        name: str, the pair; its first language is the messages', its second the translations'.
        files: tuple of one path.
    """

    name: str
    files: tuple[str]

    def chunks(self):
        """Yields the file's `Chunk`s."""
        path = self.files[0]
        catalog = load_catalog(path)
        size = pathlib.Path(path).stat().st_size
        return packed_chunks(self._pairs(catalog), lambda: size)

    def read(self, chunk):
        """`Texts` of (message, translation); line breaks in them have become spaces."""
        return unpack(chunk)

    def _pairs(self, catalog):
        path = self.files[0]
        for entry in catalog:
            if entry.obsolete:  # kept by gettext for later reuse only
                continue
            forms = [(entry.msgid, entry.msgstr)]
            if entry.msgid_plural:
                plurals = entry.msgstr_plural
                forms = [(entry.msgid, plurals.get(0, ""))]
                # With more or fewer forms, which of them is the plural depends on the language.
                if len(plurals) == 2:
                    forms.append((entry.msgid_plural, plurals[1]))
            for pair in forms:
                if entry.fuzzy:
                    yield entry.linenum, LeftOut("fuzzy")
                elif not pair[1]:
                    yield entry.linenum, LeftOut("untranslated")
                else:
                    place = f"{path}: line {entry.linenum}"
                    yield entry.linenum, tuple(one_line(check_text(text, place)) for text in pair)


def find_pair(path):
    """Name of the pair in the catalog `path`: English, and the language of its header or else of its name.

    Raises:
        InputError: if neither says a language, and as `load_catalog`.
    """
    code = load_catalog(path).metadata.get("Language", "").strip()
    if not code:
        # Of three letters nearly every word is the code of some language: app.po.
        stem = pathlib.Path(path).stem
        # `de_DE.UTF-8` as a whole first, then the parts of `app.sr@latin`.
        parts = [stem, *reversed(stem.split(".")), *reversed(re.split(r"[.@]", stem))]
        code = next((part for part in parts if re.match(r"[a-z]{2}(?![a-z])", part) and language_or_none(part)), None)
        if code is None:
            raise InputError(
                f"{path}: neither its header (Language:) nor its name says the language; name it as in en-de={path}"
            )
    language = language_name(code, path)
    if language == MESSAGE_LANGUAGE:
        raise InputError(f"{path}: is a translation into {language}, the messages' own language; leave it out")
    return f"{MESSAGE_LANGUAGE}-{language}"


def load_catalog(path):
    """`polib.POFile` of `path`.

    Raises:
        InputError: if polib is missing, or for a file that is no catalog; names the line where polib does.
    """
    try:
        import polib
    except ImportError:
        raise InputError(f'{path}: reading it needs polib: pip install "infoxlm_keras[data]"') from None
    try:
        with open(path, "rb") as file:
            content = file.read()
        if b"\0" in content:
            line = content.count(b"\n", 0, content.index(b"\0")) + 1
            raise InputError(f"{path}: line {line}: holds a NUL byte; it is not a .po file")
        catalog = polib.pofile(path)
    except (LookupError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be decoded by the charset in its header ({error}); convert it") from None
    except OSError as error:
        if error.errno is not None:
            raise
        found = re.search(r"\(line (\d+)\)(: .*)?", str(error))
        line, reason = (f"line {found[1]}: ", found[2] or "") if found else ("", f": {error}")
        raise InputError(f"{path}: {line}is not gettext's syntax{reason}; check it with msgfmt --check") from None
    if not len(catalog) and not catalog.metadata:
        raise InputError(f"{path}: is empty, or no .po file; remove it from --input, or fetch it again")
    return catalog
