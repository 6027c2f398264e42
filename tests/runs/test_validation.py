"""The losses on held-out records while training."""

import json

import numpy as np
import pytest

import oracle
from infoxlm_keras.commands import pretrain
from infoxlm_keras.config import load_config
from infoxlm_keras.pretrained import load_pretrained
from infoxlm_keras.runs.training_records import TrainingRecords
from running import refused, run
from tiny_pretraining import oracle_encoder, oracle_head
from tiny_run import arguments, history

BATCHES = 3
SETTINGS = [
    *("--tasks", "mmlm,tlm", "--set", "data.validation_records=5", "--set", "optimizer.accumulation_steps=2"),
    *("--set", f"evaluation.validation_batches={BATCHES}", "--set", "evaluation.every=3"),
]


@pytest.fixture(scope="module")
def validated(inputs, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("validated") / "run"
    run(pretrain.main, *arguments(inputs, output_dir, *SETTINGS))
    return output_dir


def test_the_losses_are_those_of_the_formulas_on_the_held_out_batches(inputs, validated):
    """Mean over all predictions of the batches, by the trained model without dropout; batches not accumulated."""
    overrides = ["tasks=[mmlm,tlm]", "data.validation_records=5"]
    model = load_pretrained(validated / "model")
    config = load_config(inputs / "config.yaml", overrides)
    streams = TrainingRecords(inputs / "data", config).streams("validation")
    parameters, head = oracle_encoder(model.backbone), oracle_head(model.masked_lm)
    row = history(validated)[-1]
    assert row["step"] == "8"
    for stream in streams:
        loss = count = 0.0
        for batch in stream.dataset().take(BATCHES):
            batch = {name: tensor.numpy() for name, tensor in batch.items()}
            loss += oracle.masked_lm_loss_sum(parameters, head, batch)
            count += batch["mask_weights"].sum()
        assert float(row[f"val_{stream.name}_loss"]) == pytest.approx(loss / count, rel=1e-5)
        bound = float(np.log(model.tokenizer.vocabulary_size)) - loss / count
        assert float(row[f"val_{stream.name}_mi_lower_bound"]) == pytest.approx(bound, abs=1e-4)


def test_they_are_written_where_they_are_due_and_choose_the_best_checkpoint(validated):
    losses = {int(row["step"]): float(row["val_loss"]) for row in history(validated) if row["val_loss"]}
    assert list(losses) == [0, 3, 6, 8]
    later = {step: loss for step, loss in losses.items() if step}
    best = json.loads((validated / "pretraining.json").read_text())["best"]
    assert best == {"name": "val_loss", "value": min(later.values()), "step": min(later, key=later.get)}


def test_a_best_checkpoint_by_a_loss_that_is_not_measured_is_refused(inputs, tmp_path, capsys):
    settings = ["--set", "data.validation_records=1", "--set", "keep_best=val_xlco_loss", "--tasks", "mmlm"]
    message = refused(capsys, pretrain.main, *arguments(inputs, tmp_path / "run", *settings))
    assert "keep_best = 'val_xlco_loss'" in message and "val_mmlm_loss" in message
