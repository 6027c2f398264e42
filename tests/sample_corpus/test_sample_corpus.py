"""The sample corpus: made from tiny packages, and the one in the repository."""

import functools
import lzma
import os
import shutil
import stat
import unicodedata

import pytest

from infoxlm_keras.commands import make_sample_corpus, unpack_sample_corpus
from infoxlm_keras.sample_corpus import BUNDLED_CORPUS
from infoxlm_keras.sample_corpus import paragraph_faults as cleaning
from infoxlm_keras.sample_corpus.alignment import Row, align, read_package
from infoxlm_keras.sample_corpus.packages import find_packages, language_code, package_version, read_pages
from infoxlm_keras.sample_corpus.pages import read_paragraphs
from infoxlm_keras.sample_corpus.splitting import split_rows
from infoxlm_keras.sample_corpus.text_files import monolingual_lines, pair_lines
from running import refused, run, tree
from tiny_packages import help_page, write_package

BUNDLED = BUNDLED_CORPUS
REQUIRED_LANGUAGES = set("ru el hi ja zh ko tr vi de fr es fi".split())

NUMBERS = "one two three four five six seven eight nine ten".split()
ZAHLEN = "eins zwei drei vier fünf sechs sieben acht neun zehn".split()
ЧИСЛА = "один два три четыре пять шесть семь восемь девять десять".split()


OTHER_THAN_LETTERS = {code: " " for code in range(0x10000) if unicodedata.category(chr(code))[0] not in "LM"}


@functools.cache
def plain(text):
    """Letters and their marks in lower case, all else a space: written anew for the tests."""
    return " ".join(text.casefold().translate(OTHER_THAN_LETTERS).split())


def sentences(template, words):
    return [template.format(word) for word in words]


@pytest.fixture
def packages(tmp_path):
    """A folder with English, German and Russian help: two pages, of ten and two paragraphs."""
    directory = tmp_path / "packages"
    directory.mkdir()
    texts = {
        "en-us": sentences("The cell holds {} rows.", NUMBERS),
        "de": sentences("Die Zelle enthält {} Zeilen.", ZAHLEN),
        "ru": sentences("Ячейка содержит {} строк.", ЧИСЛА),
    }
    labels = {
        "en-us": ["Print Range", "Untranslated everywhere"],
        "de": ["Druckbereich", "Untranslated everywhere"],
        "ru": ["Print Range", "Untranslated everywhere"],
    }
    for language in texts:
        pages = {
            "scalc/main.html": help_page([(f"par_id{n}", text) for n, text in enumerate(texts[language])]),
            "scalc/print.html": help_page([(f"hd_id{n}", text) for n, text in enumerate(labels[language])]),
        }
        write_package(directory, language, pages)
    return directory


