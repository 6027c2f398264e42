"""history.csv, TensorBoard, the console's line and Weights & Biases: what a run's numbers become."""

import sys
import types

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from infoxlm_keras.training.history import HistoryFile, read_rows
from infoxlm_keras.training.wandb_log import WandbLog
from infoxlm_keras.training.writers import Recorder, TensorBoardLog, summary

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


def test_a_recorder_knows_the_newest_step_only():
    recorder = Recorder()
    recorder.write({"step": 2, "loss": 1.0})
    recorder.write({"step": 2, "retrieval_accuracy": 0.5})
    assert (recorder.value(2, "loss"), recorder.value(2, "retrieval_accuracy")) == (1.0, 0.5)
    assert recorder.value(2, "other") is None and recorder.value(4, "loss") is None
    recorder.write({"step": 4, "loss": 2.0})
    assert recorder.value(4, "retrieval_accuracy") is None and recorder.value(2, "loss") is None


def test_tensorboard_shows_each_step_once_after_a_restart(tmp_path):
    log = TensorBoardLog(tmp_path)
    log.write_text("languages", "| task |\n|---|\n| mmlm |")
    for step in (2, 4, 6):
        log.write({"step": step, "xlco_queue_age": step, "loss": 1.0})
    log.close()
    log = TensorBoardLog(tmp_path, start_step=3)
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
    assert summary(record) == "57,467 tokens/s  MMLM 7.49  MI >= 7.20 nats  retrieval 45.7%"
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
