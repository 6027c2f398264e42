"""What builds and runs write and read again: records, manifests, journals, spills, histories, configurations."""

import pathlib
import tempfile

import google_crc32c
import numpy as np

from data_prep.build_journal import BuildJournal
from data_prep.duplicates import find_duplicates
from data_prep.sorted_files import write_sorted
from data_prep.spills import ROW, SpilledStream
from fuzz.harness import RefusedError, Target
from fuzz.mutations import mutate_json
from infoxlm_keras.config import flatten, load_config
from infoxlm_keras.data.corruption import read_frames
from infoxlm_keras.data.manifest import read_manifest, write_manifest
from infoxlm_keras.data.statistics import parse_example
from infoxlm_keras.training.history import HistoryFile, read_rows
from infoxlm_keras.training.run_directory import check_output_dir
from synthetic_records import write_monolingual

PLAN = {"kind": "mmlm", "seed": 1, "input": [["de", ["de.txt", 5, "0"]]]}
CONFIG = pathlib.Path(__file__).parents[2] / "recipes" / "configs" / "demo.yaml"


def make_records(directory):
    (directory / "mmlm").mkdir()
    write_manifest(directory / "mmlm", write_monolingual(directory / "mmlm", [[5, 3], [4]]))


def manifest(directory):
    found = read_manifest(directory, "mmlm")
    return [repr(found.streams), repr(found.tokenizer), found.lengths, found.seed, repr(found.sources)]


def records(directory):
    """The token ids of every record."""
    frames = [data for path in sorted(directory.rglob("*.tfrecord")) for _, data in read_frames(str(path))]
    return [parse_example(data)["token_ids"].tolist() for data in frames]


def tfrecord_reference(directory):
    """Records frame by frame, by the format's description."""
    found = []
    for path in sorted(directory.rglob("*.tfrecord")):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            body = data[12 : 12 + length]
            crcs = [int.from_bytes(data[8:12], "little"), int.from_bytes(data[12 + length : 16 + length], "little")]
            if len(data) < 16 + length or crcs != [_masked(data[:8]), _masked(body)]:
                raise RefusedError("a checksum differs")
            found.append(body)
            data = data[16 + length :]
    return [parse_example(body)["token_ids"].tolist() for body in found]


def _masked(data):
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


def make_journal(directory):
    journal = BuildJournal(directory, PLAN)
    for number in range(5):
        journal.note("records", "run", number, value={"reader": 0, "chunks": 1, "path": f"records/{number:06d}"})
    journal.note("records", "file", 0, value=5)
    journal.close()


def journal(directory):
    """What is done; a damaged journal may only know less, never something else."""
    found = BuildJournal(directory, PLAN)
    found.close()
    return found.values("records", "run")


def part_of_journal(value, reference):
    whole = [{"reader": 0, "chunks": 1, "path": f"records/{number:06d}"} for number in range(5)]
    return all(item in whole for item in value)


def make_spill(directory):
    generator = np.random.default_rng(0)
    keys = np.sort(generator.integers(0, 2**63, 20).astype(np.uint64) * 2)
    rows = np.zeros(20, ROW)
    rows["size"], rows["start"], rows["number"], rows["tokens"] = 10, np.arange(20) * 10, np.arange(20), 3
    write_sorted(f"{directory}/000000-16", keys, rows)
    (directory / "000000-16.records").write_bytes(generator.bytes(200))
    write_sorted(f"{directory}/000000.exact", keys[::-1].copy(), np.arange(20))


def spill(directory):
    """Totals, verdicts and a shard of the spill."""
    stream = SpilledStream("de", 16, (f"{directory}/000000-16",), None)
    verdict = find_duplicates(f"{directory}/verdict.npy", 20, [f"{directory}/000000.exact"]).tolist()
    written = stream.write_shard(f"{directory}/shard", 0, 1)
    return [stream.totals(), verdict, written, (directory / "shard").read_bytes().hex()]


def undamaged_spill(directory):
    """The result without damage: a spill that was damaged is noticed, or its damage does not show."""
    with tempfile.TemporaryDirectory() as folder:
        make_spill(pathlib.Path(folder))
        return spill(pathlib.Path(folder))


def make_history(directory):
    history = HistoryFile(directory / "history.csv")
    for step in range(1, 9):
        history.write({"step": step, "loss": 1 / step, **({"accuracy": 0.5} if step > 4 else {})})


def history(directory):
    rows = read_rows(directory / "history.csv")
    kept = HistoryFile(directory / "history.csv", 5).rows
    return [[sorted(row.items()) for row in rows], [sorted(row.items()) for row in kept]]


def make_config(directory):
    (directory / "config.yaml").write_bytes(CONFIG.read_bytes())


def config(directory):
    loaded = load_config(directory / "config.yaml")
    (directory / "checkpoints").mkdir(exist_ok=True)
    return [
        sorted((name, repr(value)) for name, value in flatten(loaded).items()),
        check_output_dir(directory, loaded),
    ]


TARGETS = [
    Target("manifest", make_records, manifest, mutate=mutate_json, files="mmlm/manifest.json"),
    Target("records", make_records, records, tfrecord_reference, files="mmlm/*.tfrecord"),
    Target("build journal", make_journal, journal, journal, agrees=part_of_journal, mutate=mutate_json),
    Target("spills", make_spill, spill, undamaged_spill),
    Target("history.csv", make_history, history),
    Target("config.yaml", make_config, config),
]
