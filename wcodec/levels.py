"""The level coders by name and number: levels of one chunk <-> bytes (`formats/wcz.md` section 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wcodec import sparse
from wcodec.entropy import dense
from wcodec.errors import TruncatedError, UnsupportedError
from wcodec.layout import Shape3
from wcodec.recipe import Effort

Levels = npt.NDArray[np.int32]
Parts = dict[str, int]


@dataclass(frozen=True)
class LevelCoder:
    """A pair of inverses, and how the bytes divide.

    with_states: whether levels of the trellis quantiser gain from it knowing the states.
    """

    number: int
    encode: Callable[[Levels, int, Effort], bytes]
    decode: Callable[[bytes, Shape3, int], Levels]
    parts: Callable[[bytes, Shape3], Parts]


LEVEL_CODERS: dict[str, LevelCoder] = {
    "dense": LevelCoder(0, lambda levels, _s, _e: dense.encode(levels), lambda p, shape, _: dense.decode(p, shape), dense.parts),
    "sparse": LevelCoder(1, lambda levels, _s, _e: sparse.encode(levels), lambda p, shape, _: sparse.decode(p, shape), sparse.parts),
}
BY_NUMBER = {coder.number: coder for coder in LEVEL_CODERS.values()}
FAMILIES: dict[str, tuple[str, ...]] = {
    "huffman": ("dense", "sparse"),
    "auto": ("dense", "sparse"),
}
"""What `--coder` tries; the smallest result wins."""


def encode_chunk(levels: Levels, states: int, coders: Sequence[str], effort: Effort) -> bytes:
    """The smallest of the coders' results, with its number in front. Inverse: `decode_chunk`."""
    results = (bytes((LEVEL_CODERS[name].number,)) + LEVEL_CODERS[name].encode(levels, states, effort) for name in coders)
    return min(results, key=len)


def decode_chunk(chunk: memoryview, shape: Shape3, states: int) -> Levels:
    """levels[shape]. Inverse: `encode_chunk`.

    Raises: ContainerError and its kinds.
    """
    return _coder_of(chunk).decode(bytes(chunk[1:]), shape, states)


def chunk_parts(chunk: memoryview, shape: Shape3) -> Parts:
    """How many bytes of the chunk are what; they sum to its length. The coder's number counts with the tables."""
    parts = dict(_coder_of(chunk).parts(bytes(chunk[1:]), shape))
    parts["tables"] = parts.get("tables", 0) + 1
    return parts


def _coder_of(chunk: memoryview) -> LevelCoder:
    if not len(chunk):
        raise TruncatedError("chunk: ended early; needed the number of its level coder")
    if chunk[0] not in BY_NUMBER:
        raise UnsupportedError(f"chunk: level coder {chunk[0]} is not known to this version")
    return BY_NUMBER[chunk[0]]
