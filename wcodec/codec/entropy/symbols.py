"""Streams of symbols (unsigned integers): the smallest of four codes is used.

A payload is one byte for the coder, and the coder's bytes; a stream without symbols has an empty payload.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import bit_packing as fixed
from wcodec.codec.entropy import huffman, zstd
from wcodec.codec.entropy.huffman import Symbols
from wcodec.container.wire import put_varint, take_varint
from wcodec.errors import CorruptError, TruncatedError, UnsupportedError

CONSTANT: Final = 0
FIXED: Final = 1
HUFFMAN: Final = 2
ZSTD: Final = 3

SAMPLE: Final = 1 << 16
"""Before zstd is tried on a longer stream, it is tested on three samples with this many symbols in all."""
LEVEL: Final = 9
SAMPLE_LEVEL: Final = 3


def encode(symbols: Symbols, with_zstd: bool = True) -> bytes:
    """`symbols` uint8[n] or uint32[n] as the smallest of constant, fixed-width, Huffman and zstd. Inverse: `decode`.

    with_zstd: whether zstd is tried.
    """
    if not len(symbols):
        return b""
    largest = int(symbols.max())
    if largest == int(symbols.min()):
        constant = bytearray((CONSTANT,))
        put_varint(constant, largest)
        return bytes(constant)
    bits = largest.bit_length()
    code = None if _is_noise(symbols, bits) else huffman.build_code(huffman.count_tokens(symbols))
    size = fixed.count_packed_bytes(len(symbols), bits)
    best, coder = b"", FIXED
    if code and code.nbytes < size:
        best, coder = huffman.encode(symbols, code), HUFFMAN
        size = len(best)
    narrow = symbols.astype("<u1" if bits <= 8 else "<u2" if bits <= 16 else "<u4", copy=False)
    if with_zstd and _zstd_may_win(narrow, size):
        frame = bytes((narrow.itemsize,)) + zstd.encode(narrow.tobytes(), LEVEL)
        if len(frame) < size:
            best, coder = frame, ZSTD
    return bytes((coder,)) + (best or fixed.encode(symbols, bits))


def decode(payload: bytes, count: int) -> npt.NDArray[np.uint32]:
    """uint32[count]. Inverse: `encode`.

    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    symbols = np.empty(count, np.uint32)
    decode_into(payload, symbols)
    return symbols


def decode_into(payload: bytes, symbols: Symbols) -> None:
    """Fill `symbols` uint8[n] or uint32[n]. Inverse: `encode` of the same type.

    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    if not len(symbols):
        if payload:
            raise CorruptError(f"symbols: expected no bytes for no symbols, got {len(payload)}")
        return
    if len(payload) < 2:
        raise TruncatedError(f"symbols: ended early; needed 2 bytes, got {len(payload)}")
    coder, rest = payload[0], payload[1:]
    if coder == CONSTANT:
        value, end = take_varint(rest, 0)
        if end != len(rest) or value >> 8 * symbols.itemsize:
            raise CorruptError(f"symbols: expected one symbol of {8 * symbols.itemsize} bits, got {rest[:12].hex()}")
        symbols[:] = value
    elif coder == FIXED:
        fixed.decode(rest, symbols)
    elif coder == HUFFMAN:
        huffman.decode(rest, symbols)
    elif coder == ZSTD:
        width = rest[0]
        if width not in (1, 2, 4) or width > symbols.itemsize:
            raise CorruptError(f"symbols: expected zstd symbols of 1, 2 or 4 bytes, got {width}")
        symbols[:] = np.frombuffer(zstd.decode(rest[1:], width * len(symbols)), f"<u{width}")
    else:
        raise UnsupportedError(f"symbols: expected coder 0 to 3, got {coder}")


def _is_noise(symbols: Symbols, bits: int) -> bool:
    """Whether, by 64 samples of a long stream, a Huffman code saves less than 0.3 %, as for mantissas."""
    step = len(symbols) // 64
    if step * 16 < SAMPLE:
        return False
    sample = symbols[: 64 * step].reshape(64, step)[:, : SAMPLE // 64].flatten()
    code = huffman.build_code(huffman.count_tokens(sample))
    return code is not None and code.bits > 0.997 * bits * len(sample)


def _zstd_may_win(narrow: npt.NDArray[np.unsignedinteger], size: int) -> bool:
    """Whether zstd needs less than `size` bytes on samples; True for short streams."""
    count = len(narrow)
    if count <= SAMPLE:
        return True
    third = SAMPLE // 3
    starts = (0, (count - third) // 2, count - third)
    sample = b"".join(narrow[start : start + third].tobytes() for start in starts)
    return len(zstd.encode(sample, SAMPLE_LEVEL)) * count < size * 3 * third
