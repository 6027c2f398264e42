"""Margins, xSIM, intervals, pools of all languages, groups, pivots, BUCC: against direct forms of each definition."""

import csv
import io
import json

import numpy as np
import pytest
import rich.console

from infoxlm_keras.commands.evaluate_retrieval import main
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation import PairSet, evaluate_retrieval, read_pair_sets
from infoxlm_keras.evaluation.bootstrap import bootstrap_means, interval
from infoxlm_keras.evaluation.evaluator import RetrievalOptions
from infoxlm_keras.evaluation.language_groups import GROUPS, language_groups
from infoxlm_keras.evaluation.mixed_pool import mixed_pool_credits, pool_of
from infoxlm_keras.evaluation.retrieval import DIRECTIONS, SIMILARITIES, retrieval_accuracy, xsim_errors
from infoxlm_keras.reports.retrieval_tables import (
    cut_sentence_warnings,
    language_table,
    retrieval_report,
    retrieval_rows,
    unknown_token_warnings,
)
from retrieval_results import retrieval_result
from running import refused, run
from sample_text import sentences

FORMULAS = {
    "cosine": lambda a, x, y: a + 0 * x + 0 * y,
    "absolute": lambda a, x, y: a + 0 * x + 0 * y,
    "ratio": lambda a, x, y: a / ((x + y) / 2),
    "distance": lambda a, x, y: a - (x + y) / 2,
    "csls": lambda a, x, y: 2 * a - x - y,
}


def translations(count, dim, noise, seed=0):
    """Two sides of unit vectors around a common direction, row n near row n."""
    generator = np.random.default_rng(seed)
    sources = generator.normal(size=(count, dim)) + generator.exponential(1, (count, 1))
    targets = sources + noise * generator.normal(size=(count, dim)) + generator.exponential(1, (count, 1))
    return [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (sources, targets)]


def direct_scores(sources, targets, similarity, k):
    """float64 [n, n]: the definition on the whole matrix."""
    cosines = sources @ targets.T
    source_means = np.sort(cosines, axis=1)[:, -k:].mean(axis=1)[:, None]
    target_means = np.sort(cosines, axis=0)[-k:].mean(axis=0)[None]
    return FORMULAS[similarity](cosines, source_means, target_means), cosines


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("count, k, blocks", [(60, 4, (7, 11)), (60, 1, (64, 64)), (3, 4, (2, 2))])
def test_accuracies_by_margin_are_those_of_the_whole_matrix(similarity, count, k, blocks):
    sources, targets = translations(count, 6, 0.9)
    scores, _ = direct_scores(sources, targets, similarity, k)
    gold = np.arange(count)
    expected = (scores.argmax(axis=1) == gold).mean(), (scores.argmax(axis=0) == gold).mean()
    found = retrieval_accuracy(sources, targets, *blocks, similarity=similarity, neighbours=k)
    assert found == pytest.approx(expected)
    if count == 60 and k == 4:
        assert 0.1 < expected[0] < 0.95
        assert (expected == retrieval_accuracy(sources, targets)) == (similarity in ("cosine", "absolute"))


@pytest.mark.parametrize("margin", ["ratio", "distance"])
def test_xsim_looks_at_the_nearest_neighbours_only(margin):
    sources, targets = translations(80, 5, 1.0)
    scores, cosines = direct_scores(sources, targets, margin, 4)
    errors = []
    for matrix, nearness in ((scores, cosines), (scores.T, cosines.T)):
        nearest = np.argsort(-nearness, axis=1)[:, :4]
        best = [max(row, key=lambda column, n=n: matrix[n, column]) for n, row in enumerate(nearest)]
        errors.append(np.mean(np.array(best) != np.arange(80)))
    assert xsim_errors(sources, targets, margin) == pytest.approx(tuple(errors))
    assert 0.2 < errors[0] < 0.9


