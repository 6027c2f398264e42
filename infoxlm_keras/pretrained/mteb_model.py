"""A model in the form that `mteb` evaluates, the benchmark of text embeddings (Muennighoff et al., 2023)."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.models.sentence_vector import sentence_vector
from infoxlm_keras.optional_library import import_library
from infoxlm_keras.pretrained.digest import model_digest
from infoxlm_keras.pretrained.loading import load_pretrained
from infoxlm_keras.pretrained.model import PretrainedModel
from infoxlm_keras.pretrained.prompts import side_prompts

PURPOSE = "a model for MTEB"


class MTEBModel:
    """Gives `mteb` the sentence vectors of a model: for bitext mining, and every task on text of its benchmarks.

    Vectors are compared by cosine. Where mteb distinguishes queries from documents, as in retrieval, the model's
    prompts `query` and `document` are put before them, if it has such; tasks whose sides are alike, as bitext mining,
    are measured without a prompt. Instructions of tasks are left out. mteb keeps results by name and revision; the
    revision is a digest of the weights, with layer, pooling and prompts, so a model that was trained further is
    measured again.

    Args:
        model: `PretrainedModel`, or what `load_pretrained` takes (a preset, a Hugging Face directory or id).
        layer: int in 0..L, hidden state (0 = embeddings); None: as trained.
        pooling: "cls", "mean" or "max"; None: as trained.
        name: str, under which mteb files the results; None: the last part of the path.

    Raises:
        InputError: if `mteb`, the extra `mteb`, is not installed, or for a setting out of range.

    Example:
    ```python
    model = MTEBModel("runs/demo/model")
    results = mteb.evaluate(model, mteb.get_tasks(tasks=["Tatoeba"]))
    ```

    Reference: https://github.com/embeddings-benchmark/mteb (`EncoderProtocol`)
    """

    def __init__(
        self,
        model: PretrainedModel | PathLike,
        layer: int | None = None,
        pooling: str | None = None,
        name: str | None = None,
    ) -> None:
        import_library("mteb", PURPOSE, extra="mteb")
        models = import_library("mteb.models", PURPOSE, extra="mteb")
        self._similarity = import_library("mteb.similarity_functions", PURPOSE, extra="mteb")
        self.model = model if isinstance(model, PretrainedModel) else load_pretrained(model)
        self.layer = layer
        self.pooling = pooling
        self.name = _name(model) if name is None else name
        vector = sentence_vector(self.model, layer=layer, pooling=pooling, lowest=0)
        backbone = self.model.backbone
        self._prompts = side_prompts(self.model.info)
        settings = {"layer": vector.layer, "pooling": vector.pooling, "normalize": vector.normalize}
        settings |= {"prompts": self._prompts} if self._prompts else {}
        self._meta = models.ModelMeta(
            loader=None,
            name=self.name,
            revision=_revision(self.model, settings),
            release_date=None,
            languages=None,
            n_parameters=backbone.count_params(),
            memory_usage_mb=None,
            max_tokens=vector.max_length or backbone.max_sequence_length,
            embed_dim=backbone.hidden_dim,
            license=None,
            open_weights=None,
            public_training_code=None,
            public_training_data=None,
            framework=[],
            similarity_fn_name="cosine",
            use_instructions=bool(self._prompts),
            training_datasets=None,
            experiment_kwargs=settings,
        )

    @property
    def mteb_model_meta(self) -> Any:
        """The `mteb.ModelMeta`: name, revision, dimensions, and how vectors are compared."""
        return self._meta

    def encode(self, inputs: Iterable[Mapping[str, Any]], batch_size: int = 64, **options: Any) -> Array:
        """The sentence vectors of a task's texts.

        Args:
            inputs: batches, each a mapping whose entry "text" is a list of str, as mteb's data loaders give them.
            batch_size: int, texts a forward pass.
            options: what else mteb says of the task; only `prompt_type`, "query" or "document", changes a vector.

        Returns:
            float32 [texts, dim].
        """
        kind = options.get("prompt_type")
        prefix = self._prompts.get(str(getattr(kind, "value", kind)), "")
        texts = [prefix + text for batch in inputs for text in batch["text"]]
        return self.model.encode(texts, batch_size, options.get("show_progress_bar"), self.layer, self.pooling)

    def similarity(self, embeddings1: Array, embeddings2: Array) -> Any:
        """Cosine of each of `embeddings1` with each of `embeddings2`, a float32 torch tensor [n, m]."""
        return self._similarity.cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Array, embeddings2: Array) -> Any:
        """Cosine of each row of `embeddings1` with the same row of `embeddings2`, a float32 torch tensor [n]."""
        return self._similarity.pairwise_cos_sim(embeddings1, embeddings2)


def _name(model):
    """A name in mteb's form, `organisation/model`."""
    if isinstance(model, PretrainedModel):
        return "infoxlm_keras/model"
    parts = [part for part in re.split(r"[/\\]+", str(model)) if part not in ("", ".", "..")]
    return "/".join(re.sub(r"[^\w.-]", "_", part) for part in (parts[-2:] if len(parts) > 1 else ["local", *parts]))


def _revision(model, settings):
    """What tells vectors apart: the digest of weights and tokenizer, and the settings."""
    scaled = "" if settings["normalize"] else "-not_normalized"
    prompts = settings.get("prompts")
    prompted = f"-prompts{hashlib.blake2b(repr(prompts).encode(), digest_size=4).hexdigest()}" if prompts else ""
    return f"{model_digest(model)}-layer{settings['layer']}-{settings['pooling']}{scaled}{prompted}"
