"""A tagger on the way to transformers: equal logits and names of the tags."""

import numpy as np

from infoxlm_keras.exporting.convert import convert_checkpoint
from infoxlm_keras.finetuning.token_classification import save_token_classification
from infoxlm_keras.models import TokenClassification
from tiny_huggingface import random_ids


def test_a_tagger_keeps_head_and_tags(tiny_masked_lm, tokenizer, tmp_path, capsys):
    import torch
    import transformers

    tags = ["O", "B-PER", "I-PER"]
    ours = TokenClassification(tiny_masked_lm.backbone, len(tags), dropout=0.25)
    generator = np.random.default_rng(3)
    ours.output_dense.set_weights([generator.normal(0, 0.5, weight.shape) for weight in ours.output_dense.weights])
    save_token_classification(tmp_path / "tagger", ours, tokenizer, tags)
    convert_checkpoint(tmp_path / "tagger", tmp_path / "hf", "hf")
    token_ids, mask = (part.astype("int32") for part in random_ids(tokenizer.vocabulary_size))
    theirs, report = transformers.AutoModelForTokenClassification.from_pretrained(
        tmp_path / "hf", output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.id2label == dict(enumerate(tags)) and theirs.config.classifier_dropout == 0.25
    with torch.no_grad():
        logits = theirs.eval()(torch.tensor(token_ids), attention_mask=torch.tensor(mask)).logits.numpy()
    expected = np.asarray(ours({"token_ids": token_ids, "padding_mask": mask}))
    np.testing.assert_allclose(logits[mask > 0], expected[mask > 0], rtol=0, atol=1e-5)
    assert "AutoModelForTokenClassification" in (tmp_path / "hf/README.md").read_text()
    convert_checkpoint(tmp_path / "tagger", tmp_path / "encoder", "keras")
    assert "is a TokenClassification; --format keras holds the encoder only" in capsys.readouterr().out
