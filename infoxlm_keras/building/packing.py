"""Packs whole sentences into blocks, greedily: `<s> sentence </s> sentence </s> ...`."""

from collections.abc import Sequence

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.tokenizer import END_ID, START_ID


def pack_sentences(
    token_ids: Array, lengths: Array, sequence_length: int, document_ends: Array | Sequence[int] = ()
) -> tuple[Array, Array]:
    """Packs sentences in order into blocks of at most `sequence_length` tokens.

    A sentence goes into the current block if it fits; otherwise it begins the next block. A sentence longer than a
    block is split over consecutive blocks, and its last piece is packed like a sentence.

    Args:
        token_ids: int array [tokens], all sentences one after another, without special tokens.
        lengths: int array [sentences], tokens of each sentence, all positive.
        sequence_length: int >= 3, most tokens of a block, special tokens included.
        document_ends: int array, numbers of sentences (1..sentences) after which the current block must end;
            empty to let blocks run across documents.

    Returns:
        (blocks, offsets): int32 [tokens with special ones], all blocks one after another; int64 [blocks + 1], where
        each begins.
    """
    check_sequence_length(sequence_length)
    lengths = np.asarray(lengths, np.int64)
    most = sequence_length - 2
    # Pieces: sentences, with those longer than a block cut; all but a sentence's last piece are `most` long.
    pieces = -(-lengths // most)
    last_pieces = np.cumsum(pieces) - 1
    piece_lengths = np.full(int(pieces.sum()), most, np.int64)
    piece_lengths[last_pieces] = lengths - (pieces - 1) * most
    piece_ends = np.cumsum(piece_lengths + 1)
    breaks = last_pieces[np.asarray(document_ends, np.int64) - 1] + 1
    block_bounds = _greedy_bounds(piece_ends, sequence_length - 1, breaks)

    # Each token moves up by one for every </s> before it and every <s> up to its own block.
    piece_of_token = np.repeat(np.arange(len(piece_lengths)), piece_lengths)
    block_of_piece = np.repeat(np.arange(len(block_bounds) - 1), np.diff(block_bounds))
    blocks = np.full(len(token_ids) + len(piece_lengths) + len(block_bounds) - 1, END_ID, np.int32)
    offsets = np.concatenate([[0], piece_ends])[block_bounds] + np.arange(len(block_bounds))
    blocks[np.arange(len(token_ids)) + (piece_of_token + block_of_piece[piece_of_token] + 1)] = token_ids
    blocks[offsets[:-1]] = START_ID
    return blocks, offsets


def sentences_of_blocks(blocks: Array, offsets: Array, lengths: Array, sequence_length: int) -> Array:
    """How many sentences end in each block: int64 [blocks].

    Args:
        blocks, offsets: what `pack_sentences` returned.
        lengths, sequence_length: what it was given.
    """
    pieces = -(-np.asarray(lengths, np.int64) // (sequence_length - 2))
    # Every piece ends with </s>.
    bounds = np.concatenate([[0], np.cumsum(blocks == END_ID)])[offsets]
    block_of_sentence = np.searchsorted(bounds, np.cumsum(pieces) - 1, side="right") - 1
    return np.bincount(block_of_sentence, minlength=len(offsets) - 1)


def check_sequence_length(sequence_length: int) -> None:
    """Raises `InputError` unless a block can hold `<s>`, one token and `</s>`."""
    if sequence_length < 3:
        raise InputError(f"--sequence_length {sequence_length}: must be at least 3, for <s>, a token and </s>")


def _greedy_bounds(ends, capacity, breaks):
    """Bounds of the blocks, int64 [blocks + 1]: block b holds the pieces `bounds[b]` to `bounds[b + 1] - 1`.

    Args:
        ends: int64 [pieces], running sum of what the pieces take; each takes at most `capacity`.
        capacity: int, most that a block may take.
        breaks: int64, ascending numbers of pieces after which a block ends in any case.
    """
    bounds, taken = [0], 0
    breaks = np.append(breaks, len(ends)).tolist()
    for stop in breaks:
        while bounds[-1] < stop:
            bound = min(int(np.searchsorted(ends, taken + capacity, side="right")), stop)
            bounds.append(bound)
            taken = int(ends[bound - 1])
    return np.array(bounds, np.int64)
