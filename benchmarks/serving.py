"""Sentences a second and latency of the exports on strings, against transformers and sentence-transformers.

    python benchmarks/serving.py --model runs/demo/model --output_dir runs/serving_benchmark
    python benchmarks/serving.py --size infoxlm_base --output_dir runs/serving_benchmark

All take the same strings and give the same unit vectors: mean pooling over the same number of Transformer layers with
the same weights. In float32 they are equal to 1e-4, which is checked before anything is timed; so none runs layers
above the universal one. In int8 their cosine with the float32 ones is at least 0.98.

    SavedModel, SavedModel int8         export-savedmodel: TensorFlow, its tokenizer is in the graph; int8 is storage
    ONNX, ONNX int8                     export-onnx in ONNX Runtime; tokenizer.json in the tokenizers library
    ONNX in OpenVINO                    the same file in OpenVINO, in float32
    transformers                        XLMRobertaTokenizer, padded to the longest, and XLMRobertaModel on PyTorch
    sentence-transformers               `SentenceTransformer.encode` with that model and pooling
    torch's ONNX, torch's ONNX int8     that model by `torch.onnx.export`, then `quantize_dynamic`, in ONNX Runtime
    torch's ONNX in OpenVINO            the same file in OpenVINO, in float32

torch's ONNX stands for sentence-transformers' backends "onnx" and "openvino": optimum-onnx needs transformers 4, see
sentence_transformers_backends.py. A contender whose package is missing is left out.
Text: held-out sentences of the bundled corpus in 18 languages, lengths mixed, order shuffled.

Contenders take turns of a few batches back to back, in an order that rotates, all on the same batches; the table shows
medians of latencies and sentences a second from them, and of the CPU time of all threads. Every contender gets
--threads threads. Compare only figures of one run on an idle machine. With other work beside it, threads that wait
for each other in a busy loop make the times of several threads worthless: give --threads 1 and compare CPU time.

Writes serving.json and serving.png to OUTPUT_DIR. Needs infoxlm_keras[hf]; infoxlm_keras[onnx], onnxscript and
openvino for all contenders.
"""

import os
import pathlib
import tempfile
import time

import numpy as np
import rich
import rich.table

import infoxlm_keras
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json
from infoxlm_keras.progress import progress_bar

BATCH_SIZES = (1, 8, 64)
HELDOUT = pathlib.Path(infoxlm_keras.__file__).parent / "sample_corpus" / "data" / "heldout"
TOLERANCE = 1e-4
SMALLEST_COSINE = 0.98  # of int8 contenders
TURN = 5  # batches one after another, after one that is not timed
PAUSE_SECONDS = 0.05  # until the threads of the one before, which wait for work in a busy loop, have gone to sleep


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--model", help="preset; unset: random weights of --size, vocabulary from the sample corpus")
    parser.add_argument("--size", default="infoxlm_base", help="name of the encoder's size, without --model")
    parser.add_argument("--vocabulary_size", type=int, default=8000, help="without --model")
    parser.add_argument("--layer", type=int, metavar="K", help="unset: the universal layer")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each contender")
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="only these; SavedModel is always there")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each contender at each batch size")
    parser.add_argument("--output_dir", type=pathlib.Path, default=pathlib.Path("runs/serving_benchmark"))
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.threads < 1:
        raise InputError("--rounds and --threads: must be at least 1")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    print_settings("serving benchmark", {**vars(options), "load average before": os.getloadavg()[0]})
    with tempfile.TemporaryDirectory() as scratch:
        contenders, facts = build(options, pathlib.Path(scratch))
        texts = heldout_sentences()
        check_agreement(contenders, texts)
        seconds = measure(contenders, texts, options.rounds)
    result = {**facts, "threads": options.threads, "load_average": os.getloadavg()[0], **summarize(seconds)}
    write_json(options.output_dir / "serving.json", result)
    draw(result, options.output_dir / "serving.png")
    report(result)
    print(f"wrote {options.output_dir}")


