"""Finds, fetches and reads the Debian packages `libreoffice-help-<lang>`."""

import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.sample_corpus.debian_archive import read_files

PACKAGE_PREFIX = "libreoffice-help-"
ENGLISH_PACKAGE = "libreoffice-help-en-us"

# British help repeats the original and `common` holds no text.
NOT_TRANSLATIONS = ("en-us", "en-gb", "common")

# Languages whose bare two-letter code we give to one region; the others keep theirs: pt_br, zh_tw.
CODES = {"en-us": "en", "zh-cn": "zh"}


def package_language(path: PathLike) -> str:
    """The language in the name, `de` in `.../libreoffice-help-de_4%3a7.4.7-1_all.deb`."""
    return pathlib.Path(path).name.removeprefix(PACKAGE_PREFIX).split("_")[0]


def language_code(package_language: str) -> str:
    """The corpus's code of a package's language: `zh-cn` -> `zh`, `pt-br` -> `pt_br`, `de` -> `de`.

    The region follows an underscore, so that `en-pt_br` splits into its two languages at the hyphen.
    """
    return CODES.get(package_language, package_language.replace("-", "_"))


def find_packages(directory: PathLike) -> dict[str, pathlib.Path]:
    """The help packages in a folder: {language code: path}, sorted, without British English.

    Args:
        directory: str or path. Holds files named `libreoffice-help-<lang>_<version>_all.deb`.

    Raises:
        InputError: if the folder is missing, lacks the English package, or holds two versions of one.
    """
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder; name that of the .deb files, or add --download")
    packages: dict[str, pathlib.Path] = {}
    for path in sorted(directory.glob(f"{PACKAGE_PREFIX}*.deb")):
        language = package_language(path)
        if language in NOT_TRANSLATIONS and language != "en-us":
            continue
        code = language_code(language)
        if code in packages:
            raise InputError(f"{path}: {packages[code].name} is the same package; keep one version of it")
        packages[code] = path
    if "en" not in packages:
        raise InputError(f"{directory}: holds no {ENGLISH_PACKAGE}_*.deb, one side of every pair; add --download")
    return dict(sorted(packages.items()))


def choose_packages(packages: Mapping[str, pathlib.Path], languages: Iterable[str] | None) -> dict[str, pathlib.Path]:
    """The packages of some languages, without English: {language code: path}, sorted.

    Args:
        packages: dict from `find_packages`.
        languages: list of language codes, or None for all that have pages of their own.

    Raises:
        InputError: if a language has no package, or one without pages.
    """
    if languages is None:
        return {code: path for code, path in packages.items() if code != "en" and has_pages(path)}
    chosen = {}
    for code in sorted(set(languages)):
        if code == "en":
            raise InputError("--languages en: English is always included; name its translations")
        if code not in packages:
            raise InputError(f"--languages {code}: no package; add --download. Here: {' '.join(packages)}")
        if not has_pages(packages[code]):
            raise InputError(f"{packages[code]}: has no pages of its own; leave {code} out of --languages")
        chosen[code] = packages[code]
    return chosen


def download_packages(directory: PathLike, languages: Iterable[str] | None) -> None:
    """Fetches help packages, English among them, with `apt-get download`; those already there are kept.

    Args:
        directory: str or path. Created if missing.
        languages: list of language codes, or None for every language that apt knows.

    Raises:
        InputError: if apt is absent, or cannot find or fetch a package.
    """
    directory = pathlib.Path(directory)
    if shutil.which("apt-get") is None or shutil.which("apt-cache") is None:
        raise InputError(f"--download needs apt-get; without it put the .deb files into {directory} yourself")
    names = run(["apt-cache", "pkgnames", PACKAGE_PREFIX]).stdout.split()
    offered = {name: name.removeprefix(PACKAGE_PREFIX) for name in names}
    known = {language_code(short): name for name, short in offered.items() if short not in NOT_TRANSLATIONS}
    unknown = sorted(set(languages or ()) - set(known))
    if unknown or not known:
        asked = " ".join(unknown) or "any language"
        raise InputError(f"--download: no package for {asked}; run `apt-get update`, or change --languages")
    wanted = [ENGLISH_PACKAGE, *(known[code] for code in sorted(languages or known))]
    missing = [name for name in wanted if not any(directory.glob(f"{name}_*.deb"))]
    if not missing:
        return
    directory.mkdir(parents=True, exist_ok=True)
    fetch = run(["apt-get", "download", *missing], directory)
    if fetch.returncode != 0:
        reason = (fetch.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{directory}: apt-get: {reason}; check the network, or put the files there")


def run(command: Sequence[str], directory: PathLike | None = None) -> subprocess.CompletedProcess[str]:
    """The finished process of `command` (list of str), whose output is kept and status left to the caller."""
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def package_version(path: PathLike) -> str:
    """The `Version` of a Debian package, for example `4:7.4.7-1+deb12u14`."""
    control = dict(read_files(path, "control")).get("control", b"").decode("utf-8")
    match = re.search(r"^Version: *(\S+)", control, re.MULTILINE)
    if match is None:
        raise InputError(f"{path}: has no Version field; fetch the package again")
    return match.group(1)


def read_pages(path: PathLike) -> Iterator[tuple[str, str]]:
    """Yields (page, html) of a help package: page is like `text/shared/00/00000005.html`, html a str.

    Only pages in the package's own language: Catalan brings Valencian too, and Slovak merely links to
    Czech, so it yields nothing.
    """
    own = package_language(path)
    for name, contents in read_files(path, "data"):
        match = re.fullmatch(r"usr/share/libreoffice/help/([^/]+)/(text/.+\.html)", name)
        if match and match.group(1).lower() == own:
            yield match.group(2), contents.decode("utf-8")


def has_pages(path: PathLike) -> bool:
    """Whether the package has at least one page in its own language."""
    return next(read_pages(path), None) is not None