def test_intervals_are_the_binomials_and_narrow_with_the_number_of_pairs():
    generator = np.random.default_rng(0)
    widths = []
    for count in (100, 1600):
        credits = np.stack([generator.random(count) < 0.3, np.ones(count)]).astype(float)
        means = bootstrap_means(credits, 2000)
        assert means.shape == (2, 2000)
        (low, high), certain = interval(means)
        error = np.sqrt(credits[0].mean() * (1 - credits[0].mean()) / count)
        assert (high - low) == pytest.approx(2 * 1.96 * error, rel=0.12) and low < credits[0].mean() < high
        assert certain.tolist() == [1.0, 1.0]
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)


def test_a_pool_counts_translations_in_any_language_and_the_own_language():
    # Angles: language 0 at 0, 90, 180; language 1 near the first two, its third beside its second.
    angles = np.deg2rad([0, 90, 180, 10, 100, 104])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found, own = mixed_pool_credits(vectors, np.array([0, 0, 0, 1, 1, 1]), np.array([5, 6, 7, 5, 6, 7]), 4, 2)
    # The nearest of each: 0 -> 10, 90 -> 100, 180 -> 104, 10 -> 0, 100 -> 104 (own language), 104 -> 100 (own).
    assert found.tolist() == [1, 1, 1, 1, 0, 0] and own.tolist() == [0, 0, 0, 0, 1, 1]
    # Equally near ones share: the first finds its translation, another sentence and one of its own language.
    vectors = np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    found, own = mixed_pool_credits(vectors, np.array([0, 1, 1, 0]), np.array([0, 0, 1, 2]))
    assert found[0] == pytest.approx(1 / 3) and own[0] == pytest.approx(1 / 3)


def test_a_pool_has_each_sentence_once_and_joins_translations_by_way_of_others():
    pair_sets = [
        PairSet("en", "de", ["yes", "no", "sure"], ["ja", "nein", "ja"], ("x",)),
        PairSet("en", "fr", ["no", "yes"], ["non", "oui"], ("x",)),
    ]
    pool, places, meanings = pool_of(pair_sets)
    assert len(pool) == len(set(pool)) == 7 and [pool[place][1] for place in places] == [
        *("yes", "no", "sure", "ja", "nein", "ja"),
        *("no", "yes", "non", "oui"),
    ]
    groups = {}
    for sentence, meaning in zip(pool, meanings.tolist(), strict=True):
        groups.setdefault(meaning, set()).add(sentence[1])
    # "yes" and "sure" are both "ja".
    assert sorted(map(sorted, groups.values())) == [["ja", "oui", "sure", "yes"], ["nein", "no", "non"]]


def test_groups_are_complete_named_or_refused():
    assert len(GROUPS["tatoeba-14"]) == 14 and len(set(GROUPS["tatoeba-36"])) == 36
    assert set(GROUPS["tatoeba-14"]) < set(GROUPS["tatoeba-36"])
    assert language_groups(None, ["de", "fr"]) == {}
    assert list(language_groups(None, [*GROUPS["tatoeba-14"], "it"])) == ["tatoeba-14"]
    assert language_groups(["near=deu,fr"], ["de", "fr", "hi"]) == {"near": ["de", "fr"]}
    for words, message in {
        "tatoeba-36": "--groups tatoeba-36: there are no pairs of ar, bg, el",
        "mine=de,ja": "--groups mine: there are no pairs of ja",
        "mine=de,12": "'12' is no language",
        "mine": "must be one of tatoeba-14, tatoeba-36, or NAME=de,fr",
    }.items():
        with pytest.raises(InputError, match=message):
            language_groups([words], ["de", "fr"])


def test_a_pivot_is_paired_with_each_language_of_a_folder(tmp_path):
    texts = {"deu_Latn": ["eins", "zwei"], "eng_Latn": ["one", "two"], "fra_Latn": ["un", "deux"]}
    for code, lines in texts.items():
        (tmp_path / f"{code}.devtest").write_text("".join(f"{line}\n" for line in lines))
    english = read_pair_sets([tmp_path])
    assert [(found.source_language, found.language) for found in english] == [("en", "de"), ("en", "fr")]
    german = read_pair_sets([tmp_path], pivot="deu_Latn")
    assert [(found.source_language, found.language, found.sources) for found in german] == [
        ("de", "en", ["eins", "zwei"]),
        ("de", "fr", ["eins", "zwei"]),
    ]
    with pytest.raises(InputError, match="pivot = '12': is no language"):
        read_pair_sets([tmp_path], pivot="12")
    with pytest.raises(InputError, match="none of them it"):
        read_pair_sets([tmp_path], pivot="it")


