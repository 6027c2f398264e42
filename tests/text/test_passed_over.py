"""What folders and archives hold besides text: passed over, counted and named; nothing vanishes in silence."""

import gzip
import itertools
import json
import lzma
import os
import pathlib
import re

import pytest

from corpus_files import archive, catalog, json_lines, moses, tatoeba, tmx, tmx_pairs, translations, tsv, write_files
from corpus_formats import read_all
from infoxlm_keras.commands import build_bitext, build_monolingual, train_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.pairs import read_pair_sets
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.readers import find_bitext, find_monolingual
from infoxlm_keras.text.readers.found import Found, describe
from infoxlm_keras.text.readers.inputs import WITH_TEXTS, PassedOver
from running import refused, run
from sample_text import sentences

PAIRS = list(zip(sentences("en", 12), sentences("de", 12), strict=True))
# What Finder, Windows, editors and version control leave beside a file.
LITTER = [".DS_Store", "._{}", ".{}.swp", "{}~", "#{}#", ".hidden-{}", "Thumbs.db", "desktop.ini", "{}.bak", ".git/{}"]


def names_of(found):
    return [reader.name for reader in found]


def passed_over(found):
    return {item.name: item.reason for item in found.passed_over}


NTREX = [
    "afr amh arb aze-Latn bak bel bem ben bod bos bul cat ces ckb-Arab cym dan deu div dzo ell est eus fao",
    "fas fij fil fin fra fra-CA fuc gle glg guj hau heb hin hmn hrv hun hye ibo ind isl ita jpn kan kat kaz khm",
    "kin kir kmr kor lao lav lit ltz mal mar mey mkd mlg mlt mon mri msa mya nde nep nld nno nob nso nya orm pan pol",
    "por por-BR prs pus",
    "ron rus shi sin slk slv smo sna-Latn snd-Arab som spa spa-MX sqi srp-Cyrl srp-Latn ssw swa swe tah tam tat tel",
    "tgk-Cyrl tha tir ton tsn tuk tur uig ukr urd uzb ven vie wol xho yor yue zho-CN zho-TW zul eng-GB eng-IN eng-US",
]


def test_ntrex_is_read_as_it_is(tmp_path):
    codes = " ".join(NTREX).split()
    files = {"newstest2019-src.eng.txt": b"one\ntwo\n", "README.md": b"x", "LANGUAGES.tsv.orig": b"x"}
    files |= {f"newstest2019-ref.{code}.txt": f"{code} 1\n{code} 2\n".encode() for code in codes}
    write_files(tmp_path, files)
    found = find_bitext([tmp_path])
    english = [code for code in codes if code.startswith("eng")]
    assert english and len(found) == len(codes) - len(english)
    assert {reader.name.split("-")[0] for reader in found} == {"en"}
    read = {reader.files[1]: [pair for chunk in reader.chunks() for pair in reader.read(chunk)] for reader in found}
    assert read == {
        str(tmp_path / f"newstest2019-ref.{code}.txt"): [("one", f"{code} 1"), ("two", f"{code} 2")]
        for code in codes
        if code not in english
    }
    assert {"en-zh", "en-zh_Hant", "en-sr_Latn", "en-uz"} <= {*names_of(found)}
    reason = "another text in English, which the others are paired with: name a pair, as in en-en_GB=A,B"
    assert passed_over(found) == {
        "README.md": "not named like a corpus",
        "LANGUAGES.tsv.orig": "backup of an editor",
        **{f"newstest2019-ref.{code}.txt": reason for code in english},
    }
    # The same files are text in one language each.
    (chinese,) = find_monolingual([tmp_path / "newstest2019-ref.zho-CN.txt"])
    assert read_all([chinese]) == {"zh": ["zho-CN 1", "zho-CN 2"]}


@pytest.mark.parametrize("codes", ["eng_Latn zho_Hans zho_Hant deu_Latn", "eng zho_simpl zho_trad deu"])
@pytest.mark.parametrize("split", ["dev", "devtest"])
def test_flores_is_read_as_it_is(codes, split, tmp_path):
    write_files(tmp_path, {f"{code}.{split}": f"{code} 1\n{code} 2\n".encode() for code in codes.split()})
    english, simplified, traditional, german = codes.split()
    languages = {"en-de": german, "en-zh": simplified, "en-zh_Hant": traditional}
    assert read_all(find_bitext([tmp_path])) == {
        name: [(f"{english} {line}", f"{code} {line}") for line in (1, 2)] for name, code in languages.items()
    }


