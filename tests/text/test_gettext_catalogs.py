"""gettext catalogs: plural forms by the catalog's own rule, and no catalog that gettext itself would refuse."""

import os
import shutil
import subprocess

import hypothesis
import hypothesis.strategies as st
import polib
import pytest

from infoxlm_keras.commands import build_bitext
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.readers import find_bitext
from infoxlm_keras.text.readers.packed import Texts
from running import refused, run

RULES = {
    "de": "nplurals=2; plural=(n != 1);",
    "fr": "nplurals=2; plural=n > 1",
    "ja": "nplurals=1; plural=0;",
    "ru": "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);",
    "sl": "nplurals=4; plural=(n%100==1 ? 1 : n%100==2 ? 2 : n%100==3 || n%100==4 ? 3 : 0);",
    "ar": "nplurals=6; plural=n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5;",
    # Icelandic as some catalogs have it: the plural is the first form.
    "is": "nplurals=2; plural=(n%10==1 && n%100!=11);",
}


def header(language="de", rule=None):
    lines = ["Content-Type: text/plain; charset=UTF-8", f"Language: {language}"]
    lines += [f"Plural-Forms: {rule}"] * (rule is not None)
    return 'msgid ""\nmsgstr ""\n' + "".join(f'"{line}\\n"\n' for line in lines) + "\n"


def plural(forms):
    lines = [f'msgstr[{number}] "{text}"' for number, text in forms.items()]
    return "\n".join(['msgid "a file"', 'msgid_plural "%d files"', *lines, ""]) + "\n"


def read(path):
    (reader,) = find_bitext([path])
    texts = Texts()
    for chunk in reader.chunks():
        found = reader.read(chunk)
        texts += found
        texts.dropped.update(found.dropped)
    return texts


@pytest.mark.parametrize(
    ("language", "forms", "pairs", "dropped"),
    [
        ("de", "ED", [("a file", "E"), ("%d files", "D")], {}),
        ("fr", "ED", [("a file", "E"), ("%d files", "D")], {}),
        ("ja", "E", [("a file", "E")], {}),
        ("ru", "EDF", [("a file", "E")], {"plural_form": 2}),
        ("sl", "DEFG", [("a file", "E")], {"plural_form": 3}),
        ("ar", "0E2345", [("a file", "E")], {"plural_form": 5}),
        ("is", "DE", [("a file", "E"), ("%d files", "D")], {}),
    ],
)
def test_forms_are_taken_by_the_rule(language, forms, pairs, dropped, tmp_path):
    path = tmp_path / "x.po"
    path.write_text(header(language, RULES[language]) + plural(dict(enumerate(forms))))
    texts = read(path)
    assert (texts, texts.dropped) == (pairs, dropped)


@pytest.mark.parametrize("rule", [None, "nplurals=INTEGER; plural=EXPRESSION;", ""])
def test_without_a_rule_there_are_two_forms(rule, tmp_path):
    (tmp_path / "x.po").write_text(header("de", rule) + plural({0: "E", 1: "D"}))
    assert read(tmp_path / "x.po") == [("a file", "E"), ("%d files", "D")]


def test_forms_that_the_rule_does_not_have_are_counted(tmp_path, tokenizer_dir):
    text = header("de", RULES["de"]) + plural({0: "eine Datei", 999999999999: "Dateien"})
    text += 'msgid "Open it"\nmsgstr "Öffne es"\n\n#~ msgid "gone"\n#~ msgstr "weg"\n'
    (tmp_path / "de.po").write_text(text)
    arguments = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out")
    run(build_bitext.main, "--input", tmp_path / "de.po", *arguments)
    (source,) = read_manifest(tmp_path / "out", "bitext").sources
    assert source.sentences == 2 and source.dropped["untranslated"] == 1
    assert source.passed_over == {"plural_form": 1, "obsolete": 1}


