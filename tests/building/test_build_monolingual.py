"""From `<lang>.txt` to MMLM records, through the command."""

import gzip
import hashlib
import lzma
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from infoxlm_keras.commands import build_monolingual
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.records.manifest import SourceFile, check_tokenizer, read_manifest
from infoxlm_keras.text.readers import chunks
from repository import REPOSITORY
from running import refused, run, tree
from sample_text import sentences


@pytest.fixture
def text_dir(tmp_path):
    """Documents of ten sentences in two languages."""
    directory = tmp_path / "text"
    directory.mkdir()
    for language, count in (("de", 60), ("ru", 25)):
        lines = sentences(language, count)
        documents = ["\n".join(lines[start : start + 10]) for start in range(0, count, 10)]
        (directory / f"{language}.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8", newline="\n")
    return directory


@pytest.fixture
def build(tokenizer_dir, tmp_path):
    """Builds with small blocks and returns the output directory."""

    def build(text, name="data", **options):
        settings = {"sequence_length": 32, "processes": 1, **options}
        flags = []
        for key, value in settings.items():
            flags += [f"--{key}"] if value is True else [f"--{key}", str(value)]
        inputs = text if isinstance(text, list) else [text]
        arguments = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / name)
        run(build_monolingual.main, "--input", *inputs, *arguments, *flags)
        return tmp_path / name

    return build


def read_blocks(data_dir, name):
    manifest = read_manifest(data_dir, "mmlm")
    (stream,) = [stream for stream in manifest.streams if stream.name == name]
    paths = [manifest.shard_path(shard) for shard in stream.shards]
    features = {"token_ids": tf.io.RaggedFeature(tf.int64)}
    blocks = []
    for record in tf.data.TFRecordDataset(paths):
        blocks.append(tf.io.parse_single_example(record, features)["token_ids"].numpy().tolist())
    return stream, blocks


def split_sentences(block):
    """The sentences (tuples of ids) of `<s> s1 </s> s2 </s>`."""
    assert block[0] == 0 and block[-1] == 2
    found, sentence = [], []
    for token in block[1:]:
        if token == 2:
            found.append(tuple(sentence))
            sentence = []
        else:
            sentence.append(token)
    return found


def test_blocks_hold_every_sentence_once(build, text_dir, tokenizer):
    data_dir = build(text_dir)
    for language, count in (("de", 60), ("ru", 25)):
        stream, blocks = read_blocks(data_dir, language)
        assert all(len(block) <= 32 for block in blocks)
        found = [sentence for block in blocks for sentence in split_sentences(block)]
        assert sorted(found) == sorted(map(tuple, tokenizer.encode(sentences(language, count))))
        assert stream.records == len(blocks)
        assert stream.tokens == sum(map(len, blocks))
        assert stream.unknown_tokens == sum(block.count(3) for block in blocks)


def test_the_manifest_describes_the_build(build, text_dir, tokenizer, tokenizer_dir):
    data_dir = build(text_dir, seed=3)
    manifest = read_manifest(data_dir, "mmlm")
    check_tokenizer(manifest, tokenizer)
    assert load_tokenizer(data_dir / "mmlm/tokenizer").fingerprint == tokenizer.fingerprint
    assert (manifest.seed, manifest.lengths) == (3, (32,))
    assert [(s.name, s.file, s.sentences, s.dropped) for s in manifest.sources] == [
        ("de", "de.txt", 60, {"empty": 0}),
        ("ru", "ru.txt", 25, {"empty": 0}),
    ]
    assert [stream.shards[0].path for stream in manifest.streams] == [
        "de/de-00000-of-00001.tfrecord",
        "ru/ru-00000-of-00001.tfrecord",
    ]
    arguments = {"sequence_length": 32, "break_documents": False, "deduplicate": False, "shard_megabytes": 64}
    written = dict(manifest.created_by["arguments"])
    cleaning = written.pop("cleaning")
    assert written == arguments
    assert cleaning["repair"] and cleaning["normalize"] and cleaning["language"] is None
    assert manifest.created_by["command"] == "infoxlm build-monolingual"
    for source in manifest.sources:
        content = (text_dir / source.file).read_bytes()
        assert source.files == (SourceFile(source.file, len(content), hashlib.sha256(content).hexdigest()),)
    text = (data_dir / "mmlm/manifest.json").read_text()
    assert str(text_dir) not in text and str(tokenizer_dir) not in text