def test_moses_files_with_hyphens_in_their_codes_are_all_taken(tmp_path):
    codes = "afr zho-CN zho-TW por-BR srp-Cyrl srp-Latn fra-CA spa-MX deu uzb-Latn".split()
    files = {}
    for code in codes:
        files |= {f"X.eng-{code}.eng": b"one\n", f"X.eng-{code}.{code}": code.encode() + b"\n"}
    write_files(tmp_path, files)
    found = find_bitext([tmp_path])
    assert sorted(pair[1] for reader in found for chunk in reader.chunks() for pair in reader.read(chunk)) == sorted(
        codes
    )
    assert not found.passed_over
    (tmp_path / "all.zip").write_bytes(archive(files))
    assert names_of(find_bitext([tmp_path / "all.zip"])) == names_of(found)
    # In a folder, bare names with such endings.
    write_files(
        tmp_path / "bare", {"dev.eng": b"one\n", "dev.zho-CN": b"eins\n", "test.en": b"a\n", "test.pt_BR": b"b\n"}
    )
    assert read_all(find_bitext([tmp_path / "bare"])) == {"en-zh": [("one", "eins")], "en-pt": [("a", "b")]}


def test_a_text_in_many_languages_is_paired_with_english_or_named(tmp_path):
    write_files(tmp_path / "en", {f"ted.{code}": code.encode() + b"\n" for code in ("en", "de", "hi", "zh_CN")})
    assert read_all(find_bitext([tmp_path / "en"])) == {
        "en-de": [("en", "de")],
        "en-hi": [("en", "hi")],
        "en-zh": [("en", "zh_CN")],
    }
    write_files(tmp_path / "none", {f"ted.{code}": b"x\n" for code in ("fr", "de", "hi")} | {"en-de.tsv": tsv(PAIRS)})
    found = find_bitext([tmp_path / "none"])
    assert names_of(found) == ["en-de"]
    assert {name: "none of them English" in reason for name, reason in passed_over(found).items()} == dict.fromkeys(
        ("ted.fr", "ted.de", "ted.hi"), True
    )


@pytest.mark.parametrize("litter", LITTER)
def test_litter_in_folders_and_archives_is_passed_over(litter, tmp_path):
    name = litter.format("en-de.tsv")
    write_files(tmp_path / "folder", {"en-de.tsv": tsv(PAIRS), name: b"\0\5\x16\7"})
    found = find_bitext([tmp_path / "folder"])
    assert read_all(found) == {"en-de": PAIRS}
    assert list(passed_over(found)) == [name.split("/")[0]]
    write_files(tmp_path / "text", {"de.txt": b"a\n", litter.format("de.txt"): b"\0\5\x16\7"})
    found = find_monolingual([tmp_path / "text"])
    assert (read_all(found), len(found.passed_over)) == ({"de": ["a"]}, 1)
    member = litter.format("Books.en-de.de")
    members = {"Books.en-de.en": moses(PAIRS, 0), "Books.en-de.de": moses(PAIRS, 1), member: b"\0\5\x16\7"}
    members |= {"__MACOSX/._Books.en-de.en": b"\0", "README": b"read me"}
    (tmp_path / "Books.zip").write_bytes(archive(members))
    found = find_bitext([tmp_path / "Books.zip"])
    assert read_all(found) == {"en-de": PAIRS}
    assert {*passed_over(found)} == {f"Books.zip: {name}" for name in (member, "__MACOSX/._Books.en-de.en", "README")}
    assert passed_over(found)["Books.zip: __MACOSX/._Books.en-de.en"] == "left by macOS"


def test_litter_is_no_parquet_file(tmp_path):
    from corpus_files import write_parquet

    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data/train-00000-of-00001.parquet", translations(PAIRS))
    write_files(tmp_path, {"data/._train-00000-of-00001.parquet": b"\0", "__MACOSX/data/train.parquet": b"\0"})
    assert read_all(find_bitext([f"en-de={tmp_path}"])) == {"en-de": PAIRS}


