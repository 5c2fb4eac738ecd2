"""Symbols of a fixed number of bits, least significant bit first, without padding between them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy.huffman import Symbols
from wcodec.errors import CorruptError, TruncatedError
from wcodec.kernels import symbols as kernel


def count_packed_bytes(count: int, bits: int) -> int:
    """Bytes of the payload of `count` symbols of `bits` bits."""
    return 1 + (count * bits + 7) // 8


def encode(symbols: Symbols, bits: int) -> bytes:
    """One byte `bits` (1..32, enough for every symbol), then the symbols. Inverse: `decode`."""
    packed = np.zeros(count_packed_bytes(len(symbols), bits) - 1, np.uint8)
    if bits == 8 * symbols.itemsize:
        packed = symbols.view(np.uint8)
    else:
        kernel.pack(symbols.astype(np.uint32, copy=False), bits, packed)
    return bytes((bits,)) + packed.tobytes()


def decode(payload: bytes, symbols: Symbols) -> None:
    """Fill `symbols`. Inverse: `encode`.

    Raises: TruncatedError, CorruptError.
    """
    bits = payload[0] if payload else 0
    if not 1 <= bits <= 8 * symbols.itemsize:
        raise CorruptError(f"fixed-width symbols: expected 1 to {8 * symbols.itemsize} bits each, got {bits}")
    expected = count_packed_bytes(len(symbols), bits)
    if len(payload) != expected:
        error = TruncatedError if len(payload) < expected else CorruptError
        raise error(f"fixed-width symbols: expected {expected} bytes, got {len(payload)}")
    packed: npt.NDArray[np.uint8] = np.frombuffer(payload, np.uint8)[1:]
    if bits == 8 * symbols.itemsize:
        symbols.view(np.uint8)[:] = packed
        return
    wide = np.empty(len(symbols), np.uint32)
    if left := kernel.unpack(packed, bits, wide):
        raise CorruptError(f"fixed-width symbols: expected 0 after the last one, got {left}")
    symbols[:] = wide
