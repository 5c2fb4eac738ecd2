"""Tensors coded against a base, from section 3.1 of wcz.md alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from reference_coders import Reader, UnsupportedError, require
from reference_tensor import NAMES, Tensor, convert, read_tensor, width_of

SIGNED = (0, 1, 2, 3, 15, 16)
FLOATS = (0, 1, 2, 3)


@dataclass
class Base:
    """The SHA-256 of the base file and its tensors by name."""

    sha256: bytes
    tensors: dict[str, np.ndarray] = field(default_factory=dict)


def against(reader: Reader, count: int, base: Base | None) -> bytes:
    """The delta modes of all tensors."""
    sha = reader.take(32)
    ways = reader.take(count)
    if max(ways, default=0) > 2:
        raise UnsupportedError(f"way {max(ways)}")
    require(base is not None and base.sha256 == sha, f"needs the base of SHA-256 {sha.hex()}")
    return ways


def base_of(base: Base | None, tensor: Tensor) -> np.ndarray:
    require(base is not None and tensor.name in base.tensors, f"the base has no {tensor.name}")
    assert base
    found = base.tensors[tensor.name]
    require(found.shape == tensor.shape and found.itemsize == width_of(tensor.dtype), f"another {tensor.name}")
    return found


def by_chunk(sections: list[bytes], tensor: Tensor, base: np.ndarray) -> np.ndarray:
    """Delta mode 1."""
    size = min(width_of(tensor.dtype), 8)
    mask, top = 2 ** (8 * size) - 1, 2 ** (8 * size - 1)

    def ordered(u: int) -> int:
        return u if tensor.dtype not in SIGNED else mask - u if u & top else u | top

    def back(o: int) -> int:
        return o if tensor.dtype not in SIGNED else o - top if o & top else mask - o

    def undo(how: int, own: list[np.ndarray], start: int) -> np.ndarray:
        require(how <= 3, "way of a chunk")
        coded = np.frombuffer(own[-1].tobytes(), f"<u{size}").tolist()
        earlier = base.reshape(-1)[start : start + own[-1].size].view(own[-1].dtype)
        if how == 3:
            require(tensor.dtype in FLOATS, "way 3 of a chunk of what are no floats")
            earlier = sums(earlier, own[0], tensor.dtype)
        new = []
        for z, b in zip(coded, np.frombuffer(earlier.tobytes(), f"<u{size}").tolist(), strict=True):
            d = z // 2 if z % 2 == 0 else -(z // 2) - 1
            new.append(z if how == 0 else z ^ b if how == 1 else back((ordered(b) + d) & mask))
        return np.frombuffer(np.array(new, f"<u{size}").tobytes(), own[-1].dtype)

    return read_tensor(sections, tensor, undo)


def sums(base: np.ndarray, more: np.ndarray, dtype: int) -> np.ndarray:
    """One addition for each value, in float64 for float64, otherwise in float32; the base itself where m is 0."""
    first, second = (x if NAMES[dtype] == "float64" else single(x, dtype) for x in (base, more))
    total = first + second if NAMES[dtype] == "float64" else convert(first + second, dtype)
    return np.array([b if m == 0 else t for b, m, t in zip(base, second, total.view(base.dtype), strict=True)])


def added(difference: np.ndarray, tensor: Tensor, base: np.ndarray) -> np.ndarray:
    """Delta mode 2."""
    total = single(base, tensor.dtype) + single(difference, tensor.dtype)
    return convert(total, tensor.dtype)


def single(values: np.ndarray, dtype: int) -> np.ndarray:
    """The values as float32."""
    if NAMES[dtype] == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)
