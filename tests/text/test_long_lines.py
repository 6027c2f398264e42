"""Lines of megabytes are read, cleaned and counted within seconds, and come out as documented."""

import time

import ftfy
import pytest

from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.cleaning.unicode_repair import LONGEST_FIXED, repair
from running import refused, run
from sample_text import sentences

LINES = {
    "wrongly decoded": "schÃ¶ne GrÃ¼ÃŸe " * 300_000,
    "wrongly decoded without a space": "schÃ¶n" * 800_000,
    "without a space": "a" * 3_000_000,
    "Chinese": "好" * 1_000_000,
    "marks": "\u0301" * 1_000_000,
}


@pytest.mark.parametrize("size", [LONGEST_FIXED // 4, LONGEST_FIXED, 3 * LONGEST_FIXED, 1_000_000])
def test_long_lines_are_repaired_like_short_ones(size):
    wrong = "schÃ¶ne GrÃ¼ÃŸe aus KÃ¶ln, fÃ¼r alle. "
    count = size // len(wrong)
    (fixed,) = repair([wrong * count])
    assert fixed == ftfy.fix_encoding(wrong) * count == "schöne Grüße aus Köln, für alle. " * count
    # Without any place to cut at as well.
    (fixed,) = repair(["schÃ¶n" * count])
    assert fixed == "schön" * count


@pytest.mark.parametrize("name", LINES)
def test_lines_of_megabytes_take_seconds(name, tmp_path, tokenizer_dir):
    short = sentences("de", 30)
    (tmp_path / "de.txt").write_text("\n".join([*short[:15], LINES[name], *short[15:]]) + "\n", encoding="utf-8")
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out", "--processes", 1)
    start = time.perf_counter()
    run(build_monolingual.main, "--input", tmp_path / "de.txt", *output, "--identify_language", 0.5)
    pairs = [*zip(sentences("en", 15), short, strict=False), (LINES[name], LINES[name][::-1])]
    (tmp_path / "en-de.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    run(build_bitext.main, "--input", tmp_path / "en-de.tsv", *output)
    assert time.perf_counter() - start < 60
    (source,) = read_manifest(tmp_path / "out", "mmlm").sources
    assert source.sentences + sum(source.dropped.values()) == 31
    (source,) = read_manifest(tmp_path / "out", "bitext").sources
    assert source.sentences == 15 and sum(source.dropped.values()) == 1


def test_a_line_beyond_the_limit_is_refused_with_its_number(tmp_path, tokenizer_dir, capsys):
    (tmp_path / "de.txt").write_text("kurz\n" + "a" * (1 << 24) + "b\n")
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out")
    message = refused(capsys, build_monolingual.main, "--input", tmp_path / "de.txt", *output)
    assert "de.txt: line 2: is longer than 16,777,216 bytes" in message