def build(options, scratch):
    """(name -> function of a list of str to vectors, facts of the model)."""
    with quiet_imports():
        import tensorflow as tf
        import torch

        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)  # more would be more threads than the others have
        torch.set_num_threads(options.threads)
        from serving_onnx import onnx_contenders

        from infoxlm_keras.pretrained import load_pretrained
        from infoxlm_keras.serving import EmbeddingModule

    model = load_pretrained(options.model) if options.model else random_model(options)
    module = EmbeddingModule(model, options.layer, "mean", normalize=True)
    tokenizer, torch_model = to_torch(model, module.layer)
    contenders = {
        "SavedModel": saved_model_encode(model, module.layer, "float32", scratch),
        "SavedModel int8": saved_model_encode(model, module.layer, "int8", scratch),
        **onnx_contenders(model, module.layer, tokenizer, torch_model, options.threads, scratch),
        "transformers": transformers_encode(tokenizer, torch_model),
        "sentence-transformers": sentence_transformers_encode(tokenizer, torch_model, scratch / "folder"),
    }
    if options.contenders is not None:
        strangers = set(options.contenders) - set(contenders)
        if strangers:
            raise InputError(f"--contenders {', '.join(strangers)}: there are {', '.join(contenders)}")
        contenders = {name: contenders[name] for name in contenders if name in ("SavedModel", *options.contenders)}
    backbone = model.backbone
    return contenders, {
        "model": options.model or f"random weights, {options.size}",
        "layers": module.layer,
        "hidden_dim": backbone.hidden_dim,
        "vocabulary_size": backbone.vocabulary_size,
    }


def saved_model_encode(model, layer, storage, scratch):
    """The signature on strings of an export."""
    import tensorflow as tf

    from infoxlm_keras.serving import export_embedding

    export = export_embedding(
        model, scratch / f"serving_{storage}", layer, "mean", True, verify=False, storage=storage
    )
    loaded = tf.saved_model.load(str(export.directory))
    signature = loaded.signatures["serving_default"]

    def encode(texts, loaded=loaded):  # a signature alone does not keep its variables
        return signature(text=tf.constant(texts))["embedding"].numpy()

    return encode


def random_model(options):
    """A `PretrainedModel` of a known size with random weights and a vocabulary made on the spot."""
    from infoxlm_keras.models import ENCODER_SIZES, build_masked_lm
    from infoxlm_keras.pretrained import PretrainedModel
    from infoxlm_keras.text.vocabulary import train_sentencepiece
    from infoxlm_keras.tokenizer import Tokenizer

    if options.size not in ENCODER_SIZES:
        raise InputError(f"--size {options.size}: must be one of {', '.join(ENCODER_SIZES)}")
    tokenizer = Tokenizer(train_sentencepiece(heldout_sentences(), options.vocabulary_size))
    size = ENCODER_SIZES[options.size]
    return PretrainedModel(build_masked_lm(size, tokenizer.vocabulary_size, dropout=0.0), tokenizer, None)


def heldout_sentences():
    """The held-out sentences of the bundled corpus, list of str, in an order of their own."""
    import lzma

    texts = []
    for path in sorted(HELDOUT.glob("*.txt.xz")):
        if not path.name.startswith("pages"):
            with lzma.open(path, "rt", encoding="utf-8") as file:
                texts += [line.strip() for line in file if line.strip()]
    order = np.random.default_rng(0).permutation(len(texts))
    return [texts[number] for number in order]


def to_torch(model, layer):
    """(tokenizer, `XLMRobertaModel`) of transformers with the first `layer` layers of our backbone."""
    import torch
    import transformers

    backbone = model.backbone
    config = transformers.XLMRobertaConfig(
        vocab_size=backbone.vocabulary_size,
        hidden_size=backbone.hidden_dim,
        num_hidden_layers=layer,
        num_attention_heads=backbone.num_heads,
        intermediate_size=backbone.intermediate_dim,
        max_position_embeddings=backbone.max_sequence_length + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    torch_model = transformers.XLMRobertaModel(config, add_pooling_layer=False).eval()
    state = {name: torch.from_numpy(value) for name, value in torch_weights(backbone, layer).items()}
    missing, unexpected = torch_model.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith(("position_ids", "token_type_ids"))]
    if missing or unexpected:
        raise RuntimeError(f"transformers wants {missing} and does not know {unexpected}")
    return transformers_tokenizer(model.tokenizer, backbone.max_sequence_length), torch_model


