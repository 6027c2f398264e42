"""Work spread over processes: same results, same errors, in the same order."""

import os
import time

import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.worker_pool import map_in_order


def square(number):
    # Earlier items take longer, so that results arrive in another order.
    time.sleep(0.02 * (number < 3))
    if number == 7:
        raise InputError("seven is refused")
    return number * number


def die(number):
    os._exit(1)


def items(count, error=None):
    for number in range(count):
        yield (number,)
    if error:
        raise InputError(error)


def collect(results):
    found = []
    try:
        for (number,), result in results:
            found.append((number, result))
    except InputError as error:
        return found, str(error)
    return found, None


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("given", "expected", "message"),
    [
        ((5,), 5, None),
        ((0,), 0, None),
        ((9,), 7, "seven is refused"),
        ((5, "the input ends badly"), 5, "the input ends badly"),
        ((9, "the input ends badly"), 7, "seven is refused"),
    ],
    ids=["all well", "nothing", "an item fails", "the input fails", "both fail"],
)
def test_results_and_errors_come_in_order(processes, given, expected, message):
    found, error = collect(map_in_order(square, items(*given), processes))
    assert found == [(number, number * number) for number in range(expected)]
    assert error == message


def test_items_are_taken_only_a_little_ahead():
    taken = []

    def watched():
        for number in range(100):
            taken.append(number)
            yield (number % 3,)

    results = map_in_order(square, watched(), 2)
    next(results)
    assert len(taken) <= 8
    results.close()


def test_a_worker_that_dies_is_reported():
    with pytest.raises(InputError, match="a worker process died.*--processes"):
        list(map_in_order(die, items(3), 2))
