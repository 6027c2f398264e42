"""Files by tabs with more than two columns: the advice, followed, gives the pairs."""

import re
import subprocess

import pytest

from infoxlm_keras.commands import build_bitext
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers import find_bitext
from running import refused
from sample_text import sentences

PAIRS = list(zip(sentences("en", 60), sentences("de", 60), strict=True))
CHINESE = list(
    zip(
        sentences("en", 60),
        ["今天天气很好" + "好" * (number % 7) + "啊" * (number // 7) for number in range(60)],
        strict=True,
    )
)
# name: number and pair -> columns
LAYOUTS = {
    "score first (CCMatrix)": lambda n, a, b: [f"{1.25 - n / 1000:.6f}", a, b],
    "score last": lambda n, a, b: [a, b, f"{n / 60:.3f}"],
    "score between": lambda n, a, b: [a, str(n), b],
    "id, text, id, text (Tatoeba)": lambda n, a, b: [str(1000 + n), a, str(2000 + n), b],
    "key first": lambda n, a, b: [f"row{n}", a, b],
    "addresses": lambda n, a, b: [f"https://a.example/{n}", f"http://b.example/?p={n}", a, b],
    "languages": lambda n, a, b: ["en", a, "de", b],
    "corpus, date, score": lambda n, a, b: ["news", "2021-03-01", a, "train" if n % 3 else "dev", b, str(n)],
    "empty column": lambda n, a, b: ["", a, b],
}


def write(path, layout, pairs=PAIRS):
    rows = [LAYOUTS[layout](number, *pair) for number, pair in enumerate(pairs)]
    path.write_text("".join("\t".join(row) + "\n" for row in rows))


def read(path):
    (reader,) = find_bitext([path])
    return [pair for chunk in reader.chunks() for pair in reader.read(chunk)]


@pytest.mark.parametrize("pairs", [PAIRS, CHINESE], ids=["German", "Chinese"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_following_the_advice_gives_the_pairs(layout, pairs, tmp_path):
    write(tmp_path / "x.en-de.tsv", layout, pairs)
    with pytest.raises(InputError, match="x.en-de.tsv: line 1: has . column") as error:
        read(tmp_path / "x.en-de.tsv")
    (advice,) = re.findall("`(cut -f[^`]+)`", str(error.value))
    kept = subprocess.run([*advice.split(), tmp_path / "x.en-de.tsv"], capture_output=True, check=True).stdout
    (tmp_path / "y.en-de.tsv").write_bytes(kept)
    assert read(tmp_path / "y.en-de.tsv") == pairs


def test_a_score_can_be_used_as_the_message_says(tmp_path):
    write(tmp_path / "CCMatrix.en-de.tsv", "score first (CCMatrix)")
    with pytest.raises(InputError, match="or put `WikiMatrix.` before the file's name"):
        read(tmp_path / "CCMatrix.en-de.tsv")
    (tmp_path / "CCMatrix.en-de.tsv").rename(tmp_path / "WikiMatrix.CCMatrix.en-de.tsv")
    assert read(tmp_path / "WikiMatrix.CCMatrix.en-de.tsv") == PAIRS


def test_what_is_not_known_is_not_advised(tmp_path):
    rows = [(a, b, f"{b} {a}") for a, b in PAIRS]
    (tmp_path / "en-de.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"find which two are source and target \(1 '.*', 2 '.*', 3 '") as error:
        read(tmp_path / "en-de.tsv")
    assert not re.search(r"cut -f\d", str(error.value))


@pytest.mark.parametrize("line", ["a\tb\tc", "a"])
def test_one_odd_line_is_not_a_reason_to_cut_the_file(line, tmp_path):
    lines = [f"{a}\t{b}" for a, b in PAIRS]
    lines.insert(30, line)
    (tmp_path / "en-de.tsv").write_text("\n".join(lines))
    with pytest.raises(InputError, match="line 31: has . column.*others have two: remove the line") as error:
        read(tmp_path / "en-de.tsv")
    assert "cut" not in str(error.value)


@pytest.mark.parametrize("side", [0, 1])
def test_a_column_of_numbers_is_no_side_of_pairs(side, tmp_path, tokenizer_dir, capsys):
    rows = [(str(number), b) if side == 0 else (b, f"{number}.5") for number, (_, b) in enumerate(PAIRS)]
    (tmp_path / "en-de.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    arguments = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out")
    message = refused(capsys, build_bitext.main, "--input", tmp_path / "en-de.tsv", *arguments)
    assert f"its column {side + 1} holds only numbers" in message
    # Some numbers are sentences like others.
    (tmp_path / "en-de.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS) + "1\t2\n")
    assert len(read(tmp_path / "en-de.tsv")) == 61
