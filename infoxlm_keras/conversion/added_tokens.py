"""Checks of a Hugging Face directory: added tokens, tokenizer files that disagree, unused rows of the embedding."""

import os
import pathlib
from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json

if TYPE_CHECKING:
    from infoxlm_keras.tokenizer import Tokenizer

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# transformers' `pad_to_multiple_of` adds rows to an embedding for speed: the number of rows becomes a multiple of the
# first value, by fewer rows than the second.
_PADDING = (8, 128)


def check_added_tokens(directory: PathLike, vocabulary_size: int) -> None:
    """Raises InputError if the tokenizer's files of a Hugging Face directory name tokens beyond XLM-R's.

    Args:
        directory: path.
        vocabulary_size: int, ids of the tokenizer without them.
    """
    directory = pathlib.Path(directory)
    for name, found in (
        ("added_tokens.json", _from_slow),
        ("tokenizer_config.json", _from_config),
        ("tokenizer.json", _from_fast),
    ):
        path = directory / name
        if not os.path.lexists(path):
            continue
        content = read_json(path)
        added = found(content) if isinstance(content, dict) else []
        refuse_added(path, [token for token in added if token not in SPECIAL_TOKENS], vocabulary_size)


def check_same_pieces(directory: PathLike, tokenizer: "Tokenizer") -> None:
    """Raises InputError if `tokenizer.json` and the SentencePiece file of `tokenizer` list different pieces.

    transformers prefers `tokenizer.json`, so the model was used with the pieces of that file.
    """
    path = pathlib.Path(directory) / "tokenizer.json"
    if not os.path.lexists(path) or pathlib.Path(tokenizer.source) == path:
        return
    content = read_json(path)
    model = content.get("model") if isinstance(content, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):
        theirs = [entry[0] if isinstance(entry, list) and entry else None for entry in vocabulary]
    elif isinstance(vocabulary, dict) and all(isinstance(number, int) for number in vocabulary.values()):
        theirs = sorted(vocabulary, key=vocabulary.__getitem__)
    else:
        raise InputError(f"{path}: holds no vocabulary; fetch it again, or remove it to go by {tokenizer.source}")
    processor = tokenizer.processor
    ours = [processor.id_to_piece(number) for number in range(3, processor.get_piece_size())]
    ours = [*SPECIAL_TOKENS[:4], *ours, SPECIAL_TOKENS[4]]
    if theirs == ours:
        return
    number = next((n for n, (one, two) in enumerate(zip(ours, theirs, strict=False)) if one != two), None)
    where = f"{len(theirs):,} tokens, the other {len(ours):,}"
    if number is not None:
        where = f"{theirs[number]!r} for id {number}, the other {ours[number]!r}"
    raise InputError(
        f"{path}: belongs to another tokenizer than {tokenizer.source} beside it: it has {where}; remove the one that "
        "the model was not trained with"
    )


def refuse_added(path: PathLike, tokens: list[str], vocabulary_size: int) -> None:
    """Raises InputError if `tokens` (list of str, in the file `path`) is not empty."""
    if not tokens:
        return
    shown = ", ".join(map(repr, tokens[:5])) + (" ..." if len(tokens) > 5 else "")
    raise InputError(
        f"{path}: adds {len(tokens)} tokens to the tokenizer: {shown}; <mask> must have the last id, so they cannot "
        f"be kept: to continue without them, call model.resize_token_embeddings({vocabulary_size}) in transformers "
        "and save the model beside the tokenizer as it was before add_tokens; to learn pieces for new words, then use "
        "infoxlm extend-vocabulary"
    )


def unused_rows(tokenizer_size: int, rows: int) -> int:
    """Number of an embedding's `rows` that only pad it to a round number, int; 0 if the extra rows are no padding."""
    extra = rows - tokenizer_size
    multiple, limit = _PADDING
    return extra if 0 < extra < limit and rows % multiple == 0 else 0


def _from_slow(content):
    return list(content)


def _from_config(content):
    added = content.get("added_tokens_decoder")
    return _contents(added.values()) if isinstance(added, dict) else []


def _from_fast(content):
    added = content.get("added_tokens")
    return _contents(added) if isinstance(added, list) else []


def _contents(tokens):
    contents = (token.get("content") for token in tokens if isinstance(token, dict))
    return [content for content in contents if isinstance(content, str)]
