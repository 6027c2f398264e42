"""Seconds of one training step, part by part: each task alone and all three, compiled by XLA and not.

    python benchmarks/training_step.py --size tiny --shape 8,128,8,67,128,67
    KERAS_BACKEND=jax python benchmarks/training_step.py

--shape is B_mmlm,T_mmlm,B_tlm,T_tlm,B_xlco,T_xlco: batch and length of each task's dense batch. Variants take turns,
--rounds times; the table shows the median wall seconds of a step, and tokens a second (all tokens that go through an
encoder, keys included). Compare only figures of one run.
"""

import statistics
import time

import numpy as np
import rich
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, run_command

VOCABULARY_SIZE = 16000


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--size", default="tiny", help="name of the encoder's size")
    parser.add_argument("--shape", default="8,128,8,67,128,67", help="batch and length of each task")
    parser.add_argument("--steps", type=int, default=5, help="steps timed together")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant")
    options = parser.parse_args(arguments)
    shape = [int(number) for number in options.shape.split(",")]

    import keras

    print_settings("training_step", {**vars(options), "backend": keras.backend.backend()})
    variants = {}
    for tasks in (("mmlm",), ("tlm",), ("xlco",), ("mmlm", "tlm", "xlco")):
        for compiled in (False, True) if keras.backend.backend() == "tensorflow" else (True,):
            variants["+".join(tasks), compiled] = build(options.size, shape, tasks, compiled)
    seconds = {name: [] for name in variants}
    for _ in range(options.rounds):
        for name, (pretrainer, batch, _) in variants.items():
            start = time.perf_counter()
            fit(pretrainer, batch, options.steps)
            seconds[name].append((time.perf_counter() - start) / options.steps)

    table = rich.table.Table(title="one training step")
    for column in ("tasks", "XLA", "seconds, median", "tokens/s"):
        table.add_column(column, justify="right" if column in ("seconds, median", "tokens/s") else "left")
    for (tasks, compiled), values in seconds.items():
        median = statistics.median(values)
        tokens = variants[tasks, compiled][2]
        table.add_row(tasks, "yes" if compiled else "no", f"{median:.4f}", f"{tokens / median:,.0f}")
    rich.print(table)


def build(size, shape, tasks, compiled):
    """(pretrainer, batch, tokens a step) of one variant, already run once so that it is compiled."""
    from infoxlm_keras import ENCODER_SIZES, MMLM, TLM, XLCO, InfoXLMPretrainer, build_masked_lm, build_optimizer

    generator = np.random.default_rng(0)
    b_mmlm, t_mmlm, b_tlm, t_tlm, b_xlco, t_xlco = shape
    contrast = {"queue_length": 16384, "pooling": "mean", "normalize": True, "in_batch_negatives": True}
    parts = {
        "mmlm": (MMLM, {}, masked_batch(generator, b_mmlm, t_mmlm), b_mmlm * t_mmlm),
        "tlm": (TLM, {}, masked_batch(generator, b_tlm, t_tlm), b_tlm * t_tlm),
        "xlco": (XLCO, contrast, contrast_batch(generator, b_xlco, t_xlco), 2 * b_xlco * t_xlco),
    }
    masked_lm = build_masked_lm(ENCODER_SIZES[size], VOCABULARY_SIZE, dropout=0.0)
    pretrainer = InfoXLMPretrainer(masked_lm, [parts[name][0](**parts[name][1]) for name in tasks])
    pretrainer.compile(optimizer=build_optimizer(1e-4, total_steps=1000), jit_compile=compiled)
    batch = {name: parts[name][2] for name in tasks}
    fit(pretrainer, batch, 2)
    return pretrainer, batch, sum(parts[name][3] for name in tasks)


def fit(pretrainer, batch, steps):
    """Trains `steps` steps on copies of one batch."""
    pretrainer.fit(((batch,) for _ in range(steps)), steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False)


def masked_batch(generator, size, length, percent=15):
    """A dense batch for MMLM or TLM with `percent` (int) of the tokens to predict."""
    predictions = -(-percent * length // 100)
    positions = np.stack([generator.permutation(length)[:predictions] for _ in range(size)])
    return {
        "token_ids": tokens(generator, size, length),
        "padding_mask": np.ones((size, length), np.int32),
        "mask_positions": positions.astype(np.int32),
        "mask_ids": tokens(generator, size, predictions),
        "mask_weights": np.ones((size, predictions), np.float32),
    }


def contrast_batch(generator, size, length):
    """A dense batch for XLCO."""
    batch = {}
    for side in ("query", "key"):
        batch[f"{side}_token_ids"] = tokens(generator, size, length)
        batch[f"{side}_padding_mask"] = np.ones((size, length), np.int32)
    return batch


def tokens(generator, size, length):
    """Random token ids, int32 [size, length], none of them special."""
    return generator.integers(4, VOCABULARY_SIZE - 1, (size, length)).astype(np.int32)


if __name__ == "__main__":
    run_command(main)
