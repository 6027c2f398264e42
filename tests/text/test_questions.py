"""Readers of files in SQuAD's form: languages from names, what is left out, and what is refused."""

import gzip
import json

import datasets
import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.questions import read_questions

CONTEXT = "The old bridge stands beside the river."


def entry(name, answer="bridge", start=8, question="what stands?", **more):
    return {"id": name, "question": question, "answers": [{"text": answer, "answer_start": start}], **more}


def write(path, *entries, context=CONTEXT):
    path.parent.mkdir(exist_ok=True)
    content = {"version": "1.1", "data": [{"title": "x", "paragraphs": [{"context": context, "qas": list(entries)}]}]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "language", "answers", "rules"),
    [
        ("xquad.ar.json", "ar", "ar", "squad"),
        ("train-v1.1.json", "en", "en", "squad"),
        ("test-context-de-question-en.json", "de-en", "de", "mlqa"),
        ("dev-context-zh-question-zh.json", "zh", "zh", "mlqa"),
        ("tydiqa.goldp.ar.dev.json", "ar", "ar", "squad"),
        ("tydiqa.en.train.json", "en", "en", "squad"),
        ("squad.translate.train.en-de.json", "de", "de", "squad"),
        ("vi_squad-translate-train-train-v1.1.json", "vi", "vi", "squad"),
        ("sw/test.json", "sw", "sw", "squad"),
    ],
)
def test_the_language_is_read_from_the_name(tmp_path, name, language, answers, rules):
    (part,) = read_questions([write(tmp_path / name, entry("1"))])
    assert (part.language, part.answer_language, part.rules, len(part)) == (language, answers, rules, 1)


def test_tydiqas_first_release_has_the_language_in_the_ids(tmp_path):
    path = write(
        tmp_path / "tydiqa-goldp-v1.1-dev.json", entry("finnish-1-2"), entry("arabic-7-1"), entry("finnish-2")
    )
    assert {part.language: len(part) for part in read_questions([path])} == {"ar": 1, "fi": 2}
    assert [part.language for part in read_questions([path], ["fin"])] == ["fi"]
    write(path, entry("klingon-1"))
    with pytest.raises(InputError, match=r"question klingon-1: does not begin with the name of a language of TyDiQA"):
        read_questions([path])


def test_what_has_no_answer_is_left_out_and_counted(tmp_path):
    path = write(
        tmp_path / "xquad.en.json",
        entry("good"),
        entry("blank", answer=" "),
        entry("empty", question=" "),
        entry("impossible", is_impossible=True),
        {"id": "none", "question": "x", "answers": []},
        {"id": "unlabelled", "question": "x"},
        entry("moved", start=9),
        entry("before", start=-31),
        {"id": "nowhere", "question": "x", "answers": [{"text": "river"}]},
    )
    (part,) = read_questions([path])
    assert [question.id for question in part.questions] == ["good", "moved", "before", "nowhere"]
    assert part.reasons == {
        str(path): {"no gold answer": 3, "an empty question": 1, "no possible answer (is_impossible)": 1}
    }
    assert part.left_out == 5
    assert part.misplaced == {str(path): ["moved", "before", "nowhere"]}
    assert [question.starts for question in part.questions] == [(8,), (None,), (None,), (None,)]
    assert len(read_questions([path], max_samples=2)[0]) == 2


