"""Strings to vectors: our exports beside each backend of sentence-transformers, with the same weights, side by side.

    infoxlm convert-checkpoint --from PRESET --to exports/st --format sentence-transformers
    infoxlm export-onnx --model PRESET --output_dir exports/onnx --openvino
    infoxlm export-savedmodel --model PRESET --output_dir exports/saved --pooling mean
    python benchmarks/sentence_transformers_backends.py --folder exports/st --texts sentences.txt \
        --onnx exports/onnx --saved_model exports/saved/1

It runs in an environment of its own, without this package: optimum, which both backends need, wants transformers 4.

    pip install "sentence-transformers[onnx,openvino]<6" datasets "tensorflow==2.21.*" "tensorflow-text==2.21.*"

Contenders: `SentenceTransformer.encode` of `--folder` on PyTorch, with optimum's export to ONNX and to OpenVINO, and
with the int8 form of both that sentence-transformers makes itself (dynamic for ONNX; static for OpenVINO, calibrated
on --texts); the same call on folders of `infoxlm export-onnx`, on OpenVINO too if they hold its form; and TensorFlow's
signature of exports. OpenVINO computes in bfloat16 on CPUs that have it, unless it is told float32.
Vectors must have a median cosine of 0.95 with PyTorch's, and be equal to 1e-4 in float32. Contenders take turns on
the same batches, in an order that rotates. Milliseconds are medians, on the clock and of CPU time; compare those of
one run.

Writes a Markdown table to the screen, and all figures to --output.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time

import numpy as np

BATCHES = {1: 10, 8: 3, 64: 1}  # size: batches a round
TOLERANCE, SMALLEST_COSINE = 1e-4, 0.95
FLOAT32 = ("backend onnx", "backend openvino, float32")
PAUSE_SECONDS = 0.05  # until the threads of the one before, which wait for work in a busy loop, have gone to sleep


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="of convert-checkpoint --format sentence-transformers")
    parser.add_argument("--onnx", nargs="*", default=[], help="folders of export-onnx")
    parser.add_argument("--saved_model", nargs="*", default=[], help="versions of export-savedmodel, mean pooling")
    parser.add_argument("--texts", required=True, type=pathlib.Path, help="file with one sentence per line")
    parser.add_argument("--threads", type=int, default=1, help="of each contender")
    parser.add_argument(
        "--rounds", type=int, default=10, help="batches of 64; three times as many of 8, ten times as many of 1"
    )
    parser.add_argument("--instructions", default="avx512_vnni", help="for which ONNX is quantized")
    parser.add_argument("--output", type=pathlib.Path, help="file for the figures, JSON")
    options = parser.parse_args()
    os.environ.update(
        {"USE_TF": "0", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TF_CPP_MIN_LOG_LEVEL": "2"},
        OMP_NUM_THREADS=str(options.threads),
    )
    texts = options.texts.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as scratch:
        contenders = load(options, texts, pathlib.Path(scratch))
        check_agreement(contenders, texts[:48])
        seconds = measure(contenders, texts, options.rounds)
    found = {
        str(size): {name: {"ms": 1e3 * row[0], "cpu_ms": 1e3 * row[1]} for name, row in by_name.items()}
        for size, by_name in seconds.items()
    }
    print("| | " + " | ".join(f"{size}: ms | CPU" for size in BATCHES) + " |")
    print("|---" + "|---:" * (2 * len(BATCHES)) + "|")
    for name in contenders:
        cells = (f"{found[str(size)][name][kind]:.1f}" for size in BATCHES for kind in ("ms", "cpu_ms"))
        print(f"| {name} | " + " | ".join(cells) + " |")
    if options.output is not None:
        facts = {"threads": options.threads, "rounds": options.rounds, "load_average": os.getloadavg()[0]}
        options.output.write_text(json.dumps({**facts, "batches": found}, indent=1) + "\n")


def load(options, texts, scratch):
    """Name -> function of a list of str to vectors."""
    import onnxruntime
    import torch
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    torch.set_num_threads(options.threads)
    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = options.threads

    def onnx(folder, **settings):
        settings |= {"session_options": session, "provider": "CPUExecutionProvider"}
        return SentenceTransformer(folder, device="cpu", backend="onnx", model_kwargs=settings)

    def openvino(folder, **settings):
        threads = {"INFERENCE_NUM_THREADS": options.threads}
        settings |= {"ov_config": {**threads, **settings.pop("ov_config", {})}}
        return SentenceTransformer(folder, device="cpu", backend="openvino", model_kwargs=settings)

    exported = {"onnx": onnx(options.folder, export=True), "openvino": openvino(options.folder, export=True)}
    folders = {name: str(scratch / name) for name in exported}
    for name, model in exported.items():
        model.save_pretrained(folders[name])
    export_dynamic_quantized_onnx_model(exported["onnx"], options.instructions, folders["onnx"])
    quantize_openvino(exported["openvino"], texts, scratch / "texts", folders["openvino"])
    quantized = f"onnx/model_qint8_{options.instructions}.onnx"
    models = {
        "sentence-transformers, PyTorch": SentenceTransformer(options.folder, device="cpu"),
        "backend onnx": exported["onnx"],
        "backend onnx, int8": onnx(folders["onnx"], file_name=quantized),
        "backend openvino": exported["openvino"],
        "backend openvino, float32": openvino(folders["openvino"], ov_config={"INFERENCE_PRECISION_HINT": "f32"}),
        "backend openvino, int8": openvino(
            folders["openvino"], file_name="openvino/openvino_model_qint8_quantized.xml"
        ),
        **{f"backend onnx, {folder}": onnx(folder) for folder in options.onnx},
        **{
            f"backend openvino, {folder}": openvino(folder)
            for folder in options.onnx
            if pathlib.Path(folder, "openvino").is_dir()
        },
    }
    contenders = {name: encoder(model) for name, model in models.items()}
    return contenders | {folder: signature(folder, options.threads) for folder in options.saved_model}


def quantize_openvino(model, texts, calibration, folder):
    """sentence-transformers' static quantization, calibrated on `texts`, written beside the model in `folder`."""
    from sentence_transformers import export_static_quantized_openvino_model

    calibration.mkdir()
    rows = [json.dumps({"sentence": text}, ensure_ascii=False) for text in texts]
    (calibration / "train.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    places = {"dataset_name": str(calibration), "dataset_config_name": "default", "dataset_split": "train"}
    export_static_quantized_openvino_model(model, None, folder, **places, column_name="sentence")


def encoder(model):
    return lambda texts: model.encode(texts, batch_size=len(texts), show_progress_bar=False)


def signature(folder, threads):
    """TensorFlow's signature on strings."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 (its operations are in the graph)

    if not tf.config.threading.get_intra_op_parallelism_threads():
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(folder)
    # A signature alone does not keep its variables.
    return lambda texts, loaded=loaded: loaded.signatures["serving_default"](text=tf.constant(texts))[
        "embedding"
    ].numpy()


def check_agreement(contenders, sample):
    """Raises RuntimeError unless all give the vectors of PyTorch: otherwise they do not do the same work."""
    expected = unit(contenders["sentence-transformers, PyTorch"](sample))
    for name, encode in contenders.items():
        vectors = unit(encode(sample))
        cosine, difference = np.median((vectors * expected).sum(axis=1)), np.abs(vectors - expected).max(axis=1)
        print(f"{name}: median cosine {cosine:.5f}, largest difference {difference.max():.1e}", flush=True)
        # Tokenizers may cut a rare word otherwise; weights and layers may not differ at all.
        if cosine < SMALLEST_COSINE or (name in FLOAT32 and np.median(difference) > TOLERANCE):
            raise RuntimeError(f"{name}: other vectors than PyTorch's")


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(contenders, texts, rounds):
    """Batch size -> contender -> median (seconds, CPU seconds); the same batches for all."""
    found = {}
    names = list(contenders)
    for size, batches in BATCHES.items():
        seconds = {name: [] for name in names}
        for number in range(rounds * batches):
            batch = [texts[(number * size + row) % len(texts)] for row in range(size)]
            for name in names[number % len(names) :] + names[: number % len(names)]:
                time.sleep(PAUSE_SECONDS)
                contenders[name](batch)
                start, cpu_start = time.perf_counter(), time.process_time()
                contenders[name](batch)
                seconds[name].append((time.perf_counter() - start, time.process_time() - cpu_start))
        found[size] = {name: np.median(rows, axis=0) for name, rows in seconds.items()}
    return found


if __name__ == "__main__":
    main()
