"""Exports a preset as a SavedModel that takes raw strings: what TensorFlow Serving loads.

    infoxlm export-savedmodel --model runs/demo/model --output_dir runs/demo/serving

writes OUTPUT_DIR/N, N one more than the highest version there. Heads:

  embedding   text -> embedding [batch, dim], the universal layer pooled and scaled to unit length; no layer
              above it is in the export
  masked_lm   text with <mask> in it -> tokens, token_ids, probabilities [batch, masks, top_k]
  classifier  text -> probabilities [batch, classes], and the classes' names if the preset has labels.json;
              the preset is a fine-tuned XLMRobertaTextClassifier
  qa          question, context -> answer, score, start, end [batch]; what save_question_answering wrote

Each has the signatures serving_default (strings) and tokens (token_ids + padding_mask); embedding also has
similarity (text_a, text_b -> cosine). Any bytes are answered: bad UTF-8 is read as U+FFFD, long text is cut (a
long context of qa is read in windows). A version appears only after a fresh process, with tensorflow and
tensorflow_text alone, has answered as the Keras model does. Presets trained under JAX or PyTorch work too.

--dtype and --quantize store weights in fewer bytes; arithmetic stays float32, and casting costs time on a CPU.
int8 is weights only, one scale a channel. --pairs measures retrieval accuracy before and after (embedding).

For TensorFlow Serving, OUTPUT_DIR gets models.config and batching_parameters.txt (once; yours to change) and the
version gets warm-up requests if tensorflow-serving-api is installed: see docs/serving.md.
"""

from __future__ import annotations

import argparse
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.choices import POOLINGS
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json
from infoxlm_keras.progress import progress_bar

if TYPE_CHECKING:
    from infoxlm_keras.evaluation.pairs import PairSet
    from infoxlm_keras.serving.export import Export
    from infoxlm_keras.serving.serving_module import ServingModule

HEADS = ("embedding", "masked_lm", "classifier", "qa")
OPTIONS_OF_ONE_HEAD = {
    "layer": "embedding",
    "pooling": "embedding",
    "pairs": "embedding",
    "top_k": "masked_lm",
    "max_answer": "qa",
    "max_windows": "qa",
}
DTYPES = ("float32", "bfloat16", "float16")
DEFAULT_TOP_K = 5


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    check(options)

    # A SavedModel is TensorFlow's, whatever trained the preset; Keras reads this when it is first imported.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_imports():
        from infoxlm_keras.evaluation import read_pair_sets
        from infoxlm_keras.serving.export import default_model_name, export_module, version_directory
        from infoxlm_keras.serving.server_files import check_model_name
        from infoxlm_keras.text.readers.found import describe

    directory = version_directory(options.output_dir, options.model_version)
    model_name = options.model_name or default_model_name(options.output_dir)
    check_model_name(model_name)
    pair_sets = read_pair_sets(options.pairs, options.max_pairs) if options.pairs else []
    for line in describe(getattr(pair_sets, "passed_over", ())):
        print(line)
    module, model = load_module(options)
    settings = {"model": options.model, "directory": directory, "model_name": model_name, **module.facts()}
    print_settings("export_savedmodel", settings)
    result = export_module(module, directory, model_name=model_name, tokens_only=options.tokens_only)
    report(result, measure(module, model, directory, pair_sets) if pair_sets else {})


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="preset: a directory, or a name that KerasHub knows")
    parser.add_argument(
        "--output_dir", required=True, type=pathlib.Path, help="folder that holds all versions of the model"
    )
    parser.add_argument("--head", choices=HEADS, default="embedding", help="output of the model")
    parser.add_argument(
        "--layer", type=int, metavar="K", help="layer to pool, 0 = embeddings; unset: the universal layer"
    )
    parser.add_argument(
        "--pooling", choices=POOLINGS, help="pooling of the sentence vector; unset: as in training, else mean"
    )
    parser.add_argument("--top_k", type=int, help=f"candidates for each <mask>; unset: {DEFAULT_TOP_K}")
    parser.add_argument("--max_answer", type=int, metavar="N", help="maximum tokens of an answer; unset: 30")
    parser.add_argument(
        "--max_windows", type=int, metavar="N", help="maximum number of windows per context; unset: 16"
    )
    parser.add_argument(
        "--max_length", type=int, metavar="N", help="maximum tokens per text; unset: all positions of the model"
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="dtype of the stored weights")
    parser.add_argument("--quantize", choices=("int8",), help="store weights in 8 bits")
    parser.add_argument("--pairs", nargs="+", metavar="PATH", help="held-out pairs, as in infoxlm evaluate-retrieval")
    parser.add_argument("--max_pairs", type=int, metavar="N", help="use only the first N pairs of each language")
    parser.add_argument(
        "--tokens_only",
        action="store_true",
        help="export no signatures that take strings, for servers without SentencePiece ops",
    )
    parser.add_argument(
        "--model_name", metavar="NAME", help="name of the model on the server; unset: the name of OUTPUT_DIR"
    )
    parser.add_argument(
        "--model_version",
        type=int,
        metavar="N",
        help="version number; unset: one more than the highest existing version",
    )
    return parser.parse_args(arguments)


