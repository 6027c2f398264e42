"""Prompts whose tokens a sentence-transformers folder leaves out of its pooling."""

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