def test_everything_in_a_folder_is_taken_or_named(tmp_path):
    members = {"X.en-de.en": moses(PAIRS, 0), "X.en-de.de": moses(PAIRS, 1), "LICENSE": b"x"}
    write_files(
        tmp_path,
        {
            "a.en-de.tsv": tsv(PAIRS),
            "b.jsonl": json_lines(translations(PAIRS)),
            "b.en-de.jsonl": json_lines(translations(PAIRS)),
            "c.zip": archive(members),
            "de.po": catalog(PAIRS),
            "memory.tmx": tmx_pairs(PAIRS),
            "deeper/en-de.tsv": tsv(PAIRS),
            "X.en-de.ids": b"x",
            "alone.de": b"x",
            "notes.en.odt": b"x",
        },
    )
    found = find_bitext([tmp_path])
    assert names_of(found) == ["en-de"] * 5
    assert passed_over(found) == {
        "b.jsonl": "not named like a corpus",
        "c.zip: LICENSE": "not named like a corpus",
        "deeper": WITH_TEXTS,
        "X.en-de.ids": "not named like a corpus",
        "alone.de": "not named like a corpus",
        "notes.en.odt": "not named like a corpus",
    }
    taken = {pathlib.Path(file).name for reader in found for file in reader.files}
    left = {item.name for item in found.passed_over if item.member is None}
    assert taken | left == {path.name for path in tmp_path.iterdir()} and not taken & left
    lines = found.report()
    assert lines[0] == "taken: 5 texts: en-de (5)"
    assert f"passed over, {WITH_TEXTS}: 1: deeper" in lines


def test_many_names_are_cut_but_counted():
    items = [PassedOver(f"/a/{number:03}.bin", "odd") for number in range(30)]
    (line,) = describe(items)
    assert line.startswith("passed over, odd: 30: 000.bin, 001.bin") and line.endswith("019.bin, and 10 more")
    assert Found([], items[::-1]).passed_over == items


def test_nothing_of_use_in_a_folder_is_an_error_that_names_what_is_there(tmp_path):
    write_files(tmp_path / "a", {"._en-de.tsv": b"\0", "notes.odt": b"x"})
    with pytest.raises(InputError, match=r"a: holds no file named .*it holds only ._en-de.tsv, notes.odt"):
        find_bitext([tmp_path / "a"])
    write_files(tmp_path / "b", tatoeba(PAIRS))
    with pytest.raises(InputError, match=rf"name the languages, as in en-de={tmp_path}/b"):
        find_bitext([tmp_path / "b"])


def test_two_files_with_names_of_their_own_are_a_pair(tmp_path):
    files = {"source, first.txt": moses(PAIRS, 0), "target.de.gz": gzip.compress(moses(PAIRS, 1)), "folder/x": b"x"}
    write_files(tmp_path, files)
    source, target = tmp_path / "source, first.txt", tmp_path / "target.de.gz"
    assert read_all(find_bitext([f"en-de={source},{target}"])) == {"en-de": PAIRS}
    assert read_all(find_bitext([f"deu-ENG={target},{source}"])) == {"de-en": [pair[::-1] for pair in PAIRS]}
    for address, message in (
        (f"{source},{tmp_path}/absent", "absent: no such file; .* names two"),
        (f"{tmp_path}/absent,{source}", "absent: no such file; .* names two"),
        (f"{source},{tmp_path}/folder", "folder: is a folder; give two files"),
        (f"{source}", "has none of the endings .*en-de=A.txt,B.txt"),
        ("a,b", "a,b: no such file or directory"),
    ):
        with pytest.raises(InputError, match=message):
            find_bitext([f"en-de={address}"])


def test_portuguese_of_two_countries_is_a_pair(tmp_path):
    pairs = [("autocarro", "ônibus"), ("comboio", "trem")]
    units = [[("pt-PT", source), ("pt-BR", target), ("en", "x")] for source, target in pairs]
    write_files(
        tmp_path,
        {
            "pt-pt_br.tsv": tsv(pairs),
            "X.pt-pt_br.pt": moses(pairs, 0),
            "X.pt-pt_br.pt_br": moses(pairs, 1),
            "pt-pt_br.jsonl": json_lines(translations(pairs, ("pt", "pt-BR"))),
        },
    )
    assert [reader.name for reader in find_bitext([tmp_path])] == ["pt-pt_BR"] * 3
    for reader in find_bitext([tmp_path]):
        assert read_all([reader]) == {"pt-pt_BR": pairs}
    (tmp_path / "memory.tmx").write_bytes(tmx(units))
    assert read_all(find_bitext([f"pt_PT-pt_BR={tmp_path}/memory.tmx"])) == {"pt_PT-pt_BR": pairs}
    assert read_all(find_bitext([f"pt-pt_br={tmp_path}/memory.tmx"])) == {"pt-pt_BR": pairs}


