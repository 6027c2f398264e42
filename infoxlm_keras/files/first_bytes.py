"""What the first bytes of a file say about its format, whatever its name is, and what to do about it."""

import codecs
import re
import unicodedata

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.compression import COMPRESSIONS, compression_ending, decompressed_by

# First bytes of files that are text, but of another format than lines of sentences.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
POINTER_BYTES = len(LFS_POINTER)
POINTER = "a Git LFS pointer, not the file itself: run `git lfs pull`"
DOCUMENTS = {
    LFS_POINTER: f"it is {POINTER}",
    b"%PDF-": "it is a PDF document: extract its text, as with `pdftotext`",
    b"%!PS": "it is a PostScript document: extract its text, as with `ps2ascii`",
    b"{\\rtf": "it is a document in the Rich Text Format: save it as plain text",
}
# First bytes of files that are not plain UTF-8 text, and what to do about them. The first that fits counts.
SIGNATURES = {
    **DOCUMENTS,
    b"\x1f\x8b": "it is compressed by gzip: give its name the ending .gz",
    b"\xfd7zXZ": "it is compressed by xz: give its name the ending .xz",
    b"BZh": "it is compressed by bzip2: give its name the ending .bz2",
    b"\x28\xb5\x2f\xfd": "it is compressed by zstd: give its name the ending .zst",
    b"\x1f\x9d": "it is compressed by compress: unpack it with `uncompress` or `gzip -d`, whatever its name is",
    b"PK\3\4": "it is a ZIP archive or an office document: unpack it, or save it as plain text",
    b"Rar!\x1a\x07": "it is a RAR archive: unpack it",
    b"7z\xbc\xaf\x27\x1c": "it is a 7z archive: unpack it",
    b"\xd0\xcf\x11\xe0": "it is an office document: save it as plain text",
    b"\x89PNG": "it is an image: leave it out",
    b"\xff\xd8\xff": "it is an image: leave it out",
    b"GIF8": "it is an image: leave it out",
    b"RIFF": "it is sound, a video or an image: leave it out",
    b"\x7fELF": "it is a program: leave it out",
    b"\x89HDF": "it is an HDF5 file: write its text into a text file",
    b"\x93NUMPY": "it is a NumPy array: write its text into a text file",
    b"SQLite format 3": "it is a database: write its text into a text file",
    b"PAR1": "it is a Parquet file: give its name the ending .parquet",
    # The mark of UTF-16 is the beginning of that of UTF-32.
    b"\xff\xfe\0\0": "it is UTF-32: convert it with `iconv -f UTF-32 -t UTF-8`",
    b"\0\0\xfe\xff": "it is UTF-32: convert it with `iconv -f UTF-32 -t UTF-8`",
    b"\xff\xfe": "it is UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`",
    b"\xfe\xff": "it is UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`",
}
TAR_PLACE, TAR_SIGNATURE = 257, b"ustar"
TAR_REMEDY = "it is a tar archive: unpack it with `tar -xf`, whatever its name is"
# A saved web page or another document in markup, by the beginning of its text.
MARKUP_DOCUMENT = re.compile(r"\s*<(!doctype\s+html|html|\?xml)[\s/>]", re.IGNORECASE)
# Characters that no text holds, and all compressed data of some length does.
_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
# What is looked at for them, and how much without one is text whatever its encoding.
HEAD_BYTES, LIKELY_BYTES = 4096, 256
# With fewer characters, a stray NUL in other text could look like UTF-16.
_LEAST_WIDE = 8


def format_remedy(head: bytes, path: str | None = None) -> str | None:
    """What a file is whose content begins with `head` (bytes), and what to do about it; None if they do not say.

    Args:
        head: bytes, `HEAD_BYTES` or more, or all there are.
        path: str, if `head` is what was decompressed by the ending of this path.

    Returns:
        str, "it is FORMAT: REMEDY"; or None.
    """
    remedy = next((remedy for signature, remedy in SIGNATURES.items() if head.startswith(signature)), None)
    if remedy is None and head[TAR_PLACE:].startswith(TAR_SIGNATURE):
        return TAR_REMEDY
    if remedy is None and (encoding := wide_encoding(head)):
        return f"it is {encoding} without a byte order mark: convert it with `iconv -f {encoding} -t UTF-8`"
    if remedy and path and compression_ending(path) and remedy.endswith(COMPRESSIONS):
        ending = remedy.rpartition(" ")[2]
        return (
            f"it is compressed twice: unpack it once (`{decompressed_by(path)}`), and end its name with one {ending}"
        )
    return remedy


def wide_encoding(head: bytes) -> str | None:
    """`"UTF-16LE"` or `"UTF-16BE"` if the first bytes of a file, `head`, are such text without a byte order mark.

    Every other byte of such text is the high byte of a character: NUL for ASCII, and below 32 for the characters of
    most alphabets. Text in Chinese or Japanese has few NULs, but it is not valid UTF-8.

    >>> wide_encoding("Ein Haus\\n".encode("utf-16-le"))
    'UTF-16LE'
    """
    head = head[:HEAD_BYTES]
    for encoding, high in (("UTF-16LE", head[1::2]), ("UTF-16BE", head[::2])):
        if len(high) < _LEAST_WIDE or 0 not in high or not _is_text(head, encoding):
            continue
        if 4 * sum(byte < 32 for byte in high) >= 3 * len(high) or not _decodes(head, "utf-8"):
            return encoding
    return None


def _is_text(head, encoding):
    """Whether all characters of `head` in this encoding are assigned, and none is a control character."""
    text = _decodes(head, encoding)
    return bool(text) and all(
        character in "\t\n\r" or unicodedata.category(character) not in ("Cc", "Cn", "Co") for character in text
    )


def _decodes(head, encoding):
    """The text of `head`, whose last character may be cut; "" if it is not in this encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return ""


def refuse_other_format(head: bytes, path: PathLike, wanted: str) -> None:
    """Raises `InputError` if the first bytes of the file `path`, `head`, are those of another format than `wanted`.

    Args:
        head: bytes.
        path: str or path, for the message.
        wanted: str, such as "a Parquet file".
    """
    if remedy := format_remedy(head):
        kind = remedy.partition(":")[0]
        raise InputError(f"{path}: is not {wanted}; {kind}: unpack or convert it, or fetch the file again")


def refuse_pointer(head: bytes, path: PathLike) -> None:
    """Raises `InputError` if the first bytes of the file `path`, `head`, are those of a pointer of Git LFS.

    Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
    """
    if head.startswith(LFS_POINTER):
        raise InputError(f"{path}: is {POINTER}")


def markup_error(place: str) -> InputError:
    """The `InputError` for a document in markup at `place` (str), where lines of text are wanted."""
    return InputError(
        f"{place}: is SGML, XML or HTML, whose lines are not sentences (a saved web page?); fetch the text itself, or "
        "write it into a file, one sentence a line: WMT's test sets with `sacrebleu -t wmt19 -l en-de --echo src "
        "ref`, or with `sed -n 's:.*<seg[^>]*>\\(.*\\)</seg>.*:\\1:p' FILE`"
    )


def looks_like_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text in UTF-8, or in another encoding that keeps ASCII; not if empty."""
    if not head or _CONTROLS.search(head):
        return False
    # A character may be cut at the end.
    return len(head) >= LIKELY_BYTES or head.decode("utf-8", "ignore").encode() == head