@pytest.mark.parametrize("pivot, pairs", [("de", ["de-en", "de-en_GB", "de-en_IN"]), ("en", ["en-de"])])
def test_varieties_of_english_are_languages_beside_another_pivot(pivot, pairs, tmp_path):
    """The files of NTREX, which has English three times."""
    for name in ("src.eng", "ref.eng-GB", "ref.eng-IN", "ref.deu"):
        (tmp_path / f"newstest2019-{name}.txt").write_text(f"{name} 1\n{name} 2\n")
    found = read_pair_sets([tmp_path], pivot=pivot)
    assert sorted(f"{each.source_language}-{each.target_language}" for each in found) == pairs
    # A pair that is named is measured, whatever its languages.
    files = ",".join(str(tmp_path / f"newstest2019-{name}.txt") for name in ("src.eng", "ref.eng-GB"))
    (named,) = read_pair_sets([f"en-en_GB={files}"])
    assert named.sources == ["src.eng 1", "src.eng 2"] and named.targets == ["ref.eng-GB 1", "ref.eng-GB 2"]


BUCC = {
    "de-en.sample.de": "de-1\teins\nde-2\tzwei\nde-3\tallein\n",
    "de-en.sample.en": "en-7\tone\nen-8\talone\nen-9\ttwo\n",
    "de-en.sample.gold": "de-1\ten-7\nde-2\ten-9\n",
}


def write_bucc(folder, **changed):
    folder.mkdir()
    for name, text in {**BUCC, **{f"de-en.sample.{ending}": text for ending, text in changed.items()}}.items():
        (folder / name).write_text(text)
    return folder


def test_the_gold_pairs_of_bucc_are_read_and_the_rest_is_named(tmp_path):
    folder = write_bucc(tmp_path / "bucc")
    for given in (folder, folder / "de-en.sample.gold"):
        found = read_pair_sets([given])
        assert [(pairs.source_language, pairs.target_language) for pairs in found] == [("en", "de")]
        assert (found[0].sources, found[0].targets) == (["one", "two"], ["eins", "zwei"])
        assert [(item.name, item.reason.split(" (")[0]) for item in found.passed_over] == [
            ("de-en.sample.de", "1 sentences without a translation"),
            ("de-en.sample.en", "1 sentences without a translation"),
        ]


