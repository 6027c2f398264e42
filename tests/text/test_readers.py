"""Files as chunks of lines."""

from infoxlm_keras.text.readers import MonolingualText, chunks


def test_only_a_newline_ends_a_line(tmp_path):
    path = tmp_path / "de.txt"
    path.write_bytes("one\u2028still one\nt\rwo\u0085still two\n\x0cthree\n".encode())
    reader = MonolingualText("de", (str(path),))
    lines = [line for chunk in reader.chunks() for line in reader.read(chunk)]
    assert lines == ["one\u2028still one", "t\rwo\u0085still two", "three"]


def test_line_ends_and_the_byte_order_mark_are_taken_off():
    assert chunks.decode_lines(b"\xef\xbb\xbfa \r\nb\rc\r\n\r\nd", "de.txt", 1) == ["a ", "b\rc", "", "d"]
    # Anywhere but at the start of the file it is a character.
    assert chunks.decode_lines(b"\xef\xbb\xbfa\n", "de.txt", 2) == ["\ufeffa"]


def test_chunks_are_whole_lines_with_their_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 7)
    path = tmp_path / "de.txt"
    path.write_bytes(b"ab\ncd\nefghijklmnop\n\nq\nr")
    found = list(MonolingualText("de", (str(path),)).chunks())
    assert [(chunk.first_line, chunk.bodies[0]) for chunk in found] == [
        (1, b"ab\ncd\nefghijklmnop\n"),
        (4, b"\nq\nr"),
    ]
    assert sum(chunk.bytes_read for chunk in found) == 23