def test_several_gold_answers_and_files_of_one_language(tmp_path):
    several = entry("1")
    several["answers"] += [{"text": "old bridge", "answer_start": 4}, {"text": "", "answer_start": 0}]
    paths = [write(tmp_path / "a.en.json", several), write(tmp_path / "b.en.json", entry("2"))]
    (part,) = read_questions(paths)
    assert part.files == [str(path) for path in paths]
    assert part.questions[0].answers == ("bridge", "old bridge") and part.questions[0].starts == (8, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"holds no sample; rows follow a header, or are JSON objects"),
        ({"data": {}}, r"lacks the list data"),
        ({"data": []}, r"holds no question"),
        ({"data": [{"title": "x"}]}, r"data\[0\]: lacks the list paragraphs"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"data\[0\]: paragraphs\[0\]: context is nothing, not text"),
        ({"data": [{"paragraphs": [{"context": "x"}]}]}, r"paragraphs\[0\]: lacks the list qas"),
        ({"data": [{"paragraphs": [{"context": "x", "qas": [3]}]}]}, r"qas\[0\]: is a int, not an object"),
        (
            {"data": [{"paragraphs": [{"context": "x", "qas": [{"id": [3]}]}]}]},
            r"qas\[0\]: id is of type list, not text",
        ),
    ],
)
def test_another_form_is_refused_with_its_place(tmp_path, content, message):
    path = tmp_path / "xquad.en.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"{path}: .*{message}|{path}: {message}"):
        read_questions([path])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("a"), entry("a")], "question a: this id comes twice, the first time in"),
        ([entry("a", start="8")], r"question a: answers\[0\]: answer_start is '8'; give the number of a character"),
        ([entry("a", start=8.5)], r"answers\[0\]: answer_start is 8.5; give the number of a character"),
        ([entry("a", is_impossible="true")], "question a: is_impossible is 'true'; write true or false"),
        ([entry("a", answer=3)], r"question a: answers\[0\]: text is of type int, not text"),
        ([entry("a", question=None)], "question a: question is nothing, not text"),
        ([entry("a", question="x\0")], "question a: question: holds a NUL character"),
        ([entry("a", answer="")], "no question with a gold answer of en; left out: 1 x no gold answer"),
    ],
)
def test_a_broken_question_is_refused_with_its_id(tmp_path, entries, message):
    path = write(tmp_path / "xquad.en.json", *entries)
    with pytest.raises(InputError, match=f"{path}.*{message}"):
        read_questions([path])


def test_names_that_say_no_language_or_the_wrong_one(tmp_path):
    for name, message in (
        ("questions.json", "neither its name nor its folder's says the language; name it like xquad.ar.json"),
        ("translate-test-context-de-question-de.json", "MLQA's translate-test, whose texts are English"),
    ):
        with pytest.raises(InputError, match=message):
            read_questions([write(tmp_path / name, entry("1"))])
    path = write(tmp_path / "xquad.en.json", entry("1"))
    with pytest.raises(InputError, match="is given 2 times"):
        read_questions([path, path])
    cross = write(tmp_path / "test-context-de-question-en.json", entry("1"))
    assert [part.language for part in read_questions([path, cross], ["de-en"])] == ["de-en"]
    with pytest.raises(InputError, match="no question with a gold answer of de"):
        read_questions([path], ["de"])
    with pytest.raises(InputError, match="nowhere.json: no such file"):
        read_questions([tmp_path / "nowhere.json"])
    with pytest.raises(InputError, match="are compared by the rules of mlqa, but"):
        read_questions([path, write(tmp_path / "dev-context-en-question-en.json", entry("2"))])


