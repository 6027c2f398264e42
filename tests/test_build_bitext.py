"""From pairs of sentences to length-bucketed records, through the command."""

import gzip
import lzma
import os
import pathlib

import pytest
import tensorflow as tf
from running import refused, run, tree
from sample_text import sentences

from data_prep import build_bitext
from data_prep.readers import chunks
from infoxlm_keras.data.manifest import check_tokenizer, read_manifest

LENGTHS = (8, 12, 16, 32)


def example_pairs(count, target="de"):
    """Pairs whose sides are of unequal length."""
    return list(zip(sentences("en", count), sentences(target, count, start=3), strict=True))


def tsv(pairs):
    return "".join(f"{source}\t{target}\n" for source, target in pairs).encode()


@pytest.fixture
def build(tokenizer_dir, tmp_path):
    """Builds with small buckets and returns the output directory."""

    def build(*inputs, name="data", flags=(), **options):
        settings = {"max_length": 32, "processes": 1, **options}
        arguments = ["--input", *inputs, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / name]
        arguments += ["--lengths", *LENGTHS, *flags]
        for key, value in settings.items():
            arguments += [f"--{key}", value]
        run(build_bitext.main, *arguments)
        return tmp_path / name

    return build


def read_pairs(data_dir, name):
    """dict of bucket bound to list of (source ids, target ids), as TensorFlow reads them."""
    manifest = read_manifest(data_dir, "bitext")
    features = {side: tf.io.RaggedFeature(tf.int64) for side in ("source_ids", "target_ids")}
    found = {}
    for stream in manifest.streams:
        if stream.name == name:
            records = tf.data.TFRecordDataset([manifest.shard_path(shard) for shard in stream.shards])
            parsed = [tf.io.parse_single_example(record, features) for record in records]
            found[stream.length] = [
                (tuple(example["source_ids"].numpy().tolist()), tuple(example["target_ids"].numpy().tolist()))
                for example in parsed
            ]
    return found


def all_pairs(data_dir, name="en-de"):
    return sorted(pair for bucket in read_pairs(data_dir, name).values() for pair in bucket)


def encode_pairs(tokenizer, pairs):
    sources, targets = zip(*pairs, strict=True)
    encoded = zip(tokenizer.encode(list(sources)), tokenizer.encode(list(targets)), strict=True)
    return [(tuple(source), tuple(target)) for source, target in encoded]


def test_every_pair_is_in_the_smallest_bucket_that_holds_it(build, tmp_path, tokenizer):
    pairs = example_pairs(80)
    (tmp_path / "en-de.tsv").write_bytes(tsv(pairs))
    found = read_pairs(build(tmp_path / "en-de.tsv"), "en-de")
    expected = {}
    for source, target in encode_pairs(tokenizer, pairs):
        bound = min(bound for bound in LENGTHS if bound >= len(source) and bound >= len(target))
        expected.setdefault(bound, []).append((source, target))
    assert len(expected) > 2
    assert list(found) == sorted(expected)
    for bound, bucket in expected.items():
        assert sorted(found[bound]) == sorted(bucket)
        assert len(bucket) < 5 or found[bound] != bucket  # shuffled


def test_the_manifest_describes_the_build(build, tmp_path, tokenizer):
    for target in ("de", "hi"):
        (tmp_path / f"en-{target}.tsv").write_bytes(tsv(example_pairs(40, target)))
    data_dir = build(tmp_path, seed=3)
    manifest = read_manifest(data_dir, "bitext")
    check_tokenizer(manifest, tokenizer)
    assert (manifest.seed, manifest.lengths) == (3, LENGTHS)
    keys = [(stream.name, stream.length) for stream in manifest.streams]
    assert keys == sorted(keys) and {name for name, _ in keys} == {"en-de", "en-hi"}
    for stream in manifest.streams:
        pairs = read_pairs(data_dir, stream.name)[stream.length]
        assert stream.records == len(pairs)
        assert stream.tokens == sum(len(source) + len(target) for source, target in pairs)
        assert stream.unknown_tokens == sum(source.count(3) + target.count(3) for source, target in pairs)
        assert stream.shards[0].path == f"{stream.name}/length-{stream.length:03d}-00000-of-00001.tfrecord"
    assert [(source.name, source.file, source.sentences) for source in manifest.sources] == [
        ("en-de", "en-de.tsv", 40),
        ("en-hi", "en-hi.tsv", 40),
    ]
    assert str(tmp_path) not in (data_dir / "bitext/manifest.json").read_text()


