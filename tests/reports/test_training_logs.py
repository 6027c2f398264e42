"""history.csv, TensorBoard, the console's line and Weights & Biases: what a run's numbers become."""

import sys
import types

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from infoxlm_keras import MMLM, TLM, XLCO
from infoxlm_keras.errors import InputError
from infoxlm_keras.reports.history import HistoryFile, read_rows
from infoxlm_keras.reports.wandb_log import WandbLog
from infoxlm_keras.reports.writers import Recorder, TensorBoardLog, summary

RECORDS = [
    {"step": 0, "retrieval_accuracy": 0.125},
    {"step": 2, "loss": 1 / 3, "skipped_steps": 0},
    {"step": 4, "loss": 0.1, "skipped_steps": 1},
    {"step": 4, "retrieval_accuracy": 0.5},
    {"step": 6, "loss": 1e-9, "skipped_steps": 1},
]


def write(path, records, start_step=0):
    history = HistoryFile(path, start_step)
    for record in records:
        history.write(record)
    return path.read_text()


def test_history_has_a_row_a_step_with_all_digits(tmp_path):
    assert write(tmp_path / "history.csv", RECORDS) == (
        "step,retrieval_accuracy,loss,skipped_steps\n0,0.125,,\n2,,0.3333333333333333,0\n4,0.5,0.1,1\n6,,1e-09,1\n"
    )
    rows = read_rows(tmp_path / "history.csv")
    assert rows[2] == {"step": 4, "retrieval_accuracy": 0.5, "loss": 0.1, "skipped_steps": 1}
    assert read_rows(tmp_path / "absent.csv") == []


