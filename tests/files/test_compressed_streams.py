"""Compressed files of one and of several streams: the text and the errors of `gzip`, `bzip2`, `xz` and `zstd`."""

import bz2
import gzip
import lzma
import os
import resource
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import pytest
import zstandard

from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import compression
from infoxlm_keras.text.readers import find_bitext, find_monolingual
from infoxlm_keras.text.readers.chunks import LineStream
from running import refused, run
from sample_text import sentences

LINES = [f"{text}\n".encode() for text in sentences("de", 60)]
TOOLS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
ENDINGS = pytest.mark.parametrize("ending", COMPRESS)


def streams(ending, number=3):
    """The lines as `number` streams, list of bytes."""
    size = len(LINES) // number
    return [COMPRESS[ending](b"".join(LINES[start : start + size])) for start in range(0, len(LINES), size)]


def content(path):
    with LineStream(str(path)) as stream:
        return b"".join(iter(stream.read_body, b""))


def tool(ending, path):
    """(text or None, whether there was a warning) by the format's own tool."""
    options = ["--long=31", "-q"] if ending == ".zst" else []
    test = subprocess.run([TOOLS[ending], *options, "-t", path], capture_output=True)
    if test.returncode:
        return None, True
    text = subprocess.run([TOOLS[ending], *options, "-dc", path], capture_output=True)
    return text.stdout, bool(test.stderr)


