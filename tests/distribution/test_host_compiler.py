"""Where TensorFlow has no XLA for the host, nothing asks for it and `jit_compile` is left off."""

import importlib.metadata

from infoxlm_keras import MMLM
from infoxlm_keras.distribution.host_compiler import compiles_here
from tiny_pretraining import TWO_LAYERS, tiny_pretrainer


def test_only_the_build_for_tpus_has_no_compiler():
    """`make test-tpu-wheel` runs it with that build, `make test` with another."""
    names = {distribution.name.replace("_", "-") for distribution in importlib.metadata.distributions()}
    assert compiles_here() == ("tensorflow-tpu" not in names)


def test_without_a_compiler_the_step_is_not_compiled_and_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr("infoxlm_keras.distribution.host_compiler.compiles_here", lambda: False)
    assert not tiny_pretrainer([MMLM()], size=TWO_LAYERS, jit_compile=True).jit_compile
    assert capsys.readouterr().out.startswith("jit_compile: left off, this build of TensorFlow (tensorflow-tpu)")
    tiny_pretrainer([MMLM()], size=TWO_LAYERS, jit_compile=False)
    assert capsys.readouterr().out == ""
