"""`.po` files of gettext: the messages of a program and their translation.

Left out, and counted: messages that are untranslated or marked fuzzy. Passed over, and counted: obsolete ones, and
plural forms that match neither the English singular nor the English plural alone.
"""

from __future__ import annotations

import dataclasses
import gettext
import pathlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infoxlm_keras.errors import InputError
from infoxlm_keras.files.first_bytes import format_remedy
from infoxlm_keras.files.parser_errors import parsing
from infoxlm_keras.text.languages import UnusableNameError, language_name, language_or_none
from infoxlm_keras.text.readers.chunks import open_regular
from infoxlm_keras.text.readers.message_folders import folder_code
from infoxlm_keras.text.readers.packed import (
    OBSOLETE,
    PLURAL_FORM,
    LeftOut,
    check_text,
    one_line,
    packed_chunks,
    unpack,
)

if TYPE_CHECKING:
    import polib

    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.packed import Texts

MESSAGE_LANGUAGE = "en"
# The defaults of xgettext and gettext for a catalog that states none.
NO_PLURAL_RULE, USUAL_PLURAL_RULE = "EXPRESSION", "n != 1"
# Numbers that show which plural forms there are.
NUMBERS = range(2, 200)
STRING = r'"(?:[^"\\]|\\.)*"'
LINE = re.compile(rf"(?:(?:msgctxt|msgid|msgid_plural|domain|msgstr(?:\s*\[[^\]]*\])?)\s*)?(?:{STRING}\s*)+")
ESCAPES = re.compile(r'\\(?:(?P<known>[abfnrtv"\\?]|[0-7]|x[0-9A-Fa-f])|.?)')
SYNTAX, REMEDY = "gettext's syntax", "check it with msgfmt --check"


@dataclasses.dataclass(frozen=True)
class GettextPairs:
    """Pairs in one catalog; implements `reader.Reader`.

    Args:
        name: str, the pair; its first language is the messages', its second the translations'.
        files: tuple of one path.
    """

    name: str
    files: tuple[str, ...]

    def chunks(self) -> Iterator[Chunk]:
        """Yields the file's `Chunk`s."""
        path = self.files[0]
        catalog = load_catalog(path)
        size = pathlib.Path(path).stat().st_size
        return packed_chunks(self._pairs(catalog), lambda: size)

    def read(self, chunk: Chunk) -> Texts:
        """`Texts` of (message, translation); line breaks in them have become spaces."""
        return unpack(chunk)

    def _pairs(self, catalog):
        path, rule = self.files[0], PluralRule(catalog, self.files[0])
        for entry in catalog:
            if entry.obsolete:  # kept by gettext for later reuse only
                yield entry.linenum, LeftOut(OBSOLETE)
                continue
            forms, others = [(entry.msgid, entry.msgstr)], 0
            if entry.msgid_plural:
                forms, others = rule.forms(entry)
            for _ in range(others):
                yield entry.linenum, LeftOut(PLURAL_FORM)
            for pair in forms:
                if entry.fuzzy:
                    yield entry.linenum, LeftOut("fuzzy")
                elif not pair[1]:
                    yield entry.linenum, LeftOut("untranslated")
                else:
                    place = f"{path}: line {entry.linenum}"
                    yield entry.linenum, tuple(one_line(check_text(text, place)) for text in pair)


class PluralRule:
    """Which plural forms of a language match the English singular and plural, by the catalog's `Plural-Forms`.

    Args:
        catalog: `polib.POFile`.
        path: str, for messages.

    Raises:
        InputError: if it has plural forms whose rule gettext does not understand.
    """

    def __init__(self, catalog: polib.POFile, path: str) -> None:
        found = re.search(r"plural\s*=\s*([^;]+)", catalog.metadata.get("Plural-Forms", ""))
        rule = found[1].strip() if found else USUAL_PLURAL_RULE
        rule = USUAL_PLURAL_RULE if rule == NO_PLURAL_RULE else rule
        self.singular, self.plurals = 0, []
        if any(entry.msgid_plural for entry in catalog):
            remedy = "correct it, as msgfmt --check says"
            with parsing(f"{path}: its Plural-Forms {rule[:60]!r}", "a rule of gettext", remedy):
                form_of = gettext.c2py(rule)
                self.singular = form_of(1)
                self.plurals = sorted({form_of(number) for number in NUMBERS} - {self.singular})

    def forms(self, entry: polib.POEntry) -> tuple[list[tuple[str, str]], int]:
        """([(message, translation), ...], number of forms that are in none): the pairs of an entry with plurals.

        The plural is paired only if the language has one form for it; among several, the number decides.
        """
        pairs, used = [(entry.msgid, entry.msgstr_plural.get(self.singular, ""))], {self.singular}
        if len(self.plurals) == 1:
            pairs.append((entry.msgid_plural, entry.msgstr_plural.get(self.plurals[0], "")))
            used.add(self.plurals[0])
        return pairs, sum(bool(text) for form, text in entry.msgstr_plural.items() if form not in used)


