"""`infoxlm report`: what the page and the Markdown say of runs, that the page loads nothing, and bad input."""

import html.parser
import json
import re

import pytest

from infoxlm_keras.commands import demo
from infoxlm_keras.commands.report import main, write_report
from infoxlm_keras.errors import InputError
from infoxlm_keras.reports.page.charts import MOST_POINTS, thinned
from infoxlm_keras.reports.page.markdown import markdown_report
from infoxlm_keras.reports.page.run_contents import read_run
from infoxlm_keras.reports.page.sections import report_sections
from infoxlm_keras.runs.directory import RunDirectory
from retrieval_results import retrieval_result

CONFIG = "steps: 20\nseed: {seed}\ntasks: [mmlm]\nlog_every: 5\nmodel:\n  size: tiny\n"
HISTORY = """\
step,loss,mmlm_loss,mmlm_mi_lower_bound,tokens_per_second,retrieval_source_to_target
5,9.5,9.25,0.5,1000,
10,8.5,8.125,1.5,1200,0.25
"""


def write_run(folder, seed=1, finished=False):
    """A pre-training run at step 10 of 20, with a retrieval that has intervals."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(seed=seed))
    (folder / "history.csv").write_text(HISTORY)
    result = retrieval_result({"de": ([0.25, 0.75], [0.5, 0.625]), "fr": ([0.125, 0.5], [0.25, 0.5])})
    for part in (*result["languages"].values(), result["mean"]):
        part["intervals"] = {
            way: [[value - 0.125, value + 0.125] for value in part[way]]
            for way in ("source_to_target", "target_to_source")
        }
    (folder / "retrieval_heldout.json").write_text(json.dumps({"model": {"source": f"{folder}/model"}, **result}))
    if finished:
        content = {"step": 20, "last_interval": {"step": 20, "loss": 7.5, "mmlm_loss": 7.25}, "best": None}
        (folder / "pretraining.json").write_text(json.dumps(content))
        (folder / "model").mkdir()
        info = {"data": {"mmlm": "sha256:abc"}, "tokenizer_fingerprint": "sha256:def", "universal_layer": 1}
        (folder / "model" / "infoxlm.json").write_text(json.dumps(info))
    else:
        samples = {"mmlm": [{"length": None, "first_sample": 8, "last_sample": 15, "records": {"de": {"0": [1, 2]}}}]}
        entry = {"first_step": 7, "last_step": 7, "skipped": 1, "samples": samples}
        (folder / "skipped_steps.jsonl").write_text(json.dumps(entry) + "\n")
    return folder


def write_finetuning(folder):
    folder.mkdir(parents=True)
    results = {
        "model": "runs/demo/model",
        "settings": {"epochs": 2, "learning_rate": 2e-5},
        "training": {"en": 100},
        "measured_on": "test",
        "samples": {"en": 10, "sw": 20},
        "left_out": {},
        "accuracy": {"en": 0.875, "sw": 0.5},
        "mean": 0.6875,
        "transfer_gap": 0.375,
        "summary": [
            {
                "learning_rate": 2e-5,
                "seeds": [0, 1],
                "development_mean": None,
                "mean": {"accuracy": {"mean": 0.6875, "sd": 0.0125}},
            }
        ],
    }
    (folder / "results.json").write_text(json.dumps(results))
    write_trial(folder)
    return folder


def write_trial(folder, seed=0):
    """A run of a fine-tuning command after one of two epochs."""
    trial = folder / "runs" / f"lr-2e-05_seed-{seed}"
    trial.mkdir(parents=True)
    (trial / "run.json").write_text(json.dumps({"settings": {"epochs": 2, "seed": seed}, "samples": "abc"}))
    measures = [{"update": 9, "epoch": 1.0, "loss": 0.75, "development": {"en": 0.5}, "development_mean": 0.5}]
    (trial / "development.json").write_text(json.dumps(measures))


class Page(html.parser.HTMLParser):
    """The elements of a page, and the text of its scripts and of its body."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.styles, self.text, self.within = [], [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.within.append(tag)

    def handle_endtag(self, tag):
        if tag in self.within:
            self.within.remove(tag)

    def handle_data(self, data):
        if "script" in self.within:
            self.scripts.append(data)
        elif "style" in self.within:
            self.styles.append(data)
        else:
            self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(page, Markdown) of three runs, one of them with a name that is markup."""
    root = tmp_path_factory.mktemp("runs")
    runs = [write_run(root / "first", finished=True), write_run(root / "<b>second|", seed=2)]
    runs.append(write_finetuning(root / "xnli"))
    files = write_report(runs, root / "report.html")
    assert [path.name for path in files] == ["report.html", "report.md"]
    return [path.read_text(encoding="utf-8") for path in files]


def specs_of(page):
    found = [json.loads(text) for text in Page(page).scripts if text.startswith("[{")]
    (specs,) = found
    return specs


def test_the_page_loads_nothing_and_forbids_that_anything_be_loaded(written):
    page = Page(written[0])
    loading = {"src", "srcset", "data", "action", "poster", "background"}
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base")
        assert not loading & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import", "".join(page.styles))
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    # What no directive of its own names falls under this one: connections, fonts, frames, scripts of other origins.
    assert policy.startswith("default-src 'none';") and "http" not in policy and "*" not in policy


def test_the_page_follows_the_width_and_the_colours_of_the_reader(written):
    page = Page(written[0])
    metas = {a.get("name"): a.get("content") for tag, a in page.elements if tag == "meta"}
    assert metas["viewport"].startswith("width=device-width") and metas["color-scheme"] == "light dark"
    assert "prefers-color-scheme: dark" in "".join(page.styles)
    assert all(spec["width"] == "container" and "config" not in spec for spec in specs_of(written[0]))


def test_names_that_are_markup_are_shown_as_text(written):
    page, markdown = written
    assert "b" not in [tag for tag, _ in Page(page).elements]
    assert "<b>second|" in Page(page).text and r"\<b\>second\|" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| state ")]
    assert rows == ["| state | finished | not finished | finished |"]


def test_the_charts_hold_the_numbers_of_the_run_and_can_be_drawn(written):
    import vl_convert

    specs = specs_of(written[0])
    assert len(specs) == sum("data-chart" in attributes for _, attributes in Page(written[0]).elements)
    values = [row for spec in specs for rows in _rows(spec) for row in rows]
    assert {"name": "first", "x": 10, "y": 8.125} in values
    assert {"name": "first · source → target", "x": 10, "y": 0.25} in values
    in_percent = {"name": "first · retrieval_heldout", "language": "de", "x": 75.0, "lower": 62.5, "upper": 87.5}
    assert in_percent in values
    assert {"language": "fr", "layer": 1, "value": 50.0} in values
    for spec in specs:
        drawn = vl_convert.vegalite_to_svg(spec)
        assert "mark-symbol" in drawn or "mark-rect" in drawn
        names = {row["name"] for rows in _rows(spec) for row in rows if "name" in row}
        assert len(names) < 2 or all(name.split("<")[0] in drawn for name in names)


def test_a_run_has_one_colour_in_all_charts(written):
    """The colour of a name is that of its place in the domain; the legend names only what is drawn."""
    found = 0
    for spec in specs_of(written[0]):
        names = {row["name"] for rows in _rows(spec) for row in rows if "name" in row}
        if names and names <= {"first", "<b>second|"}:
            color = spec["layer"][0]["encoding"]["color"]
            assert color["scale"]["domain"] == ["first", "<b>second|", "xnli"]
            assert set(color["legend"]["values"]) == names
            found += 1
    assert found >= 3


def _rows(spec):
    return [
        *spec.get("datasets", {}).values(),
        *([spec["data"]["values"]] if "values" in spec.get("data", {}) else []),
    ]


def test_the_markdown_has_what_differs_the_results_and_the_data(written):
    lines = written[1].splitlines()
    differing = lines[lines.index("### Settings of pre-training that differ") :]
    assert differing[2:6] == [r"|  | first | \<b\>second\| |", "| --- | --- | --- |", "| seed | 1 | 2 |", ""]
    for line in (
        "| steps | 20 | 10 of 20 | – |",
        "| MMLM loss in nats | 7.25 | 8.125 |",
        "| transfer gap in percentage points | 37.5 |",
        "| sw | 50.0 |",
        "| xnli | 2e-05 | 0, 1 | – | 68.8 ± 1.2 |",
        "| records of mmlm | sha256:abc |",
        r"| \<b\>second\| | 7 | 1 | mmlm samples 8..15 (de 2) |",
    ):
        assert line in lines
    (language,) = [line for line in lines if line.startswith("| de |")]
    both = "75.0 (62.5–87.5) | 62.5 (50.0–75.0)"
    assert language == f"| de | {both} | {both} |"


def test_the_report_names_the_files_as_the_run_does(tmp_path):
    """A run that is renamed in `RunDirectory` would otherwise be without that part in the report."""
    from infoxlm_keras.reports.page import run_contents

    directory = RunDirectory(tmp_path)
    assert directory.config_file.name == run_contents.CONFIG
    assert directory.history.name == run_contents.HISTORY
    assert directory.skipped_steps.name == run_contents.SKIPPED
    assert directory.language_probabilities.name == run_contents.LANGUAGES
    assert directory.model / "infoxlm.json" == tmp_path / run_contents.MODEL_INFO


def test_counts_of_samples_are_no_scores(tmp_path):
    """Where the measured languages are those of training, as of SQuAD's model on SQuAD's own questions."""
    run = write_finetuning(tmp_path / "squad")
    results = json.loads((run / "results.json").read_text())
    results.update(samples={"en": 10}, accuracy={"en": 0.875}, transfer_gap=None)
    (run / "results.json").write_text(json.dumps(results))
    (report,) = write_report([run], tmp_path / "report.md")
    assert [line for line in report.read_text().splitlines() if "by language" in line] == [
        "### accuracy in % by language"
    ]


def test_a_fine_tuning_in_progress_is_shown_as_far_as_it_is(tmp_path):
    write_trial(tmp_path / "xnli")
    write_trial(tmp_path / "xnli", seed=1)
    result = {"scores": {"accuracy": {"en": 0.75, "de": 0.25}}}
    (tmp_path / "xnli/runs/lr-2e-05_seed-0/result.json").write_text(json.dumps(result))
    page, markdown = write_report([tmp_path / "xnli"], tmp_path / "report.html")
    assert "| state | not finished |" in markdown.read_text()
    rows = [line for line in markdown.read_text().replace("\\", "").splitlines() if "lr-2e-05_seed" in line]
    assert rows == [
        "| xnli | lr-2e-05_seed-0 | complete | 9 | 50.0 | accuracy 50.0 |",
        "| xnli | lr-2e-05_seed-1 | in progress | 9 | 50.0 |  |",
    ]
    rows = [row for spec in specs_of(page.read_text()) for rows in _rows(spec) for row in rows]
    for seed in (0, 1):
        for y in (50.0, 0.75):
            assert {"name": f"lr-2e-05_seed-{seed}", "x": 1.0, "y": y} in rows


def test_a_row_that_is_being_written_is_left_to_the_next_report(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "history.csv").write_text(HISTORY + "15,7.5,7.2")
    assert [row["step"] for row in read_run(run).history] == [5, 10]


def test_numbers_that_are_not_finite_are_left_out_of_the_charts(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "history.csv").write_text(HISTORY + "15,nan,inf,-inf,1100,\n")
    page, _ = write_report([run], tmp_path / "report.html")
    values = [row["y"] for spec in specs_of(page.read_text()) for rows in _rows(spec) for row in rows if "y" in row]
    assert 8.125 in values and None not in values


@pytest.mark.parametrize("count", [0, 1, 2, MOST_POINTS, MOST_POINTS + 1, 3 * MOST_POINTS + 7])
def test_long_lines_are_thinned_and_keep_their_ends(count):
    values = list(range(count))
    kept = thinned(values)
    assert kept[:1] == values[:1] and kept[-1:] == values[-1:] and len(kept) <= MOST_POINTS + 1
    assert sorted(set(kept)) == kept and (count > MOST_POINTS or kept == values)


def test_an_evaluation_goes_to_the_run_that_holds_its_model(tmp_path):
    first, second = write_run(tmp_path / "a"), write_run(tmp_path / "b", finished=True)
    (second / "retrieval_heldout.json").rename(tmp_path / "flores.json")
    report = tmp_path / "report.md"
    write_report([first, second], report, [str(tmp_path / "flores.json")])
    assert "b · flores:" in report.read_text() and "a · flores" not in report.read_text()
    write_report([first, second], report, [f"{first}={tmp_path / 'flores.json'}"])
    assert "a · flores:" in report.read_text()
    other = json.loads((tmp_path / "flores.json").read_text()) | {"model": {"source": "elsewhere/model"}}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match=r"other\.json: it measured 'elsewhere/model'.* give it as RUN=FILE"):
        write_report([first, second], report, [str(tmp_path / "other.json")])
    # One run is no reason to take another model's results for its own.
    with pytest.raises(InputError, match=rf"for instance {first}={tmp_path}/other\.json"):
        write_report([first], report, [str(tmp_path / "other.json")])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.yaml", "a: [", r"config\.yaml: is not valid YAML"),
        ("config.yaml", "- 1", r"config\.yaml: must hold `key: value` lines"),
        ("history.csv", HISTORY + "15,x,1,1,1,\n", r"history\.csv: line 4: is not a number"),
        (
            "skipped_steps.jsonl",
            '{"first_step": 1}\n',
            r"skipped_steps\.jsonl: line 1: is not .* 'last_step' is missing",
        ),
        ("pretraining.json", "[]", r"pretraining\.json: must hold an object"),
        ("pretraining.json", '{"step": 3}', r"pretraining\.json: is not .* 'last_interval' is missing"),
        ("language_probabilities.json", '{"mmlm": {"de": {}}}', r"language_probabilities\.json: is not"),
        ("retrieval_x.json", "{}", r"retrieval_x\.json: holds no results of infoxlm evaluate-retrieval"),
        ("runs/a/run.json", "[]", r"run\.json: must hold an object"),
        ("runs/a/development.json", '[{"update": 1}]', r"development\.json: is not .* 'epoch' is missing"),
        ("results.json", "{}", r"results\.json: holds neither the results of infoxlm finetune-"),
        (
            "results.json",
            '{"transfer_gap": 1, "samples": {}}',
            r"results\.json: is not the results of infoxlm finetune-",
        ),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_written(tmp_path, file, content, message):
    run = write_run(tmp_path / "run")
    write_trial(run)
    (run / "runs" / "lr-2e-05_seed-0").rename(run / "runs" / "a")
    (run / file).write_text(content)
    with pytest.raises(InputError, match=message):
        write_report([run], tmp_path / "report.md")
    assert not (tmp_path / "report.md").exists()


def test_what_is_no_run_and_outputs_that_cannot_be_are_refused(tmp_path):
    run = write_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.md").mkdir()
    for arguments, message in (
        ([str(tmp_path / "missing")], "missing: is not the directory of a run"),
        ([str(tmp_path / "empty")], "empty: holds no run"),
        ([str(run), str(run / ".." / "run"), "--output", "x.md"], "is given twice"),
        ([str(run), str(tmp_path / "empty")], "--output: say where"),
        ([str(run), "--output", str(tmp_path / "report.pdf")], r"must end in \.html or \.md"),
        ([str(run), "--output", str(tmp_path / "folder.md")], r"folder\.md: is a directory"),
    ):
        with pytest.raises(InputError, match=message):
            main(arguments)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "empty", "folder.md"}


@pytest.fixture
def without_altair(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "altair", None)


def test_without_its_libraries_a_page_is_refused_and_markdown_is_written(tmp_path, without_altair):
    run = write_run(tmp_path / "run")
    with pytest.raises(InputError, match=r'altair: pip install "infoxlm_keras\[report\]"'):
        write_report([run], tmp_path / "report.html")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    write_report([run], tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text() == markdown_report("Report: run", report_sections([read_run(run)]))


def test_the_demo_writes_a_page_and_says_where_it_cannot(tmp_path, capsys, monkeypatch):
    run = write_run(tmp_path / "run", finished=True)
    demo.write_page(run)
    assert specs_of((run / "report.html").read_text())
    assert capsys.readouterr().out.splitlines() == [f"wrote {run}/report.html", f"wrote {run}/report.md"]
    (run / "report.html").unlink()
    monkeypatch.setitem(__import__("sys").modules, "altair", None)
    demo.write_page(run)
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {run}/report.md",
        "report.html is not written: a report as a page (--output FILE.md writes Markdown only) needs altair: "
        'pip install "infoxlm_keras[report]"',
    ]
    assert not (run / "report.html").exists()
