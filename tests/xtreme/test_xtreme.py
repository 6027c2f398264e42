"""`infoxlm xtreme`: the files of the tasks under their distributed names, the commands, resuming, and the table."""

import csv
import json
import shutil

import pytest

from documentation_blocks import parser_of
from infoxlm_keras.commands import xtreme
from infoxlm_keras.commands.registry import main_of
from infoxlm_keras.errors import InputError
from infoxlm_keras.xtreme.discovery import find_tasks
from infoxlm_keras.xtreme.plan import MEASURE, parse_settings, task_stages
from infoxlm_keras.xtreme.results import console_table, markdown, notes, read_task, results_rows, table_cells
from infoxlm_keras.xtreme.tasks import TASKS
from quick_runs import quick_graphs
from sample_text import sentences

# As they are distributed: {task: {split: paths}}; those of the last list are passed over.
DISTRIBUTED = {
    "xnli": (
        {
            "train": ["XNLI-MT-1.0/multinli/multinli.train.en.tsv"],
            "dev": ["XNLI-1.0/xnli.dev.tsv"],
            "test": ["XNLI-1.0/xnli.test.tsv"],
        },
        [],
    ),
    "pawsx": (
        {
            "train": ["x-final/en/train.tsv"],
            "dev": ["x-final/en/dev_2k.tsv"],
            "test": ["x-final/de/test_2k.tsv", "x-final/zh/test_2k.tsv"],
        },
        [],
    ),
    "udpos": (
        {
            "train": ["ud-treebanks-v2.7/UD_English-EWT/en_ewt-ud-train.conllu"],
            "dev": ["ud-treebanks-v2.7/UD_English-EWT/en_ewt-ud-dev.conllu"],
            "test": [
                "ud-treebanks-v2.7/UD_English-EWT/en_ewt-ud-test.conllu",
                "ud-treebanks-v2.7/UD_German-GSD/de_gsd-ud-test.conllu",
            ],
        },
        ["ud-treebanks-v2.7/UD_Gothic-PROIEL/got_proiel-ud-test.conllu"],
    ),
    "panx": (
        {"train": ["panx_dataset/en/train"], "dev": ["panx_dataset/en/dev"], "test": ["panx_dataset/sw/test"]},
        ["panx_dataset/als/test"],
    ),
    "xquad": (
        {"train": ["squad/train-v1.1.json"], "dev": ["squad/dev-v1.1.json"], "test": ["xquad/xquad.ar.json"]},
        ["xquad/xquad.ro.json"],
    ),
    "mlqa": (
        {
            "train": ["squad/train-v1.1.json"],
            "dev": ["squad/dev-v1.1.json"],
            "test": ["MLQA_V1/test/test-context-de-question-de.json"],
        },
        [],
    ),
    "tydiqa": (
        {
            "train": ["tydiqa/tydiqa-goldp-v1.1-train.json"],
            "test": ["tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.fi.dev.json"],
        },
        [],
    ),
    "tatoeba": ({"test": ["tatoeba/v1/tatoeba.deu-eng.deu", "tatoeba/v1/tatoeba.deu-eng.eng"]}, []),
    "bucc": (
        {"dev": ["bucc2018/de-en/de-en.sample.gold"], "test": ["bucc2018/de-en/de-en.training.gold"]},
        [],
    ),
}
# Other files of the same data sets, which no task takes.
OTHERS = [
    "XNLI-MT-1.0/multinli/multinli.train.de.tsv",
    "x-final/de/translated_train.tsv",
    "MLQA_V1/test/test-context-de-question-en.json",
    "MLQA_V1/dev/dev-context-de-question-de.json",
    "panx_dataset/en/train.xlmr.idx",
    "ud-treebanks-v2.7/UD_English-EWT/stats.xml",
]


