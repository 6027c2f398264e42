"""Exports a preset as a SavedModel that takes raw strings: what TensorFlow Serving loads.

    python recipes/export_savedmodel.py --model runs/demo/model --output_dir runs/demo/serving

writes OUTPUT_DIR/N, N one more than the highest version there. Heads:

  embedding   text -> embedding [batch, dim], the universal layer pooled and scaled to unit length; no layer
              above it is in the export
  masked_lm   text with <mask> in it -> tokens, token_ids, probabilities [batch, masks, top_k]
  classifier  text -> probabilities [batch, classes]; the preset is a fine-tuned XLMRobertaTextClassifier

Each has the signatures serving_default (strings) and tokens (token_ids + padding_mask). Any bytes are
answered: bad UTF-8 is read as U+FFFD, long text is cut. A version appears only after a fresh process, with
tensorflow and tensorflow_text alone, has answered as the Keras model does. Presets trained under JAX or
PyTorch work too.
"""

import os
import pathlib

from infoxlm_keras.choices import POOLINGS
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, run_command
from infoxlm_keras.errors import InputError

HEADS = ("embedding", "masked_lm", "classifier")
OPTIONS_OF_ONE_HEAD = {"layer": "embedding", "pooling": "embedding", "top_k": "masked_lm"}
DEFAULT_TOP_K = 5


def main(arguments=None):
    options = parse(arguments)
    check(options)

    # A SavedModel is TensorFlow's, whatever trained the preset; Keras reads this when it is first imported.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_imports():
        from infoxlm_keras.serving.export import export_module, version_directory

    directory = version_directory(options.output_dir, options.model_version)
    module = load_module(options)
    print_settings("export_savedmodel", {"model": options.model, "directory": directory, **module.facts()})
    report(export_module(module, directory))


def parse(arguments):
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="preset: a directory, or a name that KerasHub knows")
    parser.add_argument(
        "--output_dir", required=True, type=pathlib.Path, help="home of all versions of a model"
    )
    parser.add_argument("--head", choices=HEADS, default="embedding", help="what the model answers")
    parser.add_argument(
        "--layer", type=int, metavar="K", help="hidden state, 0 = embeddings; unset: universal"
    )
    parser.add_argument("--pooling", choices=POOLINGS, help="unset: as the model was trained, else mean")
    parser.add_argument("--top_k", type=int, help=f"fillings for each <mask>; unset: {DEFAULT_TOP_K}")
    parser.add_argument("--max_length", type=int, metavar="N", help="tokens a text; unset: all positions")
    parser.add_argument("--model_version", type=int, metavar="N", help="unset: one more than the highest")
    return parser.parse_args(arguments)


def check(options):
    """Refuses, before anything heavy loads, a setting of another head than the chosen one."""
    for name, head in OPTIONS_OF_ONE_HEAD.items():
        value = getattr(options, name)
        if value is not None and options.head != head:
            raise InputError(
                f"--{name} {value}: belongs to --head {head}, not to {options.head}; leave it out"
            )


def load_module(options):
    """The `ServingModule` of the chosen head, with the preset's weights in float32."""
    from infoxlm_keras import serving
    from infoxlm_keras.pretrained import has_masked_lm_head, load_classifier, load_pretrained

    if options.head == "classifier":
        classifier, tokenizer = load_classifier(options.model, dtype="float32")
        return serving.ClassifierModule(classifier, tokenizer, options.max_length)
    model = load_pretrained(options.model, dtype="float32")
    if options.head == "embedding":
        return serving.EmbeddingModule(model, options.layer, options.pooling, max_length=options.max_length)
    if not has_masked_lm_head(options.model):
        raise InputError(
            f"{options.model}: holds no trained masked-LM head; give one that recipes/pretrain.py wrote"
        )
    top_k = DEFAULT_TOP_K if options.top_k is None else options.top_k
    return serving.MaskedLMModule(model, top_k, options.max_length)


def report(result):
    """Prints the table of results, and where the files are."""
    import rich
    from rich.table import Table

    table = Table("", "exported", title="SavedModel, checked in a fresh process")
    for name, value in result.facts.items():
        if name not in ("format_version", "tokenizer_fingerprint"):
            table.add_row(name, str(value))
    table.add_row("size on disk", f"{result.size / 1e6:.1f} MB")
    table.add_row("largest difference from Keras", f"{result.max_difference:.1e}")
    rich.print(table)
    print(f"wrote {result.directory}")


if __name__ == "__main__":
    run_command(main)
