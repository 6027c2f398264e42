"""From pairs of sentences to length-bucketed records, through the command."""

import gzip
import lzma

import pytest
import tensorflow as tf

from infoxlm_keras.commands import build_bitext
from infoxlm_keras.records.manifest import check_tokenizer, read_manifest
from infoxlm_keras.text.readers import chunks
from running import run, tree
from sample_text import sentences

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
    # Chunks are cut at other lines, so only the order may differ.
    found = [{bound: sorted(pairs) for bound, pairs in read_pairs(d, "en-de").items()} for d in (moses, columns)]
    assert found[0] == found[1] and len(found[0]) > 2
    (source,) = read_manifest(moses, "bitext").sources
    assert source.file == f"Books.v1.en-de.en{ending} + Books.v1.en-de.de{ending}"


def test_unusual_line_separators_do_not_misalign_a_moses_pair(build, tmp_path, tokenizer):
    (tmp_path / "x.en-de.en").write_bytes("\ufeffthe\u2028house\r\nriver\u0085bridge\r\na door\r\n".encode())
    (tmp_path / "x.en-de.de").write_bytes("das Haus\nFluss\rTür\ndie Tür".encode())
    expected = [("the\u2028house", "das Haus"), ("river\u0085bridge", "Fluss\rTür"), ("a door", "die Tür")]
    assert all_pairs(build(tmp_path, flags=["--no_clean"])) == sorted(encode_pairs(tokenizer, expected))


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
    # The same pairs the other way round are the same corpus; the direction whose name comes first keeps them.
    (tmp_path / "de-en.tsv").write_bytes(tsv([(target, source) for source, target in pairs[:4]]))
    data_dir = build(tmp_path)
    counts = {
        (s.name, s.file): (s.sentences, s.dropped["duplicate"]) for s in read_manifest(data_dir, "bitext").sources
    }
    assert counts == {
        ("de-en", "de-en.tsv"): (4, 0),
        ("en-de", "en-de.tsv"): (16, 9),
        ("en-de", "x.en-de.en + x.en-de.de"): (10, 10),
    }
    assert len(all_pairs(data_dir)) == len(set(all_pairs(data_dir))) == 26


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