@pytest.fixture(scope="module")
def distributed(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name in {*OTHERS, *(path for files, _ in DISTRIBUTED.values() for part in files.values() for path in part)}:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for _, passed_over in DISTRIBUTED.values():
        for name in passed_over:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
    return root


@pytest.mark.parametrize("name", TASKS)
def test_the_files_of_a_task_are_found_by_their_distributed_names(name, distributed):
    found = find_tasks(distributed)[name]
    files, passed_over = DISTRIBUTED[name]
    assert found.files == {split: [distributed / path for path in sorted(paths)] for split, paths in files.items()}
    # Codes of more than two letters are no languages of PAN-X in XTREME, and are not looked at.
    assert found.others == [distributed / path for path in passed_over if "als" not in path]
    assert found.missing == []


@pytest.mark.parametrize(
    ("paths", "task", "missing"),
    [
        (["xnli.dev.tsv", "xnli.test.tsv"], "xnli", ["multinli.train.en.tsv"]),
        (["xnli/train-en.tsv", "xnli/test-de.tsv", "pawsx/test-de.tsv"], "xnli", []),
        (["panx/en/train.xlm-roberta-base", "panx/de/test.xlm-roberta-base"], "panx", []),
        (["panx/train-en.tsv", "panx/test-de.tsv"], "panx", []),
        (["udpos/train-en.tsv", "udpos/test-de.tsv"], "udpos", []),
        (["panx/train-en.tsv", "udpos/test-de.tsv"], "panx", ["panx/xx/test"]),
        (
            ["xquad.de.json"],
            "xquad",
            ["SQuAD's train-v1.1.json", "SQuAD's dev-v1.1.json or English test questions"],
        ),
        (["xquad.en.json", "xquad.de.json", "train-v1.1.json"], "xquad", []),
        (["de-en.training.gold"], "bucc", ["xx-en.sample.gold"]),
    ],
)
def test_other_forms_are_found_and_what_is_missing_is_named(paths, task, missing, tmp_path):
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert find_tasks(tmp_path)[task].missing == missing


def test_without_squads_development_questions_both_tasks_share_a_model_all_the_same(tmp_path):
    english = ["xquad.en.json", "test-context-en-question-en.json"]
    for path in (*english, "xquad.de.json", "test-context-de-question-de.json", "train-v1.1.json"):
        (tmp_path / path).touch()
    found = find_tasks(tmp_path)
    first, second = (task_stages(name, found[name], "runs/m", "out")[0].words for name in ("xquad", "mlqa"))
    assert first == second and first[first.index("--test") + 1] == str(tmp_path / english[0])
    (tmp_path / english[0]).unlink()
    found = find_tasks(tmp_path)
    words = task_stages("mlqa", found["mlqa"], "runs/m", "out")[0].words
    assert words[words.index("--test") + 1] == str(tmp_path / english[1])


def test_a_trained_model_stays_when_it_is_measured_on_more(tmp_path):
    data, output = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    model = tmp_path / "model"
    model.mkdir()
    for path in ("test-context-en-question-en.json", "train-v1.1.json"):
        (data / path).write_text(path)

    def stage():
        return task_stages("mlqa", find_tasks(data)["mlqa"], str(model), output)[0]

    def started(stage):
        return {"command": stage.words, "inputs": xtreme.inputs_of(stage, output, {})}

    first = stage()
    (output / first.name).mkdir(parents=True)
    (output / first.name / "command.json").write_text(json.dumps(started(first)))
    (data / "dev-v1.1.json").write_text("more")
    second = stage()
    assert first.words != second.words
    with pytest.raises(InputError, match="holds the work of another command"):
        xtreme.check_stage(second, output, started(second))  # it is not complete
    second.product.write_text("{}")
    xtreme.check_stage(second, output, started(second))
    (data / "train-v1.1.json").write_text("other")
    with pytest.raises(InputError, match="holds the work of another state of .*train-v1.1.json"):
        xtreme.check_stage(second, output, started(second))


def test_files_of_other_languages_are_named_where_there_are_no_others(tmp_path):
    for path in ("xquad.ro.json", "deu_x-ud-test.conllu"):
        (tmp_path / path).touch()
    found = find_tasks(tmp_path)
    assert found["xquad"].others == [tmp_path / "xquad.ro.json"] and "xquad.xx.json" in found["xquad"].missing
    assert found["udpos"].files["test"] == [tmp_path / "deu_x-ud-test.conllu"]


def test_each_command_is_one_that_its_parser_takes(distributed):
    found = find_tasks(distributed)
    settings = parse_settings(["seed=0,1", "xnli.learning_rate=1e-5"], list(TASKS))
    parsers = {}
    for name in TASKS:
        for stage in task_stages(name, found[name], "runs/m", "out", settings.get(name)):
            if stage.words[0] == MEASURE:
                assert stage.words[1:4] == ["out/squad-seed-0", "out/squad-seed-1", f"out/{name}/results.json"]
                continue
            module = f"infoxlm_keras.commands.{stage.words[0].replace('-', '_')}"
            parsers[module] = parsers.get(module) or parser_of(module)
            options = vars(parsers[module].parse_args(stage.words[1:]))
            if stage.words[0].startswith("finetune"):
                assert options["seed"] == ([int(stage.name[-1])] if stage.name.startswith("squad") else [0, 1])
                assert options["learning_rate"] == [{"xnli": 1e-5}.get(name, TASKS[name].settings["learning_rate"])]
                # 32 samples an update, as 8 x 4 and 4 x 8 in XTREME's scripts.
                assert options["batch_size"] == 32 and options["train_languages"] == ["en"]
                assert options["dev_languages"] == (["en"] if options["dev"] else None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("epochs", "write NAME=VALUE"),
        ("tatoeba.epochs=1", "'tatoeba' is none of the tasks that are fine-tuned"),
        ("test=x", "test is what this command chooses"),
        ("xquad.epochs=1", "xquad and mlqa share one model"),
        ("seed=0,1,00", "seed=0,1,00: names a number twice"),
        ("xnli.learning_rate=1e-5,0.00001", "names a number twice"),
        ("seed=first", "seed=first: must be numbers"),
    ],
)
def test_settings_that_cannot_be_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        parse_settings([given], list(TASKS))


