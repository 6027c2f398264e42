"""From Python lists of sentences and pairs to records, by the same builders as from files."""

import argparse
import json
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.building import bitext_plan, monolingual_plan
from infoxlm_keras.building.build import build_records
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import Manifest
from infoxlm_keras.tokenizer import Tokenizer


def write_records(
    output_dir: PathLike,
    tokenizer: Tokenizer | PathLike,
    pairs: Mapping[tuple[str, str], Sequence[tuple[str, str]]] | None = None,
    sentences: Mapping[str, Sequence[str]] | None = None,
    bitext_options: Mapping[str, Any] | None = None,
    monolingual_options: Mapping[str, Any] | None = None,
) -> dict[str, Manifest]:
    """Writes records of texts that are in memory.

    The texts go through the same cleaning and the same builders as those of `infoxlm build-bitext` and
    `infoxlm build-monolingual`; a corpus in files is better given to these. What is left out is counted in the
    manifest.

    Args:
        output_dir: str or path, the folder of the prepared data. It gets `bitext/` and `mmlm/`.
        tokenizer: `infoxlm_keras.Tokenizer`, or what the builders take for `--tokenizer`.
        pairs: dict of (source language, target language) to a list of (source, target), str each: TLM and XLCO.
        sentences: dict of language to a list of str: MMLM.
        bitext_options: dict of options of `infoxlm build-bitext`, for instance `{"max_length": 64}`.
        monolingual_options: dict of options of `infoxlm build-monolingual`, for instance `{"sequence_length": 64}`.

    Returns:
        dict of kind (`"bitext"`, `"mmlm"`) to its `Manifest`.

    Raises:
        InputError: for no text at all, something else than text, an unknown option, or an output that exists.

    Example:
    ```python
    pairs = {("en", "de"): [("Open the file", "Öffnen Sie die Datei"), ("Close it", "Schließen Sie sie")]}
    write_records("records", load_tokenizer("runs/demo/model"), pairs)
    ```
    """
    bitext = [
        (f"{source}-{target}", [_pair(source, target, pair, number) for number, pair in enumerate(rows)])
        for (source, target), rows in (pairs or {}).items()
    ]
    monolingual = [
        (language, [_sentence(language, text, number) for number, text in enumerate(rows)])
        for language, rows in (sentences or {}).items()
    ]
    if not bitext and not monolingual:
        raise InputError("write_records: no texts; give pairs={('en', 'de'): [...]}, sentences={'en': [...]}, or both")
    manifests = {}
    with tempfile.TemporaryDirectory(prefix="infoxlm-texts-") as temporary:
        common = {"output_dir": str(output_dir), "tokenizer": _tokenizer_path(tokenizer, pathlib.Path(temporary))}
        for kind, plan, files, own in (
            ("bitext", bitext_plan, bitext, bitext_options),
            ("mmlm", monolingual_plan, monolingual, monolingual_options),
        ):
            if files:
                folder = pathlib.Path(temporary) / kind
                folder.mkdir()
                for name, rows in files:
                    lines = "".join(json.dumps(row) + "\n" for row in rows)
                    (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
                options = _options(plan, {**common, **(own or {})}, str(folder))
                manifests[kind] = build_records(plan.plan_build(options), options)
    return manifests


def _options(plan, given, folder):
    """The builder's options: its defaults, and `given` in their place."""
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    options = parser.parse_args(["--input", folder, "--tokenizer", "", "--output_dir", ""])
    unknown = sorted(set(given) - set(vars(options)))
    if unknown:
        raise InputError(f"{unknown[0]}: is no option of the builder; there are {', '.join(sorted(vars(options)))}")
    vars(options).update(given)
    return options


def _pair(source, target, pair, number):
    place = f"pairs[{source!r}, {target!r}][{number}]"
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        raise InputError(f"{place} = {pair!r:.60}: must be (source, target)")
    return {"translation": {source: _text(pair[0], place), target: _text(pair[1], place)}}


def _sentence(language, text, number):
    return {"text": _text(text, f"sentences[{language!r}][{number}]")}


def _text(value, place):
    if not isinstance(value, str):
        raise InputError(f"{place}: {value!r:.60} is a {type(value).__name__}, not a str")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{place}: {value!a:.60} is not valid Unicode (a lone surrogate)")
    return value


def _tokenizer_path(tokenizer, folder):
    if not isinstance(tokenizer, Tokenizer):
        return str(tokenizer)
    path = folder / "vocabulary.spm"
    path.write_bytes(tokenizer.proto)
    return str(path)