def test_a_number_is_an_id_and_a_mark_before_utf_8_is_no_text(tmp_path):
    path = write(tmp_path / "x.en.json", entry(17), entry("b"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (part,) = read_questions([path])
    assert [question.id for question in part.questions] == ["17", "b"]
    for odd in (True, 1.5, None):
        with pytest.raises(InputError, match="id is"):
            read_questions([write(tmp_path / "y.en.json", entry(odd))])


# === Rows, as the Hugging Face `datasets` library writes them ===

ROWS = [
    {
        "id": str(number),
        "title": "x",
        "context": CONTEXT,
        "question": f"what stands? {number}",
        "answers": {"text": ["bridge", "The old bridge"], "answer_start": [8, 0]},
    }
    for number in range(3)
]
LISTED = [{"text": "bridge", "answer_start": 8}, {"text": "The old bridge", "answer_start": 0}]


def write_rows(path, rows=ROWS):
    dataset = datasets.Dataset.from_list(rows)
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        dataset.to_parquet(path)
    elif path.name.startswith("list"):
        dataset.to_json(path, lines=False)
    else:
        dataset.to_json(path)
    return path


@pytest.mark.parametrize("name", ["rows.ar.jsonl", "rows.ar.json", "list.ar.json", "ar/test-00000-of-00001.parquet"])
def test_rows_give_the_same_questions_as_squads_form(tmp_path, name):
    path = write_rows(tmp_path / name)
    entries = [{"id": row["id"], "question": row["question"], "answers": LISTED} for row in ROWS]
    expected = read_questions([write(tmp_path / "xquad.ar.json", *entries)])
    (part,) = read_questions([path])
    assert part.questions == expected[0].questions and len(part) == 3
    assert (part.language, part.answer_language, part.rules) == ("ar", "ar", "squad")


def test_rows_without_an_answer_are_left_out_and_broken_ones_named(tmp_path):
    path = write_rows(tmp_path / "rows.ar.jsonl", [*ROWS, {**ROWS[0], "id": "9", "answers": empty_answers()}])
    (part,) = read_questions([path])
    assert (len(part), part.reasons) == (3, {str(path): {"no gold answer": 1}})
    for row, message in (
        ({**ROWS[0], "answers": {"text": ["a"], "answer_start": []}}, "line 1: answers must hold two lists of one"),
        ({"id": "1", "question": "what?"}, "line 1: lacks context; a row of questions has id, context, question"),
        ({name: ROWS[0][name] for name in ("id", "context", "question")}, "line 1: lacks answers; a row of"),
        ({**ROWS[0], "question": None}, "line 1: question 0: question is nothing, not text"),
    ):
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
        with pytest.raises(InputError, match=message):
            read_questions([path])


@pytest.mark.parametrize(
    ("name", "language", "rules"),
    [
        ("de/train-v1.1.jsonl", "en", "squad"),
        ("de/train-v1.1.parquet", "en", "squad"),
        ("fi/test-context-de-question-en.jsonl", "de-en", "mlqa"),
        ("squad.translate.train.en-de.jsonl", "de", "squad"),
        ("en/de_squad-translate-train-train-v1.1.jsonl", "de", "squad"),
    ],
)
def test_names_of_rows_say_what_those_of_squads_form_say(tmp_path, name, language, rules):
    (part,) = read_questions([write_rows(tmp_path / name)])
    assert (part.language, part.rules, len(part)) == (language, rules, 3)


def test_rows_that_have_no_possible_answer_are_left_out(tmp_path):
    rows = [{**row, "is_impossible": row["id"] == "1"} for row in ROWS]
    for name in ("rows.ar.jsonl", "ar/rows.parquet"):
        (part,) = read_questions([write_rows(tmp_path / name, rows)])
        assert [question.id for question in part.questions] == ["0", "2"]
        assert list(part.reasons.values()) == [{"no possible answer (is_impossible)": 1}]


def test_the_form_is_told_by_the_outermost_keys(tmp_path):
    path = tmp_path / "x.ar.json"
    for more in ({"data": []}, {"meta": {"data": 1}}):
        path.write_text("\n".join(json.dumps({**more, **row}) for row in ROWS), encoding="utf-8")
        assert len(read_questions([path])[0]) == 3
    squad = json.loads(write(tmp_path / "y.ar.json", entry("1")).read_text())
    for more in ({"answers": "see below"}, {"context": "abc", "question": "q"}):
        path.write_text(json.dumps({**more, **squad}), encoding="utf-8")
        assert [question.id for question in read_questions([path])[0].questions] == ["1"]


def test_squads_form_is_not_read_compressed_and_rows_are(tmp_path):
    squad, rows = write(tmp_path / "x.ar.json", entry("1")), write_rows(tmp_path / "y.ar.json")
    for path in (squad, rows):
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match="x.ar.json.gz: is compressed, and a .json file is read uncompressed only"):
        read_questions([tmp_path / "x.ar.json.gz"])
    assert len(read_questions([tmp_path / "y.ar.json.gz"])[0]) == 3


def empty_answers():
    return {"text": [], "answer_start": []}
