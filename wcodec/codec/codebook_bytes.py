"""The bytes of a codebook of single values (`formats/wcz.md` section 5, rule 1)."""

from __future__ import annotations

import numpy as np

from wcodec.codec.quantizers.kmeans import Codebook
from wcodec.container.wire import put_varint, take_byte, take_bytes, take_varint
from wcodec.errors import CorruptError


def pack_codebook(out: bytearray, codebook: Codebook) -> None:
    """Append the values without the 0.0, as float16 if that is exact. Inverse: `parse_codebook`."""
    values = np.delete(codebook.values, codebook.negatives)
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    half = bool(np.array_equal(halves.astype(np.float32), values))
    put_varint(out, codebook.negatives)
    put_varint(out, codebook.values.size)
    out.append(2 if half else 4)
    out += (halves.astype("<f2") if half else values.astype("<f4")).tobytes()


def parse_codebook(data: memoryview, at: int) -> tuple[Codebook, int]:
    """The codebook at `data[at:]` and the position after it. Inverse: `pack_codebook`."""
    negatives, at = take_varint(data, at)
    size, at = take_varint(data, at)
    if not negatives < size <= 1 << 20:
        raise CorruptError(f"codebook: expected {negatives} negatives among at most 2**20 values, got {size}")
    width, at = take_byte(data, at, "codebook")
    if width not in {2, 4}:
        raise CorruptError(f"codebook: expected values of 2 or 4 bytes, got {width}")
    raw, at = take_bytes(data, at, (size - 1) * width, "codebook")
    values = np.insert(np.frombuffer(raw, f"<f{width}").astype(np.float32), negatives, np.float32(0.0))
    if not bool(np.all(values[:-1] <= values[1:])):  # a NaN fails this comparison too
        raise CorruptError("codebook: expected ascending values")
    return Codebook(negatives, values), at