def test_the_splits_of_bucc_in_one_folder(tmp_path):
    folder = write_bucc(tmp_path / "bucc")
    for name, text in BUCC.items():
        (folder / name.replace("sample", "training")).write_text(text.replace("eins", "EINS"))
    found = read_pair_sets([folder])
    assert [pairs.targets[0] for pairs in found] == ["EINS"]
    assert [
        item.name for item in found.passed_over if item.reason.startswith("the sample, beside de-en.training")
    ] == ["de-en.sample.gold"]
    assert [pairs.targets[0] for pairs in read_pair_sets([folder / "de-en.sample.gold"])] == ["eins"]
    for name, text in BUCC.items():
        (folder / name.replace("sample", "dev")).write_text(text)
    with pytest.raises(InputError, match=r"de-en\.dev\.gold and de-en\.training\.gold; give one of these files"):
        read_pair_sets([folder])


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"gold": "de-1\ten-7\nde-2\ten-5\n"}, "sample.gold: line 2: .*sample.en has no sentence with the id en-5"),
        ({"gold": "de-1\n"}, "sample.gold: line 1: 'de-1' is no pair"),
        ({"gold": "de-1\ten-7\n"}, "sample.gold: holds 1 pairs"),
        ({"de": "de-1\teins\nzwei\n"}, "sample.de: line 2: 'zwei' is not `id<TAB>sentence`"),
        ({"de": "de-1\teins\nde-1\tzwei\n"}, "sample.de: line 2: the id de-1 is given twice"),
    ],
)
def test_broken_files_of_bucc_are_named_with_their_line(changed, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_pair_sets([write_bucc(tmp_path / "bucc", **changed)])


def test_sentences_that_are_cut_are_counted_and_named(tiny_masked_lm, tokenizer):
    short, long = "a", " ".join(sentences("de", 6))
    english = sentences("en", 3)
    pair_sets = [
        PairSet("en", "de", english, [short, long, long + " b"], ("x",)),
        PairSet("en", "hi", english, ["c", "d", "e"], ("x",)),
    ]
    lengths = [len(tokenizer.encode(text)) + 2 for text in [*english, short, long]]
    limit = max(lengths[:4])
    assert lengths[-1] > limit
    result = evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, pair_sets, layers=[1], max_length=limit)
    assert result["languages"]["de"]["cut_sentences"] == {"source": 0, "target": 2} and result["max_length"] == limit
    (warning,) = cut_sentence_warnings(result)
    assert warning.startswith(f"warning: de: 2 of 3 sentences (66.7%) have more than {limit} tokens")
    assert warning in retrieval_report(result)
    assert {(row["name"], row["cut_target"]) for row in retrieval_rows(result)} == {("de", 2), ("hi", 0), ("mean", "")}
    # One token less, and the longest English sentence is cut too.
    shorter = evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, pair_sets, layers=[1], max_length=limit - 1)
    assert shorter["languages"]["hi"]["cut_sentences"]["source"] == sum(length == limit for length in lengths[:3])


def test_the_rows_of_a_pool_are_those_of_its_table(tiny_masked_lm, tokenizer):
    pair_sets = [PairSet("en", code, sentences("en", 4), sentences(code, 4), ("x",)) for code in ("de", "hi")]
    options = RetrievalOptions(mixed_pool=True)
    result = evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, pair_sets, layers=[1], options=options)
    rows = retrieval_rows(result)
    assert len({tuple(row) for row in rows}) == 1, "all rows have the same columns"
    pool = {row["name"]: row for row in rows if row["kind"].startswith("pool")}
    assert list(pool) == ["en", "de", "hi", "mean"]
    for name, row in pool.items():
        part = result["mixed_pool"]["mean"] if name == "mean" else result["mixed_pool"]["languages"][name]
        assert (row["accuracy"], row["own_language"], row["candidates"]) == (
            part["accuracy"],
            part["own_language"],
            12,
        )


def test_intervals_are_whole_on_a_narrow_screen():
    """80 columns, the longest names, and accuracies of 100%."""
    names = ["pt-zh_Hant_HK", "zh_Hant_HK"]
    result = retrieval_result({name: ([1.0], [1.0]) for name in names}, candidates=1_000_000)
    for part in (*result["languages"].values(), result["mean"]):
        part["intervals"] = {direction: [[1.0, 1.0]] for direction in DIRECTIONS}
    console = rich.console.Console(width=80, file=io.StringIO())
    console.print(language_table(result, 0))
    printed = console.file.getvalue()
    assert printed.count("100.0-100.0") == 6 and "1,000,000" in printed and "…" not in printed


