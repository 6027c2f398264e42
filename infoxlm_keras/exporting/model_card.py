"""Writes README.md of an exported folder: the model, its training data and its results."""

from typing import TYPE_CHECKING, Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.retrieval import accuracy_at
from infoxlm_keras.exporting.task_models import TaskModel
from infoxlm_keras.exporting.to_huggingface import ENCODER, MASKED_LM
from infoxlm_keras.files import read_json
from infoxlm_keras.version import __version__

if TYPE_CHECKING:
    from infoxlm_keras.models.sentence_vector import SentenceVector
    from infoxlm_keras.pretrained import PretrainedModel

_HEADER = """\
---
library_name: {library}
pipeline_tag: {task}
tags:
- xlm-roberta
- infoxlm
- multilingual
---

# {title}

An XLM-R encoder{trained}, converted by infoxlm_keras {version}.

| | |
|---|---|
| Transformer layers | {layers} |
| width | {dim} |
| attention heads | {heads} |
| positions | {positions} |
| vocabulary | {vocabulary} |
| tokenizer | `{tokenizer}` |
"""
_ENCODER_USE = """
## Use

```python
from transformers import {auto_class}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH")
model = {auto_class}.from_pretrained("PATH")
```
"""
_SENTENCE_USE = """
## Use

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("PATH").encode(["Good morning", "Guten Morgen"])
```

A vector is hidden state {layer} of the original {depth} layers (0 = embeddings; the layers above it are not in
this folder), {pooling}, {scale}. {projection}
"""
_POOLINGS = {"cls": "at `<s>`", "mean": "the mean over all tokens", "max": "the maximum over all tokens"}


def model_card(
    model: "PretrainedModel | TaskModel", vector: "SentenceVector | None" = None, results: dict[str, Any] | None = None
) -> str:
    """The text of README.md.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel` or `TaskModel`.
        vector: `SentenceVector` of a sentence-transformers folder; None for a transformers folder.
        results: optional dict of `evaluate_retrieval`.

    Returns:
        str, Markdown with the front matter of Hugging Face's hub.
    """
    backbone, info = model.backbone, model.info
    architecture = MASKED_LM if model.has_head and vector is None else ENCODER
    task, title = "fill-mask" if architecture == MASKED_LM else "feature-extraction", "XLM-R encoder"
    auto_class = "AutoModelForMaskedLM" if architecture == MASKED_LM else "AutoModel"
    if isinstance(model, TaskModel):
        task, title = model.task, f"XLM-R: {model.description}"
        auto_class = model.architecture.replace("XLMRobertaFor", "AutoModelFor")
    elif info is not None and info.tasks:
        title = "InfoXLM encoder"
    card = _HEADER.format(
        library="transformers" if vector is None else "sentence-transformers",
        task="sentence-similarity" if vector else task,
        title=title,
        trained=f" pre-trained for {info.steps:,} steps by {', '.join(info.tasks)}" if info and info.tasks else "",
        version=__version__,
        layers=backbone.num_layers if vector is None else vector.layer,
        dim=backbone.hidden_dim,
        heads=backbone.num_heads,
        positions=backbone.max_sequence_length,
        vocabulary=f"{backbone.vocabulary_size:,}",
        tokenizer=model.tokenizer.fingerprint,
    )
    if vector is None:
        card += _ENCODER_USE.format(auto_class=auto_class)
    else:
        card += _SENTENCE_USE.format(
            layer=vector.layer,
            depth=backbone.num_layers,
            pooling=_POOLINGS[vector.pooling],
            scale="scaled to unit length" if vector.normalize else "not scaled",
            projection="The projection layer of the contrastive training is not included." if info else "",
        )
        if info is not None and info.prompts:
            prompts = ", ".join(f"{name} ({text!r})" for name, text in info.prompts.items())
            card += f"\nPrompts, which `encode(texts, prompt_name=...)` puts before each text: {prompts}.\n"
    if info is not None:
        card += _training(info, vector is None)
    if results is not None:
        card += _results(results, info)
    return card


def read_results(path: PathLike) -> dict[str, Any]:
    """The results that infoxlm evaluate-retrieval wrote with `--output`.

    Raises:
        InputError: if the file holds something else.
    """
    results = read_json(path)
    try:
        for language in [None, *results["languages"]]:
            accuracy_at(results, results["best_layer"], language)
    except (KeyError, TypeError, ValueError, IndexError):
        raise InputError(f"{path}: holds no results of infoxlm evaluate-retrieval --output") from None
    return results


def _training(info, whole):
    rows = []
    if whole:
        kind = "unit vectors" if info.normalize else "vectors as they are"
        rows.append(("universal layer", f"{info.universal_layer} (0 = embeddings), pooling {info.pooling}, {kind}"))
    if info.kept_layers:
        rows.append(("layers that were kept after training", ", ".join(map(str, info.kept_layers))))
    rows += [(f"records `{kind}`, manifest", f"`{digest}`") for kind, digest in info.data.items()]
    text = "\n## Training\n\n"
    if rows:
        text += _table(("", ""), rows)
    if info.settings:
        settings = [(f"`{key}`", f"`{value}`") for key, value in _flatten(info.settings)]
        text += "\n" * bool(rows) + _table(("setting", "value"), settings)
    return text if rows or info.settings else ""


def _results(results, info):
    layer = results["best_layer"]
    chosen = "chosen on these pairs"
    if info is not None and info.universal_layer in results["layers"]:
        layer, chosen = info.universal_layer, "the universal layer"
    rows = []
    for language in [*results["languages"], None]:
        accuracy = accuracy_at(results, layer, language)
        cells = [f"{100 * accuracy[direction]:.1f}" for direction in ("source_to_target", "target_to_source")]
        if language is None:
            rows.append(("mean", "", *cells))
        else:
            row = results["languages"][language]
            rows.append((f"{row['source']}-{row['target']}", row["candidates"], *cells))
    return (
        f"\n## Results\n\nAccuracy in % of finding a sentence's translation among the candidates, by cosine, at "
        f"hidden state {layer} ({chosen}; 0 = embeddings).\n\n"
        + _table(("pair", "candidates", "source to target", "target to source"), rows)
    )


def _table(headings, rows):
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def _flatten(settings, prefix=""):
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
