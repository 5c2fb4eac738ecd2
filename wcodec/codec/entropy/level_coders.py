"""The level coders by name and number: levels of one chunk <-> bytes (`formats/wcz.md` section 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import context, dense, fixed_fields, sparse, static
from wcodec.codec.layout import Shape3
from wcodec.container.wire import CONTEXT, DENSE, FIXED, SPARSE, STATIC, take_byte
from wcodec.errors import UnsupportedError
from wcodec.model.dataclass import dataclass

if TYPE_CHECKING:
    from wcodec.codec.plan import Effort

Levels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class LevelCoder:
    """A pair of inverses: from levels[shape], trellis states and effort to bytes, and back.

    lanes: the trellis restarts in every lane, and `decode` returns reconstructed integers instead of levels.
    """

    number: int
    encode: Callable[[Levels, int, Effort], bytes]
    decode: Callable[[bytes, Shape3, int], Levels]
    lanes: bool = False


LEVEL_CODERS: dict[str, LevelCoder] = {
    "dense": LevelCoder(DENSE, lambda q, _states, _effort: dense.encode(q), lambda p, shape, _: dense.decode(p, shape)),
    "sparse": LevelCoder(
        SPARSE, lambda q, _states, _effort: sparse.encode(q), lambda p, shape, _: sparse.decode(p, shape)
    ),
    "context": LevelCoder(CONTEXT, context.encode, context.decode),
    "static": LevelCoder(STATIC, static.encode, static.decode, lanes=True),
    "fixed": LevelCoder(
        FIXED, lambda q, _states, _effort: fixed_fields.encode(q), lambda p, shape, _: fixed_fields.decode(p, shape)
    ),
    "byte": LevelCoder(
        FIXED,
        lambda q, _states, _effort: fixed_fields.encode_aligned(q, 1),
        lambda p, shape, _: fixed_fields.decode(p, shape),
    ),
    "two-bytes": LevelCoder(
        FIXED,
        lambda q, _states, _effort: fixed_fields.encode_aligned(q, 2),
        lambda p, shape, _: fixed_fields.decode(p, shape),
    ),
    "gaps": LevelCoder(
        SPARSE,
        lambda q, _states, _effort: sparse.encode(q, with_zstd=False),
        lambda p, shape, _: sparse.decode(p, shape),
    ),
}
BY_NUMBER = {coder.number: coder for name, coder in LEVEL_CODERS.items() if name not in {"gaps", "byte", "two-bytes"}}
FAMILIES: dict[str, tuple[str, ...]] = {
    "huffman": ("dense", "sparse"),
    "context": ("context",),
    "static": ("static",),
    "fixed": ("fixed",),
    "auto": ("context", "dense", "sparse"),
    "fast": ("dense", "sparse"),
    "classic": ("gaps",),
    "byte": ("byte",),
    "two-bytes": ("two-bytes",),
}
"""The coders that each `--coder` tries; the smallest result wins. "auto" and "fast" are for tensors that `coder_choice`
leaves unchanged; "classic" is for the preset deep-compression (gaps and codes by Huffman alone); "byte" and "two-bytes"
are for --aligned."""
_SMALL, _COUNTED = 1 << 14, 1 << 16


def encode_chunk(levels: Levels, states: int, coders: Sequence[str], effort: Effort) -> bytes:
    """The smallest of the coders' results, preceded by the coder's number. Inverse: `decode_chunk`."""
    best = b""
    for name in coders:
        if best and name == "dense" and not _may_win(levels, len(best)):
            break  # gaps cannot win either: their entropy is that of the levels unless zeros are clustered
        if name == "sparse" and len(coders) > 1 and not _has_gaps(levels):
            continue
        coder = LEVEL_CODERS[name]
        coded = bytes((coder.number,)) + coder.encode(levels, states, effort)
        best = coded if not best or len(coded) < len(best) else best
    return best


def _may_win(levels: Levels, size: int) -> bool:
    """Whether the order-0 entropy of the levels is below `size` bytes; True if they are few, or too many to count."""
    if levels.size <= _SMALL:
        return True
    low = int(levels.min())
    if int(levels.max()) - low >= _COUNTED:
        return True
    counts = np.bincount(levels.reshape(-1) - low).astype(np.float64)
    counts = counts[counts > 0]
    return float(counts @ np.log2(levels.size / counts)) < 8 * size


def _has_gaps(levels: Levels) -> bool:
    """Whether zeros are frequent or clustered; otherwise gaps cost more than zeros cost as symbols.

    A gap takes a bit at least, unless all are equal, as where zeros are clustered. Fewer than an eighth of zeros cost
    less than that a survivor: 0.54 bits by their entropy.
    """
    zero = levels.reshape(-1) == 0
    zeros = np.count_nonzero(zero)
    if 2 * zeros >= zero.size or (zero.size < _SMALL and 8 * zeros >= zero.size):
        return True
    runs = int(zero[0]) + np.count_nonzero(zero[1:] > zero[:-1])
    return bool(4 * runs * zero.size < 3 * zeros * (zero.size - zeros))


def decode_chunk(chunk: memoryview, shape: Shape3, states: int) -> tuple[Levels, bool]:
    """levels[shape], and whether the trellis is already resolved, so that they are integers in steps. Inverse:
    `encode_chunk`.

    Raises: ContainerError and its kinds.
    """
    number, at = take_byte(chunk, 0, "level coder of a chunk")
    if number not in BY_NUMBER:
        raise UnsupportedError(f"chunk: level coder {number} is not known to this version")
    coder = BY_NUMBER[number]
    return coder.decode(bytes(chunk[at:]), shape, states), coder.lanes


def as_decoded(levels: Levels, states: int, coders: Sequence[str]) -> tuple[Levels, bool]:
    """The result of `decode_chunk` for levels that one of these coders has coded."""
    lanes = any(LEVEL_CODERS[name].lanes for name in coders)
    return (static.values_of(levels, states) if lanes else levels), lanes