@pytest.mark.parametrize(
    "rule", ["nplurals=2; plural=n !=", "nplurals=2; plural=n/0", "nplurals=2; plural=m", "plural=("]
)
def test_a_rule_that_is_none_is_named(rule, tmp_path):
    (tmp_path / "de.po").write_text(header("de", rule) + plural({0: "E", 1: "D"}))
    with pytest.raises(InputError, match="de.po: its Plural-Forms .* is not a rule of gettext"):
        read(tmp_path / "de.po")
    # Nothing depends on it.
    (tmp_path / "de.po").write_text(header("de", rule) + 'msgid "a"\nmsgstr "b"\n')
    assert read(tmp_path / "de.po") == [("a", "b")]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('msgid "Open it\nmsgstr "Öffne es"\n', 6, "a quote is not closed"),
        ('msgid "Open it"\nmsgstr "Öffne es\n', 7, "a quote is not closed"),
        ('msgid "Open it\\"\nmsgstr "Öffne es"\n', 6, "a quote is not closed"),
        ('msgid ""\n"Open it\n"now"\nmsgstr "a"\n', 7, "a quote is not closed"),
        ("msgid 'Open it'\nmsgstr \"a\"\n", 6, "not a keyword with a string in double quotes"),
        ('msgid Open\nmsgstr "a"\n', 6, "not a keyword"),
        ('message "Open"\nmsgstr "a"\n', 6, "not a keyword"),
        ('msgid "a\\q"\nmsgstr "a"\n', 6, r"\q stands for no character"),
        ('msgid "a"\nmsgid_plural "b"\nmsgstr[x] "c"\n', 8, "not gettext's syntax"),
        ('msgstr "a"\n', 6, "not gettext's syntax"),
    ],
)
def test_faults_are_named_with_their_line(text, line, reason, tmp_path, tokenizer_dir, capsys):
    (tmp_path / "de.po").write_text(header() + text)
    arguments = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out")
    message = refused(capsys, build_bitext.main, "--input", tmp_path / "de.po", *arguments)
    assert f"de.po: line {line}: " in message and reason in message and "msgfmt --check" in message
    assert not (tmp_path / "out").exists()


CATALOG = header("de", RULES["de"]) + (
    '# a comment with a " quote\n#: file.c:1\nmsgctxt "menu"\nmsgid "Open \\"it\\"\\n"\nmsgstr "Öffne \\"es\\"\\n"\n\n'
    + plural({0: "eine Datei", 1: "%d Dateien"})
    + '#, fuzzy\nmsgid ""\n"long "\n"text\\t"\nmsgstr ""\n"langer "\n"Text"\n'
)


