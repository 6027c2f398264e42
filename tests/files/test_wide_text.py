"""UTF-16 without a byte order mark is recognised by its bytes, and nothing else is taken for it."""

import gzip
import pathlib
import random
import struct

import pytest

from corpus_files import catalog, tmx_pairs
from corpus_formats import read_all
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.first_bytes import HEAD_BYTES, wide_encoding
from infoxlm_keras.text.readers import find_bitext, find_monolingual
from infoxlm_keras.text.readers.gettext_catalog import load_catalog
from sample_text import sentences

CHINESE = "我们一起去学校。\n这是一本很好的书,他说一定要看。\n" * 200
TEXTS = {
    **{language: "\n".join(sentences(language, 40)) + "\n" for language in ("de", "ru", "hi")},
    "zh": CHINESE,
    "ja": "今日はいい天気ですね。\n散歩に行きましょう。\n" * 200,
    "el": "το σπίτι είναι μεγάλο\nη γάτα κοιμάται\n" * 100,
    "th": "บ้านหลังใหญ่\nแมวนอนหลับ\n" * 100,
    "ar": "البيت كبير\nالقطة نائمة\n" * 100,
}


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE"])
@pytest.mark.parametrize("language", TEXTS)
def test_text_is_recognised_and_converted_by_the_advice(language, encoding, tmp_path):
    text = TEXTS[language]
    for length in (40, HEAD_BYTES - 1, None):
        assert wide_encoding(text.encode(encoding)[:length]) == encoding
    for name, content in (("x.txt", text.encode(encoding)), ("x.txt.gz", gzip.compress(text.encode(encoding)))):
        path = tmp_path / name
        path.write_bytes(content)
        (reader,) = find_monolingual([f"{language}={path}"])
        with pytest.raises(InputError, match=f"`iconv -f {encoding} -t UTF-8`") as error:
            read_all([reader])
        assert "tr -d" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"good\na\0b\n",
        b"ab\0c",
        b"a\0\tb\n",
        b"\0" * 100,
        "ein Haus\nein Vögelchen\n".encode() * 50 + b"\0\n",
        CHINESE.encode() + b"\0",
        CHINESE.encode("utf-32-le"),
        "ein Haus\n".encode("utf-32-be"),
        struct.pack("<500h", *range(500)),
        struct.pack("<500I", *range(70, 570)),
        random.Random(0).randbytes(3000),
        "ein Haus, ein Baum und ein Vogel\n".encode("utf-8-sig"),
        b"a\0\n",
    ],
)
def test_other_bytes_are_not_taken_for_it(content):
    assert wide_encoding(content) is None


def test_no_file_of_the_library_is_taken_for_it():
    folder = pathlib.Path(__file__).parents[2] / "infoxlm_keras"
    found = [path for path in folder.rglob("*") if path.is_file() and wide_encoding(path.read_bytes()[:HEAD_BYTES])]
    assert not found


def test_one_nul_in_good_text_is_still_named_alone(tmp_path):
    (tmp_path / "de.txt").write_bytes(b"ein Haus\nzwei\0 Haeuser\n")
    (reader,) = find_monolingual([tmp_path / "de.txt"])
    with pytest.raises(InputError, match="line 2: holds a NUL byte; .* `tr -d"):
        read_all([reader])


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE"])
def test_translation_memories_and_catalogs(encoding, tmp_path):
    pairs = list(zip(sentences("en", 5), sentences("de", 5), strict=True))
    memory = tmx_pairs(pairs).decode().replace('encoding="UTF-8"', 'encoding="UTF-16"')
    # A malformed unit is found in it, too.
    memory = memory.replace("</body>", "<tu><tuv></body>")
    (tmp_path / "en-de.tmx").write_bytes(memory.encode(encoding))
    assert read_all(find_bitext([tmp_path / "en-de.tmx"])) == {"en-de": pairs}
    (tmp_path / "de.po").write_bytes(catalog(pairs, "de").decode().encode(encoding))
    with pytest.raises(InputError, match=f"`iconv -f {encoding} -t UTF-8`"):
        load_catalog(str(tmp_path / "de.po"))
