"""The formats that readers know, as tables for `--help`."""

MONOLINGUAL_NAMES = "<lang>.txt, <lang>.jsonl or <lang>.parquet, for instance de.txt.gz"
BITEXT_NAMES = (
    "<src>-<tgt>.tsv (.tmx, .jsonl, .parquet), X.<src>-<tgt>.<src> with X.<src>-<tgt>.<tgt>, X.zip, X.tmx or X.po"
)

MONOLINGUAL_FORMATS = """\
formats of --input (text may be compressed: .gz .xz .bz2 .zst):
  [X.]<lang>.txt         a sentence a line, a blank line between documents (CC-100, NTREX)
  <lang>.jsonl           {"text": ...} a line, a document each; another field with --fields
  <lang>.parquet         a document a row, in the column `text` or --fields
  a folder               all files in it that are named like these
where the name does not say the language, write it before the file:
  de=PATH                PATH in one of these formats, by its ending
  de=FOLDER[#SPLIT]      a folder of Parquet files, or saved by Hugging Face `datasets`
  de=sentences.csv       Tatoeba's export
  [de=]tfds:NAME[/CONFIG][:VERSION][#SPLIT]
                         a prepared TensorFlow Datasets dataset (tfds:wikipedia/20230601.de,
                         de=tfds:c4/multilingual#de), or tfds:FOLDER of one
Languages are ISO 639 codes (de, deu, zh-CN, zh_Hant); all codes of a language count as one language.
The command lists the files of a folder that it takes and those that it ignores."""

BITEXT_FORMATS = """\
formats of --input (all but .zip, .po and .parquet may be compressed: .gz .xz .bz2 .zst):
  [X.]<src>-<tgt>.tsv    two columns
  X.<src>-<tgt>.<src> with X.<src>-<tgt>.<tgt>
                         Moses: line n translates line n (OPUS, MultiUN)
  X.en with X.hi, eng_Latn.dev with zho_Hans.dev, X-src.eng.txt with X-ref.zho-CN.txt
                         the same in a folder (IIT Bombay, FLORES, NTREX); of several languages, English paired
                         with each of the others
  X.zip                  archive of Moses files, as OPUS ships it
  X.tmx                  translation memory; its source language (srclang="*all*": English, or else the
                         language in most units) paired with each that shares a unit with it, or only one
                         pair with en-de=X.tmx
  WikiMatrix.<src>-<tgt>.tsv
                         columns margin, source, target; pairs below --margin are dropped
  [X.]<src>-<tgt>.jsonl  {"translation": {"en": ..., "de": ...}} a line, or without `translation`; or --fields
  [X.]<src>-<tgt>.parquet the same in columns
  X.po                   gettext catalog; English and the language of its header, its folder or its name
  a folder               all files in it that are named like these, and gettext's catalogs in DE/LC_MESSAGES/ or
                         X/DE/LC_MESSAGES/ below it
where the name does not say the languages, write them before the file:
  en-de=PATH             PATH in one of these formats, by its ending
  en-hi=STEM             Moses files STEM.en and STEM.hi
  en-de=A.txt,B.txt      two files of any names, line n of B translates line n of A
  en-de=FOLDER[#SPLIT]   Parquet files, or saved by Hugging Face `datasets`, or Tatoeba's export
                         (sentences.csv and links.csv)
  [en-de=]tfds:NAME[/CONFIG][:VERSION][#SPLIT]
                         a prepared TensorFlow Datasets dataset, for instance tfds:opus/medical
Languages are ISO 639 codes (de, deu, zh_CN, zh_Hant); all codes of a language count as one language. In a pair of
two varieties (pt-pt_br) the names keep their countries. The command lists the files of a folder or archive that it
takes and those that it ignores."""
