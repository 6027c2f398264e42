"""What builds and runs write and read again: records, manifests, journals, spills, histories, configurations."""

import contextlib
import functools
import io
import pathlib
import shutil
import tempfile

import google_crc32c

from fuzz.harness import RefusedError, Target
from fuzz.mutations import mutate_json
from infoxlm_keras.building.journal import BuildJournal
from infoxlm_keras.commands import build_monolingual
from infoxlm_keras.config import flatten, load_config
from infoxlm_keras.records.manifest import read_manifest, write_manifest
from infoxlm_keras.records.statistics import parse_example
from infoxlm_keras.records.tfrecord import read_frames
from infoxlm_keras.reports.history import HistoryFile, read_rows
from infoxlm_keras.runs.directory import RunDirectory
from infoxlm_keras.text.vocabulary import train_sentencepiece
from repository import CONFIGURATIONS
from running import tree
from sample_text import multilingual_sentences, sentences
from synthetic_records import write_monolingual

PLAN = {"kind": "mmlm", "seed": 1, "input": [["de", ["de.txt", 5, "0"]]]}
# Of about a dozen: spills, verdicts and some shards are there.
STOP_AFTER = 9
CONFIG = CONFIGURATIONS / "demo.yaml"


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


def build(directory, notes=None):
    """Builds records of the text in the directory; `notes`: stops it after this number of notes in its journal."""
    arguments = ["--input", directory / "text", "--tokenizer", directory, "--output_dir", directory / "out"]
    arguments += ["--sequence_length", 32, "--processes", 1, "--shard_megabytes", 0.001, "--deduplicate"]
    note, left = BuildJournal.note, [notes]

    def note_and_stop(self, *key, value):
        note(self, *key, value=value)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    with contextlib.redirect_stderr(io.StringIO()):
        if notes is None:
            build_monolingual.main(list(map(str, arguments)))
            return
        BuildJournal.note = note_and_stop
        try:
            build_monolingual.main(list(map(str, arguments)))
        except KeyboardInterrupt:
            return
        finally:
            BuildJournal.note = note
    raise AssertionError("the build ended before it was stopped")


def make_text(directory):
    (directory / "text").mkdir()
    for language in ("de", "en"):
        text = "\n".join(sentences(language, 60) + sentences(language, 5)) + "\n"
        (directory / "text" / f"{language}.txt").write_text(text, encoding="utf-8")
    (directory / "vocabulary.spm").write_bytes(vocabulary())


@functools.cache
def vocabulary():
    return train_sentencepiece(multilingual_sentences(200), 256)


def make_stopped_build(directory):
    make_text(directory)
    build(directory, STOP_AFTER)


def resume(directory):
    """All files of the build after it was continued."""
    build(directory)
    return tree(directory / "out")


@functools.cache
def whole_build():
    with tempfile.TemporaryDirectory() as folder:
        make_text(pathlib.Path(folder))
        build(pathlib.Path(folder))
        return tree(f"{folder}/out")


def make_history(directory):
    history = HistoryFile(directory / "history.csv")
    for step in range(1, 9):
        history.write({"step": step, "loss": 1 / step, **({"accuracy": 0.5} if step > 4 else {})})


def history(directory):
    rows = read_rows(directory / "history.csv")
    # A resumed run cuts the file off.
    with tempfile.TemporaryDirectory() as folder:
        kept = HistoryFile(shutil.copy(directory / "history.csv", folder), 5).rows
    return [[sorted(row.items()) for row in rows], [sorted(row.items()) for row in kept]]


def make_config(directory):
    (directory / "config.yaml").write_bytes(CONFIG.read_bytes())


def config(directory):
    loaded = load_config(directory / "config.yaml")
    (directory / "checkpoints").mkdir(exist_ok=True)
    return [
        sorted((name, repr(value)) for name, value in flatten(loaded).items()),
        RunDirectory(directory).check(loaded),
    ]


TARGETS = [
    Target("manifest", make_records, manifest, mutate=mutate_json, files="mmlm/manifest.json"),
    Target("records", make_records, records, tfrecord_reference, files="mmlm/*.tfrecord"),
    Target("build journal", make_journal, journal, journal, agrees=part_of_journal),
    Target(
        "resumed build",
        make_stopped_build,
        resume,
        lambda directory: whole_build(),
        files="out/.mmlm.work/**/*",
        seconds=30.0,
    ),
    Target("history.csv", make_history, history),
    Target("config.yaml", make_config, config),
]
