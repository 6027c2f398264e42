"""Samples that train sentence vectors, from pairs of translations and from files with columns."""

import csv
import gzip
import json
import re

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.embedding_samples import read_embedding_samples


@pytest.fixture
def write(tmp_path):
    def write(name, *lines):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def content(parts):
    return {part.language: (part.queries, part.positives, part.negatives) for part in parts}


def json_rows(*rows):
    return [json.dumps(row, ensure_ascii=False) for row in rows]


def test_pairs_of_translations_keep_the_order_of_their_name(write, tmp_path):
    write("pairs/news.en-de.tsv", "house\tHaus", "\tallein", "", "river\tFluss")
    write("pairs/t.fr-en.fr.gz", "maison")
    write("pairs/t.fr-en.en", "house")
    german, french = read_embedding_samples([tmp_path / "pairs"])
    assert content([german, french]) == {
        "en-de": (["house", "river"], ["Haus", "Fluss"], [[], []]),
        "fr-en": (["maison"], ["house"], [[]]),
    }
    assert [part.left_out for part in (german, french)] == [1, 0] and len(german) == 2
    assert list(german.reasons.values()) == [{"an empty query": 1}]
    assert {name.rpartition("/")[2] for name in french.files} == {"t.fr-en.fr.gz", "t.fr-en.en"}


NAMES = {
    "sentence-transformers' triplets": ("all-nli.jsonl", {"anchor": "q", "positive": "p", "negative": "n"}, "all"),
    "several negatives": (
        "t.jsonl",
        {"query": "q", "positive": "p", "negative_1": "n", "negative_2": "m", "id": 3},
        "all",
    ),
    "FlagEmbedding's lists": ("de.jsonl", {"query": "q", "pos": ["p"], "neg": ["n", "m"], "pos_scores": [1]}, "de"),
    "questions with answers": ("nq.jsonl", {"question": "q", "answer": "p"}, "all"),
    "a column of languages": ("x.jsonl", {"sentence1": "q", "sentence2": "p", "lang": "deu-eng"}, "de-en"),
    "a pair in the file's name": ("x.en-de.jsonl", {"Query": "q", "Passage": "p"}, "en-de"),
    "one object of a list": ("train.sw.json", {"query": " q ", "positive": "p", "negatives": ["n"]}, "sw"),
}


@pytest.mark.parametrize(("name", "row", "language"), NAMES.values(), ids=NAMES)
def test_columns_of_known_names(write, name, row, language):
    rows = json_rows(row)
    (part,) = read_embedding_samples([write(name, *([f"[{rows[0]}]"] if name.endswith(".json") else rows))])
    listed = [value for key, value in row.items() if key.startswith("neg")]
    negatives = [text for value in listed for text in (value if isinstance(value, list) else [value])]
    assert (part.language, part.queries, part.positives) == (language, ["q"], ["p"])
    assert part.negatives == [negatives]


def test_each_of_several_positives_makes_a_sample(write):
    rows = json_rows({"query": "q", "pos": ["a", "", "b"], "neg": ["b", "n"]})
    (part,) = read_embedding_samples([write("x.jsonl", *rows)])
    assert content([part]) == {"all": (["q", "q"], ["a", "b"], [["n"], ["n"]])}
    (counts,) = part.reasons.values()
    assert counts == {"an empty positive": 1}
    assert part.notes == [f"note: {part.files[0]}: negatives of all left out: 1 equal to a positive"]


def test_every_sample_gets_the_smallest_number_of_negatives(write):
    rows = json_rows(
        {"query": "a", "positive": "p", "negatives": ["1", "2", "3"]},
        {"query": "b", "positive": "p", "negatives": ["1", None, "p", "1", " 2 "]},
        {"query": "c", "positive": "p", "negatives": []},
        {"query": "", "positive": "p", "negatives": ["1"]},
    )
    path = write("x.de.jsonl", *rows)
    (part,) = read_embedding_samples([path])
    assert content([part]) == {"de": (["a", "b"], ["p", "p"], [["1", "2"], ["1", "2"]])}
    assert part.reasons == {str(path): {"an empty query": 1, "no negative, unlike others": 1}}
    assert part.left_out == 2
    expected = {"empty": 1, "equal to a positive": 1, "given twice": 1, "beyond the first 2": 1}
    assert part.negatives_left_out == {str(path): expected}


