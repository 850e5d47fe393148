"""Where characters stand in a text, as bitmaps of 64 bytes a word: questions about all of it in a few passes.

The way is that of simdjson (Langdale and Lemire 2019, section 3.1), in NumPy.
"""

from __future__ import annotations

import numpy as np

BLOCK = 1 << 18
"""Bytes that are compared at a time, so that what is between two steps stays in the cache."""
TOP = np.uint64(63)
ONE = np.uint64(1)


def bitmap(text: np.ndarray, *characters: bytes) -> np.ndarray:
    """Where one of the characters stands.

    Args:
      text: u8[N].
      characters: each one byte.
    Returns:
      u64[ceil(N / 64)]: bit i of word w is for byte 64 w + i; bits after the end are 0.
    """
    packed = np.zeros(-(-len(text) // 64) * 8, np.uint8)
    for start in range(0, len(text), BLOCK):
        block = text[start : start + BLOCK]
        stands = block == ord(characters[0])
        for character in characters[1:]:
            stands |= block == ord(character)
        bits = np.packbits(stands, bitorder="little")
        packed[start // 8 : start // 8 + len(bits)] = bits
    return packed.view("<u8")


def count(text: np.ndarray, character: bytes) -> int:
    """How often a character stands in u8[N]."""
    return sum(
        int(np.count_nonzero(text[start : start + BLOCK] == ord(character))) for start in range(0, len(text), BLOCK)
    )


def count_opening(text: np.ndarray) -> int:
    """How often { and [, which differ in one bit, stand in u8[N]."""
    return sum(
        int(np.count_nonzero((text[start : start + BLOCK] | np.uint8(0x20)) == ord("{")))
        for start in range(0, len(text), BLOCK)
    )


def total(bits: np.ndarray) -> int:
    """Number of bits that are set."""
    return int(np.bitwise_count(bits).sum())


def inside(marks: np.ndarray) -> np.ndarray:
    """Bits from every first, third, ... mark on to the byte before the next one: what opening and closing enclose."""
    parity = marks.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        parity ^= parity << np.uint64(shift)
    odd = np.bitwise_xor.accumulate(parity >> TOP)  # of all words up to this one
    parity[1:] ^= np.uint64(0) - odd[:-1]
    return parity


def after(bits: np.ndarray) -> np.ndarray:
    """The bytes right after those."""
    shifted = bits << ONE
    shifted[1:] |= bits[:-1] >> TOP
    return shifted


def before(bits: np.ndarray) -> np.ndarray:
    """The bytes right before those."""
    shifted = bits >> ONE
    shifted[:-1] |= bits[1:] << TOP
    return shifted


def places(bits: np.ndarray) -> np.ndarray:
    """The numbers of the bytes, i64."""
    return np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little"))


def places_of(text: np.ndarray, character: bytes) -> np.ndarray:
    """Where a character stands in u8[N], i64."""
    pieces = [
        np.flatnonzero(text[start : start + BLOCK] == ord(character)) + start for start in range(0, len(text), BLOCK)
    ]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)


def holds(text: np.ndarray, pair: bytes) -> bool:
    """Whether two characters stand one after the other in u8[N]."""
    for start in range(0, len(text), BLOCK):
        block = text[start : start + BLOCK + 1]
        is_first = block[:-1] == pair[0]
        if is_first.any() and (is_first & (block[1:] == pair[1])).any():
            return True
    return False
