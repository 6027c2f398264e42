"""One order of samples, whatever the number of replicas, wherever a run resumes, however many records there are."""

import collections
import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoxlm_keras.data.order import RecordOrder
from infoxlm_keras.data.record_reader import RecordReader
from infoxlm_keras.data.split import StreamPart, stream_parts
from infoxlm_keras.data.streams import MonolingualStream, joined_dataset
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import Shard, Stream
from synthetic_records import VOCABULARY_SIZE, manifest_of, record_of, write_monolingual

BATCH = 200


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Three languages of 5,000, 900 and 130 records; one has an empty shard."""
    directory = tmp_path_factory.mktemp("order")
    return write_monolingual(directory, [[2100, 0, 2900], [300, 300, 300], [130]])


def stream_of(manifest, **options):
    return MonolingualStream(manifest, BATCH, VOCABULARY_SIZE, **{"seed": 5, "language_exponent": 0.5, **options})


def samples(batch):
    """(language, number) of every row, masked tokens put back."""
    token_ids = batch["token_ids"].copy()
    rows, slots = np.nonzero(batch["mask_weights"])
    token_ids[rows, batch["mask_positions"][rows, slots]] = batch["mask_ids"][rows, slots]
    return [record_of(row) for row in token_ids]


def read(manifest, start, steps, shard=(0, 1), accumulation_steps=1, **options):
    """List of `steps` lists of samples."""
    dataset = joined_dataset([stream_of(manifest, **options)], start, shard, accumulation_steps)
    return [samples(batch["mmlm"]) for batch in itertools.islice(dataset.as_numpy_iterator(), steps)]


@pytest.fixture(scope="module")
def whole(manifest):
    """The first 10,000 samples as one process reads them, 50 batches."""
    return read(manifest, 0, 50)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("accumulation_steps", [1, 5])
def test_any_number_of_replicas_reads_the_same_global_micro_batches(manifest, whole, count, accumulation_steps):
    workers = [read(manifest, 0, 50, (index, count), accumulation_steps) for index in range(count)]
    for step, expected in enumerate(whole):
        size = len(workers[0][step]) // accumulation_steps
        found = []
        for micro_batch in range(accumulation_steps):
            for worker in workers:
                found += worker[step][micro_batch * size : (micro_batch + 1) * size]
        assert found == expected


@pytest.mark.parametrize("start", [1, 7, 24, 49])
def test_a_run_that_resumes_reads_on_in_the_same_order(manifest, whole, start):
    assert read(manifest, start, 50 - start) == whole[start:]


def test_arithmetic_names_the_samples_that_are_read(manifest, whole):
    named = stream_of(manifest).mixture.samples(0, 10_000)
    firsts = {s.name: np.cumsum([0, *(shard.records for shard in s.shards)]) for s in manifest.streams}
    expected = [(int(name[1:]), int(firsts[name][shard]) + record) for name, _, shard, record in named]
    assert list(itertools.chain.from_iterable(whole)) == expected


def test_every_record_comes_once_an_epoch_from_the_files(manifest, whole):
    seen = collections.defaultdict(list)
    for language, number in itertools.chain.from_iterable(whole):
        seen[language].append(number)
    for language, records in ((1, 900), (2, 130)):
        numbers = seen[language]
        assert len(numbers) > 2 * records
        for epoch in range(len(numbers) // records):
            assert sorted(numbers[epoch * records : (epoch + 1) * records]) == list(range(records))
    assert len(set(seen[0][:5000])) == min(5000, len(seen[0]))


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=4).filter(any),
    window=st.integers(1, 5),
    key=st.integers(0, 2**63),
    reads=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), min_size=1, max_size=4),
)
def test_a_reader_gives_the_record_of_every_number(sizes, window, key, reads, tmp_path_factory):
    directory = tmp_path_factory.mktemp("reader")
    (part,) = stream_parts(write_monolingual(directory, [sizes]))
    order = RecordOrder(part.sizes, key, window)
    reader = RecordReader(part, order)
    by_place = {}
    for shard, (path, size) in enumerate(zip(part.paths, part.sizes, strict=True)):
        plain = StreamPart(part.name, part.length, 0, [path], np.array([0]), np.array([size]))
        if size:
            stored = RecordReader(plain, IdentityOrder(int(size))).read(0, int(size))
            by_place.update({(shard, number): data for number, data in enumerate(stored)})
    for start, count in reads:
        expected = [by_place[order.record(number)[1:]] for number in range(start, start + count)]
        assert reader.read(start, count) == expected


class IdentityOrder:
    """The order of one shard as it lies."""

    def __init__(self, size):
        self.window = size

    def position(self, number):
        return 0, 0, number

    def shards(self, epoch):
        return np.array([0])

    def window_order(self, epoch, shard, window, size):
        return np.arange(size)


# === Splits ===


def test_no_record_is_in_both_splits_and_none_in_neither(manifest):
    seen = {}
    for split in ("train", "validation"):
        for part in stream_parts(manifest, split, validation_records=150):
            reader = RecordReader(part, RecordOrder(part.sizes, key=1))
            records = reader.read(0, part.records)
            assert len(set(records)) == part.records
            seen[part.name, split] = set(records)
    # At most a tenth of a stream is held out.
    assert [len(seen[f"l{language}", "validation"]) for language in range(3)] == [150, 90, 13]
    for language, records in enumerate((5000, 900, 130)):
        train, validation = seen[f"l{language}", "train"], seen[f"l{language}", "validation"]
        assert not train & validation and len(train | validation) == records


def test_streams_read_only_their_split(manifest):
    read_in = {
        split: set(itertools.chain.from_iterable(read(manifest, 0, 60, split=split, validation_records=100)))
        for split in ("train", "validation")
    }
    # The last records of each language, which the builders have shuffled.
    ends = {0: range(4900, 5000), 1: range(810, 900), 2: range(117, 130)}
    held_out = {(language, number) for language, numbers in ends.items() for number in numbers}
    assert read_in["validation"] == held_out
    assert not read_in["train"] & held_out


def test_the_split_depends_on_no_seed(manifest):
    options = {"split": "validation", "validation_records": 20}
    one, other = (set(sum(read(manifest, 0, 20, seed=seed, **options), [])) for seed in (1, 2))
    assert one == other and len(one) == 53


def test_a_split_without_records_is_refused(manifest):
    with pytest.raises(InputError, match="validation_records = 0 holds out no record"):
        stream_of(manifest, split="validation")
    with pytest.raises(InputError, match="split = 'test': must be one of train, validation"):
        stream_of(manifest, split="test")


# === Size ===


def test_a_start_far_out_in_a_thousand_million_records_takes_seconds(tmp_path):
    # 10^6 shards of 1,000 records in 50 languages; all of them are the same few files.
    small = write_monolingual(tmp_path, [[1000]] * 2)
    files = [small.streams[number].shards[0] for number in range(2)]
    shards = tuple(Shard(files[n % 2].path, 1000, files[n % 2].bytes, "") for n in range(2)) * 10_000
    manifest = manifest_of(
        tmp_path, [Stream(f"l{language:02d}", 16, 20_000_000, 0, 0, shards) for language in range(50)]
    )
    assert sum(stream.records for stream in manifest.streams) == 10**9
    start = time.process_time()
    far = read(manifest, 1_000_000, 3)
    assert read(manifest, 1_000_001, 2) == far[1:]
    # 200 million samples lie before: reading them, or a graph for each language, would take minutes.
    assert time.process_time() - start < 60