@pytest.mark.parametrize(
    ("name", "header", "pair"),
    [
        ("sr@latin.po", "", "en-sr_Latn"),
        ("app.sr@latin.po", "", "en-sr_Latn"),
        ("x.po", "sr@latin", "en-sr_Latn"),
        ("sr@latin.po", "sr", "en-sr"),
        ("ca@valencia.po", "ca@valencia", "en-ca"),
        ("de_DE.UTF-8.po", "", "en-de"),
        ("app-de_AT.po", "de_AT.UTF-8@euro", "en-de"),
        ("uz@cyrillic.po", "", "en-uz_Cyrl"),
        ("x.po", "iw", "en-he"),
    ],
)
def test_catalogs_say_their_script_by_modifiers(name, header, pair, tmp_path):
    (tmp_path / name).write_bytes(catalog(PAIRS[:3], header))
    assert read_all(find_bitext([tmp_path])).keys() == {pair}


def test_units_without_one_of_the_languages_are_counted(tmp_path):
    units = [[("en", "a"), ("de", "b")], [("en", "c"), ("fr", "d")], [("de", "e")]]
    (tmp_path / "memory.tmx").write_bytes(tmx(units))
    counts = {}
    for reader in find_bitext([tmp_path]):
        texts = [reader.read(chunk) for chunk in reader.chunks()]
        counts[reader.name] = (sum(map(len, texts)), sum(text.dropped["other_languages"] for text in texts))
    assert counts == {"en-de": (1, 2), "en-fr": (1, 2)}
    units = [[("en", "a"), ("pt-PT", "b"), ("pt-BR", "c"), ("en-GB", "d"), ("fr", "e")]]
    (tmp_path / "memory.tmx").write_bytes(tmx(units))
    (texts,) = (
        reader.read(chunk) for reader in find_bitext([f"en-pt={tmp_path}/memory.tmx"]) for chunk in reader.chunks()
    )
    assert (list(texts), texts.dropped) == ([("a", "b")], {"other_variants": 2})


@pytest.mark.parametrize("item", ["", "en-de=", "=x", "a\0b"])
def test_an_input_that_names_nothing_is_refused(item):
    with pytest.raises(InputError):
        find_bitext([item])


def test_names_that_are_not_utf8(tmp_path, tokenizer_dir, capsys):
    folder = os.fsencode(tmp_path / "pairs")
    os.mkdir(folder)
    for name, content in ((b"caf\xe9.en-de.tsv", tsv(PAIRS)), (b"\xff.bin", b"x"), (b"new\nline", b"x")):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    run(build_bitext.main, *arguments(tmp_path, tokenizer_dir, tmp_path / "pairs"))
    manifest = read_manifest(tmp_path / "data", "bitext")
    assert [source.file for source in manifest.sources] == ["caf\\xe9.en-de.tsv"]
    assert {item.file for item in manifest.passed_over} == {"\\xff.bin", "new\\nline"}
    assert "\\xff.bin" in capsys.readouterr().out


def arguments(tmp_path, tokenizer_dir, *inputs):
    return "--input", *inputs, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data", "--processes", 1


def test_a_build_says_what_it_took_and_left(tmp_path, tokenizer_dir, capsys):
    write_files(tmp_path / "pairs", {"en-de.tsv": tsv(PAIRS), "._en-de.tsv": b"\0", "README": b"x"})
    run(build_bitext.main, *arguments(tmp_path, tokenizer_dir, tmp_path / "pairs"))
    printed = capsys.readouterr().out
    assert "taken: 1 text: en-de" in printed
    assert "passed over, left by macOS: 1: ._en-de.tsv" in printed
    assert "passed over, not named like a corpus: 1: README" in printed
    written = json.loads((tmp_path / "data/bitext/manifest.json").read_text())
    assert written["passed_over"] == [
        {"file": "._en-de.tsv", "reason": "left by macOS"},
        {"file": "README", "reason": "not named like a corpus"},
    ]


