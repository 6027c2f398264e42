"""A model in memory with its tokenizer and history: text to sentence vectors, and their similarity."""

import dataclasses
from collections.abc import Iterable

import keras_hub
import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.conversion.positions import Remainder
from infoxlm_keras.evaluation.sentence_vectors import SentenceEncoder, check_texts, cosine_similarity
from infoxlm_keras.pretrained.information import PretrainingInfo
from infoxlm_keras.pretrained.prompts import prompt_text
from infoxlm_keras.tokenizer import Tokenizer


@dataclasses.dataclass
class PretrainedModel:
    """What `load_pretrained` gives.

    Attributes:
        masked_lm: `keras_hub.models.XLMRobertaMaskedLM`.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        info: `PretrainingInfo`, the model's history; None for one that was not trained here. Of a
            sentence-transformers folder it says which vector the folder gives.
        has_head: bool, whether the masked-LM head was in the files; if not, that of `masked_lm` is random.
        remainder: `infoxlm_keras.conversion.positions.Remainder`, what a Hugging Face checkpoint holds beyond the
            encoder; None if the model comes from no such checkpoint.
    """

    masked_lm: keras_hub.models.XLMRobertaMaskedLM
    tokenizer: Tokenizer
    info: PretrainingInfo | None
    has_head: bool = True
    remainder: Remainder | None = None
    # (settings, `SentenceEncoder`) of the last call of `encode`: the next one compiles nothing again.
    _encoder: tuple | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    @property
    def backbone(self) -> keras_hub.models.XLMRobertaBackbone:
        """The `XLMRobertaBackbone`."""
        return self.masked_lm.backbone

    def encode(
        self,
        texts: str | Iterable[str],
        batch_size: int = 64,
        progress: bool | None = None,
        layer: int | None = None,
        pooling: str | None = None,
        prompt: str | None = None,
    ) -> Array:
        """The model's own sentence vectors: its universal layer, pooled and scaled as it was trained.

        The SavedModel of `infoxlm export-savedmodel` gives the same ones. A text's vector does not depend on the other
        texts. Texts of similar length go through the encoder together.

        Args:
            texts: list (or other iterable) of str; one str gives one vector. Longer texts than the model's positions
                are cut.
            batch_size: int, texts a forward pass.
            progress: bool, whether a progress bar is shown; None: for more than 1,000 texts.
            layer: int in 0..L, another hidden state (0 = embeddings); None: as trained.
            pooling: "cls", "mean" or "max"; None: as trained.
            prompt: str, name of one of the model's prompts (`info.prompts`), whose text is put before each of `texts`;
                `query` and `document` where the model was trained with them. None: no prompt.

        Returns:
            float32 [len(texts), dim]; [dim] for one str; [0, dim] for an empty list.

        Raises:
            InputError: for something else than text, a setting out of range, a prompt that the model has not, or a
                vector that is not finite.

        Example:
        ```python
        model = load_pretrained("runs/demo/model")
        vectors = model.encode(["Open the file", "Öffnen Sie die Datei"])  # float32 [2, 128]
        model.similarity("Open the file", ["Öffnen Sie die Datei", "Fermez la fenêtre"])  # float32 [2]
        ```
        """
        prefix = prompt_text(self.info, prompt)
        # A copy, since `info` may be changed in place.
        info = self.info and dataclasses.replace(self.info)
        settings = (self.backbone, self.tokenizer, info, batch_size, layer, pooling)
        if self._encoder is None or self._encoder[0] != settings:
            self._encoder = (settings, SentenceEncoder(self, batch_size, layer, pooling))
        return self._encoder[1](texts, progress, prefix)

    def similarity(self, a: str | list[str] | Array, b: str | list[str] | Array) -> Array:
        """Cosine similarity of each of `a` with each of `b`.

        Args:
            a, b: a str, a list of str (embedded without a prompt), or vectors of `encode`, float [n, dim] or [dim].

        Returns:
            float32 [len(a), len(b)], without the axis of a side that is one str or one vector.

        Raises:
            InputError: for what is neither text nor vectors, or vectors of different widths.
        """
        return cosine_similarity(*(self.encode(side) if _is_text(side) else side for side in (a, b)))


def _is_text(side):
    """Whether an argument of `similarity` is text. An empty list is; a list of text and numbers is refused."""
    if isinstance(side, str):
        return True
    if not isinstance(side, list | tuple):
        return isinstance(side, np.ndarray) and side.dtype.kind in "US"
    if any(isinstance(text, str) for text in side):
        check_texts(side)
        return True
    return not side
