"""The short run: a few tries of each target that starts at once, and the harness. `make fuzz` is the long one."""

import random
import time

import pytest

from fuzz.__main__ import table
from fuzz.harness import Account, Worker
from fuzz.mutations import mutate_bytes, mutate_json
from fuzz.registry import TARGETS

TRIES, SECONDS = 15, 0.5
HEAVY_TRIES = 3


@pytest.fixture(scope="module")
def worker():
    with Worker() as worker:
        yield worker


def failures(worker, target, tries, seconds):
    assert worker.attempt(target, None) == ("successes", "")
    account, end = Account(), time.monotonic() + seconds
    for seed in range(tries):
        account.add(seed, *worker.attempt(target, seed))
        if time.monotonic() > end:
            break
    return [(target.name, *failure) for failure in account.failures.values()]


@pytest.mark.parametrize("target", [target for target in TARGETS if not target.heavy], ids=lambda target: target.name)
def test_damaged_input_is_refused_or_read_as_others_read_it(target, worker):
    assert failures(worker, target, TRIES, SECONDS) == []


@pytest.mark.slow
@pytest.mark.parametrize("target", [target for target in TARGETS if target.heavy], ids=lambda target: target.name)
def test_damaged_models_and_requests_are_refused_or_read_as_others_read_them(target, worker):
    assert failures(worker, target, HEAVY_TRIES, 60) == []


def test_every_outcome_is_counted():
    from fuzz.misbehaving import TARGETS as misbehaving

    found = {}
    with Worker("fuzz.misbehaving") as worker:
        for target in misbehaving:
            found[target.name] = worker.attempt(target, 1)
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "crash": "tracebacks",
        "hang": "hangs",
        "traceback": "tracebacks",
        "memory": "tracebacks",
        "error": "errors",
        "several lines": "tracebacks",
        "success": "successes",
        "accepts too much": "mismatches",
        "accepts too little": "mismatches",
        "differs": "mismatches",
        "unsteady": "mismatches",
    }
    assert "SIGSEGV" in found["crash"][1] and "KeyError: 'key'" in found["traceback"][1]


def test_a_seed_repeats_its_input():
    data = b'{"a": [1, 2, {"b": "text"}], "c": null}'
    for mutate in (mutate_bytes, mutate_json):
        first, again = ([mutate(random.Random(seed), data) for seed in range(200)] for _ in range(2))
        assert first == again
        assert len(set(first)) > 100 and sum(changed != data for changed in first) > 150


def test_an_account_keeps_one_failure_of_each_kind():
    account = Account()
    place = '(File "x.py", line {})'
    kept = [account.add(n, "tracebacks", f"KeyError: {n} {place.format(n % 2)}") for n in range(6)]
    assert kept == [True, True, False, False, False, False]
    assert account.tries == 6 and account.counts["tracebacks"] == 6 and len(account.failures) == 2
    assert table({"x": account}).row_count == 2
