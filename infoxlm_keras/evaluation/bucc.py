"""BUCC's files as pairs for retrieval: the gold pairs alone, without the sentences that have no translation.

de-en.training.gold    `source id<TAB>target id` a line
de-en.training.de      `id<TAB>sentence` a line
de-en.training.en
"""

import pathlib
import re
from collections.abc import Sequence

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import language_name
from infoxlm_keras.text.readers.inputs import PassedOver, path_kind
from infoxlm_keras.text.readers.line_input import all_lines

GOLD = re.compile(r"(?P<source>[A-Za-z]{2,3})-(?P<target>[A-Za-z]{2,3})\.(?P<split>.+)\.gold")
# The split that BUCC gives out to show the form of the others.
SAMPLE = "sample"


def bucc_files(item: PathLike) -> list[pathlib.Path]:
    """The gold files that `item` (str or path) is or holds; empty if it is none of BUCC's."""
    path = pathlib.Path(item)
    kind = path_kind(path)
    if kind == "file":
        return [path] if GOLD.fullmatch(path.name) else []
    return sorted(file for file in path.iterdir() if GOLD.fullmatch(file.name)) if kind == "folder" else []


def chosen_splits(files: Sequence[pathlib.Path], passed_over: list[PassedOver]) -> list[pathlib.Path]:
    """The one split of each pair of languages that is measured.

    Args:
        files: gold files of one folder, or one that was given by its name.
        passed_over: list to which a sample is added that lies beside another split.

    Returns:
        list of path.

    Raises:
        InputError: if a pair of languages has several splits besides the sample.
    """
    pairs: dict[tuple[str, str], dict[str, pathlib.Path]] = {}
    for file in files:
        match = GOLD.fullmatch(file.name)
        assert match is not None
        pairs.setdefault((match["source"], match["target"]), {})[match["split"]] = file
    chosen: list[pathlib.Path] = []
    for splits in pairs.values():
        if len(splits) > 1 and SAMPLE in splits:
            sample = splits.pop(SAMPLE)
            beside = " and ".join(file.name for file in splits.values())
            passed_over.append(
                PassedOver(str(sample), f"the sample, beside {beside}; give the file itself to measure it")
            )
        if len(splits) > 1:
            names = " and ".join(file.name for file in splits.values())
            folder = next(iter(splits.values())).parent
            raise InputError(f"{folder}: holds several splits of one pair, {names}; give one of these files")
        chosen += splits.values()
    return chosen


def read_bucc(
    gold: pathlib.Path,
) -> tuple[list[tuple[str, str]], tuple[str, str], Sequence[str], list[PassedOver]]:
    """The pairs of a gold file.

    Args:
        gold: path; both sides lie beside it.

    Returns:
        (pairs, languages, files, passed over).

    Raises:
        InputError: if a side is missing, a line is of another form, an id is not known or given twice (names file and
            line), or there are fewer than two pairs.
    """
    match = GOLD.fullmatch(gold.name)
    assert match is not None
    codes = match["source"], match["target"]
    paths = [gold.with_name(f"{gold.name.removesuffix('gold')}{code}") for code in codes]
    sides = [_sentences(path) for path in paths]
    pairs = []
    for number, line in enumerate(all_lines(gold), start=1):
        names = line.split()
        if not names:
            continue
        if len(names) != 2:
            raise InputError(f"{gold}: line {number}: {line!r:.60} is no pair; write `source id<TAB>target id`")
        for name, side, path in zip(names, sides, paths, strict=True):
            if name not in side:
                raise InputError(f"{gold}: line {number}: {path} has no sentence with the id {name}")
        pairs.append((sides[0][names[0]], sides[1][names[1]]))
    if len(pairs) < 2:
        raise InputError(f"{gold}: holds {len(pairs)} pairs, but retrieval needs at least two to choose from")
    left_out = [
        PassedOver(
            str(path), f"{len(side) - len(used):,} sentences without a translation (infoxlm mine-bitext has them)"
        )
        for path, side, used in zip(paths, sides, map(set, zip(*pairs, strict=True)), strict=True)
        if len(side) > len(used)
    ]
    languages = language_name(codes[0], gold), language_name(codes[1], gold)
    return pairs, languages, [str(gold), *map(str, paths)], left_out


def _sentences(path):
    """{id: sentence} of a side."""
    found: dict[str, str] = {}
    for number, line in enumerate(all_lines(path), start=1):
        name, tab, text = line.partition("\t")
        name, text = name.strip(), text.strip()
        if not line.strip():
            continue
        if not tab or not name or not text:
            raise InputError(f"{path}: line {number}: {line!r:.60} is not `id<TAB>sentence`")
        if name in found:
            raise InputError(f"{path}: line {number}: the id {name} is given twice")
        found[name] = text
    return found
