"""The search for the largest batch, on a compiler whose answer is known."""

import types

import pytest

from infoxlm_keras.compilation import batch_search
from infoxlm_keras.compilation.step import DoesNotFitError
from infoxlm_keras.compilation.targets import parse_target
from infoxlm_keras.config import load_config
from infoxlm_keras.errors import InputError
from infoxlm_keras.tasks.pretext_task import SampleLengths

LENGTHS = SampleLengths(block=128, pair=30)
CHIPS = 8


@pytest.fixture
def tried(monkeypatch):
    """Rows a chip of each compilation; `tried.most` is what fits. Twice that is refused by the compiler itself."""
    rows = types.SimpleNamespace(most=37, seen=[])

    def compile_step(config, target, vocabulary_size, lengths, strategy):
        sizes = {config.task(name).batch_size for name in config.tasks}
        assert len(sizes) == 1 and (vocabulary_size, lengths, strategy) == (1000, LENGTHS, "fsdp")
        count, rest = divmod(sizes.pop(), CHIPS)
        assert rest == 0
        rows.seen.append(count)
        if count > 2 * rows.most:
            raise DoesNotFitError("the step does not fit")
        peak = target.chip.memory + (1 if count > rows.most else 0)
        return types.SimpleNamespace(program=types.SimpleNamespace(peak_bytes=peak))

    monkeypatch.setattr(batch_search, "compile_step", compile_step)
    return rows


def find(target="tpu:v5e:2x4"):
    return batch_search.find_batch(load_config("tiny"), parse_target(target), 1000, LENGTHS, "fsdp")


@pytest.mark.parametrize("most", [1, 2, 3, 5, 37, 200, 4095])
def test_it_fits_and_a_quarter_more_does_not(tried, most):
    tried.most = most
    config, _ = find()
    found, rest = divmod(config.task("mmlm").batch_size, CHIPS)
    assert rest == 0 and found in tried.seen
    assert found <= most < found + max(1, found // 4) + 1
    assert len(tried.seen) < 20 and len(set(tried.seen)) == len(tried.seen)


def test_it_ends_where_everything_fits(tried):
    tried.most = 10**9
    config, _ = find()
    assert config.task("tlm").batch_size == batch_search.MOST_ROWS * CHIPS


def test_what_cannot_be_searched_is_refused(tried):
    tried.most = 0
    with pytest.raises(InputError, match="not even one row"):
        find()
    with pytest.raises(InputError, match="--find_batch: cpu:8 has no memory of its own"):
        find("cpu:8")
