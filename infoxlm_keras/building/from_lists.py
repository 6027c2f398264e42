"""From Python lists of sentences and pairs to records, by the same builders as from files."""

import argparse
import json
import numbers
import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.building import bitext_plan, monolingual_plan
from infoxlm_keras.building.build import build_records
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import Manifest
from infoxlm_keras.text.languages import language_or_none
from infoxlm_keras.tokenizer import Tokenizer

# Below this number the start of worker processes takes longer than the work.
FEW_TEXTS = 20_000


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
        bitext_options: dict of options of `infoxlm build-bitext`, for instance `{"max_length": 64}`, or
            `{"overwrite": True}` to replace records that are there.
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
    bitext = _named(
        (_pair_languages(key), [_pair(key, pair, number) for number, pair in enumerate(rows)])
        for key, rows in _lists("pairs", pairs, "{('en', 'de'): [('Open', 'Öffnen'), ...]}")
    )
    monolingual = _named(
        ((_language(key, f"sentences[{key!r}]"),), [_sentence(key, text, number) for number, text in enumerate(rows)])
        for key, rows in _lists("sentences", sentences, "{'en': ['Open the file', ...]}")
    )
    if not bitext and not monolingual:
        raise InputError("write_records: no texts; give pairs={('en', 'de'): [...]}, sentences={'en': [...]}, or both")
    manifests = {}
    with tempfile.TemporaryDirectory(prefix="infoxlm-texts-") as temporary:
        common = {"output_dir": str(output_dir), "tokenizer": _tokenizer_path(tokenizer, pathlib.Path(temporary))}
        plans = []
        for kind, plan, files, own in (
            ("bitext", bitext_plan, bitext, bitext_options),
            ("mmlm", monolingual_plan, monolingual, monolingual_options),
        ):
            folder = pathlib.Path(temporary) / kind
            options = _options(plan, own or {}, "bitext" if kind == "bitext" else "monolingual")
            if sum(len(rows) for _, rows in files) < FEW_TEXTS and "processes" not in (own or {}):
                options.processes = 1
            vars(options).update(common, input=[str(folder)])
            if files:
                plans.append((kind, plan, files, folder, options))
        for kind, plan, files, folder, options in plans:
            folder.mkdir()
            for name, rows in files:
                lines = "".join(json.dumps(row) + "\n" for row in rows)
                (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
            manifests[kind] = build_records(plan.plan_build(options), options)
    return manifests


def _lists(argument, given, example):
    """(key, list) of each entry of `pairs` or `sentences`."""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise InputError(f"{argument}: is a {type(given).__name__}; give a dict, {argument}={example}")
    for key, rows in given.items():
        if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
            raise InputError(f"{argument}[{key!r}]: is a {type(rows).__name__}; give a list, {argument}={example}")
    found = [(key, list(rows)) for key, rows in given.items()]
    for key, rows in found:
        if not rows:
            raise InputError(f"{argument}[{key!r}]: is empty; leave it out")
    return found


def _named(texts):
    """List of (name of a file, its rows) from (languages, rows) for each list of texts."""
    files = {}
    for languages, rows in texts:
        name = "-".join(languages)
        if name in files:
            raise InputError(f"write_records: two lists are of {name}, whatever their codes; join them")
        files[name] = rows
    return list(files.items())


def _pair_languages(key):
    if not isinstance(key, tuple) or len(key) != 2 or not all(isinstance(code, str) for code in key):
        raise InputError(f"pairs: the key {key!r:.60} must be (source language, target language), like ('en', 'de')")
    place = f"pairs[{key[0]!r}, {key[1]!r}]"
    source, target = (_language(code, place) for code in key)
    if source == target:
        raise InputError(f"{place}: both sides are of the language {source}; a pair needs two")
    return source, target


def _language(code, place):
    name = language_or_none(code) if isinstance(code, str) else None
    if name is None:
        raise InputError(f"{place}: {code!r:.60} is no code of a language; give a BCP 47 tag such as en or zh-Hant")
    return name


def _options(plan, given, prefix):
    """The builder's options: its defaults, and `given` in their place."""
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    options = parser.parse_args(["--input", "", "--tokenizer", "", "--output_dir", ""])
    actions = {action.dest: action for action in parser._actions if action.dest in vars(options)}
    taken = {"input": "pairs or sentences", "tokenizer": "tokenizer", "output_dir": "output_dir"}
    for name, value in given.items():
        place = f"{prefix}_options[{name!r}]"
        if name in taken:
            raise InputError(f"{place}: give it as the argument {taken[name]} of write_records")
        if name not in actions:
            known = ", ".join(sorted(set(actions) - set(taken)))
            raise InputError(f"{place}: the builder has no such option; it has {known}")
        vars(options)[name] = _checked(actions[name], value, place)
    return options


def _checked(action, value, place):
    """`value` if the option can have it: of its type, in a list where it takes several."""
    if value is None and action.default is None:
        return value
    kind = bool if action.nargs == 0 else action.type or str
    several = action.nargs not in (None, 0, "?")
    if several and not isinstance(value, list | tuple):
        raise InputError(f"{place} = {value!r:.60}: must be a list")
    for one in value if several else [value]:
        if isinstance(one, bool) != (kind is bool) or not isinstance(one, _ACCEPTED[kind]):
            raise InputError(f"{place} = {value!r:.60}: must be {'a list ' if several else ''}of type {kind.__name__}")
        if action.choices is not None and one not in action.choices:
            raise InputError(f"{place} = {value!r:.60}: must be one of {', '.join(map(str, action.choices))}")
    plain = [kind(one) for one in value] if several else kind(value)
    return plain


# What counts as a value of an option's type; NumPy's numbers too.
_ACCEPTED = {bool: bool, int: numbers.Integral, float: numbers.Real, str: str | os.PathLike}


def _pair(key, pair, number):
    place = f"pairs[{key[0]!r}, {key[1]!r}][{number}]"
    if isinstance(pair, str | bytes) or not hasattr(pair, "__len__") or len(pair) != 2:
        raise InputError(f"{place} = {pair!r:.60}: must be (source, target)")
    return {"translation": dict(zip(_pair_languages(key), (_text(side, place) for side in pair), strict=True))}


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
