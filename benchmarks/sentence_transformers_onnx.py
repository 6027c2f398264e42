"""CPU time of `SentenceTransformer.encode`: PyTorch, the ONNX export of optimum, and folders of `infoxlm export-onnx`.

    infoxlm convert-checkpoint --from PRESET --to exports/st --format sentence-transformers
    infoxlm export-onnx --model PRESET --output_dir exports/onnx
    python benchmarks/sentence_transformers_onnx.py --folder exports/st --onnx exports/onnx --texts sentences.txt

It runs in an environment of its own, with `sentence-transformers[onnx]` and without this package: optimum-onnx 0.1
needs transformers 4. Contenders take turns on the same batches. One thread; the table shows medians of CPU time.
"""

import argparse
import os
import pathlib
import time

import numpy as np

BATCHES = {1: 12, 8: 6, 64: 3}  # size -> how many


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="of convert-checkpoint --format sentence-transformers")
    parser.add_argument("--onnx", required=True, nargs="+", help="folders of export-onnx")
    parser.add_argument("--texts", required=True, type=pathlib.Path, help="file with one sentence per line")
    options = parser.parse_args()
    os.environ.update(USE_TF="0", HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    texts = options.texts.read_text(encoding="utf-8").splitlines()
    models = load(options)
    expected = models["PyTorch"].encode(texts[:20])
    for name, model in models.items():
        print(f"{name}: differs by {np.abs(model.encode(texts[:20]) - expected).max():.1e}")
    for size, count in BATCHES.items():
        seconds = {name: [] for name in models}
        for number in range(count):
            batch = texts[number * size : (number + 1) * size]
            for name, model in models.items():
                start = time.process_time()
                model.encode(batch, batch_size=size, show_progress_bar=False)
                seconds[name].append(time.process_time() - start)
        print(f"batch {size}:", ", ".join(f"{name} {1e3 * np.median(row):.1f} ms" for name, row in seconds.items()))


def load(options):
    """Name -> `SentenceTransformer`."""
    import onnxruntime
    import sentence_transformers
    import torch

    torch.set_num_threads(1)
    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = 1

    def onnx(folder, **settings):
        settings |= {"session_options": session, "provider": "CPUExecutionProvider"}
        return sentence_transformers.SentenceTransformer(folder, device="cpu", backend="onnx", model_kwargs=settings)

    return {
        "PyTorch": sentence_transformers.SentenceTransformer(options.folder, device="cpu"),
        "optimum's export": onnx(options.folder, export=True),
        **{folder: onnx(folder) for folder in options.onnx},
    }


if __name__ == "__main__":
    main()