@pytest.mark.parametrize("checkpoint", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("torn", ["", "6", "7,0.5"])
def test_a_resumed_history_is_byte_for_byte_the_one_without_interruption(tmp_path, checkpoint, torn):
    expected = write(tmp_path / "whole.csv", RECORDS)
    path = tmp_path / "cut.csv"
    write(path, RECORDS)
    with open(path, "a") as file:
        file.write(torn)
    assert write(
        path, [record for record in RECORDS if record["step"] > checkpoint or not checkpoint], checkpoint
    ) == (expected)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["cut.csv", "whole.csv"]


def test_a_history_of_an_older_version_goes_on_with_new_columns(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("step,loss,tokens_per_second\n2,0.5,100.0\n4,0.25,100.0\n")
    HistoryFile(path, start_step=2).write(
        {"step": 4, "loss": 0.125, "tokens_per_second": 90.0, "tflop_per_second": 3.0}
    )
    assert read_rows(path) == [
        {"step": 2, "loss": 0.5, "tokens_per_second": 100.0},
        {"step": 4, "loss": 0.125, "tokens_per_second": 90.0, "tflop_per_second": 3.0},
    ]


def test_a_recorder_knows_the_newest_step_only():
    recorder = Recorder()
    recorder.write({"step": 2, "loss": 1.0})
    recorder.write({"step": 2, "retrieval_accuracy": 0.5})
    assert (recorder.value(2, "loss"), recorder.value(2, "retrieval_accuracy")) == (1.0, 0.5)
    assert recorder.value(2, "other") is None and recorder.value(4, "loss") is None
    recorder.write({"step": 4, "loss": 2.0})
    assert recorder.value(4, "retrieval_accuracy") is None and recorder.value(2, "loss") is None


def test_tensorboard_shows_each_step_once_after_a_restart(tmp_path):
    log = TensorBoardLog(tmp_path, groups=["mmlm", "tlm", "xlco"])
    log.write_text("languages", "| task |\n|---|\n| mmlm |")
    for step in (2, 4, 6):
        log.write({"step": step, "xlco_queue_age": step, "loss": 1.0})
    log.close()
    log = TensorBoardLog(tmp_path, start_step=3, groups=["mmlm", "tlm", "xlco"])
    log.write({"step": 4, "xlco_queue_age": 40.0, "retrieval_de": 0.5})
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("xlco/queue_age")] == [(2, 2.0), (4, 40.0)]
    assert set(events.Tags()["scalars"]) == {"xlco/queue_age", "run/loss", "retrieval/de"}
    assert events.Tags()["tensors"] == ["languages"]


def test_the_line_on_the_console():
    record = {
        "tokens_per_second": 57467.2,
        "mmlm_loss": 7.489,
        "xlco_mi_lower_bound": 7.2,
        "retrieval_accuracy": 0.4567,
    }
    assert summary(record, [MMLM, TLM, XLCO]) == "57,467 tokens/s  MMLM 7.49  MI >= 7.20 nats  retrieval 45.7%"
    speeds = {"tokens_per_second": 8000, "tflop_per_second": 81.04, "mfu": 0.4114}
    assert summary(speeds) == "8,000 tokens/s  81 TFLOP/s  MFU 41.1%"
    assert summary({"skipped_steps": 0}) == "" and summary({"skipped_steps": 3}) == "3 skipped"


def test_wandb_gets_the_records_and_a_restart_goes_on_in_the_same_run(tmp_path, monkeypatch):
    started, logged = [], []

    def init(**options):
        started.append(options)
        return types.SimpleNamespace(log=lambda values, step: logged.append((step, values)), finish=lambda: None)

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    for start_step, expected in ((0, 1), (5, 1), (0, 2)):
        log = WandbLog("project", tmp_path / "run", {"steps": 8}, start_step)
        log.write({"step": start_step + 1, "loss": 2.0})
        log.close()
        assert len({options["id"] for options in started}) == expected
    assert logged == [(1, {"loss": 2.0}), (6, {"loss": 2.0}), (1, {"loss": 2.0})]
    assert {(options["project"], options["resume"]) for options in started} == {("project", "allow")}


# === Damaged histories ===

WHOLE = "step,retrieval_accuracy,loss,skipped_steps\n0,0.125,,\n2,,0.3333333333333333,0\n4,0.5,0.1,1\n"


@pytest.mark.parametrize(
    ("harm", "kept", "message"),
    [
        (lambda data: data.replace(b"2,,0.3", b"2,,0.\x003"), ["0", "4"], "line 3: is not a number for each of the 4"),
        (lambda data: data.replace(b"2,,0.3", b"2,,\xff.3"), ["0", "4"], "line 3: is not"),
        (lambda data: data.replace(b"4,0.5,0.1,1", b"garbage"), ["0", "2"], "line 4: is not"),
        (lambda data: data.replace(b"2,,0.3", b"2,,,,,,0.3"), ["0", "4"], "line 3: is not"),
        (lambda data: data.replace(b"\n2,", b"\n\xb2,"), ["0", "4"], "line 3: is not"),
        (lambda data: data.replace(b"\n2,", b"\n-2,"), ["0", "4"], "line 3: its step '-2'"),
        (lambda data: data.replace(b"\n2,", b"\n" + b"2" * 5000 + b","), ["0", "4"], "line 3: its step"),
        (lambda data: data.replace(b"\n4,", b"\n1,"), ["0", "2"], "line 4: its step '1' does not follow"),
        (lambda data: data.replace(b"\n2,", b"\n\n2,"), ["0", "2", "4"], "line 3: is not"),
        (lambda data: data.replace(b"2,,", b'"2,,'), ["0", "4"], "line 3: is not"),
        (lambda data: data.split(b"\n", 1)[1], [], "line 1: is not a header"),
        (lambda data: data.replace(b"step", b"st\0p"), [], "line 1: is not a header"),
        (lambda data: data.replace(b"loss", b"step"), [], "line 1: is not a header"),
        (lambda data: b"\0" * len(data), [], None),
        (lambda data: b"\0" * 50 + b"\n" + data, [], "line 1: is not a header"),
        (lambda data: bytes(range(256)), [], "line 1: is not a header"),
    ],
)
def test_a_damaged_history_is_named_and_its_intact_rows_go_on(tmp_path, harm, kept, message):
    path = tmp_path / "history.csv"
    damaged = harm(WHOLE.encode())
    path.write_bytes(damaged)
    told = []
    history = HistoryFile(path, 4, report=told.append)
    history.write({"step": 6, "loss": 0.25})
    # Nothing that ends in a line's end: as if a kill had cut the first row.
    if message is None:
        assert told == [] and [row["step"] for row in read_rows(path)] == [6]
        return
    assert len(told) == 1 and message in told[0] and f"{len(kept)} intact rows are kept" in told[0]
    assert (tmp_path / "damaged-history.csv").read_bytes() == damaged
    assert [row["step"] for row in read_rows(path)] == [*map(int, kept), 6]
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"history.csv: line \d.*; repair the line or move the file away"):
        read_rows(path)


def test_infinite_numbers_are_no_damage(tmp_path):
    assert write(tmp_path / "history.csv", [{"step": 2, "loss": float("inf")}, {"step": 4, "loss": float("nan")}])
    assert read_rows(tmp_path / "history.csv")[0] == {"step": 2, "loss": float("inf")}
    assert len(HistoryFile(tmp_path / "history.csv", 4, report=pytest.fail).rows) == 2
