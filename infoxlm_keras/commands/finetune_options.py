"""The options of `infoxlm finetune-<name>`, and what they must not say together."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.command_line import argument_parser, quiet_imports
from infoxlm_keras.commands.device_options import add_device_options
from infoxlm_keras.errors import InputError

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.head import FineTuningHead

with quiet_imports():
    from infoxlm_keras.finetuning.settings import DTYPES

RUNNING = """
The same command again continues from the newest checkpoint, whatever ended the run: a kill, a full disk, SIGTERM or
Ctrl-C. On SIGTERM or Ctrl-C a run in training finishes its update, saves and exits with 0; a second signal ends it at
once. A killed run ends with the same weights as one that was not.

Several values of --learning_rate and --seed are a grid of runs. The learning rate is the one whose mean over the seeds
is best on --dev; results.json has mean and standard deviation of every learning rate, and model/ is the best seed.

The devices are chosen as for infoxlm pretrain, by --strategy (docs/distribution.md), the Keras backend by the
environment variable KERAS_BACKEND. A batch size counts all replicas and micro-batches together.
"""


def parse(kind: type[FineTuningHead], arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command of `kind`, a `FineTuningHead` class."""
    defaults = kind.Settings()
    parser = argument_parser(kind.description.rstrip() + "\n" + RUNNING)
    parser.add_argument("--model", required=True, help="model to fine-tune: preset, Hugging Face directory or id")
    parser.add_argument("--train", required=True, nargs="+", metavar="FILE", help=f"{kind.samples} for training")
    parser.add_argument("--dev", nargs="+", metavar="FILE", help=f"{kind.samples} that select the best update")
    parser.add_argument("--test", nargs="+", metavar="FILE", help=f"{kind.samples} whose {kind.metric} is reported")
    parser.add_argument("--output_dir", required=True, help="folder for the model and the results")
    parser.add_argument(
        "--overwrite", action="store_true", help="start over: replace what an earlier command left in OUTPUT_DIR"
    )
    parser.add_argument("--train_languages", nargs="+", metavar="LANG", help="languages of --train to use; unset: all")
    parser.add_argument("--dev_languages", nargs="+", metavar="LANG", help="languages of --dev to use; unset: all")
    parser.add_argument("--max_train_samples", type=int, metavar="N", help="use only the first N of each language")
    parser.add_argument("--epochs", type=int, default=defaults.epochs, help="passes over --train")
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="samples per update")
    parser.add_argument(
        "--learning_rate",
        type=float,
        nargs="+",
        default=[defaults.learning_rate],
        help="peak learning rate; several: a run for each, and --dev chooses",
    )
    parser.add_argument(
        "--warmup_share",
        type=float,
        default=defaults.warmup_share,
        help="share of the updates in which the learning rate rises to its peak",
    )
    parser.add_argument(
        "--weight_decay", type=float, default=defaults.weight_decay, help="decoupled weight decay (AdamW)"
    )
    parser.add_argument("--dropout", type=float, default=defaults.dropout, help="dropout rate of encoder and head")
    parser.add_argument(
        "--max_length",
        type=int,
        default=defaults.max_length,
        help=f"maximum tokens per sample; unset: {kind.default_max_length}, or all positions if fewer",
    )
    parser.add_argument(
        "--seed",
        type=int,
        nargs="+",
        default=[defaults.seed],
        help="seed of the head's weights, dropout and the order of samples; several: a run for each",
    )
    parser.add_argument(
        "--evaluate_every", type=int, metavar="N", help="measure --dev every N updates; unset: after each epoch"
    )
    parser.add_argument(
        "--patience", type=int, metavar="N", help="end after N measures without a new best one; unset: never early"
    )
    parser.add_argument("--save_every", type=int, default=defaults.save_every, help="updates between checkpoints")
    parser.add_argument(
        "--accumulation_steps",
        type=int,
        default=defaults.accumulation_steps,
        help="cut each batch into N micro-batches: less memory, the same update",
    )
    parser.add_argument(
        "--group_by_length",
        action=argparse.BooleanOptionalAction,
        default=defaults.group_by_length,
        help="make batches of samples of about equal length: faster, by less padding",
    )
    parser.add_argument("--dtype", choices=DTYPES, default=defaults.dtype, help="precision of encoder and head")
    parser.add_argument(
        "--lora_rank",
        type=int,
        metavar="R",
        help="train low-rank matrices beside queries and values, and the head, only (LoRA); unset: all weights",
    )
    parser.add_argument(
        "--jit_compile",
        action=argparse.BooleanOptionalAction,
        default=defaults.jit_compile,
        help="compile the step by XLA (TensorFlow)",
    )
    add_device_options(parser)
    kind.add_arguments(parser)
    return parser.parse_args(arguments)


def check_kept_apart(options: Mapping[str, Sequence[PathLike] | None]) -> None:
    """Raises `InputError` if two options name the same file, by any path: a score on seen samples says nothing.

    Args:
        options: dict of an option's name to its files, or None.
    """
    seen: dict[object, tuple[str, PathLike]] = {}
    for option, paths in options.items():
        for path in paths or ():
            try:
                status = os.stat(path)
            except (OSError, ValueError):
                continue  # reading it says what is wrong
            other, its_path = seen.setdefault((status.st_dev, status.st_ino), (option, path))
            if other != option:
                known = "" if str(its_path) == str(path) else f" (there: {its_path})"
                raise InputError(
                    f"{path}: is given in {other} and in {option}{known}; give each file to one of them, since scores "
                    "are measured on samples that the model has not seen"
                )
