"""Settings of a sentence-transformers folder that change its vectors: read, or named and refused."""

import pytest

from infoxlm_keras.conversion.from_sentence_transformers import read_folder_vector
from infoxlm_keras.files import write_json


@pytest.mark.parametrize("truncate_dim", [None, 8])
def test_prompts_left_out_of_the_pooling_are_not_read(tmp_path, truncate_dim):
    """With another refusal (truncate_dim) as without one."""
    modules = [{"type": "m.Transformer", "path": ""}, {"type": "m.Pooling", "path": "1_Pooling"}]
    (tmp_path / "1_Pooling").mkdir()
    write_json(tmp_path / "modules.json", modules)
    write_json(tmp_path / "1_Pooling" / "config.json", {"pooling_mode": "mean", "include_prompt": False})
    settings = {"prompts": {"query": "query: "}, "truncate_dim": truncate_dim}
    write_json(tmp_path / "config_sentence_transformers.json", settings)

    vector = read_folder_vector(tmp_path)

    assert vector.prompts == {}
    assert "leaves out the tokens of prompts" in vector.prompts_refusal
    assert bool(vector.refusal) == (truncate_dim is not None)


TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}


@pytest.mark.parametrize(
    ("encoder", "scale", "named"),
    [
        # As release 6.2 writes them.
        ({"modality_config": {"text": TEXT}, "module_output_name": "token_embeddings"}, "sentence_embedding", ""),
        ({"processing_kwargs": {}, "tokenizer_args": {}}, None, ""),
        ({"processing_kwargs": {"text": {"max_length": 5}}}, None, "processing_kwargs"),
        ({"tokenizer_args": {"model_max_length": 6}}, None, "tokenizer_args"),
        ({"config_args": {"num_hidden_layers": 1}}, None, "config_args"),
        ({"modality_config": {"text": {**TEXT, "method_output_name": "pooler_output"}}}, None, "modality_config"),
        ({"module_output_name": "x"}, None, "module_output_name"),
        ({"method_output_name": "pooler_output"}, None, "method_output_name"),
        ({}, "token_embeddings", "module_input_name"),
    ],
)
def test_settings_that_change_vectors_are_refused_by_name(encoder, scale, named, tmp_path):
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    write_json(tmp_path / "modules.json", [{"type": f"m.{kind}", "path": path} for kind, path in kinds.items()])
    for folder in ("1_Pooling", "2_Normalize"):
        (tmp_path / folder).mkdir()
    write_json(tmp_path / "1_Pooling" / "config.json", {"pooling_mode": "mean"})
    if scale is not None:
        write_json(tmp_path / "2_Normalize" / "config.json", {"module_input_name": scale})
    write_json(tmp_path / "sentence_bert_config.json", {"max_seq_length": 64, **encoder})
    refusal = read_folder_vector(tmp_path).refusal
    assert named in refusal and bool(refusal) == bool(named)
