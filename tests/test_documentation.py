"""Every code block of README, CONTRIBUTING and docs is run, or listed in `NOT_RUN` with the reason.

Python runs as it stands, on records and models of a few kilobytes. Each command line of ours is parsed by the
command's own parser; the commands of `RUN` also run. YAML is read by what it is written for.
"""

import glob
import gzip
import importlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import yaml

import corpus_files
from documentation_blocks import BLOCKS, COMMAND_LINES, command_of, parser_of, spellings
from infoxlm_keras import PretrainedModel, PretrainingInfo, load_config
from repository import REPOSITORY
from running import run
from sample_text import sentences

BUILDERS = ("build-monolingual", "build-bitext")
# Commands whose lines run here.
RUN = (*BUILDERS, "train-tokenizer", "unpack-sample-corpus", "extend-vocabulary", "evaluate-retrieval")
# Commands whose lines are only parsed here, since they train, export or serve -> the tests that run them.
RUN_ELSEWHERE = {
    "pretrain": "tests/commands/test_pretrain.py",
    "trim-vocabulary": "tests/commands/test_trim_vocabulary.py",
    "drop-layers": "tests/commands/test_drop_layers.py",
    "export-savedmodel": "tests/commands/test_export_recipe.py",
    "export-onnx": "tests/commands/test_export_encoder.py",
    "export-litert": "tests/commands/test_export_encoder.py",
    "finetune-classification": "tests/finetuning/test_finetune_classification.py",
    "finetune-embedding": "tests/finetuning/test_finetune_embedding.py",
    "finetune-qa": "tests/finetuning/test_question_answering_head.py",
    "finetune-tagging": "tests/finetuning/test_tagging.py",
    "evaluate-alignment": "tests/evaluation/test_alignment_evaluation.py",
    "xtreme": "tests/xtreme/test_xtreme.py",
    "report": "tests/reports/test_report_page.py",
    "mine-bitext": "tests/mining/test_mine_bitext.py",
    "mine-negatives": "tests/mining/test_mine_negatives.py",
    "convert-checkpoint": "tests/commands/test_convert_recipe.py",
    "search": "tests/search/test_search.py",
    "compile-step": "tests/compilation/test_compile_step.py",
    "kill-resume": "tests/runs/test_resume.py",
    "rest": "tests/clients/test_clients.py",
    "grpc-predict": "tests/clients/test_clients.py",
}
# (page, how a line or a Python block starts) -> why it does not run here. A line of ours is parsed all the same.
NOT_RUN = {
    ("CONTRIBUTING.md", 'Target("my format"'): "a row of a table, with names of the reader's",
    ("docs/conversion.md", 'python -c "import argparse'): "tests/conversion/test_from_fairseq.py runs it",
    ("docs/data_preparation.md", "OPUS .zip"): "a drawing",
    ("docs/data_preparation.md", "ls downloads/"): "lists files",
    ("docs/data_preparation.md", "mkdir paracrawl"): "unpacks a download",
    ("docs/data_preparation.md", "infoxlm build-monolingual --input de.txt.xz"): "reads c4 from TFDS",
    ("docs/distribution.md", "export TF_CONFIG"): "for two machines; tests/distribution sets it for one",
    ("docs/evaluation.md", "import mteb"): "downloads; tests/pretrained/test_mteb_model.py has tasks of its own",
    ("docs/records.md", "DIR/"): "names of files",
    ("docs/serving.md", "serving/infoxlm/"): "names of files",
    ("docs/serving.md", "exports/onnx/"): "names of files",
    ("docs/serving.md", "docker run"): "needs the server's image",
    ("docs/serving.md", "curl"): "needs a server",
    ("docs/storage.md", "infoxlm build-monolingual"): "needs a bucket; tests/runs/test_remote_runs.py has one",
    ("docs/storage.md", "infoxlm evaluate-retrieval"): "needs a bucket",
    ("docs/tpu.md", "python3.11 -m venv"): "for a TPU VM; `make test-tpu-wheel` installs the same",
    ("docs/tpu.md", ". venv/bin/activate"): "for a TPU VM",
    ("docs/tpu.md", "export KERAS_BACKEND"): "for a TPU VM",
    ("docs/vocabulary.md", "<s> = 0"): "a table of ids",
    ("docs/distribution.md", "# on the first machine"): "needs two machines",
    ("docs/distribution.md", "# one process for each GPU"): "needs GPUs; tests/commands runs it on the CPU",
    ("docs/distribution.md", "KERAS_BACKEND=torch torchrun"): "needs GPUs; tests/commands runs it on the CPU",
    ("docs/vocabulary.md", "infoxlm build-monolingual"): "downloads XLM-R's preset",
    ("docs/when_it_does_not_learn.md", "warning: xlco.queue_length"): "a message",
}
# As it is written -> the same on tiny data.
SMALLER = {
    "--vocabulary_size 250002": "--vocabulary_size 70",
    "--vocabulary_size 16000": "--vocabulary_size 70",
    "--vocabulary_size 4000": "--vocabulary_size 500",
    "--add 4000": "--add 2",
    "steps=1000": "steps=2",
    "steps_per_epoch=1000": "steps_per_epoch=1",
    "warmup_steps=100": "warmup_steps=1",
    "layer=8": "layer=1",
    "queue_length=4096": "queue_length=16",
    'load_config("demo")': 'load_config("demo", [f"{task}.batch_size=2" for task in ("mmlm", "tlm", "xlco")])',
}
# What is added to the lines of a command.
CHEAPER = {
    "train-tokenizer": ["--sentences", "300"],
    "unpack-sample-corpus": ["--max_pairs", "300"],
    **dict.fromkeys(BUILDERS, ["--processes", "1"]),
}
PYTHON_BLOCKS = [block for block in BLOCKS if block.language == "python"]
LINES = [(block, line) for block in BLOCKS if block.language == "sh" for line in block.lines]