def test_blocks_are_shuffled_by_the_seed(build, text_dir):
    orders = [read_blocks(build(text_dir, f"data{seed}", seed=seed), "de")[1] for seed in (0, 1)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_any_number_of_processes_writes_the_same_bytes(build, text_dir, monkeypatch):
    # Many small chunks, so that results could come back in another order.
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 200)
    one = tree(build(text_dir, "one", shard_megabytes=0.001))
    assert "mmlm/de/de-00001-of-00002.tfrecord" in one
    assert tree(build(text_dir, "two", processes=2, shard_megabytes=0.001)) == one
    assert tree(build(text_dir, "again", shard_megabytes=0.001)) == one


def test_line_ends_byte_order_mark_and_compression_do_not_matter(build, text_dir, tmp_path):
    text = (text_dir / "de.txt").read_bytes()
    variants = {
        "plain": ("de.txt", text),
        "crlf": ("de.txt", text.replace(b"\n", b"\r\n")),
        "bom": ("de.txt", b"\xef\xbb\xbf" + text),
        "no final newline": ("de.txt", text.removesuffix(b"\n")),
        "gz": ("de.txt.gz", gzip.compress(text)),
        "xz": ("de.txt.xz", lzma.compress(text)),
        "gz in two members": ("de.txt.gz", gzip.compress(text[:500]) + gzip.compress(text[500:])),
    }
    built = {}
    for name, (file, content) in variants.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_bytes(content)
        built[name] = read_blocks(build(tmp_path / name, f"data {name}"), "de")
    for name in variants:
        assert built[name] == built["plain"], name


def test_documents_end_blocks_when_asked(build, text_dir, tokenizer):
    data_dir = build(text_dir, break_documents=True, sequence_length=512)
    _, blocks = read_blocks(data_dir, "ru")
    encoded = list(map(tuple, tokenizer.encode(sentences("ru", 25))))
    documents = sorted(encoded[start : start + 10] for start in range(0, 25, 10))
    assert sorted(map(split_sentences, blocks)) == documents


def test_a_sentence_longer_than_a_block_is_cut(build, tmp_path, tokenizer):
    text = tmp_path / "de.txt"
    long = " ".join(sentences("de", 12))
    text.write_text(long + "\n", encoding="utf-8")
    _, blocks = read_blocks(build(text, sequence_length=16), "de")
    (ids,) = tokenizer.encode([long])
    pieces = [tuple(ids[start : start + 14]) for start in range(0, len(ids), 14)]
    assert sorted(tuple(block[1:-1]) for block in blocks) == sorted(pieces)


def test_lines_that_normalisation_empties_are_counted(build, tmp_path):
    (tmp_path / "de.txt").write_text("das Haus\n\u0007\u0008\n\nder Fluss\n", encoding="utf-8")
    (source,) = read_manifest(build(tmp_path / "de.txt"), "mmlm").sources
    assert (source.sentences, source.dropped) == (2, {"empty": 1})


