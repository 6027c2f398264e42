"""Memory and time of the masked-LM loss and its gradient: all logits at once against chunks of the vocabulary.

    python benchmarks/masked_lm_memory.py --predictions 1024,3072 --vocabulary_size 250002 --dim 768

Each measurement is a process of its own, compiled by XLA; they take turns, --rounds times. Peak memory is the process'
own highest resident size; "base" is the same process with the arguments made and nothing computed.
"""

import json
import resource
import statistics
import subprocess
import sys
import time

import rich
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, run_command
from infoxlm_keras.errors import InputError

VARIANTS = ("base", "all at once", "in chunks")


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--predictions", default="1024,3072", help="masked positions of a batch, comma-separated")
    parser.add_argument("--vocabulary_size", type=int, default=250002, help="pieces")
    parser.add_argument("--dim", type=int, default=768, help="width of the head's features")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant")
    parser.add_argument("--measure", choices=VARIANTS, help="(used by the command itself: one measurement as JSON)")
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(options)))
        return
    print_settings("masked_lm_memory", vars(options))
    table = rich.table.Table(title="masked-LM loss and gradient")
    for column in ("predictions", "variant", "peak memory, GB", "seconds, median"):
        table.add_column(column, justify="right" if column != "variant" else "left")
    for predictions in options.predictions.split(","):
        found = {variant: [] for variant in VARIANTS}
        for _ in range(options.rounds):
            for variant in VARIANTS:
                found[variant].append(in_own_process(options, predictions, variant))
        for variant, results in found.items():
            gigabytes, seconds = (statistics.median(values) for values in zip(*results, strict=True))
            table.add_row(predictions, variant, f"{gigabytes:.2f}", f"{seconds:.2f}" if seconds else "")
    rich.print(table)


def in_own_process(options, predictions, variant):
    """(peak gigabytes, seconds) of one measurement."""
    line = [sys.executable, __file__, "--measure", variant, "--predictions", predictions]
    line += ["--vocabulary_size", str(options.vocabulary_size), "--dim", str(options.dim)]
    process = subprocess.run(line, capture_output=True, text=True, check=False)
    if process.returncode:
        raise InputError(f"the measurement of {variant!r} failed: {process.stderr.strip()[-500:]}")
    return json.loads(process.stdout.splitlines()[-1])


def measure(options):
    """[peak gigabytes, seconds] of a variant in this process."""
    with quiet_imports():
        import tensorflow as tf

        from infoxlm_keras.losses.chunked_masked_lm import chunked_masked_lm_loss, vocabulary_chunk
        from infoxlm_keras.losses.masked_lm import masked_lm_loss
        from infoxlm_keras.tasks.masked_lm import MAX_LOGITS

    predictions = int(options.predictions)
    features = tf.Variable(tf.random.stateless_normal((predictions, options.dim), (0, 1)))
    embeddings = tf.Variable(tf.random.stateless_normal((options.vocabulary_size, options.dim), (0, 2), stddev=0.02))
    bias = tf.Variable(tf.zeros((options.vocabulary_size,)))
    labels = tf.random.stateless_uniform((predictions,), (0, 3), 0, options.vocabulary_size, tf.int32)
    weights = tf.ones((predictions,))
    chunk = vocabulary_chunk(predictions, options.vocabulary_size, MAX_LOGITS)

    @tf.function(jit_compile=True)
    def step():
        with tf.GradientTape() as tape:
            if options.measure == "in chunks":
                arguments = (features.value(), embeddings.value(), bias.value(), labels, weights)
                tape.watch(arguments[:3])
                loss = chunked_masked_lm_loss(*arguments, chunk).loss_sum
                return tape.gradient(loss, arguments[:3])
            logits = tf.matmul(features, embeddings, transpose_b=True) + bias
            loss = masked_lm_loss(logits[None], labels[None], weights[None]).loss_sum
        return tape.gradient(loss, [features, embeddings, bias])

    seconds = []
    if options.measure != "base":
        for _ in range(3):
            start = time.perf_counter()
            step()[1].numpy().sum()
            seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return peak, min(seconds, default=0.0)


if __name__ == "__main__":
    run_command(main)
