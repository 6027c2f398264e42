"""Seconds, tokens a second and peak memory of the whole training step at one size and shape; one line of JSON.

    python benchmarks/train_step.py --backend jax --size base --shape 32,512,32,128,32,128 --dtype bfloat16

--shape is B_mmlm,T_mmlm,B_tlm,T_tlm,B_xlco,T_xlco: batch and length of each task's dense batch. Tokens are all that go
through an encoder, keys included. Memory is the device's, by JAX or PyTorch, or the process's on a CPU. Compare only
figures of one machine, taken one after the other.
"""

import argparse
import importlib
import json
import os
import pathlib
import resource
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from infoxlm_keras import host_memory

# Encoder, vocabulary, universal layer, queue.
SIZES = {
    "tiny": ("tiny", 16000, 2, 4096),
    "small": ("small", 32000, 4, 16384),
    "base": ("infoxlm_base", 250002, 8, 131072),
    "large": ("infoxlm_large", 250002, 16, 131072),
}


def main(arguments=None):
    print(json.dumps(measure(parse(arguments))))


def parse(arguments=None, description=__doc__):
    """The options; the Keras backend is chosen by them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"), default="tensorflow")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--shape", default="8,256,16,128,32,64")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--jit", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--plain_attention", action="store_true", help="no fused attention kernels")
    parser.add_argument(
        "--rematerialize", choices=("none", "activations", "layers"), default="none", help="see model.rematerialize"
    )
    parser.add_argument("--masked_percent", type=int, default=15, help="tokens to predict in MMLM and TLM")
    parser.add_argument("--peak_tflops", type=float, help="of the device in this dtype, for the MFU")
    options = parser.parse_args(arguments)
    os.environ["KERAS_BACKEND"] = options.backend
    return options


def measure(options):
    """dict of the options and what was measured."""
    import numpy as np

    from infoxlm_keras.runs.callbacks import FreedMemory

    pretrainer, batch = made(options)
    times = step_times()
    start = time.perf_counter()
    count = options.steps + 2
    pretrainer.fit(
        ((batch,) for _ in range(count)),
        steps_per_epoch=count,
        epochs=1,
        verbose=0,
        shuffle=False,
        callbacks=[times, FreedMemory()],
    )
    seconds = statistics.median(np.diff(times.ends)[1:].tolist())
    b_mmlm, t_mmlm, b_tlm, t_tlm, b_xlco, t_xlco = map(int, options.shape.split(","))
    tokens = b_mmlm * t_mmlm + b_tlm * t_tlm + 2 * b_xlco * t_xlco
    return {
        **vars(options),
        "seconds": round(seconds, 4),
        "tokens_per_second": round(tokens / seconds),
        "peak_gb": round(peak_bytes(options.backend) / 1e9, 2),
        **rates(times.tflop / seconds, options.peak_tflops),
        "first_step_seconds": round(times.ends[0] - start, 1),
    }


def made(options):
    """(compiled pretrainer, batch)."""
    import keras
    import numpy as np

    from infoxlm_keras import ENCODER_SIZES, MMLM, TLM, XLCO, InfoXLMPretrainer, build_masked_lm, build_optimizer
    from infoxlm_keras.models.rematerialization import rematerialize_layers

    parts = importlib.import_module("training_step")
    if options.plain_attention:
        keras.config.disable_flash_attention()
    encoder, vocabulary, layer, queue = SIZES[options.size]
    parts.VOCABULARY_SIZE = vocabulary
    generator = np.random.default_rng(0)
    b_mmlm, t_mmlm, b_tlm, t_tlm, b_xlco, t_xlco = map(int, options.shape.split(","))
    dtype = "mixed_bfloat16" if options.dtype == "bfloat16" else "float32"
    masked_lm = build_masked_lm(ENCODER_SIZES[encoder], vocabulary, dropout=options.dropout, dtype=dtype)
    if options.rematerialize != "none":
        rematerialize_layers(masked_lm.backbone, keep_products=options.rematerialize == "activations")
    tasks = [MMLM(), TLM(), XLCO(queue_length=queue, universal_layer=layer)]
    pretrainer = InfoXLMPretrainer(masked_lm, tasks)
    pretrainer.compile(optimizer=build_optimizer(1e-4, total_steps=1000), jit_compile=options.jit)
    batch = {
        "mmlm": parts.masked_batch(generator, b_mmlm, t_mmlm, options.masked_percent),
        "tlm": parts.masked_batch(generator, b_tlm, t_tlm, options.masked_percent),
        "xlco": parts.contrast_batch(generator, b_xlco, t_xlco),
    }
    return pretrainer, batch


def rates(tflop_per_second, peak):
    """Model TFLOP/s, as in `history.csv`, and its share of `peak`."""
    return {
        "tflop_per_second": round(tflop_per_second, 2),
        **({"mfu": round(tflop_per_second / peak, 3)} if peak else {}),
    }


def peak_bytes(backend):
    """Most memory held so far: of the accelerator if there is one, else of the process."""
    if backend == "jax":
        import jax

        facts = jax.local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in facts:
            return facts["peak_bytes_in_use"]
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def step_times():
    """A Keras callback with the time at the end of each step; made here because the backend is chosen first."""
    import keras

    class Times(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            # Reading a value waits for the device.
            float(logs["loss"])
            self.tflop = float(logs["tflop_per_step"])
            self.ends.append(time.perf_counter())

    return Times()


if __name__ == "__main__":
    # As `infoxlm pretrain` does.
    host_memory.restart_with_large_pages(__file__)
    main()