@pytest.mark.skipif(shutil.which("msgfmt") is None, reason="needs gettext's own tool to compare with")
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_what_gettext_refuses_is_refused(data, tmp_path):
    text = CATALOG
    start = text.index("# a comment")
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(start, len(text) - 1))
        kind = data.draw(st.sampled_from(["cut", "insert", "replace"]))
        new = data.draw(st.sampled_from(['"', "\\", "'", "\n", "x", " ", "[", "#", "msgid "]))
        text = text[:place] + ("" if kind == "cut" else new) + text[place + (kind != "insert") :]
    path = tmp_path / "de.po"
    path.write_text(text, encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C"}
    found = subprocess.run(["msgfmt", "-o", os.devnull, path], capture_output=True, text=True, env=environment)
    try:
        pairs = read(path)
    except InputError as error:
        assert "de.po: line " in str(error)
    else:
        # What polib reads although gettext does not: whole entries, of which none is lost.
        harmless = (
            "duplicate message",
            "plural form",
            "missing 'msgstr",
            "inconsistent use of #~",
            "both begin",
            "both end",
        )
        complaints = [line for line in found.stderr.splitlines() if "error" not in line and "this is the" not in line]
        assert found.returncode == 0 or all(any(part in line for part in harmless) for line in complaints), (
            found.stderr
        )
        entries = [entry for entry in polib.pofile(str(path)) if not entry.obsolete]
        expected = {" ".join(text.split()) for entry in entries for text in (entry.msgid, entry.msgid_plural)}
        assert {" ".join(message.split()) for message, _ in pairs} <= expected


PLAIN = 'msgid "a file"\nmsgstr "eine Datei"\n'


def names(folder):
    return [(reader.name, os.path.relpath(reader.files[0], folder)) for reader in find_bitext([folder])]


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


@pytest.mark.parametrize("depth", ["", "locale", "src/locale"])
def test_the_folders_of_gettext_say_the_language(depth, tmp_path):
    files = {
        "de/LC_MESSAGES/x.po": header("") + PLAIN,
        "pt_BR/LC_MESSAGES/app.po": PLAIN,
        "sr@latin/LC_MESSAGES/app.po": PLAIN,
        "ast/LC_MESSAGES/is.po": PLAIN,  # a domain's name, not Icelandic
        "fr_FR.UTF-8/LC_MESSAGES/no.po": header("French") + PLAIN,
        "zh_TW/LC_MESSAGES/hi.po": header("zh_HK") + PLAIN,
    }
    expected = {"de/x": "de", "pt_BR/app": "pt", "sr@latin/app": "sr_Latn", "ast/is": "ast", "fr_FR.UTF-8/no": "fr"}
    expected |= {"zh_TW/hi": "zh_Hant"}
    write(tmp_path / depth, files)
    top = tmp_path if depth.count("/") == 0 else tmp_path / "src"
    assert {path: name for name, path in names(top)} == {
        os.path.join("" if top != tmp_path and not depth else depth.removeprefix("src/"), key).replace(
            os.path.basename(key), f"LC_MESSAGES/{os.path.basename(key)}.po"
        ): f"en-{language}"
        for key, language in expected.items()
    }
    for name in files:
        (reader,) = find_bitext([tmp_path / depth / name])
        assert read(tmp_path / depth / name) == [("a file", "eine Datei")]
        (again,) = find_bitext([(tmp_path / depth / name).parent])
        assert again.name == reader.name


def test_folders_of_gettext_are_taken_or_named_to_the_last_file(tmp_path):
    write(
        tmp_path,
        {
            "de/LC_MESSAGES/x.po": PLAIN,
            "de/LC_MESSAGES/x.mo": "",
            "de/LC_MESSAGES/._x.po": "",
            "de/README": "",
            "de/LC_TIME/x.po": PLAIN,
            "qq/LC_MESSAGES/x.po": PLAIN,
            "en_GB/LC_MESSAGES/x.po": PLAIN,
            "fr/LC_MESSAGES/x.mo": "",
            ".git/it/LC_MESSAGES/x.po": PLAIN,
            "hi.po": PLAIN,
            "notes": "",
        },
    )
    (tmp_path / "de_DE").symlink_to(tmp_path / "de")
    found = find_bitext([tmp_path])
    assert {reader.name: os.path.relpath(reader.files[0], tmp_path) for reader in found} == {
        "en-de": "de/LC_MESSAGES/x.po",
        "en-hi": "hi.po",
    }
    assert {os.path.relpath(item.path, tmp_path): item.reason.split(":")[0] for item in found.passed_over} == {
        "de/LC_MESSAGES/x.mo": "not named like a corpus",
        "de/LC_MESSAGES/._x.po": "left by macOS",
        "de/README": "beside the folders of gettext",
        "de/LC_TIME": "folder",
        "qq/LC_MESSAGES/x.po": "its language is not known",
        "en_GB/LC_MESSAGES/x.po": "is a translation into en, the messages' own language",
        "fr": "folder",
        ".git": "hidden",
        "notes": "not named like a corpus",
        "de_DE": "folder that holds such files, at some depth",
    }


def test_a_folder_of_gettext_is_relative_to_where_the_command_runs(tmp_path, monkeypatch):
    write(tmp_path, {"de/LC_MESSAGES/x.po": PLAIN})
    monkeypatch.chdir(tmp_path / "de/LC_MESSAGES")
    assert [reader.name for item in ("x.po", ".", "..") for reader in find_bitext([item])] == ["en-de"] * 3


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("de/LC_MESSAGES/x.po", "fr"),
        ("de/LC_MESSAGES/x.po", "en"),
        ("zh_TW/LC_MESSAGES/x.po", "zh_CN"),
        ("de.po", "fr_FR.UTF-8"),
        ("app.de.po", "fr"),
        ("pt_BR.po", "es"),
        ("en-de.po", "fr"),
    ],
)
def test_a_header_that_contradicts_its_folder_or_name_is_refused_and_passed_over(path, language, tmp_path):
    code = path.split("/")[0].removesuffix(".po").removeprefix("app.")
    write(tmp_path, {path: header(language) + PLAIN, "it/LC_MESSAGES/x.po": header("it") + PLAIN})
    with pytest.raises(InputError, match="x.po|de.po|pt_BR.po") as raised:
        find_bitext([tmp_path / path])
    assert repr(language) in str(raised.value) and repr(code) in str(raised.value)
    found = find_bitext([tmp_path])
    assert [reader.name for reader in found] == ["en-it"]
    (reason,) = [item.reason for item in found.passed_over if item.path == str(tmp_path / path)]
    assert repr(language) in reason and repr(code) in reason
    # The user decides.
    assert [reader.name for reader in find_bitext([f"en-de={tmp_path / path}"])] == ["en-de"]


@pytest.mark.parametrize(
    ("path", "language", "name"),
    [
        ("deu/LC_MESSAGES/x.po", "de_AT", "de"),
        ("sr/LC_MESSAGES/x.po", "sr@latin", "sr_Latn"),
        ("sr@latin/LC_MESSAGES/x.po", "sr", "sr"),
        ("zh/LC_MESSAGES/x.po", "zh_TW", "zh_Hant"),
        ("zh_TW.po", "zh", "zh"),
        ("fr/LC_MESSAGES/de.po", "fr", "fr"),  # a domain's name
        ("my.app.po", "fr", "fr"),  # words
        ("en-de.po", "de", "de"),
        ("locale/x.po", "fr", "fr"),
    ],
)
def test_a_header_that_agrees_or_says_more_is_taken(path, language, name, tmp_path):
    write(tmp_path, {path: header(language) + PLAIN})
    assert [reader.name for reader in find_bitext([tmp_path / path])] == [f"en-{name}"]