def test_any_number_of_processes_writes_the_same_bytes(build, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 300)
    pairs = example_pairs(60)
    (tmp_path / "en-de.tsv").write_bytes(tsv(pairs + pairs[::2]))
    one = tree(build(tmp_path / "en-de.tsv", name="one", shard_megabytes=0.001))
    assert tree(build(tmp_path / "en-de.tsv", name="two", shard_megabytes=0.001, processes=2)) == one
    assert tree(build(tmp_path / "en-de.tsv", name="again", shard_megabytes=0.001)) == one


@pytest.mark.parametrize("ending", ["", ".gz", ".xz"])
def test_moses_pairs_and_columns_make_the_same_records(build, tmp_path, ending, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 300)
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[ending]
    pairs = example_pairs(50)
    (tmp_path / "moses").mkdir()
    for side, column in (("en", 0), ("de", 1)):
        text = "".join(pair[column] + "\n" for pair in pairs).encode()
        (tmp_path / f"moses/Books.v1.en-de.{side}{ending}").write_bytes(pack(text))
    (tmp_path / f"en-de.tsv{ending}").write_bytes(pack(tsv(pairs)))
    moses = build(tmp_path / "moses", name="from moses")
    columns = build(tmp_path / f"en-de.tsv{ending}", name="from columns")
    assert read_pairs(moses, "en-de") == read_pairs(columns, "en-de")
    (source,) = read_manifest(moses, "bitext").sources
    assert source.file == f"Books.v1.en-de.en{ending} + Books.v1.en-de.de{ending}"


def test_unusual_line_separators_do_not_misalign_a_moses_pair(build, tmp_path, tokenizer):
    (tmp_path / "x.en-de.en").write_bytes("\ufeffthe\u2028house\r\nriver\u0085bridge\r\na door\r\n".encode())
    (tmp_path / "x.en-de.de").write_bytes("das Haus\nFluss\rTür\ndie Tür".encode())
    expected = [("the\u2028house", "das Haus"), ("river\u0085bridge", "Fluss\rTür"), ("a door", "die Tür")]
    assert all_pairs(build(tmp_path)) == sorted(encode_pairs(tokenizer, expected))


def test_unfit_pairs_are_dropped_and_counted(build, tmp_path, tokenizer):
    good = example_pairs(6)
    long = " ".join(sentences("en", 9))
    unfit = [("", "das Haus"), ("the house", " "), ("", ""), ("\u0007", "Tür")]
    unfit += [("Version 4", "Version 4"), (long, "kurz"), good[0], good[3], good[3]]
    (tmp_path / "en-de.tsv").write_bytes(tsv(good + unfit) + b"\n")
    data_dir = build(tmp_path)
    (source,) = read_manifest(data_dir, "bitext").sources
    expected = {"empty": 5, "identical": 1, "too_long": 1, "length_ratio": 0, "duplicate": 3}
    assert (source.sentences, source.dropped) == (6, expected)
    assert all_pairs(data_dir) == sorted(encode_pairs(tokenizer, good))


def test_duplicates_are_found_across_chunks_and_files_of_a_pair(build, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 100)
    pairs = example_pairs(30)
    (tmp_path / "en-de.tsv").write_bytes(tsv(pairs[:20] + pairs[:5]))
    (tmp_path / "x.en-de.en").write_text("".join(f"{source}\n" for source, _ in pairs[10:]), encoding="utf-8")
    (tmp_path / "x.en-de.de").write_text("".join(f"{target}\n" for _, target in pairs[10:]), encoding="utf-8")
    # The same pairs under another name are another stream.
    (tmp_path / "de-en.tsv").write_bytes(tsv([(target, source) for source, target in pairs[:4]]))
    data_dir = build(tmp_path)
    counts = {
        (s.name, s.file): (s.sentences, s.dropped["duplicate"]) for s in read_manifest(data_dir, "bitext").sources
    }
    assert counts == {
        ("de-en", "de-en.tsv"): (4, 0),
        ("en-de", "en-de.tsv"): (20, 5),
        ("en-de", "x.en-de.en + x.en-de.de"): (10, 10),
    }
    assert len(all_pairs(data_dir)) == len(set(all_pairs(data_dir))) == 30


