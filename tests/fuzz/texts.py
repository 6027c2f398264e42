"""Texts for evaluation and fine-tuning, codes of languages, tokenizers."""

import json

import corpus_files
from fuzz.harness import RefusedError, Target
from fuzz.mutations import mutate_json
from fuzz.readers import PAIRS, the_file, writer
from infoxlm_keras.conversion.tokenizer_json import to_tokenizer_json
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.search.sentences import read_sentences
from infoxlm_keras.text.languages import language_name
from infoxlm_keras.text.vocabulary import train_sentencepiece
from infoxlm_keras.tokenizer import Tokenizer
from sample_text import multilingual_sentences

SENTENCES = multilingual_sentences(200)
CODES = "de\neng\nzh-CHT\npt_BR\neng-zho-CN\nsr@latin\nzh_Hant_TW\niw\nfil\nmul\nde-DE-1996\n"
LABELLED = [{"label": ("a", "b")[number % 2], "text": source} for number, (source, _) in enumerate(PAIRS)]
TSV = b"label\tsentence1\tsentence2\n" + b"".join(f"b\t{source}\t{target}\n".encode() for source, target in PAIRS)

SAMPLES = [{"query": source, "pos": [target, source], "neg": [target + "!", "no"]} for source, target in PAIRS]
CSV = b"query,positive,negative\n" + b"".join(f'"{source}","{target}",no\n'.encode() for source, target in PAIRS)


def evaluation_pairs(directory):
    from infoxlm_keras.evaluation.pairs import read_pair_sets

    found = read_pair_sets([the_file(directory)])
    return [[pairs.source_language, pairs.target_language, pairs.sources, pairs.targets] for pairs in found]


def labelled(directory):
    from infoxlm_keras.text.labelled_texts import read_labelled_texts

    found = read_labelled_texts([the_file(directory)])
    return [[part.language, part.texts, part.labels, part.left_out] for part in found]


def embedding_samples(directory):
    from infoxlm_keras.text.embedding_samples import read_embedding_samples

    found = read_embedding_samples([the_file(directory)])
    return [[part.language, part.queries, part.positives, part.negatives, part.left_out] for part in found]


def codes(directory):
    """The name of each code in the file, or that it is refused."""
    text = the_file(directory).read_bytes().decode("utf-8", "surrogateescape")
    return [language_or_refusal(code) for code in text.split("\n")[:20] if code]


def language_or_refusal(code):
    try:
        return language_name(code, "code")
    except InputError:
        return "refused"


def search_input(directory):
    return [sentence for batch, _ in read_sentences(the_file(directory), 7) for _, sentence in batch]


def make_vocabulary(directory):
    (directory / "vocabulary.spm").write_bytes(train_sentencepiece(SENTENCES, 256))


def make_tokenizer_json(directory):
    content = to_tokenizer_json(Tokenizer(train_sentencepiece(SENTENCES, 256)))
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")


def tokenize(directory):
    tokenizer = load_tokenizer(directory)
    encoded = tokenizer.encode(SENTENCES[:20])
    return [tokenizer.vocabulary_size, encoded, [tokenizer.decode(token_ids) for token_ids in encoded]]


def sentencepiece_ids(directory):
    """Ids of SentencePiece itself, shifted as XLM-R has them."""
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(directory / "vocabulary.spm"))
        ids = [[piece + 1 if piece else 3 for piece in row] for row in processor.encode(SENTENCES[:20])]
    except (RuntimeError, OSError) as error:
        raise RefusedError(str(error)) from None
    return processor.get_piece_size(), ids


TARGETS = [
    Target("evaluation pairs", writer("eng-deu.tsv", corpus_files.tsv(PAIRS)), evaluation_pairs, heavy=True),
    Target(
        "labelled jsonl",
        writer("test.en.jsonl", corpus_files.json_lines(LABELLED)),
        labelled,
        mutate=mutate_json,
        heavy=True,
    ),
    Target("labelled tsv", writer("test.en.tsv", TSV), labelled, heavy=True),
    Target(
        "embedding jsonl", writer("x.jsonl", corpus_files.json_lines(SAMPLES)), embedding_samples, mutate=mutate_json
    ),
    Target("embedding csv", writer("x.en.csv", CSV), embedding_samples),
    Target("language codes", writer("codes", CODES.encode()), codes),
    Target("search input", writer("s.txt", b"a\n\nb c\n" * 20), search_input),
    Target(
        "vocabulary.spm",
        make_vocabulary,
        tokenize,
        sentencepiece_ids,
        agrees=lambda value, reference: value[0] == reference[0] + 2 and value[1] == reference[1],
    ),
    Target("tokenizer.json", make_tokenizer_json, tokenize, mutate=mutate_json),
]