@pytest.mark.parametrize(
    ("name", "why"),
    [("xquad", "takes the last update"), ("mlqa", "takes the last update"), ("tydiqa", "has no development data")],
)
def test_several_learning_rates_need_development_data(name, why, distributed):
    found = find_tasks(distributed)
    given = {"learning_rate": ["1e-5", "2e-5"]}
    with pytest.raises(InputError, match=rf"{TASKS[name].title} {why}.*such as {name}\.learning_rate=1e-5"):
        task_stages(name, found[name], "m", "out", given)
    assert len(task_stages("xnli", found["xnli"], "m", "out", given)) == 1
    # Its development data may be missing.
    found["xnli"].files["dev"] = []
    with pytest.raises(InputError, match="XNLI has no development data"):
        task_stages("xnli", found["xnli"], "m", "out", given)


def test_one_seed_of_squad_keeps_its_folder(distributed):
    for settings in (None, {"seed": ["3"]}):
        trained, measured = task_stages("xquad", find_tasks(distributed)["xquad"], "m", "out", settings)
        assert trained.name == "squad" and measured.words[:3] == [MEASURE, "out/squad", "out/xquad/results.json"]


def finetuned(folder, scores, **content):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({**scores, "settings": {"learning_rate": 2e-5}, **content}))


def test_the_table_has_means_over_the_published_languages(tmp_path):
    languages = dict.fromkeys(TASKS["xquad"].languages, 0.5)
    finetuned(tmp_path / "xquad", {"f1": {**languages, "ro": 0.0}, "exact_match": {**languages, "ar": 0.39}})
    finetuned(tmp_path / "pawsx", {"accuracy": {"de": 0.8, "en": 0.9}})
    found = {name: read_task(name, tmp_path) for name in TASKS}
    assert found["xnli"] is None
    found = {name: scores for name, scores in found.items() if scores}
    assert found["xquad"].means == {"f1": 0.5, "exact_match": pytest.approx(0.49)}
    assert notes(found) == [
        "PAWS-X: the mean is over 2 of 7 languages; not measured: es, fr, ja, ko, zh",
    ]
    headings, rows = table_cells(found, ["pawsx", "xquad", "tatoeba"])
    assert headings == ["", "PAWS-X acc", "XQuAD F1/EM", "Tatoeba acc"]
    assert rows == [
        ["this model", "85.0*", "50.0/49.0", "–"],
        ["XLM-R base", "84.9", "71.9/56.4", "–"],
        ["InfoXLM base", "–", "–", "–"],
        ["XLM-Align base", "86.8", "74.7/59.0", "–"],
    ]
    assert "| this model | 85.0* | 50.0/49.0 | – |" in markdown(headings, rows, ["a note"])
    assert console_table(headings, rows).row_count == 3
    written = [row for row in results_rows(found) if row["model"] == "this model" and row["task"] == "xquad"]
    assert {(row["score"], row["language"]): row["value"] for row in written}["f1", "ro"] == 0.0
    assert {(row["score"], row["language"]): row["value"] for row in written}["f1", "mean"] == 50.0