def check(options: argparse.Namespace) -> None:
    """Refuses, before anything heavy loads, a setting of another head than the chosen one."""
    for name, head in OPTIONS_OF_ONE_HEAD.items():
        value = getattr(options, name)
        if value is not None and options.head != head:
            raise InputError(f"--{name} {value}: belongs to --head {head}, not to {options.head}; leave it out")
    if options.tokens_only and (options.head == "masked_lm" or options.pairs):
        raise InputError("--tokens_only: does not go with --head masked_lm or --pairs, which need strings")
    if options.quantize and options.dtype != "float32":
        raise InputError(f"--quantize {options.quantize} --dtype {options.dtype}: give one of them, not both")


def load_module(options: argparse.Namespace) -> tuple[ServingModule, Any]:
    """The `ServingModule` of the chosen head, and the model it came from, with the preset's weights in float32."""
    from infoxlm_keras import serving
    from infoxlm_keras.finetuning.question_answering import load_question_answering
    from infoxlm_keras.pretrained import has_masked_lm_head, load_classifier, load_pretrained
    from infoxlm_keras.text.labels import LABELS_FILE, read_labels

    common = {"max_length": options.max_length, "storage": options.quantize or options.dtype}
    if options.head == "qa":
        model, tokenizer = load_question_answering(options.model, dtype="float32")
        for name in ("max_answer", "max_windows"):
            if getattr(options, name) is not None:
                common[name] = getattr(options, name)
        return serving.QuestionAnsweringModule(model, tokenizer, **common), model

    if options.head == "classifier":
        classifier, tokenizer = load_classifier(options.model, dtype="float32")
        labels = None
        if (pathlib.Path(options.model) / LABELS_FILE).exists():
            labels = read_labels(options.model, classifier.num_classes)
        else:
            print(f"{options.model} holds no {LABELS_FILE}: the export gives probabilities without the classes' names")
        return serving.ClassifierModule(classifier, tokenizer, **common, labels=labels), classifier
    model = load_pretrained(options.model, dtype="float32")
    if options.head == "embedding":
        return serving.EmbeddingModule(model, options.layer, options.pooling, **common), model
    if not has_masked_lm_head(options.model):
        raise InputError(f"{options.model}: holds no trained masked-LM head; give one that infoxlm pretrain wrote")
    top_k = DEFAULT_TOP_K if options.top_k is None else options.top_k
    return serving.MaskedLMModule(model, top_k, **common), model


def measure(module: ServingModule, model: Any, directory: PathLike, pair_sets: Sequence[PairSet]) -> dict[str, float]:
    """Mean retrieval accuracy, by who embeds: the Keras model and the export."""
    from infoxlm_keras.evaluation.retrieval import accuracy_at
    from infoxlm_keras.serving.retrieval_comparison import compare_retrieval

    texts = sum(2 * len(pair_set.sources) for pair_set in pair_sets)
    with progress_bar("Embedding", 2 * texts, "sentences") as advance:
        results = compare_retrieval(module, model, directory, pair_sets, lambda number: advance(number, number))
    return {name: accuracy_at(result, module.layer)["average"] for name, result in results.items()}


def report(result: Export, accuracies: Mapping[str, float]) -> None:
    """Writes what was measured beside the facts, prints the table of results, and where the files are."""
    import rich
    from rich.table import Table

    table = Table("", "exported", title="SavedModel, checked in a fresh process")
    for name, value in result.facts.items():
        if name not in ("format_version", "tokenizer_fingerprint"):
            table.add_row(name, str(value))
    table.add_row("size on disk", f"{result.size / 1e6:.1f} MB")
    table.add_row("largest difference from Keras", f"{result.max_difference:.1e}")
    for name, accuracy in accuracies.items():
        table.add_row(f"retrieval accuracy, {name}", f"{100 * accuracy:.2f}%")
    if accuracies:
        table.add_row("retrieval accuracy lost", f"{100 * (accuracies['keras'] - accuracies['export']):.2f} points")
        facts = {**result.facts, "retrieval_accuracy": accuracies}
        write_json(result.directory / "assets.extra" / "infoxlm.json", facts)
    records = "none: pip install infoxlm_keras[serving]" if result.warmup_records is None else result.warmup_records
    table.add_row("warm-up requests", str(records))
    rich.print(table)
    print(f"wrote {result.directory}")