def find_pair(path: str) -> str:
    """Name of the pair in the catalog `path`: English, and the language of the translations.

    It is what the header says (`Language: de`), else the folder (`de/LC_MESSAGES/app.po`), else the name (`de.po`).
    Where one of them is a code of the language alone (`sr` beside `sr@latin`), the header is right.

    Raises:
        UnusableNameError: if none of them says a language, or it is English; if the header contradicts the folder or
            the name.
        InputError: as `load_catalog`.
    """
    header = load_catalog(path).metadata.get("Language", "").strip()
    folder, name = folder_code(path) or "", _code_in_name(path) or ""
    language = next(filter(None, map(language_or_none, (header, folder, name))), None)
    if language_or_none(header):
        where, code = ("folder", folder) if language_or_none(folder) else ("name", _whole_code(path) or "")
        language = _agreed(header, code, where, path) if code else language
    if language is None and header:
        language = language_name(header, path)
    if language is None:
        raise UnusableNameError(
            f"{path}: neither its header (Language:) nor its name says the language, nor does a folder as in "
            f"de/LC_MESSAGES; name it as in en-de={path}",
            "its language is not known: name it, as in en-de=FILE",
        )
    if language == MESSAGE_LANGUAGE:
        what = f"is a translation into {language}, the messages' own language"
        raise UnusableNameError(f"{path}: {what}; leave it out", what)
    return f"{MESSAGE_LANGUAGE}-{language}"


def _agreed(header, code, where, path):
    """The language of a catalog whose header says `header` and whose folder or name (`where`) says `code`."""
    names = language_or_none(header), language_or_none(code)
    # `en-de.po` holds English and German.
    sides = {language_or_none(part) for part in code.split("-")} if where == "name" else set()
    if names[0] == names[1] or names[0] in sides:
        return names[0]
    bases = [(name or text).split("_")[0] for name, text in zip(names, (header, code), strict=True)]
    if bases[0] == bases[1]:
        # A code of the language alone leaves the script open.
        if any(re.fullmatch("[A-Za-z]{2,3}", text) for text in (header, code)):
            return names[0]
    what = f"its header says {header!r} (Language:), but its {where} says {code!r}"
    raise UnusableNameError(
        f"{path}: {what}; correct the one that is wrong, or name the languages, as in en-de={path}", what
    )


def _whole_code(path):
    """The code of a language that is the whole name of a catalog, or its last part (`app.de.po`); else None.

    Other parts may be words: `my.app.po` need not be Burmese.
    """
    stem = pathlib.Path(path).stem
    code = _code_in_name(path)
    return code if code in (stem, stem.rpartition(".")[2]) else None


def _code_in_name(path):
    """The code of a language in the name of a catalog, or None.

    Of three letters nearly every word is the code of some language: app.po.
    """
    stem = pathlib.Path(path).stem
    # `de_DE.UTF-8` as a whole first, then the parts of `app.sr@latin`.
    parts = [stem, *reversed(stem.split(".")), *reversed(re.split(r"[.@]", stem))]
    return next((part for part in parts if re.match(r"[a-z]{2}(?![a-z])", part) and language_or_none(part)), None)


def load_catalog(path: str) -> polib.POFile:
    """`polib.POFile` of `path`.

    Raises:
        InputError: if polib is missing, or for a file that is no catalog; names the line where polib does.
    """
    try:
        import polib
    except ImportError:
        raise InputError(f'{path}: reading it needs polib: pip install "infoxlm_keras[data]"') from None
    with open_regular(path) as file:
        content = file.read()
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        remedy = format_remedy(content) or "it is not a .po file"
        raise InputError(f"{path}: line {line}: holds a NUL byte; {remedy}")
    try:
        charset = polib.detect_encoding(path)
        text = content.decode(charset)
    except (LookupError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be decoded by the charset in its header ({error}); convert it") from None
    check_lines(text, path)
    try:
        with parsing(path, SYNTAX, REMEDY):
            catalog = polib.pofile(path, encoding=charset)
    except InputError as error:
        found = re.search(r"\(line (\d+)\)(: [^;]*)?", str(error.__cause__))
        if found is None:
            raise
        raise InputError(f"{path}: line {found[1]}: is not {SYNTAX}{found[2] or ''}; {REMEDY}") from None
    if not len(catalog) and not catalog.metadata:
        raise InputError(f"{path}: is empty, or no .po file; remove it from --input, or fetch it again")
    return catalog


def check_lines(text: str, path: str) -> None:
    """Raises `InputError` for a line that is neither a comment nor a keyword with complete strings.

    polib takes the first and the last character of a string for quotes, whatever they are.

    Args:
        text: str, a catalog.
        path: str, for messages.
    """
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if found is None:
            odd = len(re.sub(r"\\.", "", line).split('"')) % 2 == 0
            reason = "a quote is not closed" if odd else "it is not a keyword with a string in double quotes"
            raise InputError(f"{path}: line {number}: is not {SYNTAX}: {reason}; {REMEDY}")
        for escape in ESCAPES.finditer(line):
            if not escape["known"]:
                raise InputError(f"{path}: line {number}: {escape[0]} stands for no character; {REMEDY}")