def entry_of(block, start):
    """The key in `NOT_RUN` of a line or block of text, or None."""
    return next((key for key in NOT_RUN if key[0] == block.page and start.startswith(key[1])), None)


def smaller(text):
    for written, small in SMALLER.items():
        text = text.replace(written, small)
    return text


def test_every_block_is_run_or_listed_with_a_reason():
    languages = {block.language for block in BLOCKS}
    assert languages == {"python", "sh", "yaml"}, "a block of another language needs a test of its own"
    strangers = [
        f"{block}: {line}"
        for block, line in LINES
        if command_of(block, line) is None
        and not re.match(r'(make|pip) |python -c "', line)
        and entry_of(block, line) is None
    ]
    assert not strangers, "run these lines in a test, or list them in NOT_RUN with the reason"
    commands = {command.name for command in COMMAND_LINES}
    assert commands == {*RUN, *RUN_ELSEWHERE}
    for name, test in RUN_ELSEWHERE.items():
        assert re.search(rf"\b{name.replace('-', '[-_]')}\b", (REPOSITORY / test).read_text(encoding="utf-8")), test


def test_no_entry_is_left_of_a_block_that_is_gone():
    starts = [*LINES, *((block, block.text) for block in PYTHON_BLOCKS)]
    assert {entry_of(block, start) for block, start in starts} - {None} == set(NOT_RUN)


@pytest.mark.parametrize("command", COMMAND_LINES, ids=str)
def test_a_command_line_is_one_that_its_parser_takes(command):
    parser = parser_of(command.module)
    if "..." in command.words:
        # What is left out may be required.
        for action in parser._actions:
            action.required = False
    for words in spellings(command.words):
        options = parser.parse_args(words)
        if command.name == "pretrain":
            path = REPOSITORY / str(options.config)
            load_config(path if path.is_file() else "demo", options.set)


def test_the_targets_of_make_exist():
    targets = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.M))
    named = {line.split()[1] for _, line in LINES if line.startswith("make ")}
    assert {"demo", "test", "check", "docs", "fuzz"} <= named <= targets


def test_the_extras_that_pip_installs_exist():
    extras = re.findall(r"^(\w+) =$", (REPOSITORY / "setup.cfg").read_text().partition("extras_require]")[2], re.M)
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in [*REPOSITORY.glob("docs/*.md"), REPOSITORY / "README.md"]
    )
    named = re.findall(r"infoxlm_keras\[([a-z]+)\]|pip install -e \"\.\[(\w+)\]\"", text)
    assert {"test", "serving", "parquet"} <= {one or other for one, other in named} <= {*extras}