def test_one_source_with_two_translations_is_no_duplicate(build, tmp_path):
    (tmp_path / "en-de.tsv").write_bytes(tsv([("the house", "das Haus"), ("the house", "ein Haus")]))
    assert len(all_pairs(build(tmp_path))) == 2


def test_long_sides_are_cut_when_asked(build, tmp_path, tokenizer):
    pairs = example_pairs(40)
    (tmp_path / "en-de.tsv").write_bytes(tsv(pairs))
    data_dir = build(tmp_path, flags=["--truncate"], max_length=10)
    expected = [(source[:10], target[:10]) for source, target in encode_pairs(tokenizer, pairs)]
    assert all_pairs(data_dir) == sorted(expected)
    # Buckets above the first that holds max_length are not in use.
    assert read_manifest(data_dir, "bitext").lengths == (8, 12)


def test_the_longest_pair_kept_has_max_length_tokens(build, tmp_path, tokenizer):
    pairs = example_pairs(40)
    (tmp_path / "en-de.tsv").write_bytes(tsv(pairs))
    data_dir = build(tmp_path, max_length=11)
    encoded = encode_pairs(tokenizer, pairs)
    assert max(max(map(len, pair)) for pair in encoded) > 11 and any(max(map(len, pair)) == 11 for pair in encoded)
    assert all_pairs(data_dir) == sorted(pair for pair in encoded if max(map(len, pair)) <= 11)


def test_unequal_lengths_are_dropped_when_asked(build, tmp_path, tokenizer):
    pairs = [(sentences("en", 1, n)[0], sentences("de", 1, m)[0]) for n in range(9) for m in range(9)]
    (tmp_path / "en-de.tsv").write_bytes(tsv(pairs))
    data_dir = build(tmp_path, max_length_ratio=1.5)
    kept = [pair for pair in encode_pairs(tokenizer, pairs) if max(map(len, pair)) <= 1.5 * min(map(len, pair))]
    assert 0 < len(kept) < len(pairs)
    assert all_pairs(data_dir) == sorted(kept)


GOOD = b"the house\tdas Haus\nthe river\tder Fluss\n"
# name: ({file name: content}, parts of the message)
BAD_FILES = {
    "one column": ({"en-de.tsv": GOOD + b"the bridge\n"}, ("en-de.tsv: line 3: has 1 column", "one tab")),
    "three columns": ({"en-de.tsv": b"a\tb\tc\n" + GOOD}, ("en-de.tsv: line 1: has 3 column", "cut -f1,2")),
    "broken UTF-8": ({"en-de.tsv": GOOD + b"caf\xe9\tb\n"}, ("en-de.tsv: line 3", "not UTF-8")),
    "NUL": ({"en-de.tsv": GOOD + b"a\0\tb\n"}, ("en-de.tsv: line 3", "NUL")),
    "truncated gz": ({"en-de.tsv.gz": gzip.compress(GOOD)[:-9]}, ("en-de.tsv.gz", "ends too early")),
    "empty file": ({"en-de.tsv": b""}, ("en-de.tsv: is empty",)),
    "blank lines only": ({"en-de.tsv": b"\n\n"}, ("en-de.tsv: nothing is left", "2 empty")),
    "all dropped": ({"en-de.tsv": b"a\ta\n\tb\n"}, ("en-de.tsv: nothing is left", "1 empty", "1 identical")),
    "fewer targets": (
        {"x.en-de.en": b"a\nb\nc\nd\n", "x.en-de.de": b"A\nB\n"},
        ("x.en-de.en: has 4 lines", "x.en-de.de has 2", "fetch both"),
    ),
    "fewer sources": (
        {"x.en-de.en": b"a\n", "x.en-de.de": b"A\nB\nC"},
        ("x.en-de.en: has 1 lines", "x.en-de.de has 3"),
    ),
    "empty source": ({"x.en-de.en": b"", "x.en-de.de": b"A\nB\n"}, ("x.en-de.en: has 0 lines", "x.en-de.de has 2")),
    "both sides empty": ({"x.en-de.en": b"", "x.en-de.de": b""}, ("x.en-de.en: is empty",)),
    "broken target": ({"x.en-de.en": b"a\nb\n", "x.en-de.de": b"A\n\xff\n"}, ("x.en-de.de: line 2", "not UTF-8")),
    "truncated target": (
        {"x.en-de.en.gz": gzip.compress(GOOD), "x.en-de.de.gz": gzip.compress(GOOD)[:-9]},
        ("x.en-de.de.gz: the compressed data ends too early",),
    ),
    "no other side": ({"x.en-de.en": GOOD}, ("x.en-de.en: its other side", "x.en-de.de is not among the inputs")),
    "one language": ({"de.tsv": GOOD}, ("de.tsv: is not named <src>-<tgt>.tsv",)),
    "same language": ({"de-de.tsv": GOOD}, ("de-de.tsv: names de on both sides",)),
    "side of another pair": ({"x.en-de.fr": GOOD}, ("x.en-de.fr: is not named",)),
    "no pairs": ({"de.txt": GOOD}, ("holds no file named <src>-<tgt>.tsv",)),
    "two compressions": ({"en-de.tsv": GOOD, "en-de.tsv.gz": gzip.compress(GOOD)}, ("en-de.tsv.gz: is given twice",)),
}


