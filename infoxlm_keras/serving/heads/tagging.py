"""The tagging head: the tag of each word of a text, such as its part of speech or its place in a name."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_text as tf_text

from infoxlm_keras.annotations import Array, PathLike, Tensor
from infoxlm_keras.data.sequences import join_sentences
from infoxlm_keras.evaluation.tag_scores import OUTSIDE
from infoxlm_keras.serving.request_checks import checked_texts
from infoxlm_keras.serving.serving_module import ServingModule, resolve_max_length
from infoxlm_keras.serving.stored_weights import dense
from infoxlm_keras.serving.text_to_ids import TextToIds
from infoxlm_keras.text.labels import check_label_names
from infoxlm_keras.tokenizer import PAD_ID, UNKNOWN_ID

if TYPE_CHECKING:
    from infoxlm_keras.models.token_classification import TokenClassification
    from infoxlm_keras.serving.packed_sequences import PackedSequences
    from infoxlm_keras.tokenizer import Tokenizer

SPACE, TAB = b" ", b"\t"
# Unicode's White_Space beyond ASCII, by its bytes in UTF-8, in RE2's language.
WHITE_SPACE = (
    (r"[\x{85}\x{a0}]", 2),
    (r"[\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]", 3),
)


class TaggingModule(ServingModule):
    """A text to its words and the tag of each.

    `serving_default` takes `text`, string [batch], whose words have white space between them (Unicode's White_Space).
    `words` takes `words`, string [batch], with one tab between two words: for words that a tokenizer of the language
    found, and words with spaces in them. Punctuation is a word of its own if the training data has it so: put a space
    before it.

    Both return, [batch, words] each, as many columns as the batch's longest text has words: `words` and `tags`
    (string), `score` (float32, the probability of the tag), `start` and `end` (int32, characters of the text: Python's
    `text[start:end]`), `start_byte` and `end_byte` (int32, the same in UTF-8). Columns beyond a text's last word hold
    "" and 0. Each word is tokenized by itself, as in training, if its first kilobytes give a token. Words beyond
    `max_length` tokens get the tag `O` and the score 0. Invalid UTF-8 counts as U+FFFD, in places too.

    Signature `tokens`: `probabilities`, float32 [batch, length, tags], in the order of `labels`, zero at padding; a
    word's tag is that of its first token.

    Args:
        model: `infoxlm_keras.models.TokenClassification`.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        labels: list of str, the tags in the order of the outputs (`load_token_classification`).
        max_length: int, longest sequence in tokens; None: as many as the model has positions.
        storage: one of `STORAGES`, how weights are stored.

    Raises:
        InputError: if `max_length` or `storage` is out of range, or `labels` are not different names of the outputs.
    """

    head = "tagging"

    def __init__(
        self,
        model: "TokenClassification",
        tokenizer: "Tokenizer",
        labels: Sequence[str],
        max_length: int | None = None,
        storage: str = "float32",
    ) -> None:
        check_label_names(labels, model.num_classes)
        backbone = model.backbone
        text_to_ids = TextToIds(tokenizer, resolve_max_length(max_length, backbone))
        super().__init__(text_to_ids, backbone, backbone.num_layers, model, storage, name="tagging")
        self.labels = tuple(labels)
        self.output_dense = dense(model.output_dense, storage, name="logits")

    def outputs(self, packed: "PackedSequences", states: Tensor) -> dict[str, Tensor]:
        probabilities = tf.pad(tf.nn.softmax(self.output_dense(states)), [[1, 0], [0, 0]])
        return {"probabilities": tf.gather(probabilities, packed.index() + 1)}

    def reference(self, token_ids: Tensor, padding_mask: Tensor) -> dict[str, Tensor]:
        logits = tf.cast(self._model({"token_ids": token_ids, "padding_mask": padding_mask}), tf.float32)
        return {"probabilities": tf.where(padding_mask[:, :, None] > 0, tf.nn.softmax(logits), 0.0)}

    def signatures(self) -> dict[str, Callable[..., Any]]:
        def serving_default(text):
            [text] = checked_texts(text=text)
            return self.tag(text, split_at_white_space, self.predict)

        def words(words):
            [words] = checked_texts(words=words)
            return self.tag(words, split_at_tabs, self.predict)

        return {
            **super().signatures(),
            # The names of the functions in the SavedModel are their own.
            "serving_default": tf.function(serving_default, input_signature=[_texts("text")]),
            "words": tf.function(words, input_signature=[_texts("words")]),
        }

    def requests(self, texts: list[bytes], token_ids: Array, padding_mask: Array) -> dict[str, dict[str, Any]]:
        return {**super().requests(texts, token_ids, padding_mask), "words": {"words": _with_tabs(texts)}}

    def answers(
        self,
        texts: list[bytes],
        token_ids: Array,
        padding_mask: Array,
        predict: Callable[[Tensor, Tensor], dict[str, Tensor]],
    ) -> dict[str, dict[str, Tensor]]:
        return {
            **super().answers(texts, token_ids, padding_mask, predict),
            "serving_default": self.tag(tf.constant(texts), split_at_white_space, predict),
            "words": self.tag(tf.constant(_with_tabs(texts)), split_at_tabs, predict),
        }

    def tag(
        self,
        text: Tensor,
        split: Callable[[Tensor], tuple[Tensor, Tensor]],
        predict: Callable[[Tensor, Tensor], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The outputs of `serving_default` and `words`.

        Args:
            text: string [batch], any bytes.
            split: valid UTF-8, string [batch], to its words and their first bytes, ragged [batch, None] both.
            predict: `self.predict` or `self.reference`.
        """
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
        words, first_bytes = split(text)
        token_ids, places, is_read = self.sequences(words)
        probabilities = predict(token_ids, tf.cast(token_ids != PAD_ID, tf.int32))["probabilities"]
        # Before the words: of these, read or not, there are as many as the batch's longest text has.
        best, score = tf.argmax(probabilities, axis=-1), tf.reduce_max(probabilities, axis=-1)  # [batch, length]
        places = places.to_tensor(0)  # [batch, words]; words that are not read look at <s>
        is_read = is_read.to_tensor(False)
        names = tf.gather(tf.constant(self.labels), tf.gather(best, places, batch_dims=1))
        is_word = tf.ones_like(words, tf.int32).to_tensor(0) > 0
        last_bytes = first_bytes + tf.strings.length(words)
        characters = tf.strings.unicode_decode_with_offsets(text, "UTF-8")[1]
        return {
            "words": words.to_tensor(""),
            "tags": tf.where(is_read, names, tf.where(is_word, OUTSIDE, "")),
            "score": tf.where(is_read, tf.gather(score, places, batch_dims=1), 0.0),
            "start": _characters_before(first_bytes, characters, text).to_tensor(0),
            "end": _characters_before(last_bytes, characters, text).to_tensor(0),
            "start_byte": first_bytes.to_tensor(0),
            "end_byte": last_bytes.to_tensor(0),
        }

    def sequences(self, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Words as `<s> word word ... </s>`, each tokenized by itself: what `finetuning.tagging.encode_words` does.

        Args:
            words: ragged string [batch, None], valid UTF-8.

        Returns:
            token_ids: int32 [batch, length].
            places: ragged int32 [batch, None], the column of each word's first token; 0 for a word that is not read.
            is_read: ragged bool [batch, None], whether a word and all before it fit.
        """
        # A word has a token at least, so that no more words than `max_length` are worth tokenizing.
        numbers = tf.ragged.range(words.row_lengths()).flat_values
        texts = tf.where(numbers < self.text_to_ids.max_length, words.flat_values, "")
        pieces = self.text_to_ids.tokens(self.text_to_ids.clean(texts))
        unknown = tf.RaggedTensor.from_row_lengths(
            tf.fill([tf.reduce_sum(tf.cast(pieces.row_lengths() == 0, tf.int32))], UNKNOWN_ID),
            tf.cast(pieces.row_lengths() == 0, tf.int64),
        )
        pieces = tf.concat([pieces, unknown], axis=1)
        lengths = tf.cast(pieces.row_lengths(), tf.int32)
        ends = tf.cumsum(lengths)
        before = tf.gather(tf.pad(ends, [[1, 0]]), words.row_starts())  # tokens of the rows above
        ends = 1 + ends - tf.gather(before, words.value_rowids())
        is_read = words.with_flat_values(ends < self.text_to_ids.max_length)
        tokens = tf.ragged.boolean_mask(words.with_flat_values(pieces), is_read).merge_dims(1, 2)
        places = words.with_flat_values(tf.where(is_read.flat_values, ends - lengths, 0))
        return join_sentences(tokens, length=None), places, is_read

    def head_facts(self) -> dict[str, Any]:
        return {"labels": list(self.labels)}


def split_at_white_space(text: Tensor) -> tuple[Tensor, Tensor]:
    """The words of valid UTF-8, string [batch], and their first bytes: ragged string and int32 [batch, None]."""
    # The tokenizer leaves all bytes but the last of a longer white space with the word before it.
    for characters, size in WHITE_SPACE:
        text = tf.strings.regex_replace(text, characters, " " * size)
    words, starts, _ = tf_text.WhitespaceTokenizer().tokenize_with_offsets(text)
    return words, tf.cast(starts, tf.int32)


def split_at_tabs(text: Tensor) -> tuple[Tensor, Tensor]:
    """As `split_at_white_space`, with a tab between two words; what is empty between tabs is no word."""
    parts = tf.strings.split(text, TAB)
    ends = tf.cumsum(tf.strings.length(parts.flat_values) + 1)
    before = tf.gather(tf.pad(ends, [[1, 0]]), parts.row_starts())
    starts = ends - tf.strings.length(parts.flat_values) - 1 - tf.gather(before, parts.value_rowids())
    is_word = parts.with_flat_values(tf.strings.length(parts.flat_values) > 0)
    return tf.ragged.boolean_mask(parts, is_word), tf.ragged.boolean_mask(parts.with_flat_values(starts), is_word)


def _characters_before(places, characters, text):
    """Characters of a text before each of `places`, ragged int32 [batch, None], bytes at which a character begins.

    `characters` is ragged int64 [batch, None], the first byte of each character. One search serves the batch: a row's
    bytes are counted from the end of the row above.
    """
    bytes_before = tf.cumsum(tf.strings.length(text) + 1, exclusive=True)
    first_bytes = tf.cast(characters.flat_values, tf.int32) + tf.gather(bytes_before, characters.value_rowids())
    wanted = places.flat_values + tf.gather(bytes_before, places.value_rowids())
    found = tf.searchsorted(first_bytes, wanted) - tf.gather(
        tf.cast(characters.row_starts(), tf.int32), places.value_rowids()
    )
    return places.with_flat_values(found)


def _with_tabs(texts):
    return [text.replace(SPACE, TAB) for text in texts]


def _texts(name):
    return tf.TensorSpec([None], tf.string, name=name)


def load_tagging(source: PathLike, **settings: Any) -> "tuple[TaggingModule, TokenClassification]":
    """The head and the model of the preset `source`, see `infoxlm_keras.serving.heads.registry.load_head`."""
    from infoxlm_keras.finetuning.token_classification import load_token_classification

    model, tokenizer, labels = load_token_classification(source, dtype="float32")
    return TaggingModule(model, tokenizer, labels, **settings), model