def torch_weights(backbone, layer):
    """Name -> float32 array, as `XLMRobertaModel` names and lays out its weights."""
    import keras

    dim = backbone.hidden_dim
    array = keras.ops.convert_to_numpy
    token_table = array(backbone.token_embedding.embeddings)
    positions = array(backbone.embeddings.position_embedding.position_embeddings)
    weights = {
        "embeddings.word_embeddings.weight": token_table,
        # transformers counts positions from 2 and adds a token type, of which XLM-R has one: zero here.
        "embeddings.position_embeddings.weight": np.concatenate([np.zeros((2, dim), np.float32), positions]),
        "embeddings.token_type_embeddings.weight": np.zeros((1, dim), np.float32),
    }

    def add(name, module, rows=None):
        kernel, bias = array(module.kernel), array(module.bias)
        kernel = kernel.reshape(rows or kernel.shape[0], -1)
        weights[f"{name}.weight"], weights[f"{name}.bias"] = np.ascontiguousarray(kernel.T), bias.reshape(-1)

    def add_norm(name, module):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = array(module.gamma), array(module.beta)

    add_norm("embeddings.LayerNorm", backbone.embeddings_layer_norm)
    for number, block in enumerate(backbone.transformer_layers[:layer]):
        prefix, attention = f"encoder.layer.{number}", block._self_attention_layer
        for part in ("query", "key", "value"):
            add(f"{prefix}.attention.self.{part}", getattr(attention, f"{part}_dense"), dim)
        add(f"{prefix}.attention.output.dense", attention.output_dense, dim)
        add_norm(f"{prefix}.attention.output.LayerNorm", block._self_attention_layer_norm)
        add(f"{prefix}.intermediate.dense", block._feedforward_intermediate_dense)
        add(f"{prefix}.output.dense", block._feedforward_output_dense)
        add_norm(f"{prefix}.output.LayerNorm", block._feedforward_layer_norm)
    return weights


def transformers_tokenizer(tokenizer, max_length):
    """A fast `XLMRobertaTokenizer` with our vocabulary."""
    import transformers

    processor = tokenizer.processor
    pieces = range(3, processor.get_piece_size())
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(processor.id_to_piece(piece), processor.get_score(piece)) for piece in pieces]
    fast = transformers.XLMRobertaTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)])
    fast.model_max_length = max_length
    return fast