# --- pages


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("Click <span class='emph'>OK</span>.", "Click OK."),
        ("A&nbsp;&amp;\n\t B", "A & B"),
        ("First<br>second", "First second"),
        ("the icon\n<img src='x.svg'> on the bar", "the icon on the bar"),
        ("Click the icon <img src='x.svg'> .", "Click the icon."),
        ("图标<img src='x.svg'>，然后", "图标，然后"),
        ("soft\u00adware\u0097", "software"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_paragraph_text(markup, text):
    [(name, raw)] = [item for item in read_paragraphs(help_page([("par_id1", markup)])) if item[0] == "par_id1"]
    assert (name, cleaning.normalise_text(raw)) == ("par_id1", text)


@pytest.mark.parametrize(
    ("variants", "shown"),
    [
        ('<span id="MAC1" class="MAC"><span>Command</span></span><span id="default1">Ctrl</span>', "Press Ctrl+F."),
        ('<span id="WIN1" class="WIN">Alt</span>\n<span id="MAC1" class="MAC">Option</span>', "Press Alt+F."),
        ('<span id="MAC1" class="MAC">Option</span>', "Press +F."),
    ],
)
def test_one_variant_of_a_switch_is_taken(variants, shown):
    page = help_page([("par_id1", f'Press <span class="switchinline">{variants}</span>+F.')])
    assert ("par_id1", shown) in read_paragraphs(page)


def test_only_paragraphs_with_an_id_that_are_no_code():
    page = (
        '<h1 id="hd_id1">Title</h1><p>none</p><p id="par_id2" class="code">x = 1</p><p id="par_id3">unclosed <b>bold'
    )
    assert read_paragraphs(page) == [("hd_id1", "Title"), ("par_id3", "unclosed bold")]


# --- packages


def test_package_is_read_without_debian_tools(tmp_path):
    pages = {"b.html": "<p>ü</p>", "a/c.html": "<p>x</p>"}
    path = write_package(tmp_path, "pt-br", pages)
    assert dict(read_pages(path)) == {"text/b.html": "<p>ü</p>", "text/a/c.html": "<p>x</p>"}
    assert package_version(path) == "4:7.4.7-1"
    assert [language_code(name) for name in ("pt-br", "zh-cn", "zh-tw", "de")] == ["pt_br", "zh", "zh_tw", "de"]


def test_pages_of_another_language_are_not_read(tmp_path):
    path = write_package(tmp_path, "ca", {"a.html": "<p>x</p>"}, folder="ca-valencia")
    assert dict(read_pages(path)) == {}


def test_an_id_that_stands_twice_on_a_page_is_left_out(tmp_path):
    page = help_page([("par_id1", "first one"), ("par_id2", "kept"), ("par_id1", "second one")])
    path = write_package(tmp_path, "de", {"a.html": page})
    assert read_package(path) == {("text/a.html", "par_id2"): "kept", ("text/a.html", "bm_module"): ""}


def test_download_fetches_what_is_missing(tmp_path, monkeypatch):
    tools = {
        "apt-cache": "echo libreoffice-help-en-us libreoffice-help-de libreoffice-help-en-gb libreoffice-help-fr",
        "apt-get": 'shift; for name in "$@"; do : > ${name}_1_all.deb; done',
    }
    for name, line in tools.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    directory = tmp_path / "packages"
    make_sample_corpus.download_packages(directory, ["de"])
    assert set(find_packages(directory)) == {"en", "de"}
    (directory / "libreoffice-help-de_1_all.deb").write_text("here already")
    make_sample_corpus.download_packages(directory, None)
    assert set(find_packages(directory)) == {"en", "de", "fr"}
    assert (directory / "libreoffice-help-de_1_all.deb").read_text() == "here already"


# --- cleaning


@pytest.mark.parametrize(
    ("english", "fault"),
    [
        ("1,234.5 %", "empty"),
        ("[text/scalc/01.xhp#sum not found]., SUMIF", "broken"),
        ("Spreadsheets", "short"),
        ("A cell", "short"),
        ("word " * 81, "long"),
        ('=IMDIV("-238+240i";"10+24i") = 5+12i', "formula"),
        ("Click OK to close the dialog.", None),
    ],
)
def test_fault_of_paragraph(english, fault):
    assert cleaning.fault_of_paragraph(english) == fault


@pytest.mark.parametrize(
    ("language", "english", "translation", "fault"),
    [
        ("de", "Useful Life", "195", "empty"),
        ("de", "Export as PDF", "[text/pdf.xhp not found].", "broken"),
        ("de", "The Text Box", "The text box.", "untranslated"),
        ("de", "Version 7 of LibreOffice", "Version 8 of LibreOffice", "untranslated"),
        ("fr", "com.sun.star.sdb service", "Service com.sun.star.sdb", "untranslated"),
        (
            "ko",
            "Wraps text on all sides of it.",
            "Wraps text on all sides of it. 이 아이콘은 문장 배치에 해당합니다.",
            "untranslated",
        ),
        ("ru", "In Python scripts there", "В Python scripts", "script"),
        ("ru", "In Python scripts there", "В сценариях Python", None),
        ("ja", "Press Enter to go on.", "Enter を押して続けます。", None),
        ("hi", "Print the whole sheet.", "पूरी शीट छापें.", None),
        ("de", "Print the whole sheet.", "Das ganze Blatt drucken.", None),
        ("vi", "Print the whole sheet.", "In toàn bộ bảng tính.", None),
    ],
)
def test_fault_of_translation(language, english, translation, fault):
    assert cleaning.fault_of_translation(english, translation, language) == fault


def test_length_outliers_are_relative_to_the_median_of_the_language():
    pairs = [("a" * 95, "b" * 45)] * 5 + [("a" * 95, "b" * 151), ("a" * 95, "b" * 11), ("a" * 95, "b" * 140)]
    # Smoothed by 5: the median ratio is 0.5; 1.56 and 0.16 are more than three times off, 1.45 is not.
    assert cleaning.length_outliers(pairs) == [False] * 5 + [True, True, False]
    assert cleaning.length_outliers([]) == []


def test_comparison_form():
    assert cleaning.comparison_form("  “Click” OK-2, Größe: 3 पूरी！") == "click ok grösse पूरी"


# --- rows


def test_align_keeps_each_pair_once_and_page_order():
    english = {("p1", "a"): "one", ("p1", "b"): "two", ("p2", "a"): "one", ("p2", "b"): "none"}
    translations = {
        "de": {("p1", "a"): "eins", ("p1", "b"): "zwei", ("p2", "a"): "eins"},
        "ru": {("p1", "a"): "один", ("p2", "a"): "раз"},
    }
    assert align(english, translations) == [
        Row("p1", "one", {"de": "eins", "ru": "один"}),
        Row("p1", "two", {"de": "zwei"}),
        Row("p2", "one", {"ru": "раз"}),
    ]


def test_heldout_sentences_are_gone_from_training():
    rows = [Row("p", f"This row holds {word} cells.", {"de": f"Hier stehen {zahl} Zellen."})
            for word, zahl in zip(NUMBERS, ZAHLEN, strict=True)]  # fmt: skip
    training, heldout = split_rows(rows, ["de"], 4)
    assert len(heldout) == 4 and len(training) == 6
    chosen = heldout[0]
    again = [
        Row("q", chosen.english.upper().replace(".", "!"), {"de": "Etwas ganz anderes."}),
        Row("q", "Left in English.", {"de": chosen.english.lower()}),
    ]
    training_again, heldout_again = split_rows(rows + again, ["de"], 4)
    assert (training_again, heldout_again) == (training, heldout)


def test_a_translation_of_two_sentences_is_not_held_out():
    rows = [
        Row("p", "Click the button to close.", {"de": "Schaltfläche anklicken."}),
        Row("p", "Click the other button here.", {"de": "Schaltfläche, anklicken!"}),
        Row("p", "Print only the selected cells.", {"de": "Nur die Auswahl drucken."}),
    ]
    assert split_rows(rows, ["de"], 1) == (rows[:2], rows[2:])
    with pytest.raises(ValueError, match="only 1 sentences"):
        split_rows(rows, ["de"], 2)


def test_split_is_the_same_in_any_order_of_rows():
    rows = [Row("p", f"This row holds {word} cells.", {"de": f"Hier stehen {zahl} Zellen."})
            for word, zahl in zip(NUMBERS, ZAHLEN, strict=True)]  # fmt: skip
    _, forwards = split_rows(rows, ["de"], 4)
    _, backwards = split_rows(rows[::-1], ["de"], 4)
    assert forwards == backwards[::-1]


@pytest.mark.parametrize(
    "other",
    [
        Row("q", "First, this row holds one cell of many.", {"de": "Etwas."}),
        Row("q", "Something of its own.", {"de": "Also: hier steht eine Zelle, von vielen."}),
    ],
)
def test_a_sentence_inside_a_longer_paragraph_is_not_held_out(other):
    row = Row("p", "This row holds one cell", {"de": "Hier steht eine Zelle", "fr": "Une cellule ici"})
    assert split_rows([row], ["de", "fr"], 1) == ([], [row])
    with pytest.raises(ValueError, match="only 0 sentences"):
        split_rows([row, other], ["de", "fr"], 1)


@pytest.mark.parametrize("english", ["Only three words", "com.sun.star.text is it", "word " * 41])
def test_length_of_heldout_sentences(english):
    with pytest.raises(ValueError, match="--heldout 1"):
        split_rows([Row("p", english, {"de": "Ein Satz."})], ["de"], 1)


def test_monolingual_lines_and_pairs():
    rows = [
        Row("p1", "a", {"de": "x"}),
        Row("p1", "b", {}),
        Row("p2", "c", {"de": "y"}),
        Row("p2", "d", {"de": "x"}),
        Row("p3", "e", {"de": "z"}),
    ]
    assert monolingual_lines(rows, "de") == ["x", "", "y", "", "z"]
    assert monolingual_lines(rows, "en") == ["a", "b", "", "c", "d", "", "e"]
    assert pair_lines(rows, "de") == ["a\tx", "c\ty", "d\tx", "e\tz"]
    assert pair_lines(rows, "de", 2) == ["a\tx", "d\tx"]


# --- commands


def make(packages, output_dir, *options):
    arguments = ["--packages", packages, "--output_dir", output_dir, "--heldout", 3, "--processes", 1]
    run(make_sample_corpus.main, *arguments, "--languages", "all", *options)


def lines(path):
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def test_from_packages_to_text(packages, tmp_path):
    make(packages, tmp_path / "corpus")
    run(unpack_sample_corpus.main, "--corpus", tmp_path / "corpus", "--output_dir", tmp_path / "text")
    text = tmp_path / "text"
    assert sorted(path.name for path in text.glob("*/*")) == [
        "de.txt", "en-de.tsv", "en-de.tsv", "en-ru.tsv", "en-ru.tsv", "en.txt", "ru.txt",
    ]  # fmt: skip
    true = {
        f"The cell holds {n} rows.": {"de": f"Die Zelle enthält {z} Zeilen.", "ru": f"Ячейка содержит {ч} строк."}
        for n, z, ч in zip(NUMBERS, ZAHLEN, ЧИСЛА, strict=True)
    }
    for language in ("de", "ru"):
        heldout = dict(line.split("\t") for line in lines(text / f"heldout/en-{language}.tsv"))
        training = dict(line.split("\t") for line in lines(text / f"bitext/en-{language}.tsv"))
        monolingual = lines(text / f"monolingual/{language}.txt")
        assert len(heldout) == 3 and not heldout.keys() & training.keys()
        expected = {english: others[language] for english, others in true.items()}
        assert {**training, **heldout} == expected | ({"Print Range": "Druckbereich"} if language == "de" else {})
        assert [line for line in monolingual if line] == list(training.values())
    assert lines(text / "monolingual/de.txt")[-2:] == ["", "Druckbereich"]
    assert "Untranslated everywhere" not in lines(text / "monolingual/en.txt")


def test_line_n_is_the_same_paragraph_in_every_file(packages, tmp_path):
    make(packages, tmp_path / "corpus")
    train = {
        path.name.split(".")[0]: lzma.decompress(path.read_bytes()).decode("utf-8").split("\n")[:-1]
        for path in (tmp_path / "corpus/train").iterdir()
    }
    assert sorted(train) == ["de", "en", "pages", "ru"]
    assert {len(column) for column in train.values()} == {8}
    assert train["en"][-1] == "Print Range" and train["de"][-1] == "Druckbereich" and train["ru"][-1] == ""
    assert train["pages"] == ["text/scalc/main.html", *[""] * 6, "text/scalc/print.html"]


def test_same_packages_same_bytes(packages, tmp_path):
    make(packages, tmp_path / "first")
    for path in packages.iterdir():
        os.utime(path, (0, 0))
    make(packages, tmp_path / "second", "--processes", 2)
    first = tree(tmp_path / "first")
    assert first == tree(tmp_path / "second")
    assert {"README.md", "LICENSE-MPL-2.0.txt", "corpus.json"} <= set(first)
    assert "| de | libreoffice-help-de | 8 | 8 | 3 | " in first["README.md"].decode("utf-8")


def test_packages_without_pages_are_passed_over_by_all(packages, tmp_path):
    write_package(packages, "sk", {})
    write_package(packages, "en-gb", {"a.html": help_page([("par_id1", "British English")])})
    make(packages, tmp_path / "corpus")
    assert not (tmp_path / "corpus/train/sk.txt.xz").exists()


def damage(name, change):
    """A function of the packages folder that applies `change` (bytes -> bytes) to one package."""

    def apply(packages):
        [path] = packages.glob(f"libreoffice-help-{name}_*")
        path.write_bytes(change(path.read_bytes()))

    return apply


@pytest.mark.parametrize(
    ("prepare", "options", "parts"),
    [
        (shutil.rmtree, [], ["packages", "no such folder", "--download"]),
        (lambda packages: next(packages.glob("*en-us*")).unlink(), [], ["libreoffice-help-en-us"]),
        (lambda packages: write_package(packages, "de", {}, version="9"), [], ["help-de_9", "one version"]),
        (lambda packages: write_package(packages, "sk", {}), ["--languages", "sk"], ["help-sk_", "leave sk out"]),
        (None, ["--languages", "fr", "de"], ["--languages fr", "--download"]),
        (None, ["--languages", "en"], ["--languages en"]),
        (None, ["--languages", "all", "de"], ["--languages all"]),
        (None, ["--heldout", "11"], ["--heldout 11", "ask for fewer", "ru"]),
        (None, ["--heldout", "0"], ["--heldout 0", "at least 1"]),
        (None, ["--processes", "0"], ["--processes 0", "at least 1"]),
        (None, ["--max_megabytes", "0.001"], ["--max_megabytes 0.001", "drop one of"]),
        (damage("de", lambda data: b"nothing"), [], ["help-de_", "not a Debian package"]),
        (damage("de", lambda data: data[:-40]), [], ["help-de_", "no complete data.tar", "again"]),
        (damage("de", lambda data: data[:-80] + b"\0" * 80), [], ["help-de_", "data.tar.xz", "again"]),
    ],
)
def test_making_refuses_bad_input(packages, tmp_path, capsys, prepare, options, parts):
    if prepare is not None:
        prepare(packages)
    arguments = ["--packages", packages, "--output_dir", tmp_path / "corpus", "--heldout", 3, "--processes", 1]
    message = refused(capsys, make_sample_corpus.main, *arguments, "--languages", "all", *options)
    for part in parts:
        assert part in message
    assert not (tmp_path / "corpus").exists()
    assert not list(tmp_path.glob(".corpus*"))


def test_download_without_apt_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["--packages", tmp_path / "new", "--download", "--output_dir", tmp_path / "corpus"]
    message = refused(capsys, make_sample_corpus.main, *arguments)
    assert "apt-get" in message and ".deb" in message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("prepare", "options", "parts"),
    [
        (None, ["--languages", "xx"], ["--languages xx", "choose from de"]),
        (None, ["--max_pairs", "0"], ["--max_pairs 0", "at least 1"]),
        (lambda corpus: shutil.rmtree(corpus), [], ["corpus.json", "no such file"]),
        (lambda corpus: (corpus / "corpus.json").write_text("{}"), [], ["corpus.json", "make-sample-corpus"]),
        (lambda corpus: (corpus / "train/de.txt.xz").unlink(), [], ["de.txt.xz", "no such file", "restore"]),
        (lambda corpus: (corpus / "train/de.txt.xz").write_bytes(b"?"), [], ["de.txt.xz", "damaged", "restore"]),
        (
            lambda corpus: shutil.copy(corpus / "heldout/de.txt.xz", corpus / "train/de.txt.xz"),
            [],
            ["de.txt.xz", "lines", "restore"],
        ),
    ],
)
def test_unpacking_refuses_bad_input(tmp_path, capsys, prepare, options, parts):
    shutil.copytree(BUNDLED, tmp_path / "corpus")
    if prepare is not None:
        prepare(tmp_path / "corpus")
    arguments = ["--corpus", tmp_path / "corpus", "--output_dir", tmp_path / "text"]
    message = refused(capsys, unpack_sample_corpus.main, *arguments, *options)
    for part in parts:
        assert part in message
    assert not (tmp_path / "text").exists()


