"""Tokenizes strings inside a TensorFlow graph, for servers that receive raw text."""

from typing import TYPE_CHECKING

import tensorflow as tf
import tensorflow_text as tf_text

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.data.sequences import join_sentences
from infoxlm_keras.errors import InputError
from infoxlm_keras.tokenizer import PAD_ID, UNKNOWN_ID

if TYPE_CHECKING:
    from infoxlm_keras.tokenizer import Tokenizer

MASK_TEXT = "<mask>"
SHORTEST_LENGTH = 3  # <s>, one token, </s>
PAIR_SPECIAL_TOKENS = 4  # <s> text </s></s> text_pair </s>
BYTES_A_CHARACTER = 4  # the largest number that UTF-8 uses
REPLACEMENT_CHARACTER = "\N{REPLACEMENT CHARACTER}"


class TextToIds(tf.Module):
    """`<s> text </s>` in XLM-R's ids, equal to `Tokenizer.encode`; accepts any bytes.

    Invalid UTF-8 is read as U+FFFD, as Python's `bytes.decode("utf-8", "replace")` does. Text is cut to
    `max_bytes` before tokenization and to `max_length - 2` tokens after it. `max_bytes` is enough for `max_length` of
    the longest pieces, so the first cut changes the result only if kilobytes give one token or none (white space,
    characters that the model does not know).

    Args:
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        max_length: int, at least 3. Longest sequence in tokens, `<s>` and `</s>` included.

    Raises:
        InputError: if `max_length` is too small.
    """

    def __init__(self, tokenizer: "Tokenizer", max_length: int, name: str | None = None) -> None:
        super().__init__(name=name)
        if max_length < SHORTEST_LENGTH:
            raise InputError(f"max_length = {max_length}: must be at least {SHORTEST_LENGTH} (<s>, a token, </s>)")
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.max_bytes = max_length * _longest_piece(tokenizer) * BYTES_A_CHARACTER
        self._sentencepiece = tf_text.SentencepieceTokenizer(model=tokenizer.proto, out_type=tf.int32)

    def __call__(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """The sequences of a batch, padded to its longest.

        Args:
            text: string [batch], any bytes; batch may be 0.

        Returns:
            (token_ids, padding_mask): int32 [batch, length] each, `length <= max_length`.
        """
        tokens = self.tokens(self.clean(text))[:, : self.max_length - 2]
        token_ids = join_sentences(tokens, length=None)
        return token_ids, tf.cast(token_ids != PAD_ID, tf.int32)

    def pairs(self, text: Tensor, text_pair: Tensor) -> tuple[Tensor, Tensor]:
        """`<s> text </s></s> text_pair </s>` for two string [batch]; the result is that of `__call__`.

        A pair that is too long is cut where KerasHub's classifier cuts it: both sides get half of the room, and room
        that the shorter side leaves goes to the longer.
        """
        first, second = self.tokens(self.clean(text)), self.tokens(self.clean(text_pair))
        room = self.max_length - PAIR_SPECIAL_TOKENS
        first_lengths, second_lengths = first.row_lengths(), second.row_lengths()
        first_lengths = tf.minimum(first_lengths, tf.maximum(room - second_lengths, (room + 1) // 2))
        first = _leading(first, first_lengths)
        second = _leading(second, room - first_lengths)
        nothing = tf.RaggedTensor.from_row_lengths(tf.zeros([0], tf.int32), tf.zeros_like(first_lengths))
        token_ids = join_sentences(first, nothing, second, length=None)
        return token_ids, tf.cast(token_ids != PAD_ID, tf.int32)

    def clean(self, text: Tensor, max_bytes: int | None = None) -> Tensor:
        """`text` (string [batch]) as valid UTF-8, cut to about `max_bytes` bytes (None: the attribute `max_bytes`)."""
        max_bytes = max_bytes or self.max_bytes
        # The cut may split the last character. Its bytes become U+FFFD, which is then removed.
        valid = tf.strings.unicode_transcode(tf.strings.substr(text, 0, max_bytes), "UTF-8", "UTF-8", errors="replace")
        trimmed = tf.strings.regex_replace(valid, f"{REPLACEMENT_CHARACTER}+$", "")
        return tf.where(tf.strings.length(text) > max_bytes, trimmed, valid)

    def tokens(self, text: Tensor) -> Tensor:
        """Ragged int32 [batch, None]: ids of `text` (string [batch], valid UTF-8), without `<s>`, `</s>`."""
        pieces = self._sentencepiece.tokenize(text)
        return pieces.with_flat_values(piece_to_id(pieces.flat_values))

    def tokens_with_offsets(self, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`tokens(text)` and their places in `text`: ragged [batch, None] ids, first bytes, and ends in bytes."""
        pieces, starts, ends = self._sentencepiece.tokenize_with_offsets(text)
        return pieces.with_flat_values(piece_to_id(pieces.flat_values)), starts, ends

    def id_to_string(self, token_ids: Tensor) -> Tensor:
        """The pieces (string, same shape) of `token_ids`, none of which may be a special id."""
        return self._sentencepiece.id_to_string(token_ids - 1)


class MaskedTextToIds(TextToIds):
    """`TextToIds` that reads each literal `<mask>` in the text as the mask id.

    As in Hugging Face's tokenizer, the texts before and after `<mask>` are tokenized separately.
    """

    def __init__(self, tokenizer: "Tokenizer", max_length: int, name: str | None = None) -> None:
        super().__init__(tokenizer, max_length, name=name)
        self.mask_id = tokenizer.mask_id

    def tokens(self, text: Tensor) -> Tensor:
        segments = tf.strings.split(text, MASK_TEXT)  # ragged [batch, segments]
        tokens = super().tokens(segments.flat_values)
        masks = tf.fill([tokens.nrows(), 1], self.mask_id)
        ended = segments.with_flat_values(tf.concat([tokens, masks], axis=1))
        return ended.merge_dims(1, 2)[:, :-1]  # ragged [batch, segments, tokens] -> [batch, tokens]


def _leading(tokens, lengths):
    """The first `lengths` (int64 [batch]) tokens of each row of a ragged [batch, None]."""
    lengths = tf.minimum(tokens.row_lengths(), lengths)
    starts = tokens.row_starts()
    kept = tf.ragged.range(starts, starts + lengths)
    return kept.with_flat_values(tf.gather(tokens.flat_values, kept.flat_values))


def piece_to_id(pieces: Tensor) -> Tensor:
    """XLM-R's ids of SentencePiece's (int32, any shape)."""
    return tf.where(pieces == 0, UNKNOWN_ID, pieces + 1)


def _longest_piece(tokenizer):
    """Characters in the longest piece of a vocabulary."""
    processor = tokenizer.processor
    return max(map(len, processor.id_to_piece(list(range(processor.get_piece_size())))))
