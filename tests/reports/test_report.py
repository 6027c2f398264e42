"""Tables and the content of results.json."""

import copy
import io
import json

import pytest
import rich.console

from infoxlm_keras.errors import InputError
from infoxlm_keras.reports.retrieval_tables import (
    build_results,
    language_table,
    layer_table,
    read_retrieval,
    results_table,
)
from retrieval_results import retrieval_result

UNTRAINED = retrieval_result({"de": ([0.2, 0.1, 0.0], [0.2, 0.0, 0.1]), "hi": ([0.1, 0.0, 0.0], [0.1, 0.0, 0.0])})
TRAINED = retrieval_result({"de": ([0.2, 0.9, 0.8], [0.2, 0.7, 0.6]), "hi": ([0.1, 0.8, 0.7], [0.1, 0.5, 0.5])})


def printed(table):
    """Rows of words of a table as it is printed 80 columns wide without a terminal."""
    console = rich.console.Console(file=io.StringIO(), width=80)
    console.print(table)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_results_compare_each_model_at_its_own_best_layer():
    retrieval = build_results(UNTRAINED, TRAINED)["retrieval"]
    assert retrieval["layer"] == {"untrained": 0, "trained": 1}
    assert list(retrieval["languages"]) == ["de", "hi"]
    german = retrieval["languages"]["de"]
    assert german["candidates"] == 300
    assert german["untrained"] == {"source_to_target": 0.2, "target_to_source": 0.2, "average": 0.2}
    assert german["trained"] == {"source_to_target": 0.9, "target_to_source": 0.7, "average": 0.8}
    assert retrieval["mean"]["untrained"]["average"] == pytest.approx(0.15)
    assert retrieval["mean"]["trained"] == pytest.approx(
        {"source_to_target": 0.85, "target_to_source": 0.6, "average": 0.725}
    )


def test_only_the_timing_differs_between_two_equal_runs_and_all_of_it_is_json():
    first = build_results(UNTRAINED, TRAINED, {"steps": 10}, {"train_seconds": 12.5})
    second = build_results(copy.deepcopy(UNTRAINED), TRAINED, {"steps": 10}, {"train_seconds": 13.5})
    assert first.pop("timing") != second.pop("timing")
    assert json.dumps(first) == json.dumps(second)
    assert first["training"] == {"steps": 10}


def test_the_demo_table_has_a_row_a_language_and_the_mean():
    rows = printed(results_table(build_results(UNTRAINED, TRAINED)))
    assert ["de", "300", "20.0", "20.0", "90.0", "70.0"] in rows
    assert ["hi", "300", "10.0", "10.0", "80.0", "50.0"] in rows
    assert ["mean", "15.0", "15.0", "85.0", "60.0"] in rows
    assert "0 (untrained) and 1 (trained)" in " ".join(" ".join(row) for row in rows)


def test_language_and_layer_tables_show_what_was_measured():
    rows = printed(language_table(TRAINED, 1))
    assert ["language", "candidates", "en→xx", "xx→en"] in rows
    assert ["de", "300", "90.0", "70.0"] in rows
    assert ["mean", "85.0", "60.0"] in rows
    rows = printed(layer_table(TRAINED, universal_layer=2))
    assert ["0", "15.0", "15.0", "15.0"] in rows
    assert ["1", "85.0", "60.0", "72.5", "best", "on", "these", "pairs"] in rows
    assert ["2", "75.0", "55.0", "65.0", "universal", "layer"] in rows


def test_without_english_the_directions_are_named_otherwise():
    result = retrieval_result({"de-fr": ([0.5], [0.25])}, english="de")
    rows = printed(language_table(result, 0))
    assert ["language", "candidates", "source→target", "target→source"] in rows
    assert ["de-fr", "300", "50.0", "25.0"] in rows


@pytest.mark.parametrize(
    "change, message",
    [({"pooling": "cls"}, "pooling: 'mean' untrained but 'cls' trained"), ({"languages": {}}, "same pairs")],
)
def test_results_of_different_measurements_are_not_compared(change, message):
    with pytest.raises(InputError, match=message):
        build_results(UNTRAINED, {**TRAINED, **change})


@pytest.mark.parametrize("english", ["en", "eng", "en_US", "en-GB", "eng_Latn"])
def test_english_heads_the_columns_under_any_of_its_codes(english):
    result = retrieval_result({"de": ([0.5], [0.25])}, english=english)
    assert ["language", "candidates", "en→xx", "xx→en"] in printed(language_table(result, 0))


def damaged():
    """(what was changed, result): each is wrong in one place."""

    def changed(name, change):
        result = copy.deepcopy(TRAINED)
        change(result)
        return pytest.param(result, id=name)

    for key in TRAINED:
        yield changed(f"no {key}", lambda result, key=key: result.pop(key))
        for value in (None, "x", 5, [], {}, [None], {"de": 1}):
            if type(value) is not str or not isinstance(TRAINED[key], str):
                yield changed(f"{key} {value}", lambda result, key=key, value=value: result.update({key: value}))
    for value in (None, [0.5], [0.1, 0.2, "x"], [0.1, 0.2, float("nan")], [0.1, 0.2, 1.5], "0.1"):
        yield changed(f"cell {value}", lambda result, value=value: result["mean"].update(source_to_target=value))
        yield changed(
            f"row {value}", lambda result, value=value: result["languages"]["hi"].update(target_to_source=value)
        )
    yield changed("candidates", lambda result: result["languages"]["hi"].update(candidates="many"))


@pytest.mark.parametrize("result", [*damaged(), [], None, "x", 3, {}])
def test_damaged_results_are_refused(tmp_path, result):
    path = tmp_path / "retrieval.json"
    path.write_text(json.dumps({"model": {}, **TRAINED}))
    assert read_retrieval(path) == {"model": {}, **TRAINED}
    path.write_text(json.dumps(result))
    with pytest.raises(InputError, match="retrieval.json: holds no results of .*; write it again") as caught:
        read_retrieval(path)
    assert "\n" not in str(caught.value)