def test_the_smallest_number_is_that_of_all_languages_of_a_call(write):
    one = write("x.de.jsonl", *json_rows({"query": "q", "positive": "p", "negative": "n"}))
    two = write("x.fr.jsonl", *json_rows({"query": "q", "positive": "p", "neg": ["n", "m"]}))
    assert [part.negatives for part in read_embedding_samples([one, two])] == [[["n"]], [["n"]]]
    assert [part.negatives for part in read_embedding_samples([two])] == [[["n", "m"]]]
    pairs = write("x.en-de.tsv", "house\tHaus")
    with pytest.raises(InputError, match="no sample of en-de; left out: 1 with no negative, unlike others"):
        read_embedding_samples([one, pairs])


def test_one_table_in_every_format(write, tmp_path):
    rows = [("Was?", 'ein "Ding", rot', "x, y"), ("Wer?", "er", "z")]
    names = ["query", "positive", "negative"]
    with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    write("b.tsv", *("\t".join(row) for row in [names, *rows]))
    write("c.jsonl.gz", *json_rows(*(dict(zip(names, row, strict=True)) for row in rows)))
    table = pyarrow.table({name: [row[place] for row in rows] for place, name in enumerate(names)})
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    for name in ("a.csv", "b.tsv", "c.jsonl.gz", "d.parquet"):
        (part,) = read_embedding_samples([f"de={tmp_path / name}"])
        queries, positives, negatives = zip(*rows, strict=True)
        assert content([part]) == {"de": ([*queries], [*positives], [[text] for text in negatives])}
    (tmp_path / "README.md").write_text("no data")
    (part,) = read_embedding_samples([tmp_path], max_samples=7)
    assert (len(part), len(part.files)) == (7, 4)


def test_a_list_in_a_cell_of_text(write):
    path = write("x.tsv", "query\tpos\tneg", 'q\t["p", "r"]\t["n"]', "s\t(t)\tu")
    (part,) = read_embedding_samples([path])
    assert content([part]) == {"all": (["q", "q", "s"], ["p", "r", "(t)"], [["n"], ["n"], ["u"]])}
    # What is no list in JSON is a text; and in JSON lines a text is never a list.
    (part,) = read_embedding_samples([write("x.tsv", "query\tpos\tneg", "q\tp\t[music] n")])
    assert part.negatives == [["[music] n"]]
    (part,) = read_embedding_samples([write("y.jsonl", *json_rows({"query": "q", "pos": '["p"]', "neg": "[n]"}))])
    assert (part.positives, part.negatives) == (['["p"]'], [["[n]"]])


def test_remarks_on_columns_that_are_not_read_and_languages_of_file_names(write):
    (part,) = read_embedding_samples(
        [write("law.jsonl", *json_rows({"query": "q", "pos": "p", "hard_negative": "n"}))]
    )
    assert part.notes[0].endswith("law.jsonl: columns that are not read: hard_negative")
    (part,) = read_embedding_samples([write("fin.jsonl", *json_rows({"query": "q", "pos": "p"}))])
    assert part.language == "fi" and "fin.jsonl: is read as fi, by its name" in part.notes[0]
    (part,) = read_embedding_samples([write("train.fi.jsonl", *json_rows({"query": "q", "pos": "p"}))])
    assert part.language == "fi" and part.notes == []


def test_negatives_are_compared_as_they_are_mined(write):
    rows = json_rows({"query": "c", "pos": "b", "negatives": ["B ", "C", "d", "D "]})
    (part,) = read_embedding_samples([write("x.jsonl", *rows)])
    assert part.negatives == [["d"]]
    (counts,) = part.negatives_left_out.values()
    assert counts == {"equal to a positive": 1, "equal to the query": 1, "given twice": 1}


def test_a_header_with_another_separator_is_named(write):
    for name, header, hint in (
        ("x.csv", "query;positive", "one cell that holds ';'; commas separate the cells of .csv"),
        ("x.tsv", "query,positive", "one cell that holds ','; tabs separate cells"),
    ):
        with pytest.raises(InputError, match=re.escape(hint)):
            read_embedding_samples([write(name, header, "a;b")])