def test_unpacking_does_not_touch_a_folder_with_files(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    message = refused(capsys, unpack_sample_corpus.main, "--output_dir", tmp_path)
    assert str(tmp_path) in message and "not empty" in message
    assert tree(tmp_path) == {"mine.txt": b"mine"}


# --- the corpus in the repository


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """The bundled corpus as text: {folder: {file stem: list of lines}}."""
    directory = tmp_path_factory.mktemp("bundled") / "text"
    run(unpack_sample_corpus.main, "--output_dir", directory)
    return {folder.name: {path.stem: lines(path) for path in folder.iterdir()} for folder in directory.iterdir()}


def pairs_of(column):
    return [tuple(line.split("\t")) for line in column]


def test_bundled_languages_and_size(bundled):
    assert sum(len(data) for data in tree(BUNDLED).values()) <= 8_000_000
    assert REQUIRED_LANGUAGES <= set(bundled["monolingual"])
    translated = {f"en-{language}" for language in bundled["monolingual"]} - {"en-en"}
    assert set(bundled["bitext"]) == set(bundled["heldout"]) == translated
    assert "Mozilla Public License Version 2.0" in (BUNDLED / "LICENSE-MPL-2.0.txt").read_text()


def test_bundled_pairs_are_pairs(bundled):
    for folder in ("bitext", "heldout"):
        for name, column in bundled[folder].items():
            pairs = pairs_of(column)
            assert {len(pair) for pair in pairs} == {2}, name
            assert len(set(pairs)) == len(pairs), name
            assert not [pair for pair in pairs if plain(pair[0]) == plain(pair[1])], name
            assert all(text == " ".join(text.split()) and text for pair in pairs for text in pair), name


def test_bundled_heldout_sentences_are_distinct_and_the_same_in_every_language(bundled):
    english = [pair[0] for pair in pairs_of(bundled["heldout"]["en-de"])]
    assert len(english) >= 300
    assert all(4 <= len(text.split()) <= 40 for text in english)
    for column in bundled["heldout"].values():
        pairs = pairs_of(column)
        assert [pair[0] for pair in pairs] == english
        for side in zip(*pairs, strict=True):
            assert len({plain(text) for text in side}) == len(side)


def test_bundled_heldout_sentences_are_not_in_training(bundled):
    heldout_english = {plain(line.split("\t")[0]) for line in bundled["heldout"]["en-de"]}
    assert not heldout_english & set(map(plain, bundled["monolingual"]["en"]))
    for name, column in bundled["bitext"].items():
        heldout_translations = {plain(line.split("\t")[1]) for line in bundled["heldout"][name]}
        training = pairs_of(column)
        assert not heldout_english & {plain(pair[0]) for pair in training}, name
        other = {plain(pair[1]) for pair in training}
        other |= set(map(plain, bundled["monolingual"][name.removeprefix("en-")]))
        assert not (heldout_translations | heldout_english) & other, name


def test_bundled_heldout_english_is_in_no_longer_paragraph(bundled):
    everything = "\n".join(map(plain, bundled["monolingual"]["en"]))
    assert not [line for line in bundled["heldout"]["en-de"] if plain(line.split("\t")[0]) in everything]


@pytest.mark.parametrize(
    ("language", "script"),
    [("ru", "CYRILLIC"), ("el", "GREEK"), ("hi", "DEVANAGARI"), ("ko", "HANGUL"), ("zh", "CJK")],
)
def test_bundled_text_is_in_its_own_script(bundled, language, script):
    letters = [letter for line in bundled["monolingual"][language] for letter in line if letter.isalpha()]
    own = sum(unicodedata.name(letter, "").startswith(script) for letter in letters)
    assert own > 0.75 * len(letters)


def test_bundled_monolingual_text_has_documents(bundled):
    for language, column in bundled["monolingual"].items():
        assert len(column) > 2000 and column.count("") > 300, language
        assert column[0] and column[-1] and ("", "") not in set(zip(column, column[1:], strict=False)), language
        text = [line for line in column if line]
        assert len(set(text)) == len(text), language


def test_unpacking_part_of_the_corpus(bundled, tmp_path):
    options = ["--languages", "hi", "de", "--max_pairs", 50]
    run(unpack_sample_corpus.main, "--output_dir", tmp_path / "text", *options)
    files = tree(tmp_path / "text")
    assert sorted(name for name in files if "hi" in name) == [
        "bitext/en-hi.tsv", "heldout/en-hi.tsv", "monolingual/hi.txt",
    ]  # fmt: skip
    assert len(files) == 7
    some = files["bitext/en-de.tsv"].decode("utf-8").split("\n")[:-1]
    assert len(some) == 50 and set(some) < set(bundled["bitext"]["en-de"])
    assert files["monolingual/en.txt"].decode("utf-8").split("\n")[:-1] == bundled["monolingual"]["en"]
