"""A full disk and a limit on the size of files, met at every stage of every command: one message, nothing left."""

import functools
import re

import pytest

from file_limit import largest_file
from infoxlm_keras.building import spills
from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands import (
    build_bitext,
    build_monolingual,
    build_with_beam,
    extend_vocabulary,
    inspect_records,
    train_tokenizer,
)
from infoxlm_keras.text.readers import chunks
from running import run, tree
from sample_text import sentences


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A directory with text/, pairs/ and text for a new language in new/."""
    root = tmp_path_factory.mktemp("corpus")
    for folder in ("text", "pairs", "new"):
        (root / folder).mkdir()
    for language, count in (("de", 150), ("ru", 60)):
        lines = sentences(language, count)
        (root / f"text/{language}.txt").write_text("\n".join([*lines, *lines[:9]]) + "\n", encoding="utf-8")
    pairs = list(zip(sentences("en", 120), sentences("de", 120, start=3), strict=True))
    text = "".join(f"{source}\t{target}\n" for source, target in [*pairs, *pairs[:9]])
    (root / "pairs/en-de.tsv").write_text(text, encoding="utf-8")
    (root / "new/tr.txt").write_text("\n".join(f"yeni cümle {number} geldi" for number in range(400)) + "\n")
    return root


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 300)
    monkeypatch.setattr(spills, "RUN_BYTES", 1500)


def commands(corpus, tokenizer_dir, data_dir, preset):
    """dict of name to (main, arguments but --output_dir)."""
    build = ["--tokenizer", tokenizer_dir, "--processes", 1, "--shard_megabytes", 0.002]
    text, pairs = ["--input", corpus / "text", *build], ["--input", corpus / "pairs", *build]
    return {
        "build_monolingual": (build_monolingual.main, [*text, "--sequence_length", 32, "--deduplicate"]),
        "build_bitext": (build_bitext.main, [*pairs, "--near_duplicates"]),
        "build_with_beam": (build_with_beam.main, ["bitext", *pairs]),
        "train_tokenizer": (train_tokenizer.main, ["--input", corpus / "text", "--vocabulary_size", 90]),
        "inspect_records": (inspect_records.main, [data_dir]),
        "extend_vocabulary": (extend_vocabulary.main, ["--model", preset, "--input", corpus / "new", "--add", 3]),
    }


COMMANDS = ("build_monolingual", "build_bitext", "train_tokenizer", "inspect_records", "extend_vocabulary")
SLOW_COMMANDS = (pytest.param("build_with_beam", marks=pytest.mark.slow),)


@pytest.mark.parametrize("name", [*COMMANDS, *SLOW_COMMANDS])
def test_a_limit_on_files_ends_in_one_message(name, corpus, tokenizer_dir, tiny_preset, tmp_path, capsys):
    data_dir = tmp_path / "records"
    run(*_flat(commands(corpus, tokenizer_dir, None, None)["build_bitext"]), "--output_dir", data_dir)
    main, arguments = commands(corpus, tokenizer_dir, data_dir, tiny_preset)[name]
    run(main, *arguments, "--output_dir", tmp_path / "whole")
    whole = tree(tmp_path / "whole")
    # From nothing at all to what each file of the output, and of the work on it, just exceeds.
    sizes = {size for data in whole.values() for size in (0, len(data) // 2, len(data) - 1)}
    sizes = sorted(sizes | {100, 700, 3000})
    sizes, refused = [*sizes[:: max(1, len(sizes) // 12)], 1 << 24], 0
    for size in sizes:
        output = tmp_path / f"out-{size}"
        capsys.readouterr()
        command = functools.partial(main, [*map(str, arguments), "--output_dir", str(output)])
        with pytest.raises(SystemExit) as exit, largest_file(size):
            run_command(command)
        error = capsys.readouterr().err
        if exit.value.code == 0:
            assert tree(output).keys() == whole.keys()
            done = size
            continue
        refused += 1
        assert exit.value.code == 2, error
        assert re.fullmatch(r"error: \S+: would be larger than a file may be here; raise the limit.*\n", error), error
        # The folder is named that the user gave, or what would lie in it, and nothing that is temporary.
        assert error.startswith((f"error: {output}:", f"error: {output}/")), error
        assert ".work" not in error and "partial" not in error
        assert not output.exists()
    assert refused >= 2 and done == 1 << 24


def _flat(command):
    main, arguments = command
    return main, *arguments
