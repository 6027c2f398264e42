"""Prompts of a model: what stands before queries and documents, in Python, in files and in exports."""

import json

import numpy as np
import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.exporting.convert import convert_checkpoint
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, load_pretrained, read_info, save_pretrained
from infoxlm_keras.pretrained.prompts import side_prompts
from infoxlm_keras.serving import export_embedding
from infoxlm_keras.serving.verification import run_in_fresh_process
from sample_text import multilingual_sentences

TEXTS = [*multilingual_sentences(6), "", "straße " * 100]
PROMPTS = {"query": "query: ", "document": "the passage: ", "both": "улица"}


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1, prompts=PROMPTS))


@pytest.fixture(scope="module")
def preset(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("prompts") / "model"
    save_pretrained(directory, model.masked_lm, model.tokenizer, model.info)
    return directory


def test_a_prompt_is_text_before_each_text(model):
    for name, text in PROMPTS.items():
        expected = model.encode([text + other for other in TEXTS])
        np.testing.assert_array_equal(model.encode(TEXTS, prompt=name), expected)
        np.testing.assert_array_equal(model.encode(TEXTS[0], prompt=name), model.encode(text + TEXTS[0]))
    assert np.abs(model.encode(TEXTS, prompt="query") - model.encode(TEXTS)).max() > 0.01


def test_an_unknown_prompt_is_refused_with_those_that_are_known(model):
    with pytest.raises(InputError, match="prompt 'passage': no such prompt; the model has query, document, both"):
        model.encode(TEXTS, prompt="passage")
    bare = PretrainedModel(model.masked_lm, model.tokenizer, None)
    with pytest.raises(InputError, match="the model has no prompts; leave it out"):
        bare.encode(TEXTS, prompt="query")


def test_prompts_are_kept_in_the_preset_and_other_presets_have_no_new_field(preset, tiny_preset):
    assert read_info(preset).prompts == PROMPTS and load_pretrained(preset).info.prompts == PROMPTS
    assert "prompts" not in json.loads((tiny_preset / "infoxlm.json").read_text())
    assert read_info(tiny_preset).prompts == {}


@pytest.mark.parametrize("prompts", [["query: "], {"query": 1}, "query: "])
def test_a_damaged_file_is_refused(preset, tmp_path, prompts):
    content = json.loads((preset / "infoxlm.json").read_text())
    (tmp_path / "infoxlm.json").write_text(json.dumps({**content, "prompts": prompts}))
    with pytest.raises(InputError, match="prompts = .*must be an object of names with a text each"):
        read_info(tmp_path)


@pytest.mark.parametrize(
    ("prompts", "sides"),
    [
        ({}, {}),
        ({"query": "", "document": ""}, {}),
        ({"classification": "c: "}, {}),
        ({"query": "q: "}, {"query": "q: ", "document": ""}),
        ({"query": "q: ", "corpus": "c: ", "passage": "p: "}, {"query": "q: ", "document": "p: "}),
        ({"query": "q: ", "document": "", "passage": "p: "}, {"query": "q: ", "document": ""}),
    ],
)
def test_the_prompts_of_both_sides(prompts, sides):
    assert side_prompts(PretrainingInfo(universal_layer=1, prompts=prompts)) == sides
    assert side_prompts(None) == {}


def test_sentence_transformers_puts_the_same_before_a_text(model, preset, tmp_path):
    import sentence_transformers

    convert_checkpoint(preset, tmp_path / "st", "sentence-transformers")
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "st"), device="cpu")
    for name in PROMPTS:
        ours = model.encode(TEXTS, prompt=name)
        np.testing.assert_allclose(theirs.encode(TEXTS, prompt_name=name), ours, rtol=0, atol=1e-5)
    np.testing.assert_allclose(theirs.encode(TEXTS), model.encode(TEXTS), rtol=0, atol=1e-5)
    for side, encode in {"query": theirs.encode_query, "document": theirs.encode_document}.items():
        np.testing.assert_allclose(encode(TEXTS), model.encode(TEXTS, prompt=side), rtol=0, atol=1e-5)
    assert "both ('улица')" in (tmp_path / "st" / "README.md").read_text(encoding="utf-8")
    assert load_pretrained(tmp_path / "st").info.prompts == PROMPTS


def test_the_export_has_a_signature_for_each_side(model, tmp_path):
    export = export_embedding(model, tmp_path / "serving")
    assert export.facts["prompts"] == {"query": "query: ", "document": "the passage: "}
    assert export.max_difference < 1e-5
    texts = [text.encode() for text in TEXTS]
    names = ("serving_default", "query", "document")
    answers = run_in_fresh_process(export.directory, {name: {"text": texts} for name in names})
    for name in names:
        expected = model.encode(TEXTS, prompt=None if name == "serving_default" else name)
        np.testing.assert_allclose(answers[f"{name}/embedding"], expected, rtol=0, atol=1e-5)