def test_several_seeds_are_reported_by_mean_and_deviation(tmp_path):
    summary = [
        {
            "learning_rate": rate,
            "seeds": [0, 1],
            "mean": {"accuracy": {"mean": mean, "sd": 0.02}},
            "scores": {"accuracy": {code: {"mean": mean, "sd": 0.01} for code in TASKS["pawsx"].languages}},
        }
        for rate, mean in ((1e-5, 0.1), (2e-5, 0.7))
    ]
    finetuned(tmp_path / "pawsx", {"accuracy": dict.fromkeys(TASKS["pawsx"].languages, 0.75)}, summary=summary)
    found = read_task("pawsx", tmp_path)
    assert found.means["accuracy"] == pytest.approx(0.7) and found.deviations == {"accuracy": 0.02}
    assert table_cells({"pawsx": found}, ["pawsx"])[1][0] == ["this model", "70.0 ± 2.0"]


@pytest.mark.parametrize("content", ["[]", "{}", '{"accuracy": {"de": "x"}}'])
def test_damaged_results_of_a_task_are_named(content, tmp_path):
    (tmp_path / "pawsx").mkdir()
    (tmp_path / "pawsx/results.json").write_text(content)
    with pytest.raises(InputError, match=r"pawsx/results\.json: "):
        read_task("pawsx", tmp_path)


@pytest.fixture(scope="module")
def small_data(tmp_path_factory):
    """XNLI, Tatoeba and BUCC of a few sentences."""
    root = tmp_path_factory.mktemp("xtreme")
    for folder in ("xnli", "tatoeba", "bucc"):
        (root / folder).mkdir()
    names = ("entailment", "neutral", "contradiction")
    texts = sentences("en", 12)
    rows = [f"{a}\t{b}\t{names[i % 3]}\n" for i, (a, b) in enumerate(zip(texts, texts[1:], strict=False))]
    (root / "xnli/multinli.train.en.tsv").write_text("premise\thypo\tlabel\n" + "".join(rows))
    for split in ("dev", "test"):
        lines = [
            f"{language}\t{label}\t{text}\t{text}\n"
            for language in ("de", "en")
            for text, label in zip(sentences(language, 3), names, strict=True)
        ]
        (root / f"xnli/xnli.{split}.tsv").write_text("language\tgold_label\tsentence1\tsentence2\n" + "".join(lines))
    for code, language in (("deu", "de"), ("eng", "en")):
        (root / f"tatoeba/tatoeba.deu-eng.{code}").write_text("\n".join(sentences(language, 9)) + "\n")
    for split, count in (("sample", 6), ("training", 8)):
        for language in ("de", "en"):
            lines = [f"{language}-{n}\t{text} {n}\n" for n, text in enumerate(sentences("en", count))]
            (root / f"bucc/de-en.{split}.{language}").write_text("".join(lines))
        gold = "".join(f"de-{n}\ten-{n}\n" for n in range(count - 1))
        (root / f"bucc/de-en.{split}.gold").write_text(gold)
    return root


