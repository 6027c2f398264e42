"""A key that is given twice in a JSON object: Python keeps the last value, so one of two would be lost in silence."""

import json

import hypothesis
import hypothesis.strategies as st
import pytest

from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.files.text_and_json import load_json
from infoxlm_keras.text.cleaning.evaluation_files import evaluation_texts
from infoxlm_keras.text.labelled_texts import read_labelled_texts
from running import refused

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@hypothesis.given(VALUES)
def test_what_json_can_say_once_is_read_as_python_reads_it(value):
    text = json.dumps(value)
    assert load_json(text) == json.loads(text)


@hypothesis.given(st.text(), VALUES, VALUES, st.integers(0, 5))
def test_a_key_given_twice_is_refused_at_every_depth(key, first, second, depth):
    key = json.dumps(key)
    text = f"{{{key}: {json.dumps(first)}, {key}: {json.dumps(second)}}}"
    for _ in range(depth):
        text = f'{{"a": [{text}]}}'
    with pytest.raises(ValueError, match="is given twice"):
        load_json(text)


# Escapes can spell one key in two ways.
TWICE = ['{"en": "a", "en": "b", "de": "c"}', '{"en": "a", "de": "b", "\\u0065n": "a"}', '{"en": "a", "en": "a"}']


@pytest.mark.parametrize("row", [*TWICE, '{"translation": {"en": "a", "de": "b", "de": "c"}}'])
@pytest.mark.parametrize("processes", [1, 2])
def test_corpora(row, processes, tmp_path, tokenizer_dir, capsys):
    (tmp_path / "en-de.jsonl").write_text('{"en": "x", "de": "y"}\n' + row + "\n")
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data", "--processes", processes)
    message = refused(capsys, build_bitext.main, "--input", tmp_path / "en-de.jsonl", *output)
    assert "en-de.jsonl: line 2: " in message and "' is given twice" in message
    assert not (tmp_path / "data").exists()


def test_documents(tmp_path, tokenizer_dir, capsys):
    (tmp_path / "de.jsonl").write_text('{"text": "x"}\n\n{"text": "y", "text": "z"}\n')
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data", "--processes", 1)
    message = refused(capsys, build_monolingual.main, "--input", tmp_path / "de.jsonl", *output)
    assert "de.jsonl: line 3: " in message and "'text' is given twice" in message


@pytest.mark.parametrize(("name", "place"), [("a.jsonl", "a.jsonl: line 1: "), ("a.json", "a.json: ")])
def test_evaluation_files(name, place, tmp_path):
    (tmp_path / name).write_text(TWICE[0])
    with pytest.raises(InputError, match=f"{place}.*'en' is given twice"):
        list(evaluation_texts(tmp_path / name))


@pytest.mark.parametrize("row", ['{"label": 1, "text": "a", "text": "b"}', '{"label": 1, "label": 2, "text": "a"}'])
def test_labelled_texts(row, tmp_path):
    (tmp_path / "a.de.jsonl").write_text('{"label": 1, "text": "a"}\n' + row + "\n")
    with pytest.raises(InputError, match="a.de.jsonl: line 2: .* comes twice"):
        read_labelled_texts([tmp_path / "a.de.jsonl"])


def test_every_other_json_file(tmp_path):
    (tmp_path / "a.json").write_text('{"a": {"b": 1,\n "b": 2}}')
    with pytest.raises(InputError, match="a.json: is not valid JSON: the key 'b' is given twice"):
        read_json(tmp_path / "a.json")


def test_a_json_file_that_is_a_pointer_of_git_lfs_is_refused(tmp_path):
    (tmp_path / "config.json").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match="config.json: is a Git LFS pointer, not the file itself: run `git lfs pull`"):
        read_json(tmp_path / "config.json")