def transformers_encode(tokenizer, model):
    """As a user of transformers writes it: tokenize and pad, run, mean-pool, normalise."""
    import torch

    @torch.inference_mode()
    def encode(texts):
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
        vectors = (states * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(vectors, dim=-1).numpy()

    return encode


def sentence_transformers_encode(tokenizer, model, folder):
    """`SentenceTransformer.encode` of the same model, at the same batch size."""
    import warnings

    import sentence_transformers
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # version 5 has moved them, version 4 has them here only
        from sentence_transformers import models

    transformers.logging.set_verbosity_error()  # the folder lacks the pooler, which nobody asks for
    transformers.logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformer = models.Transformer(str(folder), max_seq_length=tokenizer.model_max_length)
    pooling = models.Pooling(model.config.hidden_size, pooling_mode="mean")
    whole = sentence_transformers.SentenceTransformer(modules=[transformer, pooling, models.Normalize()], device="cpu")

    def encode(texts):
        return whole.encode(texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True)

    return encode


def check_agreement(contenders, texts):
    """Raises RuntimeError unless all give the same vectors: otherwise they do not do the same work."""
    sample = [text for text in texts if "<" not in text][:48]
    ours = contenders["SavedModel"](sample)
    for name, encode in contenders.items():
        vectors = encode(sample)
        if "int8" in name:
            cosine = np.median((vectors * ours).sum(axis=1))
            if cosine < SMALLEST_COSINE:
                raise RuntimeError(f"{name}: the cosine of its vectors with the SavedModel's is {cosine:.3f}")
            continue
        difference = np.abs(vectors - ours)
        # Tokenizers may cut a rare word otherwise; weights and layers may not differ at all.
        if np.median(difference.max(axis=1)) > TOLERANCE:
            raise RuntimeError(f"{name}: its vectors differ from the SavedModel's by {difference.max():.2e}")


def measure(contenders, texts, rounds):
    """Batch size -> contender -> (seconds, CPU seconds) of each batch; they take turns, and the first rotates."""
    seconds = {size: {name: [] for name in contenders} for size in BATCH_SIZES}
    names = list(contenders)
    with progress_bar("Timing", len(BATCH_SIZES) * rounds, "turns") as advance:
        for size in BATCH_SIZES:
            batch = batches_of(texts, size)
            for turn in range(rounds):
                for name in names[turn % len(names) :] + names[: turn % len(names)]:
                    time.sleep(PAUSE_SECONDS)
                    contenders[name](batch(turn * TURN - 1))
                    for number in range(turn * TURN, (turn + 1) * TURN):
                        start, cpu_start = time.perf_counter(), time.process_time()
                        contenders[name](batch(number))
                        ended, cpu_ended = time.perf_counter(), time.process_time()
                        seconds[size][name].append((ended - start, cpu_ended - cpu_start))
                advance(1)
    return seconds


def batches_of(texts, size):
    """Function of a number to the batch of that number, list of `size` str; the texts come round again."""
    return lambda number: [texts[(number * size + row) % len(texts)] for row in range(size)]


def summarize(seconds):
    """The figures of each batch size and contender."""
    figures = {}
    for size, by_name in seconds.items():
        arrays = {name: np.array(values) for name, values in by_name.items()}
        figures[str(size)] = {
            name: {
                "sentences_per_second": size / float(np.median(values[:, 0])),
                "p50_ms": 1e3 * float(np.percentile(values[:, 0], 50)),
                "p99_ms": 1e3 * float(np.percentile(values[:, 0], 99)),
                "cpu_ms": 1e3 * float(np.median(values[:, 1])),
                # Against the same batch's time, so that a busy moment counts on both sides.
                "times_saved_model": float(np.median(values[:, 0] / arrays["SavedModel"][:, 0])),
                "cpu_times_saved_model": float(np.median(values[:, 1] / arrays["SavedModel"][:, 1])),
            }
            for name, values in arrays.items()
        }
    return {"batches": figures}


def draw(result, path):
    """Bars of sentences a second, a panel for each batch size."""
    from infoxlm_keras.reports.plots.style import COLORS, new_figure, save_figure, styled

    names = list(next(iter(result["batches"].values())))

    @styled
    def bars():
        figure = new_figure(10, 1 + 0.3 * len(names))
        panels = figure.subplots(1, len(BATCH_SIZES), sharey=True)
        for axes, size in zip(panels, BATCH_SIZES, strict=True):
            figures = result["batches"][str(size)]
            rates = [figures[name]["sentences_per_second"] for name in names]
            ours = [COLORS[0] if name.startswith(("SavedModel", "ONNX")) else COLORS[1] for name in names]
            bars = axes.barh(names, rates, color=ours)
            axes.bar_label(bars, [f" {rate:,.0f}" for rate in rates], fontsize=8)
            axes.set_xlim(0, 1.25 * max(rates))
            axes.set_title(f"batch {size}")
        panels[0].invert_yaxis()
        figure.supxlabel("sentences a second", fontsize=10)
        return figure

    save_figure(bars(), path)


def report(result):
    """Prints the table."""
    title = f"{result['layers']} layers of width {result['hidden_dim']}, {result['threads']} threads"
    table = rich.table.Table(title=title)
    for column in ("batch", "", "sentences/s", "p50 ms", "p99 ms", "/ SavedModel", "CPU ms", "/ SavedModel"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    for size, figures in result["batches"].items():
        for name, values in figures.items():
            table.add_row(
                size if name == "SavedModel" else "",
                name,
                f"{values['sentences_per_second']:,.1f}",
                f"{values['p50_ms']:.1f}",
                f"{values['p99_ms']:.1f}",
                f"{values['times_saved_model']:.2f}",
                f"{values['cpu_ms']:.1f}",
                f"{values['cpu_times_saved_model']:.2f}",
            )
        table.add_section()
    rich.print(table)


if __name__ == "__main__":
    run_command(main)
