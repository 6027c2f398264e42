"""Records and settings for whole runs of a very small model, and what such runs leave."""

import csv

import yaml

from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.pretrained import load_pretrained
from infoxlm_keras.reports.history import SPEEDS
from running import run
from sample_text import sentences

SETTINGS = {
    "steps": 8,
    "log_every": 2,
    "save_every": 3,
    "seed": 5,
    "jit_compile": False,
    "loss_combination": "sum_of_means",
    "model": {
        "num_layers": 2,
        "hidden_dim": 8,
        "num_heads": 2,
        "intermediate_dim": 16,
        "max_sequence_length": 64,
        "dropout": 0.1,
    },
    "mmlm": {"batch_size": 4},
    "tlm": {"batch_size": 4},
    "xlco": {"batch_size": 4, "queue_length": 10, "momentum": {"value": 0.9}, "pooling": "mean", "normalize": True},
    "optimizer": {"learning_rate": 0.01, "warmup_steps": 2},
}


def make_inputs(root, tokenizer_dir):
    """Fills directory `root` with `data/` (records), `heldout/` (pairs) and `config.yaml`; returns it."""
    for name in ("text", "pairs", "heldout"):
        (root / name).mkdir()
    for language in ("en", "de"):
        (root / "text" / f"{language}.txt").write_text("\n".join(sentences(language, 80)) + "\n")
    pairs = list(zip(sentences("en", 90), sentences("de", 90), strict=True))
    for name, part in (("pairs", pairs[:80]), ("heldout", pairs[80:])):
        (root / name / "en-de.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in part))
    common = ["--tokenizer", tokenizer_dir, "--output_dir", root / "data", "--processes", 1]
    run(build_monolingual.main, "--input", root / "text", *common, "--sequence_length", 32)
    run(build_bitext.main, "--input", root / "pairs", *common, "--lengths", 30, "--max_length", 30, "--truncate")
    (root / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    return root


def arguments(inputs, output_dir, *more):
    """Arguments of recipes/pretrain.py."""
    return ["--config", inputs / "config.yaml", "--data_dir", inputs / "data", "--output_dir", output_dir, *more]


def history(directory):
    """Rows of history.csv without the columns that are speeds."""
    with open(directory / "history.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k not in SPEEDS} for row in csv.DictReader(file)]


def weights(directory, name="model"):
    """List of the weights of a run's preset."""
    return load_pretrained(directory / name).masked_lm.get_weights()
