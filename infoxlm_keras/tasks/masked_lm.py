"""MMLM and TLM: masked-language modelling on monolingual text and on translation pairs."""

from keras import ops

from infoxlm_keras.losses.masked_lm import masked_lm_logits, masked_lm_loss
from infoxlm_keras.tasks.pretext_task import PretextTask, TaskResult


class MaskedLanguageModeling(PretextTask):
    """Predict the masked tokens of a sequence from all its other tokens.

    Batch: `token_ids`, `padding_mask` int32 [batch, length]; `mask_positions`, `mask_ids` int32 and `mask_weights`
    float32 [batch, predictions]. Loss: cross-entropy over the vocabulary, which bounds the mutual information of
    a token and its context with N = vocabulary size candidates (InfoXLM, section 3).
    """

    def bind(self, encoder):
        self.encoder = encoder
        self.built = True

    def count(self, batch):
        return ops.sum(batch["mask_weights"])

    def result(self, batch, training, shared=None):
        inputs = {"token_ids": batch["token_ids"], "padding_mask": batch["padding_mask"]}
        hidden_state = self.encoder.hidden_state(inputs, training=training)  # [batch, length, dim]
        logits = masked_lm_logits(self.encoder.masked_lm, hidden_state, batch["mask_positions"])
        loss = masked_lm_loss(logits, batch["mask_ids"], batch["mask_weights"])
        return TaskResult(
            loss_sum=loss.loss_sum,
            count=self.count(batch),
            correct_sum=loss.correct_sum,
            num_candidates=ops.cast(self.encoder.backbone.vocabulary_size, "float32"),
        )


class MMLM(MaskedLanguageModeling):
    """Multilingual masked LM: blocks of one language, `<s> s1 </s> s2 </s> ...`."""

    task_name = "mmlm"


class TLM(MaskedLanguageModeling):
    """Translation LM: `<s> src </s> tgt </s>` or the other way round, masked on both sides."""

    task_name = "tlm"
