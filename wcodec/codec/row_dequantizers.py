"""Dequantizers with different steps for rows, or for groups of a row (`formats/wcz.md` section 5)."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np

from wcodec.codec.codebook_bytes import pack_codebook, parse_codebook
from wcodec.codec.dequantizer_base import Levels, OneLevelAWeight, TensorContext
from wcodec.codec.quantizers.affine import is_short
from wcodec.codec.quantizers.kmeans import Codebook, lookup
from wcodec.codec.quantizers.states import States
from wcodec.container import wire
from wcodec.container.dtypes import Float32, Float64
from wcodec.container.wire import put_varint, take_byte, take_bytes, take_varint
from wcodec.errors import CorruptError
from wcodec.model.dataclass import dataclass, replace

_EXACT_IN_FLOAT32 = 1 << 24


@dataclass(frozen=True, eq=False)
class PerRowDequantizer(OneLevelAWeight):
    """weight = the row's step * level: affine integers minus their zero point, or signs (`quantizers.affine`).

    steps: float32[rows of the tensor, or of one chunk], positive.
    """

    steps: Float32
    states: States = 0
    number: ClassVar[int] = wire.ROWS

    def for_rows(self, start: int, count: int) -> Self:
        """The dequantizer with the steps of these rows."""
        return replace(self, steps=self.steps[start : start + count])

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        steps = self.steps.reshape(-1, 1, 1)
        if single and levels.size and -_EXACT_IN_FLOAT32 <= int(levels.min()) <= int(levels.max()) <= _EXACT_IN_FLOAT32:
            return np.multiply(levels, steps, dtype=np.float32)
        return np.multiply(levels, steps, dtype=np.float64)

    def pack(self, out: bytearray) -> None:
        """Append the steps. Inverse: `parse`."""
        _pack_steps(out, self.steps)

    @classmethod
    def parse(cls, data: memoryview, at: int, context: TensorContext) -> tuple[Self, int]:
        steps, at = _parse_steps(data, at, context.rows)
        return cls(steps), at


@dataclass(frozen=True, eq=False)
class GroupDequantizer(OneLevelAWeight):
    """weight = codebook value of the level * step of the group: `group` weights of a row share a step.

    The codebook has integers, or the points of Polino, Pascanu and Alistarh 2018, who call a group a bucket.
    steps: float32[rows of the tensor, or of one chunk, groups a row], positive; the last group of a row may be shorter.
    """

    group: int
    codebook: Codebook
    steps: Float32
    states: States = 0
    number: ClassVar[int] = wire.GROUPS

    def for_rows(self, start: int, count: int) -> Self:
        """The dequantizer with the steps of these rows."""
        return replace(self, steps=self.steps[start : start + count])

    def steps_of(self, shape: tuple[int, ...]) -> Float32:
        """float32[shape]: the step of each weight of some rows."""
        width = math.prod(shape[1:])
        return np.repeat(self.steps, self.group, axis=1)[:, :width].reshape(shape)

    def dequantize(self, levels: Levels, single: bool) -> Float32 | Float64:
        values = lookup(levels, self.codebook)
        return np.multiply(values, self.steps_of(levels.shape), dtype=np.float32 if single else np.float64)

    def pack(self, out: bytearray) -> None:
        """Append the size of a group, the codebook and the steps. Inverse: `parse`."""
        put_varint(out, self.group)
        pack_codebook(out, self.codebook)
        _pack_steps(out, self.steps.reshape(-1))

    @classmethod
    def parse(cls, data: memoryview, at: int, context: TensorContext) -> tuple[Self, int]:
        group, at = take_varint(data, at)
        if not 1 <= group <= max(context.width, 1):
            raise CorruptError(f"groups: expected 1 to {context.width} weights, got {group}")
        codebook, at = parse_codebook(data, at)
        steps, at = _parse_steps(data, at, context.rows * -(-context.width // group))
        return cls(group, codebook, steps.reshape(context.rows, -1)), at


def _pack_steps(out: bytearray, steps: Float32) -> None:
    """Append float32 steps, or their upper halves if these are enough, losslessly. Inverse: `_parse_steps`."""
    from wcodec.codec import lossless

    halves = (np.ascontiguousarray(steps, "<f4").view("<u4") >> 16).astype("<u2")
    width = 2 if is_short(steps) else 4
    payload = lossless.encode(halves if width == 2 else steps.astype("<f4"), width)
    out.append(width)
    put_varint(out, len(payload))
    out += payload


def _parse_steps(data: memoryview, at: int, count: int) -> tuple[Float32, int]:
    """float32[count] and the position after them. Inverse: `_pack_steps`."""
    from wcodec.codec import lossless

    width, at = take_byte(data, at, "steps")
    length, at = take_varint(data, at)
    if width not in {2, 4}:
        raise CorruptError(f"steps: expected 2 or 4 bytes each, got {width}")
    payload, at = take_bytes(data, at, length, "steps")
    bits = np.frombuffer(lossless.decode(payload, count * width, width), f"<u{width}").astype(np.uint32)
    steps = (bits << 16 if width == 2 else bits).view(np.float32)
    if not bool(np.all((steps > 0) & (steps < np.inf))):  # a NaN fails this comparison too
        raise CorruptError("steps: expected positive numbers")
    return steps, at
