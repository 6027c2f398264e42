"""The question-answering head: finds the best answer span of a question in a text of any length."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from infoxlm_keras.annotations import PathLike, Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.serving.serving_module import ServingModule, resolve_max_length
from infoxlm_keras.serving.stored_weights import dense
from infoxlm_keras.serving.text_to_ids import TextToIds
from infoxlm_keras.text.character_offsets import spaces_among
from infoxlm_keras.tokenizer import END_ID, PAD_ID, START_ID

if TYPE_CHECKING:
    from infoxlm_keras.models.question_answering import QuestionAnswering
    from infoxlm_keras.serving.packed_sequences import PackedSequences
    from infoxlm_keras.tokenizer import Tokenizer

SPECIAL_TOKENS = 4  # <s> question </s></s> context </s>
IMPOSSIBLE = -1e9  # logit of a place that cannot be part of an answer


class QuestionAnsweringModule(ServingModule):
    """`question` and `context`, string [batch] each, to the most likely span of the context.

    A context that does not fit beside its question is read in windows that overlap by half. The answer is the span
    with the largest sum of start and end logit over all windows, without what the tokenizer normalises to white space
    around it. Questions are cut to `max_question` tokens, contexts to `max_windows` windows.

    Outputs of `serving_default`, all [batch]: `answer` (string), `score` (float32, that sum of logits), `start` and
    `end` (int32, characters of the context: Python's `context[start:end]`), `start_byte` and `end_byte` (int32, the
    same in UTF-8). Invalid UTF-8 counts as U+FFFD, as in `bytes.decode("utf-8", "replace")`. An empty context gives
    "" and zeros. Signature `tokens`: `start_logits` and `end_logits`, float32 [batch, length], -1e9 at padding.

    Args:
        model: `infoxlm_keras.models.QuestionAnswering`.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        max_length: int, longest window in tokens, question included; None: as many as the model has positions.
        max_question: int; None: a quarter of `max_length`, at most 64.
        max_answer: int, tokens of the longest answer.
        max_windows: int, windows a context is cut to.
        storage: one of `STORAGES`, how weights are stored.

    Raises:
        InputError: if a setting is out of range.
    """

    head = "qa"
    pair_signature = ("serving_default", "question", "context")

    def __init__(
        self,
        model: "QuestionAnswering",
        tokenizer: "Tokenizer",
        max_length: int | None = None,
        max_question: int | None = None,
        max_answer: int = 30,
        max_windows: int = 16,
        storage: str = "float32",
    ) -> None:
        backbone = model.backbone
        max_length = resolve_max_length(max_length, backbone)
        max_question = min(64, max_length // 4) if max_question is None else max_question
        for name, value in (("max_question", max_question), ("max_answer", max_answer), ("max_windows", max_windows)):
            if value < 1:
                raise InputError(f"{name} = {value}: must be at least 1")
        if max_length < SPECIAL_TOKENS + max_question + 2:
            raise InputError(
                f"max_length = {max_length}: leaves no room for a context beside {max_question} tokens of a question; "
                f"give at least {SPECIAL_TOKENS + max_question + 2}"
            )
        super().__init__(
            TextToIds(tokenizer, max_length), backbone, backbone.num_layers, model, storage, name="question_answering"
        )
        self.max_question, self.max_answer, self.max_windows = max_question, max_answer, max_windows
        self._spaces = _character_class(spaces_among(tokenizer, _every_character()))
        self.span_dense = dense(model.span_dense, storage, name="span_dense")

    def outputs(self, packed: "PackedSequences", states: Tensor) -> dict[str, Tensor]:
        logits = tf.pad(self.span_dense(states), [[1, 0], [0, 0]], constant_values=IMPOSSIBLE)
        start_logits, end_logits = tf.unstack(tf.gather(logits, packed.index() + 1), axis=-1)
        return {"start_logits": start_logits, "end_logits": end_logits}

    def reference(self, token_ids: Tensor, padding_mask: Tensor) -> dict[str, Tensor]:
        logits = tf.cast(self._model({"token_ids": token_ids, "padding_mask": padding_mask}), tf.float32)
        logits = tf.where(padding_mask[:, :, None] > 0, logits, IMPOSSIBLE)
        return {"start_logits": logits[:, :, 0], "end_logits": logits[:, :, 1]}

    def pair_outputs(
        self, first: Tensor, second: Tensor, predict: Callable[[Tensor, Tensor], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        return self.answer(first, second, predict)

    def answer(
        self, question: Tensor, context: Tensor, predict: Callable[[Tensor, Tensor], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The outputs of `serving_default`; `predict` gives the logits (`self.predict` or `self.reference`)."""
        question = self.text_to_ids.clean(question)
        context = self.text_to_ids.clean(context, self.text_to_ids.max_bytes * self.max_windows)
        questions = self.text_to_ids.tokens(question)[:, : self.max_question]
        contexts, first_bytes, last_bytes = self.text_to_ids.tokens_with_offsets(context)
        rows, tokens = self.windows(tf.cast(questions.row_lengths(), tf.int32), contexts)
        token_ids, is_context, numbers = self._sequences(tf.gather(questions, rows), tokens, contexts.flat_values)
        logits = predict(token_ids, tf.cast(token_ids != PAD_ID, tf.int32))
        scores, starts, ends = self._best_spans(logits, is_context, numbers)
        best = first_of_largest(scores, rows, tf.shape(question)[0])  # window of each row
        found = tf.gather(scores, best) > IMPOSSIBLE / 2
        # One extra element, for contexts without a token.
        first_bytes = tf.pad(tf.cast(first_bytes.flat_values, tf.int32), [[0, 1]])
        last_bytes = tf.pad(tf.cast(last_bytes.flat_values, tf.int32), [[0, 1]])
        start_byte = tf.where(found, tf.gather(first_bytes, tf.gather(starts, best)), 0)
        end_byte = tf.where(found, tf.gather(last_bytes, tf.gather(ends, best)), 0)
        text = tf.strings.substr(context, start_byte, end_byte - start_byte)
        # A piece that starts a word includes the space before it.
        answer = tf.strings.regex_replace(text, f"^{self._spaces}+", "")
        start_byte += tf.strings.length(text) - tf.strings.length(answer)
        answer = tf.strings.regex_replace(answer, f"{self._spaces}+$", "")
        start = tf.strings.length(tf.strings.substr(context, tf.zeros_like(start_byte), start_byte), "UTF8_CHAR")
        return {
            "answer": answer,
            "score": tf.where(found, tf.gather(scores, best), 0.0),
            "start": start,
            "end": start + tf.strings.length(answer, "UTF8_CHAR"),
            "start_byte": start_byte,
            "end_byte": start_byte + tf.strings.length(answer),
        }

    def windows(self, question_lengths: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the windows and the tokens of the context in each.

        Args:
            question_lengths: int32 [batch].
            contexts: ragged int32 [batch, None].

        Returns:
            rows: int32 [windows], the row of each; every row has at least one.
            tokens: ragged int32 [windows, None], numbers of its tokens in `contexts.flat_values`.
        """
        room = self.text_to_ids.max_length - SPECIAL_TOKENS - question_lengths  # tokens of the context in a window
        step = (room + 1) // 2
        starts, lengths = (tf.cast(part, tf.int32) for part in (contexts.row_starts(), contexts.row_lengths()))
        further = tf.maximum(lengths - room + step - 1, 0) // step
        counts = 1 + tf.minimum(further, self.max_windows - 1)
        rows = tf.repeat(tf.range(tf.shape(counts)[0]), counts)
        numbers = tf.range(tf.shape(rows)[0]) - tf.gather(tf.cumsum(counts, exclusive=True), rows)
        first = numbers * tf.gather(step, rows)
        last = tf.minimum(first + tf.gather(room, rows), tf.gather(lengths, rows))
        begin = tf.gather(starts, rows)
        return rows, tf.ragged.range(begin + first, begin + last, row_splits_dtype=tf.int64)

    def head_facts(self) -> dict[str, Any]:
        return {
            "max_question": self.max_question,
            "max_answer": self.max_answer,
            "max_windows": self.max_windows,
        }

    def _sequences(self, questions, tokens, context_ids):
        """Token ids int32 [windows, length], where the context is (bool), and its token numbers (int32)."""
        windows = questions.nrows()

        def fill(value):
            return tf.fill([windows, 1], tf.constant(value, tf.int32))

        def join(question, separator, context, start, end):
            parts = [fill(start), question, fill(separator), fill(separator), context, fill(end)]
            return tf.concat(parts, axis=1)

        ids = tokens.with_flat_values(tf.gather(context_ids, tokens.flat_values))
        token_ids = join(questions, END_ID, ids, START_ID, END_ID).to_tensor(default_value=PAD_ID)
        elsewhere = questions.with_flat_values(tf.fill(tf.shape(questions.flat_values), -1))
        numbers = join(elsewhere, -1, tokens, -1, -1).to_tensor(default_value=-1)
        return token_ids, numbers >= 0, numbers

    def _best_spans(self, logits, is_context, numbers):
        """Score (float32), first and last token number (int32) of the best span, each [windows]."""
        start = tf.where(is_context, logits["start_logits"], IMPOSSIBLE)
        end = tf.where(is_context, logits["end_logits"], IMPOSSIBLE)
        scores = start[:, :, None] + end[:, None, :]  # [windows, start, end]
        length = tf.shape(start)[1]
        distance = tf.range(length)[None, :] - tf.range(length)[:, None]
        scores = tf.where((distance >= 0) & (distance < self.max_answer), scores, 2 * IMPOSSIBLE)
        width = tf.maximum(length, 1)  # an empty batch has windows of length 0
        flat = tf.reshape(scores, [tf.shape(start)[0], width * width])
        best = tf.argmax(flat, axis=1, output_type=tf.int32)
        first = tf.gather(numbers, best // width, batch_dims=1)
        last = tf.gather(numbers, best % width, batch_dims=1)
        return tf.reduce_max(flat, axis=1), tf.maximum(first, 0), tf.maximum(last, 0)


def first_of_largest(values: Tensor, rows: Tensor, count: Tensor) -> Tensor:
    """Index of the largest of `values` (float32 [n]) in each of `count` rows; of equals, the first.

    `rows` is int32 [n], ascending, and every row occurs.
    """
    largest = tf.math.segment_max(values, rows)
    candidates = tf.where(values == tf.gather(largest, rows))[:, 0]
    return tf.cast(tf.math.unsorted_segment_min(candidates, tf.gather(rows, candidates), count), tf.int32)


def _every_character():
    """Every character that UTF-8 encodes."""
    surrogates = range(0xD800, 0xE000)
    return (chr(code) for code in range(sys.maxunicode + 1) if code not in surrogates)


def _character_class(characters):
    """RE2's expression for one of `characters`, whose own `\\s` is ASCII only."""
    return "[" + "".join(f"\\x{{{ord(character):x}}}" for character in sorted(characters)) + "]"


def load_question_answering_head(
    source: PathLike, **settings: Any
) -> "tuple[QuestionAnsweringModule, QuestionAnswering]":
    """The head and the model of the preset `source`, see `infoxlm_keras.serving.heads.registry.load_head`."""
    from infoxlm_keras.finetuning.question_answering import load_question_answering

    model, tokenizer = load_question_answering(source, dtype="float32")
    return QuestionAnsweringModule(model, tokenizer, **settings), model