def test_the_languages_that_are_wanted_and_the_first_samples(write):
    rows = [{"query": f"q{n}", "positive": "p", "language": ("de", "eng-fra")[n % 2]} for n in range(6)]
    path = write("x.jsonl", *json_rows(*rows))
    parts = read_embedding_samples([path], languages=["eng-fr"], max_samples=2)
    assert content(parts) == {"en-fr": (["q1", "q3"], ["p", "p"], [[], []])}
    with pytest.raises(InputError, match="no sample of sw"):
        read_embedding_samples([path], languages=["sw", "de"])


BAD = {
    "no positive": (
        "x.jsonl",
        ['{"query": "q", "text": "p"}'],
        "x.jsonl: no column with a positive among query, text",
    ),
    "no query": ("x.csv", ["a,positive", "q,p"], "x.csv: no column with a query among a, positive; known: query"),
    "no header": ("x.tsv", ["house\tHaus", "river\tFluss"], "languages in the file's name, as in NAME.en-de.tsv"),
    "a row without it": (
        "x.jsonl",
        ['{"query": "q", "positive": "p"}', '{"query": "q", "neg": []}'],
        "x.jsonl: line 2: has no column positive, only query, neg",
    ),
    "judged pairs": ("x.tsv", ["sentence1\tsentence2\tscore", "a\tb\t0.1"], "has a column score"),
    "ids": ("x.jsonl", ['{"query": 3, "positive": 5}'], "x.jsonl: line 1: query is a int, not text"),
    "ids in a list": ("x.jsonl", ['{"query": "q", "pos": [3]}'], "x.jsonl: line 1: pos is a int, not text"),
    "an object": ("x.jsonl", ['{"query": "q", "pos": {"text": "p"}}'], "line 1: pos is a dict, not text"),
    "nothing": ("x.jsonl", [""], "holds no sample"),
    "nothing to use": ("x.tsv", ["query\tpos", "\tp"], "no sample of all; left out: 1 with an empty query"),
    "no language": ("x.jsonl", ['{"query": "q", "pos": "p", "lang": ""}'], "line 1: lang is empty"),
    "several languages": ("x.en.de.jsonl", ['{"query": "q", "pos": "p"}'], "en and de are codes of languages"),
    "half a character": ("x.jsonl", ['{"query": "\\ud800", "pos": "p"}'], "line 1: query: is not valid Unicode"),
    "broken": ("x.jsonl", ['{"query": "q", "pos": "p"}', "{"], "x.jsonl: line 2: is not JSON"),
}


@pytest.mark.parametrize(("name", "lines", "message"), BAD.values(), ids=BAD)
def test_refused(write, name, lines, message):
    with pytest.raises(InputError) as error:
        read_embedding_samples([write(name, *lines)])
    assert message in str(error.value)


def test_refused_arguments(write, tmp_path):
    path = write("x.jsonl", *json_rows({"query": "q", "positive": "p"}))
    with pytest.raises(InputError, match="given 2 times"):
        read_embedding_samples([path, tmp_path])
    with pytest.raises(InputError, match="max_samples = 0"):
        read_embedding_samples([path], max_samples=0)
    with pytest.raises(InputError, match="no such file"):
        read_embedding_samples([tmp_path / "y.jsonl"])


TEXTS = st.sampled_from(["", " ", "a", "b", "c"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=2), st.lists(TEXTS, max_size=4)), min_size=1, max_size=6))
def test_what_is_read_is_complete_and_equal_in_number(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("samples") / "x.jsonl"
    path.write_text(
        "".join(f"{line}\n" for line in json_rows(*({"query": q, "pos": p, "neg": n} for q, p, n in rows)))
    )
    number_of_pairs = sum(max(1, len(positives)) for _, positives, _ in rows)
    try:
        (part,) = read_embedding_samples([path])
    except InputError as error:
        assert not any(query.strip() and any(map(str.strip, positives)) for query, positives, _ in rows) or (
            "no negative" in str(error)
        )
        return
    assert len(part) + part.left_out == number_of_pairs
    assert all(part.queries) and all(part.positives) and all(map(all, part.negatives))
    assert len({len(negatives) for negatives in part.negatives}) == 1
    assert all(text not in negatives for text, negatives in zip(part.positives, part.negatives, strict=True))