def test_repeated_sentences_are_left_out_when_asked(build, tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 200)
    texts = {"a": [*sentences("de", 30), "", *sentences("de", 4)], "b": sentences("de", 20, start=25)}
    for folder, lines in texts.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "de.txt").write_text("\n".join(lines), encoding="utf-8")
    # In another language the same text is no repeat.
    (tmp_path / "a/ru.txt").write_text("\n".join(sentences("de", 3)), encoding="utf-8")
    data_dir = build([tmp_path / "a", tmp_path / "b"], deduplicate=True)
    first, second, other = read_manifest(data_dir, "mmlm").sources
    assert (first.sentences, first.dropped) == (30, {"empty": 0, "duplicate": 4})
    assert (second.sentences, second.dropped) == (15, {"empty": 0, "duplicate": 5})
    assert (other.sentences, other.dropped) == (3, {"empty": 0, "duplicate": 0})
    assert first.dropped_samples == {"duplicate": tuple(sentences("de", 4))}
    _, blocks = read_blocks(data_dir, "de")
    found = [sentence for block in blocks for sentence in split_sentences(block)]
    assert sorted(found) == sorted(map(tuple, tokenizer.encode(sentences("de", 45))))


def test_files_of_one_language_make_one_stream(build, tmp_path, tokenizer):
    for folder, start in (("a", 0), ("b", 30)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "de.txt").write_text("\n".join(sentences("de", 30, start)), encoding="utf-8")
    data_dir = build([tmp_path / "a", tmp_path / "b/de.txt"])
    assert [source.sentences for source in read_manifest(data_dir, "mmlm").sources] == [30, 30]
    _, blocks = read_blocks(data_dir, "de")
    found = [sentence for block in blocks for sentence in split_sentences(block)]
    assert sorted(found) == sorted(map(tuple, tokenizer.encode(sentences("de", 60))))


def test_records_are_replaced_only_when_asked(build, text_dir, tokenizer_dir, capsys):
    data_dir = build(text_dir)
    before = tree(data_dir)
    arguments = ("--input", text_dir, "--tokenizer", tokenizer_dir, "--output_dir", data_dir, "--seed", 5)
    message = refused(capsys, build_monolingual.main, *arguments)
    assert str(data_dir / "mmlm") in message and "--overwrite" in message
    assert tree(data_dir) == before
    run(build_monolingual.main, *arguments, "--overwrite")
    assert read_manifest(data_dir, "mmlm").seed == 5
    assert [path.name for path in data_dir.iterdir()] == ["mmlm"]


def test_a_failed_replacement_leaves_the_old_records(build, text_dir, tokenizer_dir, capsys):
    data_dir = build(text_dir)
    before = tree(data_dir)
    (text_dir / "de.txt").write_bytes(b"good\n\xff\n")
    arguments = ("--input", text_dir, "--tokenizer", tokenizer_dir, "--output_dir", data_dir)
    assert "de.txt: line 2: is not UTF-8" in refused(capsys, build_monolingual.main, *arguments, "--overwrite")
    assert tree(data_dir) == before


def test_overwrite_spares_what_is_not_ours(text_dir, tokenizer_dir, tmp_path, capsys):
    (tmp_path / "data/mmlm").mkdir(parents=True)
    (tmp_path / "data/mmlm/thesis.txt").write_text("precious")
    arguments = ("--input", text_dir, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data", "--overwrite")
    assert "holds no records and is not overwritten" in refused(capsys, build_monolingual.main, *arguments)
    assert (tmp_path / "data/mmlm/thesis.txt").read_text() == "precious"


def test_runs_as_a_script_and_workers_import_no_tensorflow(text_dir, tokenizer_dir, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "data_prep/build_monolingual.py", "--input", text_dir, "--tokenizer", tokenizer_dir]
    command += ["--output_dir", tmp_path / "data", "--processes", "2"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sequence_length = 512" in " ".join(done.stdout.split()) and f"wrote {tmp_path}/data/mmlm" in done.stdout
    assert read_manifest(tmp_path / "data", "mmlm").streams[0].name == "de"
    names = ("build_monolingual", "build_bitext", "train_tokenizer")
    program = f"import sys, {', '.join(f'infoxlm_keras.commands.{name}' for name in names)}\n"
    program += "print([name for name in ('tensorflow', 'keras', 'keras_hub') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