@pytest.fixture
def in_process(monkeypatch):
    """Commands run in this process; returns the list of those that ran."""
    ran = []

    def run(words, check):
        ran.append(words[3])
        main_of(words[3])(words[4:])
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(xtreme.subprocess, "run", run)
    return ran


def test_tasks_run_once_and_another_model_is_refused(small_data, tiny_preset, tmp_path, in_process, capsys):
    model = shutil.copytree(tiny_preset, tmp_path / "model")
    arguments = ["--model", model, "--data_dir", small_data, "--output_dir", tmp_path / "out"]
    arguments += ["--set", "epochs=1", "accumulation_steps=1", "max_length=64", "jit_compile=false"]
    arguments = list(map(str, arguments))
    xtreme.main([*arguments, "--dry_run"])
    printed = capsys.readouterr().out
    assert in_process == [] and not (tmp_path / "out").exists()
    assert "POS: no file; not run, missing: UD's en_...-ud-train.conllu; UD's xx_...-ud-test.conllu" in printed
    assert f"--threshold (of {tmp_path}/out/bucc/de_dev.json)" in printed
    with quick_graphs():
        xtreme.main(arguments)
    assert in_process == ["finetune-classification", "evaluate-retrieval", "mine-bitext", "mine-bitext"]
    out = tmp_path / "out"
    dev, test = (json.loads((out / f"bucc/de_{split}.json").read_text()) for split in ("dev", "test"))
    assert test["threshold"] == dev["threshold"] and test["gold"]["threshold_from"] == "given"
    written = json.loads((out / "results.json").read_text())["tasks"]
    assert set(written) == {"xnli", "tatoeba", "bucc"}
    assert written["bucc"]["mean"] == {"f1": test["gold"]["f1"]}
    assert set(written["xnli"]["accuracy"]) == {"de", "en"} and "fr" in written["xnli"]["missing"]
    evaluations = json.loads((out / "xnli/results.json").read_text())["evaluations"]
    assert set(evaluations[-1]["development"]) == {"en"}, "XTREME chooses by English alone"
    retrieved = json.loads((out / "tatoeba/results.json").read_text())
    # The preset's universal layer is 1; the pairs are found from German to English.
    assert written["tatoeba"]["accuracy"] == {"de": retrieved["languages"]["de"]["target_to_source"][1]}
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert {row["model"] for row in rows} == {"this model", "XLM-R base", "InfoXLM base", "XLM-Align base"}
    first = (out / "results.md").read_text()
    assert "- POS: not run, missing: UD's" in first
    in_process.clear()
    xtreme.main(arguments)
    assert in_process == [] and (out / "results.md").read_text() == first
    with pytest.raises(InputError, match=r"holds the work of another command \(finetune-classification"):
        xtreme.main([*arguments, "--set", "epochs=2"])
    with pytest.raises(InputError, match="holds the files of none of the tasks panx"):
        xtreme.main([*arguments, "--tasks", "panx"])
    # The same names, and a model that was trained on.
    with open(model / "model.weights.h5", "ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match=f"holds the work of another state of {model}; give another"):
        xtreme.main(arguments)


def test_a_command_that_fails_ends_the_benchmark(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(xtreme.subprocess, "run", lambda words, check: type("Done", (), {"returncode": 2}))
    arguments = ["--model", "m", "--data_dir", small_data, "--output_dir", tmp_path / "out", "--tasks", "tatoeba"]
    with pytest.raises(InputError, match="evaluate-retrieval ended with status 2"):
        xtreme.main(list(map(str, arguments)))
    # Its command line is kept, so the same one goes on.
    started_with = json.loads((tmp_path / "out/tatoeba/command.json").read_text())
    assert started_with["command"][0] == "evaluate-retrieval"
