"""Byte planes in blocks that stay in the processor's cache: the fast code of floats.

Planes of noise are stored, if a sample shows that they are. Floats with more than five bits of exponent are rotated, so
that the exponent fills the top byte; others are split unchanged.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import huffman, symbols
from wcodec.codec.lossless.views import WORDS
from wcodec.container.wire import put_varint, take_byte, take_bytes, take_varint
from wcodec.errors import CorruptError
from wcodec.kernels import planes as kernel
from wcodec.kernels.huffman import coder as huffman_kernel

Words = npt.NDArray[np.unsignedinteger]
Bytes = npt.NDArray[np.uint8]

ROTATED: Final = 0x80
WORD_AT: Final = 5
"""The first byte: a flag, the power of two of a word's bytes in two bits, that of a block's words below."""
BLOCK_BITS: Final = 17
MOST_BLOCK_BITS: Final = 24
SAMPLE: Final = 8192
RUNS: Final = 32
NOISE: Final = 7.94
"""Bits a byte above which a plane is stored; a sample of noise has 7.98."""
STORED: Final = bytes((symbols.FIXED, 8))


def encode(words: Words, rotated: bool) -> bytes:
    """The sizes of blocks and words, then for each plane of each block its size as a varint, and its symbols.

    Inverse: `decode`.
    """
    parts: list[bytes] = [bytes((BLOCK_BITS | (words.itemsize.bit_length() - 1) << WORD_AT | ROTATED * rotated,))]
    size = words.itemsize
    planes = np.empty((size, min(len(words), 1 << BLOCK_BITS)), np.uint8)
    for start in range(0, len(words), 1 << BLOCK_BITS):
        block = words[start : start + (1 << BLOCK_BITS)]
        if len(block) < planes.shape[1]:
            planes = np.empty((size, len(block)), np.uint8)
        kernel.split(block, planes, rotated)
        for plane in planes:
            _put_plane(parts, plane)
    return b"".join(parts)


def decode(payload: memoryview, values: Bytes) -> None:
    """Fill `values`, at least one, contiguous and aligned to words. Inverse: `encode`.

    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    first, at = take_byte(payload, 0, "blocks")
    bits, size, rotated = first & 31, 1 << (first >> WORD_AT & 3), bool(first & ROTATED)
    if bits > MOST_BLOCK_BITS or len(values) % size:
        raise CorruptError(f"blocks: expected {len(values)} bytes, got 2^{bits} words of {size} bytes each")
    words = values.view(WORDS[size])
    room = np.empty((size, min(len(words), 1 << bits)), np.uint8)
    for start in range(0, len(words), 1 << bits):
        block = words[start : start + (1 << bits)]
        planes = []
        for k in range(size):
            length, at = take_varint(payload, at)
            stream, at = take_bytes(payload, at, length, f"plane {k}")
            planes.append(_decode_plane(stream, room[k, : len(block)]))
        kernel.weave(planes, block, rotated)
    if at != len(payload):
        raise CorruptError(f"blocks: expected to end at byte {at}, got {len(payload)} bytes")


def _put_plane(parts: list[bytes], plane: Bytes) -> None:
    """The plane's size and symbols: stored if it is noise, otherwise the smallest of stored, constant and Huffman."""
    size = bytearray()
    if len(plane) >= 2 * SAMPLE and _count_bits(_count_bytes(_sample_plane(plane))) > NOISE * SAMPLE:
        code = None
    else:
        counts = _count_bytes(plane)
        used = np.flatnonzero(counts)
        if len(used) == 1:
            parts.append(bytes((3 if used[0] > 127 else 2, symbols.CONSTANT)))
            put_varint(size, int(used[0]))
            parts.append(bytes(size))
            return
        code = huffman.build_byte_code(counts)
    if code is None or code.nbytes >= len(plane):
        put_varint(size, len(plane) + len(STORED))
        parts += (bytes(size), STORED, plane.tobytes())
        return
    coded = huffman.encode(plane, code)
    put_varint(size, len(coded) + 1)
    parts += (bytes(size), bytes((symbols.HUFFMAN,)), coded)


def _sample_plane(plane: Bytes) -> Bytes:
    """SAMPLE bytes, evenly spread over the plane."""
    step = len(plane) // RUNS
    return np.ascontiguousarray(plane[: RUNS * step].reshape(RUNS, step)[:, : SAMPLE // RUNS]).reshape(-1)


def _decode_plane(stream: memoryview, room: Bytes) -> Bytes:
    """The plane of a stream: a view if it is stored, otherwise decoded into `room`."""
    if len(stream) == len(room) + len(STORED) and stream[: len(STORED)] == STORED:
        return np.frombuffer(stream, np.uint8)[len(STORED) :]
    symbols.decode_into(bytes(stream), room)
    return room


def _count_bytes(plane: Bytes) -> huffman.Counts:
    counts = np.zeros((2, 256), np.int64)
    huffman_kernel.histogram(plane, 8, counts)
    total: huffman.Counts = counts[0] + counts[1]
    return total


def _count_bits(counts: huffman.Counts) -> float:
    """The order-0 entropy of the counted bytes, in bits."""
    present = counts[counts > 0]
    return float((present * np.log2(present.sum() / present)).sum())