def test_unknown_tokens_are_counted_and_warned_of(tiny_masked_lm, tokenizer):
    # No sentence of the vocabulary has a Cherokee letter.
    strange = [f"{text} \u13a0" for text in sentences("de", 4)]
    pair_sets = [
        PairSet("en", "de", sentences("en", 4), strange, ("x",)),
        PairSet("en", "hi", sentences("en", 4), sentences("hi", 4), ("x",)),
    ]
    result = evaluate_retrieval(tiny_masked_lm.backbone, tokenizer, pair_sets, layers=[1])
    tokens = sum(len(tokenizer.encode(text)) for text in strange)
    assert result["languages"]["de"]["unknown_tokens"] == {"source": 0.0, "target": 4 / tokens}
    assert result["languages"]["hi"]["unknown_tokens"] == {"source": 0.0, "target": 0.0}
    result["languages"]["de"]["unknown_tokens"]["target"] = 0.051
    (warning,) = unknown_token_warnings(result)
    assert warning.startswith("warning: de: 5.1% of the tokens are unknown")
    result["languages"]["de"]["unknown_tokens"]["target"] = 0.05
    assert unknown_token_warnings(result) == []


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pairs")
    for language in ("de", "hi"):
        rows = zip(sentences("en", 12), sentences(language, 12), strict=True)
        (directory / f"en-{language}.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in rows), encoding="utf-8")
    return directory


def test_the_command_measures_all_of_it(pairs, tiny_preset, tiny_masked_lm, tokenizer, tmp_path, capsys):
    output, table = tmp_path / "r.json", tmp_path / "r.csv"
    options = ["--similarity", "ratio", "--neighbours", 3, "--xsim", "--mixed_pool", "--layer", 1, "--bootstrap", 200]
    arguments = ["--model", tiny_preset, "--pairs", pairs, "--output", output, "--csv", table, *options]
    run(main, *arguments, "--groups", "both=de,hi")
    result = json.loads(output.read_text())
    assert (result["similarity"], result["neighbours"], result["chance"]) == ("ratio", 3, pytest.approx(1 / 12))
    both = [result["languages"][name] for name in ("de", "hi")]
    for direction in ("source_to_target", "target_to_source"):
        for row in (*both, result["mean"], result["groups"]["both"]):
            ((low, high),) = row["intervals"][direction]
            assert 0 <= low <= row[direction][0] <= high <= 1
        mean = np.mean([row[direction][0] for row in both])
        assert result["mean"][direction] == result["groups"]["both"][direction] == [pytest.approx(mean)]
        errors = np.mean([row["xsim"][direction][0] for row in both])
        assert result["mean"]["xsim"][direction] == [pytest.approx(errors)]
    assert result["xsim_margin"] == "ratio" and result["mixed_pool"]["similarity"] == "cosine"
    pool = result["mixed_pool"]
    assert pool["sentences"] == sum(row["sentences"] for row in pool["languages"].values()) == 36
    assert list(pool["languages"]) == ["en", "de", "hi"]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["kind"], row["name"]) for row in rows[:8:2]] == [
        ("language", "de"),
        ("language", "hi"),
        ("mean", "mean"),
        ("group", "both"),
    ]
    assert [(row["kind"], row["name"]) for row in rows[8:]] == [
        ("pool", "en"),
        ("pool", "de"),
        ("pool", "hi"),
        ("pool mean", "mean"),
    ]
    assert float(rows[0]["accuracy"]) == both[0]["source_to_target"][0]
    assert float(rows[1]["upper"]) == both[0]["intervals"]["target_to_source"][0][1]
    printed = capsys.readouterr().out
    for words in ("xSIM's error rate", "Among the 36 sentences of all languages by", "95%", "ratio over 3 neighbours"):
        assert words in printed
    # The same again, and without the additions the same accuracies.
    found = evaluate_retrieval(
        tiny_masked_lm.backbone,
        tokenizer,
        read_pair_sets([pairs]),
        [1],
        options=RetrievalOptions("ratio", 3, 200),
    )
    assert found["languages"]["hi"]["intervals"] == both[1]["intervals"]
    assert found["languages"]["hi"]["source_to_target"] == both[1]["source_to_target"]


BAD_INPUT = {
    "pool of all layers": (["--mixed_pool"], "--mixed_pool: needs one layer"),
    "group": (["--groups", "tatoeba-14"], "--groups tatoeba-14: there are no pairs of ar"),
    "neighbours": (["--neighbours", "0"], "neighbours = 0: must be at least 1"),
    "bootstrap": (["--bootstrap", "-1"], "bootstrap = -1: must be at least 0"),
    "two outputs": (["--output", "x.json", "--csv", "./x.json"], "--output and --csv are one file"),
    "pivot": (["--pivot", "??"], "pivot = '??': is no language"),
}


@pytest.mark.parametrize("options, words", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_options_end_before_the_model_is_loaded(options, words, pairs, tmp_path, capsys):
    assert words in refused(capsys, main, "--model", tmp_path / "absent", "--pairs", pairs, *options)
