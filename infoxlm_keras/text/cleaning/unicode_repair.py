"""Text that was decoded by the wrong charset (`schÃ¶n`) -> what was meant (`schön`)."""

import functools
import re

from infoxlm_keras.optional_library import import_library

PURPOSE = "Unicode repair (--no_repair does without)"
# Charsets that UTF-8 is commonly mistaken for, those that ftfy undoes.
MISTAKEN_FOR = "latin-1 cp1250 cp1251 cp1252 cp1253 cp1254 cp1257 iso8859-2 mac-roman cp437".split()
# First and following bytes of a character in UTF-8; ftfy also takes a lost byte, as the marks that stand for it.
LEADING, FOLLOWING, LOST = range(0xC2, 0xF5), range(0x80, 0xC0), "\ufffd\x1a"
# ftfy gets lines up to this length whole, and longer lines in pieces.
LONGEST_FIXED, PIECE_CHARACTERS = 20_000, 1000
PIECE_END = re.compile("[!-~](?=[ A-Za-z0-9])")


def repair(lines: list[str]) -> list[str]:
    """List of str: `lines` with wrong decoding undone. Nothing else changes: quotes and ligatures stay.

    Raises:
        InputError: if ftfy is not installed.
    """
    fix, suspicion = _fixer(), _suspicion()
    # ftfy is slow, and few lines contain traces of a wrong decoding.
    return [line if line.isascii() or not suspicion(line) else _fix_in_pieces(fix, line) for line in lines]


def _fix_in_pieces(fix, line):
    """Applies `fix` to pieces of a long line, because its time grows faster than linearly with the line.

    A piece ends before a space or an ASCII letter or digit that follows another ASCII character, where no wrongly
    decoded character can lie; or in the midst of a run without these.
    """
    if len(line) <= LONGEST_FIXED:
        return fix(line)
    pieces, start = [], 0
    while start < len(line):
        found = PIECE_END.search(line, start + PIECE_CHARACTERS, start + 2 * PIECE_CHARACTERS)
        end = found.start() + 1 if found else start + 2 * PIECE_CHARACTERS
        pieces.append(fix(line[start:end]))
        start = end
    return "".join(pieces)


@functools.cache
def _fixer():
    ftfy = import_library("ftfy", PURPOSE)
    config = ftfy.TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )
    return functools.partial(ftfy.fix_text, config=config)


@functools.cache
def _suspicion():
    """Returns a function that tells whether a line may be mojibake.

    It looks for the bytes of one UTF-8 character, read in a single-byte charset, and for C1 control characters.
    """

    def characters(codes, *charsets):
        decoded = (bytes([code]).decode(charset, "ignore") for charset in charsets for code in codes)
        return re.escape("".join(sorted(set("".join(decoded)))))

    # A lone U+0085 is a line break on some systems, not an ellipsis. `à` becomes `Ã` and a no-break space, which
    # is often a plain space by now.
    others = ["Ã ", "[\x80-\x84\x86-\x9f\ud800-\udfff]"]
    pairs = [f"[{characters(LEADING, charset)}][{characters(FOLLOWING, charset)}{LOST}]" for charset in MISTAKEN_FOR]
    exact = re.compile("|".join([*pairs, *others]))
    # One pattern over all charsets is less exact but much faster, so it filters first.
    mixed = f"[{characters(LEADING, *MISTAKEN_FOR)}][{characters(FOLLOWING, *MISTAKEN_FOR)}{LOST}]"
    quick = re.compile("|".join([mixed, *others]))
    return lambda line: quick.search(line) and exact.search(line)