@ENDINGS
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_text_and_errors_are_those_of_the_formats_own_tool(ending, data, tmp_path):
    parts = streams(ending, data.draw(st.integers(1, 4)))
    for _ in range(data.draw(st.integers(0, 2))):
        index = data.draw(st.integers(0, len(parts) - 1))
        part = bytearray(parts[index])
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat", "pad", "rubbish", "drop"]))
        place = data.draw(st.integers(0, max(0, len(part) - 1)))
        if kind == "flip" and part:
            part[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            part = part[:place]
        elif kind == "insert":
            part[place:place] = data.draw(st.binary(min_size=1, max_size=3))
        elif kind == "repeat":
            part = part * 2
        elif kind == "pad":
            part += bytes(data.draw(st.integers(1, 9)))
        elif kind == "rubbish":
            part += data.draw(st.binary(min_size=1, max_size=20))
        elif kind == "drop":
            part = part[place:]
        parts[index] = bytes(part)
    path = tmp_path / f"de.txt{ending}"
    path.write_bytes(b"".join(parts))
    text, warned = tool(ending, path)
    try:
        found = content(path)
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        # A warning of `gzip` and `bzip2` says that bytes are ignored, which is an error here.
        assert text is None or warned
    else:
        assert found == text


@ENDINGS
def test_all_streams_are_read_and_damage_in_a_later_one_is_found(ending, tmp_path):
    path, parts = tmp_path / f"de.txt{ending}", streams(ending)
    path.write_bytes(b"".join(parts))
    assert content(path) == b"".join(LINES)
    for damaged in (
        parts[0] + b"\0" + parts[1][1:] + parts[2],
        parts[0] + bytes([parts[1][0] ^ 1]) + parts[1][1:],
        b"".join(parts) + b"rubbish",
        b"".join(parts) + parts[0][:2],
        b"".join(parts)[:-1],
        parts[0] + parts[1][: len(parts[1]) // 2] + parts[2],
        b"",
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"compressed data (is damaged|ends too early).*fetch it again"):
            content(path)


def test_padding_is_what_the_formats_allow(tmp_path):
    for ending, padding, good in (
        (".xz", 8, True),
        (".xz", 3, False),
        (".gz", 5, True),
        (".bz2", 5, False),
        (".zst", 4, False),
    ):
        path, parts = tmp_path / f"{padding}{ending}", streams(ending)
        path.write_bytes(b"".join(parts) + bytes(padding))
        if good:
            assert content(path) == b"".join(LINES)
        else:
            with pytest.raises(InputError, match="is damaged"):
                content(path)
    # Only xz continues after padding.
    for ending, good in ((".xz", True), (".gz", False), (".bz2", False)):
        path, parts = tmp_path / f"between{ending}", streams(ending)
        path.write_bytes(bytes(4).join(parts))
        if good:
            assert content(path) == b"".join(LINES)
        else:
            with pytest.raises(InputError, match="(more data follow|what follows) its stream 1"):
                content(path)


def test_older_lzma_files_named_xz_are_read_as_xz_reads_them(tmp_path):
    path, data = tmp_path / "a.xz", lzma.compress(b"eins\n", format=lzma.FORMAT_ALONE)
    path.write_bytes(data)
    assert content(path) == tool(".xz", path)[0] == b"eins\n"
    for behind in (data, bytes(4), lzma.compress(b"zwei\n")):
        path.write_bytes(data + behind)
        assert tool(".xz", path)[0] is None
        with pytest.raises(InputError, match="is damaged"):
            content(path)


def test_frames_that_zstd_skips_hold_no_text(tmp_path):
    path, skipped = tmp_path / "a.zst", b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    path.write_bytes(skipped + COMPRESS[".zst"](b"eins\n") + skipped + COMPRESS[".zst"](b"zwei\n") + skipped)
    assert content(path) == tool(".zst", path)[0] == b"eins\nzwei\n"


def long_window(text, log=28):
    """What `zstd --long=28` writes from a pipe: the size is unknown, so the window stays in the header."""
    parameters = zstandard.ZstdCompressionParameters(window_log=log, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(text) + compressor.flush()


@pytest.mark.parametrize("log", [28, 30, 31])
def test_zstd_of_a_long_window_is_read_in_the_memory_that_its_text_needs(log, tmp_path):
    path = tmp_path / "de.txt.zst"
    path.write_bytes(long_window(b"".join(LINES), log))
    assert content(path) == b"".join(LINES)
    code = (
        "from infoxlm_keras.text.readers.chunks import LineStream\n"
        "def most(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        f"before = most(); LineStream({str(path)!r}).__enter__().read_body(); print(most() - before)"
    )
    used = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(used) < 50_000  # kB


def test_a_window_above_the_most_is_named_with_its_remedy(tmp_path, monkeypatch):
    path = tmp_path / "de.txt.zst"
    path.write_bytes(long_window(b"".join(LINES)))
    monkeypatch.setattr(compression, "MOST_WINDOW_BYTES", 1 << 27)
    with pytest.raises(InputError, match=r"de.txt.zst: its zstd window of 256 MiB .* 128 MiB .*zstd -dc --long=31"):
        content(path)
    path = tmp_path / "de.txt.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
    path.write_bytes(lzma.compress(b"".join(LINES), filters=filters))
    with pytest.raises(InputError, match=r"de.txt.xz: its xz dictionary .* 128 MiB"):
        content(path)


def test_a_window_that_the_machine_cannot_hold_is_named(tmp_path):
    path = tmp_path / "de.txt.zst"
    path.write_bytes(long_window(b"".join(LINES), 31))
    code = (
        f"from infoxlm_keras.text.readers.chunks import LineStream; LineStream({str(path)!r}).__enter__().read_body()"
    )
    limit = 1 << 30
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert "InputError" in found.stderr and "its zstd window of 2,048 MiB needs more memory" in found.stderr


@ENDINGS
def test_a_bomb_is_unpacked_piece_by_piece(ending, tmp_path):
    path = tmp_path / f"de.txt{ending}"
    path.write_bytes(COMPRESS[ending](b"a" * (64 << 20)) * 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="line 1: is longer than"):
        content(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@ENDINGS
def test_builders_refuse_a_damaged_later_stream(ending, tmp_path, tokenizer_dir, capsys):
    parts = streams(ending)
    damaged = parts[0] + b"\0" + parts[1][1:]
    path = tmp_path / "in" / f"de.txt{ending}"
    path.parent.mkdir()
    path.write_bytes(damaged)
    output = ["--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out", "--processes", 1]
    message = refused(capsys, build_monolingual.main, "--input", path, *output)
    assert f"de.txt{ending}: the compressed data is damaged" in message
    pairs = tmp_path / f"en-de.tsv{ending}"
    pairs.write_bytes(COMPRESS[ending](b"a\tb\n") + COMPRESS[ending](b"c\td\n")[:-1])
    assert f"en-de.tsv{ending}: the compressed data" in refused(capsys, build_bitext.main, "--input", pairs, *output)
    assert not (tmp_path / "out").exists()
    path.write_bytes(b"".join(parts))
    run(build_monolingual.main, "--input", path, *output)


def test_files_that_are_no_files_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "de.txt")
    os.mkfifo(tmp_path / "en-de.tsv")
    os.mkfifo(tmp_path / "heldout.txt")
    with pytest.raises(InputError, match="de.txt: is neither a file nor a folder"):
        find_monolingual([tmp_path / "de.txt"])
    with pytest.raises(InputError, match="en-de.tsv: is neither a file nor a folder"):
        find_bitext([tmp_path])
    with pytest.raises(InputError, match="heldout.txt: is not a regular file"):
        content(tmp_path / "heldout.txt")


@pytest.mark.parametrize("text", [b"x", "größer\n".encode() * 5000, "größer\n".encode("latin-1") * 200, b"a\tb\r\n"])
@ENDINGS
def test_text_that_is_named_as_compressed_is_told_from_damage(ending, text, tmp_path):
    path = tmp_path / f"de.txt{ending.upper()}"
    path.write_bytes(text)
    with pytest.raises(InputError) as error:
        content(path)
    assert str(error.value) == (
        f"{path}: is not what its ending {ending} says; it is text that is not compressed: take the ending {ending} "
        "off its name"
    )


@pytest.mark.parametrize("actual", COMPRESS)
@ENDINGS
def test_the_ending_of_another_compression_is_corrected(ending, actual, tmp_path):
    path = tmp_path / f"de.txt{ending}"
    path.write_bytes(COMPRESS[actual](b"".join(LINES)))
    if ending == actual:
        assert content(path) == b"".join(LINES)
        return
    with pytest.raises(
        InputError, match=rf"is not what its ending {ending} says; .* give its name the ending {actual}$"
    ):
        content(path)
    renamed = path.rename(tmp_path / f"de.txt{actual}")
    assert content(renamed) == b"".join(LINES)


@ENDINGS
@hypothesis.given(flipped=st.integers(0, 60), bit=st.integers(0, 7))
@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_damaged_data_is_never_called_text(ending, flipped, bit, tmp_path):
    data = bytearray(COMPRESS[ending](b"".join(LINES)))
    data[flipped] ^= 1 << bit
    path = tmp_path / f"flipped{ending}"
    path.write_bytes(data)
    try:
        content(path)
    except InputError as error:
        assert "is not what its ending" not in str(error)