@pytest.mark.parametrize(
    ("empty", "why"),
    [(b"", "no text"), (b"\n\n", "all dropped: empty"), (b"same\tsame\n\n", "all dropped: empty, identical")],
)
def test_one_file_without_text_does_not_end_the_build_of_a_folder(empty, why, tmp_path, tokenizer_dir, capsys):
    write_files(tmp_path / "pairs", {"en-de.tsv": tsv(PAIRS), "en-fr.tsv": empty, "x.en-de.tsv": empty})
    run(build_bitext.main, *arguments(tmp_path, tokenizer_dir, tmp_path / "pairs"))
    manifest = read_manifest(tmp_path / "data", "bitext")
    assert {stream.name for stream in manifest.streams} == {"en-de"}
    kept = {source.file: source.sentences for source in manifest.sources}
    assert kept == {"en-de.tsv": 12, "en-fr.tsv": 0, "x.en-de.tsv": 0}
    printed = capsys.readouterr().out
    assert f"nothing is left of 2 files ({why}): x.en-de.tsv, en-fr.tsv" in printed
    assert re.search(r"en-fr +0 +\d+ +0 +0 +- +-", printed)  # the table has a row for it
    assert not (tmp_path / "data/bitext/en-fr").exists()
    # Given by its name, it is an error.
    command = arguments(tmp_path, tokenizer_dir, tmp_path / "pairs/en-de.tsv", tmp_path / "pairs/en-fr.tsv")
    message = refused(capsys, build_bitext.main, *command, "--overwrite")
    assert "en-fr.tsv: " in message and ("is empty" in message or "nothing is left" in message)


@pytest.mark.parametrize("deduplicate", [[], ["--deduplicate"]])
def test_one_empty_text_does_not_end_the_build_of_a_folder(deduplicate, tmp_path, tokenizer_dir):
    german = "\n".join(sentences("de", 30)).encode()
    write_files(tmp_path / "text", {"de.txt": german, "fr.txt": b"", "ru.txt": b"\n\n"})
    run(build_monolingual.main, *arguments(tmp_path, tokenizer_dir, tmp_path / "text"), *deduplicate)
    manifest = read_manifest(tmp_path / "data", "mmlm")
    assert {source.file: source.sentences for source in manifest.sources} == {"de.txt": 30, "fr.txt": 0, "ru.txt": 0}
    assert os.listdir(tmp_path / "data/mmlm").count("fr") == 0


def test_a_folder_of_nothing_but_empty_texts_is_refused(tmp_path, tokenizer_dir, capsys):
    write_files(tmp_path / "text", {"de.txt": b"", "fr.txt": b"\n"})
    message = refused(capsys, build_monolingual.main, *arguments(tmp_path, tokenizer_dir, tmp_path / "text"))
    assert "de.txt: is empty" in message
    assert not (tmp_path / "data").exists()