@pytest.fixture(scope="module")
def shared(inputs, tokenizer_dir, tiny_preset, tiny_masked_lm, tokenizer, tmp_path_factory):
    """A directory with what the pages name: texts, downloads, a tokenizer, records, and models in `runs`."""
    from infoxlm_keras.exporting.to_onnx import export_onnx
    from infoxlm_keras.finetuning import TextClassifier
    from infoxlm_keras.serving import export_embedding
    from tiny_export import tiny_classifier

    root = tmp_path_factory.mktemp("documentation")
    english, german = sentences("en", 120), sentences("de", 120)
    pairs = list(zip(english, german, strict=True))
    for name in ("text", "pairs", "heldout", "new_text", "downloads", "runs/demo", "runs/mine", "runs/xnli/model"):
        (root / name).mkdir(parents=True)
    for name, lines in (("text/en.txt", english), ("text/de.txt", german), ("new_text/zh.txt", sentences("zh", 120))):
        (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "pairs/en-de.tsv").write_bytes(corpus_files.tsv(pairs[:110]))
    (root / "heldout/en-de.tsv").write_bytes(corpus_files.tsv(pairs[110:]))
    sides = {
        f"Books.de-en.{language}": corpus_files.moses(pairs[:40], side) for side, language in enumerate(("en", "de"))
    }
    (root / "downloads/Books.de-en.txt.zip").write_bytes(corpus_files.archive(sides))
    mined = "".join(f"1.1\t{source}\t{target}\n" for source, target in pairs[40:60])
    (root / "downloads/WikiMatrix.en-hi.tsv.gz").write_bytes(gzip.compress(mined.encode()))
    (root / "downloads/agency.tmx").write_bytes(corpus_files.tmx_pairs(pairs[60:80], ("en", "fr")))
    (root / "agency.tmx").symlink_to("downloads/agency.tmx")
    (root / "paracrawl").symlink_to("pairs")
    (root / "IITB/dev_test").mkdir(parents=True)
    for side, (name, language) in enumerate((("source", "en"), ("target", "hi"))):
        (root / f"{name}.txt").write_bytes(corpus_files.moses(pairs[80:100], side))
        (root / f"IITB/dev_test/dev.{language}").write_bytes(corpus_files.moses(pairs[100:110], side))
    (root / "tokenizer").symlink_to(tokenizer_dir)
    (root / "records").symlink_to(inputs / "data")
    for name, place in (("model", tiny_preset), ("records", inputs / "data"), ("tokenizer", tokenizer_dir)):
        (root / "runs/demo" / name).symlink_to(place)
    (root / "runs/mine/model").symlink_to(tiny_preset)
    (root / "FacebookAI").mkdir()
    (root / "FacebookAI/xlm-roberta-base").symlink_to(tiny_preset)
    model = PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
    export_embedding(model, root / "runs/demo/serving", verify=False)
    export_onnx(model, root / "exports/onnx")
    labels = ["contradiction", "entailment", "neutral"]
    TextClassifier(tiny_classifier(tiny_masked_lm.backbone, tokenizer), tokenizer, labels, 64).save(
        root / "runs/xnli/model"
    )
    rows = "".join(f"en\t{one}\t{other}\t{labels[i % 3]}\n" for i, (one, other) in enumerate(pairs[:6]))
    (root / "xnli.test.tsv").write_text("language\tsentence1\tsentence2\tgold_label\n" + rows, encoding="utf-8")
    return root


@pytest.fixture
def place(shared, tmp_path, monkeypatch):
    """An empty working directory with links to all of `shared`."""
    for path in shared.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs_here(command):
    return command.name in RUN and entry_of(command.block, command.line) is None


BLOCKS_TO_RUN = [block for block in BLOCKS if any(runs_here(one) for one in COMMAND_LINES if one.block is block)]


@pytest.mark.parametrize("block", BLOCKS_TO_RUN, ids=str)
def test_the_commands_of_a_block_run(block, place, monkeypatch, capsys):
    """One after another, as they are written."""
    for command in COMMAND_LINES:
        if command.block is not block or not runs_here(command):
            continue
        words = shlex.split(smaller(shlex.join(command.words)))
        if "..." in words:
            words.remove("...")
            words += ["--tokenizer", "tokenizer", "--output_dir", "records"]
        words = [path for word in words for path in (sorted(glob.glob(word)) if "*" in word else [word])]
        output = words[words.index("--output_dir") + 1].rstrip("/") if "--output_dir" in words else None
        # What the block itself makes is not there yet.
        if output and (place / output).is_symlink():
            (place / output).unlink()
        words += CHEAPER.get(command.name, ())
        run(importlib.import_module(command.module).main, *words)
        if output:
            assert any((place / output).iterdir())


