"""Removes control characters, byte order marks, unpaired surrogates and noncharacters."""

import re

# Line breaks and tabs separate words, so a space replaces them.
SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"
# Joiners (U+200C, U+200D) stay: Persian, Hindi and others spell with them. So do marks of direction.
REMOVED = re.compile("[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\ufdd0-\ufdef\ufffe\uffff\ufff9-\ufffb\ud800-\udfff]")
BROKEN = re.compile(f"[{SPACES}]+")


def remove_control_characters(lines: list[str]) -> list[str]:
    """List of str: `lines` without control characters; those that break lines or are tabs have become spaces."""
    return [line if line.isascii() and line.isprintable() else _clean(line) for line in lines]


def _clean(line):
    return REMOVED.sub("", BROKEN.sub(" ", line))