def test_a_vocabulary_is_trained_on_a_folder_with_an_empty_text(tmp_path, capsys):
    text = "\n".join(" ".join(words) for words in itertools.permutations("Haus Fluss Brücke Wald Berg".split()))
    write_files(tmp_path / "text", {"de.txt": text.encode(), "fr.txt": b"", "._de.txt": b"\0"})
    run(train_tokenizer.main, "--input", tmp_path / "text", "--vocabulary_size", 24, "--output_dir", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "taken: 2 texts: de, fr" in printed
    assert "left by macOS: 1: ._de.txt" in printed
    assert "holds no text: 1: fr.txt" in printed
    command = ("--input", tmp_path / "text/fr.txt", "--vocabulary_size", 24, "--output_dir", tmp_path / "other")
    assert "fr.txt: holds no text" in refused(capsys, train_tokenizer.main, *command)


def test_two_codes_of_one_language_are_not_joined_in_silence(tmp_path, tokenizer_dir, capsys):
    files = {"X-src.eng.txt": b"one\ntwo\n", "X-ref.fra.txt": b"un\ndeux\n", "X-ref.fra-CA.txt": b"un\ndeusse\n"}
    write_files(tmp_path / "ntrex", files | {"X-ref.deu.txt": b"eins\nzwei\n"})
    run(build_bitext.main, *arguments(tmp_path, tokenizer_dir, tmp_path / "ntrex"))
    printed = " ".join(capsys.readouterr().out.split())
    assert "joined as en-fr: eng-fra (X-ref.fra.txt), eng-fra-CA (X-ref.fra-CA.txt)" in printed
    assert printed.count("joined as") == 1
    # Evaluation tells them apart, and refuses what it cannot.
    assert [pair_set.language for pair_set in read_pair_sets([tmp_path / "ntrex"])] == ["de", "fr", "fr_CA"]
    write_files(tmp_path / "same", {"en-de.tsv": tsv(PAIRS), "eng-deu.tsv": tsv(PAIRS)})
    with pytest.raises(InputError, match=r"eng-deu.tsv: holds pairs of de, as .*en-de.tsv does"):
        read_pair_sets([tmp_path / "same"])
    write_files(tmp_path / "text", {"zh.txt": b"a\n", "zh_CN.txt": b"b\n", "zh_TW.txt": b"c\n", "de.txt": b"d\n"})
    lines = find_monolingual([tmp_path / "text"]).report()
    assert lines == ["taken: 4 texts: de, zh (2), zh_Hant", "joined as zh: zh (zh.txt), zh_CN (zh_CN.txt)"]


@pytest.mark.parametrize("codes", [("aka_Latn", "twi_Latn"), ("pes_Arab", "prs_Arab")])
def test_neighbours_in_flores_stay_apart(codes, tmp_path):
    write_files(tmp_path, {f"{code}.dev": f"{code}\n{code} 2\n".encode() for code in ("eng_Latn", *codes)})
    found = read_all(find_bitext([tmp_path]))
    assert sorted(pairs[0][1] for pairs in found.values()) == sorted(codes)
    assert len(read_pair_sets([tmp_path])) == 2


def test_endings_count_in_any_case(tmp_path):
    files = {"EN-DE.TSV": tsv(PAIRS), "X.TMX": tmx_pairs(PAIRS, ("en", "fr")), "en-es.Jsonl": b""}
    files["en-es.Jsonl"] = json_lines([{"en": source, "es": target} for source, target in PAIRS])
    files["en-it.JSONL.GZ"] = gzip.compress(json_lines([{"en": source, "it": target} for source, target in PAIRS]))
    files["WIKIMATRIX.EN-PL.TSV"] = "".join(f"1.3\t{a}\t{b}\n" for a, b in PAIRS).encode()
    files["Books.en-fi.ZIP"] = archive({"Books.en-fi.en": moses(PAIRS, 0), "Books.en-fi.fi": moses(PAIRS, 1)})
    files["APP.PO"] = catalog(PAIRS)
    write_files(tmp_path / "pairs", files)
    found = find_bitext([tmp_path / "pairs"])
    assert not found.passed_over
    pairs = [pair for reader in found for chunk in reader.chunks() for pair in reader.read(chunk)]
    assert pairs == PAIRS * len(files)
    write_files(tmp_path / "text", {"DE.TXT.XZ": lzma.compress(b"eins\n"), "fr.TXT": b"un\n"})
    assert read_all(find_monolingual([tmp_path / "text"])) == {"de": ["eins"], "fr": ["un"]}


def test_texts_in_subfolders_are_pointed_at(tmp_path):
    write_files(tmp_path, {"po/de/app.po": catalog(PAIRS), "po/empty/README": b"x"})
    with pytest.raises(
        InputError, match=r"po: holds no file named .* it holds only de, empty; folder that holds such"
    ):
        find_bitext([tmp_path / "po"])
    assert len(find_bitext([tmp_path / "po/de"])) == 1
    write_files(tmp_path, {"po/en-fr.tsv": tsv(PAIRS)})
    reasons = passed_over(find_bitext([tmp_path / "po"]))
    assert "subfolders are not searched" in reasons["de"] and reasons["empty"] == "folder"
    write_files(tmp_path, {"text/en.txt": b"a\n", "text/more/down/de.txt": b"b\n", "text/.git/fr.txt": b"c\n"})
    reasons = passed_over(find_monolingual([tmp_path / "text"]))
    assert "subfolders are not searched" in reasons["more"] and reasons[".git"] == "hidden"


@pytest.mark.parametrize(("ending", "command"), [(".gz", "gzip -dk"), (".ZST", "zstd -dk")])
def test_compressed_files_that_are_read_uncompressed_only(ending, command, tmp_path):
    names = [f"app.po{ending}", f"en-de.parquet{ending}"]
    write_files(tmp_path, dict.fromkeys([*names, f"de.parquet{ending}"], b"x") | {"en-fr.tsv": tsv(PAIRS)})
    found = find_bitext([tmp_path])
    assert names_of(found) == ["en-fr"]
    assert all(f"uncompressed only: run `{command} FILE`" in passed_over(found)[name] for name in names)
    for item in (tmp_path / names[0], f"en-de={tmp_path / names[0]}", tmp_path / names[1]):
        with pytest.raises(InputError, match=rf"file is read uncompressed only; run `{command} {tmp_path}"):
            find_bitext([item])
    with pytest.raises(InputError, match=rf"a .parquet file is read uncompressed only; run `{command} "):
        find_monolingual([tmp_path / f"de.parquet{ending}"])