@pytest.mark.parametrize(
    ("name", "processes"), [*((name, 1) for name in BAD_FILES), ("three columns", 2), ("fewer targets", 2)]
)
def test_bad_files_are_refused(name, processes, tmp_path, tokenizer_dir, capsys):
    files, parts = BAD_FILES[name]
    (tmp_path / "pairs").mkdir()
    for file, content in files.items():
        (tmp_path / "pairs" / file).write_bytes(content)
    arguments = ("--input", tmp_path / "pairs", "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    message = refused(capsys, build_bitext.main, *arguments, "--processes", processes)
    for part in (str(tmp_path / "pairs"), *parts):
        assert part in message
    assert os.listdir(tmp_path) == ["pairs"]


def test_a_named_file_of_another_name_is_refused(tmp_path, tokenizer_dir, capsys):
    (tmp_path / "pairs.csv").write_bytes(GOOD)
    arguments = ("--input", tmp_path / "pairs.csv", "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    assert "pairs.csv: is not named <src>-<tgt>.tsv" in refused(capsys, build_bitext.main, *arguments)


def test_line_numbers_count_from_the_start_of_the_file(tmp_path, tokenizer_dir, capsys, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 64)
    (tmp_path / "en-de.tsv").write_bytes(tsv(example_pairs(30)) + b"no tab\n")
    arguments = ("--input", tmp_path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    assert "line 31: has 1 column" in refused(capsys, build_bitext.main, *arguments, "--processes", 1)


def bad_arguments(tmp_path):
    """name: (arguments that replace good ones, parts of the message)."""
    return {
        "missing file": ({"input": [tmp_path / "en-fr.tsv"]}, ("en-fr.tsv: no such file",)),
        "bounds not ascending": ({"lengths": [32, 16]}, ("--lengths 32 16", "ascending")),
        "equal bounds": ({"lengths": [16, 16]}, ("--lengths 16 16", "ascending")),
        "bound of nothing": ({"lengths": [0, 16]}, ("--lengths 0 16", "positive")),
        "longer than any bucket": ({"max_length": [300]}, ("--max_length 300", "254")),
        "no length": ({"max_length": [0]}, ("--max_length 0", "at least 1")),
        "ratio below one": ({"max_length_ratio": [0.5]}, ("--max_length_ratio 0.5", "at least 1")),
    }


@pytest.mark.parametrize("name", bad_arguments(pathlib.Path()))
def test_bad_arguments_are_refused(name, tmp_path, tokenizer_dir, capsys):
    (tmp_path / "en-de.tsv").write_bytes(GOOD)
    changed, parts = bad_arguments(tmp_path)[name]
    settings = {"input": [tmp_path], "tokenizer": [tokenizer_dir], "output_dir": [tmp_path / "data"], **changed}
    flags = [item for key, values in settings.items() for item in (f"--{key}", *values)]
    message = refused(capsys, build_bitext.main, *flags)
    for part in parts:
        assert part in message
    assert os.listdir(tmp_path) == ["en-de.tsv"]