@pytest.fixture(scope="module")
def documented_records(shared, tmp_path_factory):
    """A directory with `DIR`, the records of docs/records.md: blocks and pairs."""
    from infoxlm_keras.commands import build_bitext, build_monolingual, write_tfds_metadata

    root = tmp_path_factory.mktemp("records")
    common = ["--tokenizer", shared / "tokenizer", "--output_dir", root / "DIR", "--processes", 1]
    run(build_monolingual.main, "--input", shared / "text", "--sequence_length", 32, *common)
    run(build_bitext.main, "--input", shared / "pairs", "--lengths", 16, 32, "--max_length", 32, *common)
    run(write_tfds_metadata.main, "--data_dir", root / "DIR")
    return root


def check_values(page, names):
    """Checks the values that a block leaves under the names of the page."""
    if "vectors" in names:
        assert np.shape(names["vectors"]) == (2, 8)
    if "dataset" in names:
        (batch,) = next(iter(names["dataset"].take(1)))
        assert {"tlm", "xlco"} <= set(batch)
    if "batches" in names:
        batch = next(iter(names["batches"]))
        assert set(batch) == {"source_ids", "target_ids"} and batch["source_ids"].shape[0] > 0
    if "pairs" in names and page == "docs/records.md":
        assert next(iter(names["pairs"]))["source_ids"].shape[0] > 0


@pytest.mark.parametrize("block", [b for b in PYTHON_BLOCKS if entry_of(b, b.text) is None], ids=str)
def test_a_python_block_runs(block, place, request, monkeypatch):
    if block.page == "docs/records.md":
        monkeypatch.chdir(request.getfixturevalue("documented_records"))
    if "tfrecord.reader" in block.text:
        # As the block says: in a process without TensorFlow.
        program = block.text + "    assert len(example['token_ids']) > 2\n"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return
    names = {"DIR": "runs/demo/model"}
    if block.text.startswith("keras_hub."):
        exec("import keras_hub", names)
    exec(compile(smaller(block.text), str(block), "exec"), names)
    check_values(block.page, names)


PROGRAMS = [(block, line) for block, line in LINES if line.startswith('python -c "') and not entry_of(block, line)]


@pytest.mark.parametrize(("block", "line"), PROGRAMS, ids=str)
def test_a_program_on_a_command_line_runs(block, line, tmp_path, monkeypatch):
    import safetensors.numpy
    import torch

    monkeypatch.chdir(tmp_path)
    tensor = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": tensor, "shared": tensor.T}, "pytorch_model.bin")
    _, option, program = shlex.split(line)
    assert option == "-c"
    exec(program, {})
    found = safetensors.numpy.load_file("model.safetensors")
    np.testing.assert_array_equal(found["a"], tensor.numpy())
    np.testing.assert_array_equal(found["shared"], tensor.T.numpy())


YAML = {block.page: block.text for block in BLOCKS if block.language == "yaml"}


def test_every_yaml_block_is_read():
    assert set(YAML) == {"docs/when_it_does_not_learn.md", "docs/serving.md"}
    assert len(YAML) == sum(block.language == "yaml" for block in BLOCKS)


def test_the_settings_of_the_runs_that_do_not_learn_are_valid(tmp_path):
    """small.yaml alone, and with the settings of each row of the page's table."""
    page = "docs/when_it_does_not_learn.md"
    (tmp_path / "small.yaml").write_text(YAML[page])
    (tmp_path / "demo.yaml").write_bytes((REPOSITORY / "infoxlm_keras/configs/demo.yaml").read_bytes())
    table = (REPOSITORY / page).read_text().partition("| run | settings |")[2]
    rows = {
        name: re.findall(r"[\w.]+=[\w.]+", cell) for name, cell in re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.M)
    }
    assert set(rows) == {"good", "paper_settings", "in_batch", "start_token", "high_rate", "long_queue"}
    assert rows["good"] == [] and len(rows["paper_settings"]) == 6
    for settings in rows.values():
        assert load_config(tmp_path / "small.yaml", settings).model.hidden_dim == 64


def test_the_deployment_starts_the_server_as_the_docker_line_does():
    deployment, service = yaml.safe_load_all(YAML["docs/serving.md"])
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (docker,) = (line for block, line in LINES if line.startswith("docker run"))
    assert container["args"] == re.findall(r"--(?:model|enable|batching)_\S+", docker)
    ports = {port["port"] for port in service["spec"]["ports"]}
    assert ports == {port["containerPort"] for port in container["ports"]} == {8500, 8501}
    assert ports == {int(port) for port in re.findall(r"-p (\d+):", docker)}
