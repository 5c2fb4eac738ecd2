"""A tensor from its sections, written from wcz.md (sections 4, 5, 7 and 10) alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from reference_coders import Reader, UnsupportedError, dense, require, sparse
from reference_context import Trellis, context
from reference_fields import fields
from reference_lossless import lossless
from reference_rules import hashed, read_basis
from reference_static import static

CHUNK_LIMIT = 2**21
DTYPES = """
float32 <f4, float16 <f2, bfloat16 <u2, float64 <f8, uint8 u1, int8 i1, uint16 <u2, int16 <i2, uint32 <u4, int32 <i4,
uint64 <u8, int64 <i8, bool ?, complex64 <c8, complex128 <c16, float8_e4m3 u1, float8_e5m2 u1, opaque16 <u2, opaque8 u1
"""
NAMES = [one.split()[0] for one in DTYPES.split(",")]
NUMPY = [one.split()[1] for one in DTYPES.split(",")]


@dataclass
class Tensor:
    """A row of the tensor table (section 3)."""

    name: str
    dtype: int
    shape: tuple[int, ...]


@dataclass
class Head:
    """The header of a tensor (section 4), and the parameters of its rule (section 5)."""

    rule: int = 0
    states: int = 0
    unit: int = 0
    layout: int = 0
    patches: list[tuple[int, bytes]] = field(default_factory=list)
    table: list[float] = field(default_factory=list)
    negatives: int = 0
    step: float = 0.0
    basis: np.ndarray | None = None
    shift: int = 0
    offset: int = 0
    vectors: np.ndarray | None = None
    steps: np.ndarray | None = None
    group: int = 0
    seed: int = 0
    buckets: int = 0


def width_of(dtype: int) -> int:
    """Bytes of an element."""
    return np.dtype(NUMPY[dtype]).itemsize


def axes(layout: int, dimensions: int) -> tuple[list[int], list[int], list[int]]:
    """Dimensions that are rows, channels and taps (section 4)."""
    m, every = dimensions - 1, list(range(dimensions))
    require(layout <= 7 and dimensions >= (0, 2, 2, 3, 3, 3, 3, 2)[layout], "layout")
    return [
        ([], every, []),
        ([0], every[1:], []),
        ([m], every[:m], []),
        ([m], [m - 1], every[: m - 1]),
        ([m - 1], [m], every[: m - 1]),
        ([0], [1], every[2:]),
        ([1], [0], every[2:]),
        (every[1:], [0], []),
    ][layout]


def size_of(shape: tuple[int, ...], dimensions: list[int]) -> int:
    return math.prod(shape[d] for d in dimensions)


def read_head(reader: Reader, tensor: Tensor, sections: int) -> Head:
    first = reader.u(1)
    head = Head(first & 15)
    if head.rule > 8:
        raise UnsupportedError(f"rule {head.rule}")
    require(first >> 7 == 0, "flags")
    head.states = (0, 4, 8, 128)[first >> 4 & 3]
    require(head.states == 0 or head.rule in (2, 3), "states of a rule that has none")
    require(head.rule == 0 or tensor.dtype <= 3, "integers by a rule for floats")
    head.unit = reader.varint() if sections > 1 else 0
    head.layout = reader.u(1) if head.rule else 0
    axes(head.layout, len(tensor.shape))
    if first & 64:
        require(head.rule > 0, "patches of exact values")
        at, patches = -1, reader.varint()
        require(patches > 0, "no patches")
        for _ in range(patches):
            at += reader.varint() + 1
            require(at < math.prod(tensor.shape), "patch behind the end")
            head.patches.append((at, reader.take(width_of(tensor.dtype))))
    read_parameters(reader, tensor, head)
    return head


def read_parameters(reader: Reader, tensor: Tensor, head: Head) -> None:
    """The parameters of the rule (section 5)."""
    rows, channels, taps = axes(head.layout, len(tensor.shape))
    if head.rule == 7:
        head.group = reader.varint()
        require(head.layout > 0, "groups of a vector")
        require(1 <= head.group <= size_of(tensor.shape, channels + taps), "size of a group")
    if head.rule in (1, 7):
        head.negatives, size, width = reader.varint(), reader.varint(), reader.u(1)
        require(width in (2, 4) and head.negatives < size, "table")
        head.table = [float(x) for x in np.frombuffer(reader.take((size - 1) * width), f"<f{width}")]
        head.table.insert(head.negatives, 0.0)
        require(all(a < b for a, b in zip(head.table, head.table[1:], strict=False)), "table does not ascend")
    if head.rule in (2, 3, 5, 8):
        z = reader.varint()
        require(z < 2**32, "step")
        head.step = float(np.frombuffer(z.to_bytes(4, "big"), "<f4")[0])
        require(0 < head.step < math.inf, "step")
    if head.rule == 3:
        require(head.layout > 0, "transform of a vector")
        k = size_of(tensor.shape, taps if 3 <= head.layout <= 6 else channels)
        head.shift, head.basis = read_basis(reader.take(reader.varint()), k)
    if head.rule == 5:
        require(head.layout > 0, "product of a vector")
        block, size = reader.varint(), reader.varint()
        require(1 <= block <= 1024 and 1 <= size <= 65536 and block * size <= 2**21, "size of the codebook")
        entries = context(reader.take(reader.varint()), size - 1, block, 1, 0)
        head.vectors = np.array([0] * block + entries, np.int64).reshape(size, block)
    if head.rule == 8:
        require(head.layout > 0, "hashing of a vector")
        head.seed = int.from_bytes(reader.take(4), "little")
        head.buckets = reader.varint()
        require(1 <= head.buckets < math.prod(tensor.shape), "number of buckets")
    if head.rule == 4:
        head.shift, head.offset = reader.u(1), reader.varint()
        require(head.shift <= 23 and head.offset < 2**31, "float rule")
    if head.rule in (6, 7):
        width, count = reader.u(1), size_of(tensor.shape, rows)
        count *= -(-size_of(tensor.shape, channels + taps) // head.group) if head.group else 1
        require(width in (2, 4), "width of the steps")
        items = np.frombuffer(lossless(reader.take(reader.varint()), count * width, width), f"<u{width}")
        head.steps = (items.astype(np.uint32) << (16 if width == 2 else 0)).view(np.float32)
        require(all(0 < step < math.inf for step in head.steps), "step of a row")
        head.steps = head.steps.reshape(size_of(tensor.shape, rows), -1)


def convert(values: np.ndarray, dtype: int) -> np.ndarray:
    """Floats converted to the tensor's dtype, to nearest even."""
    with np.errstate(over="ignore"):
        if NAMES[dtype] != "bfloat16":
            return values.astype(NUMPY[dtype])
        bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def read_integers(payload: bytes, shape: tuple[int, int, int], states: int) -> list[int]:
    """The integers of the levels of a chunk (section 8)."""
    reader = Reader(payload)
    coder = reader.u(1)
    if coder > 4:
        raise UnsupportedError(f"level coder {coder}")
    if coder == 3:
        return static(reader.rest(), *shape, states)
    trellis = Trellis(states)
    levels = (
        context(reader.rest(), *shape, states)
        if coder == 2
        else {0: dense, 1: sparse, 4: fields}[coder](reader.rest(), math.prod(shape))
    )
    return [trellis.value(level) for level in levels]


def values_of(levels: list[int], head: Head, shape: tuple[int, int, int], dtype: int, row: int) -> np.ndarray:
    """Section 5, for integers that the trellis has reconstructed. row: of the tensor, at which the chunk starts."""
    if head.rule in (1, 7):
        places = [level + head.negatives for level in levels]
        require(all(0 <= place < len(head.table) for place in places), "level outside the table")
        values = np.array([head.table[place] for place in places], np.float64)
        if head.steps is not None:
            width = shape[1] * shape[2]
            own = np.repeat(head.steps[row : row + shape[0]].astype(np.float64), head.group, axis=1)[:, :width]
            values = values * own.ravel()
        return convert(values, dtype)
    if head.rule == 8:
        chosen = [hashed(i, head.seed, head.buckets) for i in range(math.prod(shape))]
        levels = [sign * levels[b] for b, sign in chosen]
    if head.rule == 4:
        bits = [(abs(level) + head.offset << head.shift) if level else 0 for level in levels]
        require(all(b < 2**31 for b in bits), "float magnitude")
        bits = [b | (level < 0) << 31 for b, level in zip(bits, levels, strict=True)]
        return convert(np.array(bits, np.uint32).view(np.float32), dtype)
    if head.vectors is not None:
        numbers = [2 * level if level >= 0 else -2 * level - 1 for level in levels]
        require(all(k < len(head.vectors) for k in numbers), "level outside the codebook")
        rows = head.vectors[numbers].reshape(shape[0], -1)[:, : shape[1] * shape[2]]
        return convert(rows.ravel().astype(np.float64) * head.step, dtype)
    if head.steps is not None:
        own = head.steps[row : row + shape[0]].astype(np.float64)
        return convert((np.array(levels, np.float64).reshape(shape[0], -1) * own).ravel(), dtype)
    q = np.array(levels, np.int64)
    if head.basis is None:
        return convert(q.astype(np.float64) * head.step, dtype)
    y = (q.reshape(-1, len(head.basis)) @ head.basis).ravel()
    return convert(y.astype(np.float64) * (head.step * 2.0**-head.shift), dtype)


Undo = Callable[[int, list[np.ndarray], int], np.ndarray]
"""Values of a chunk, from the byte before it, its own values (of byte 3: two of them), and where it starts."""


def read_tensor(sections: list[bytes], tensor: Tensor, undo: Undo | None = None) -> np.ndarray:
    dtype = np.dtype(NUMPY[tensor.dtype])
    readers = [Reader(section) for section in sections]
    head = read_head(readers[0], tensor, len(sections))
    rows, channels, taps = axes(head.layout, len(tensor.shape))
    by_elements = head.layout == 0
    units = math.prod(tensor.shape) if by_elements else size_of(tensor.shape, rows)
    per_unit = (1, 1) if by_elements else (size_of(tensor.shape, channels), size_of(tensor.shape, taps))
    if len(sections) == 1:
        head.unit = units
    else:
        require(head.unit > 0 and -(-units // head.unit) == len(sections), "number of chunks")
    most = 2**22 if head.rule == 0 else CHUNK_LIMIT
    require(min(head.unit, units) * math.prod(per_unit) <= most, "chunk too large")
    parts = []
    for i, reader in enumerate(readers):
        n = min((i + 1) * head.unit, units) - i * head.unit
        shape = (1, n, 1) if by_elements else (n, *per_unit)
        if head.rule == 0:
            how = reader.u(1) if undo else 0
            payloads = ([reader.take(reader.varint())] if how == 3 else []) + [reader.rest()]
            own = [np.frombuffer(lossless(p, n * dtype.itemsize, dtype.itemsize), dtype) for p in payloads]
            parts.append(undo(how, own, i * head.unit) if undo else own[0])
        else:
            require(undo is None, "way 1 of coding against a base with another rule than 0")
            row = 0 if by_elements else i * head.unit
            require(head.rule != 8 or len(sections) == 1, "sections of a hashed tensor")
            coded = shape if head.vectors is None else (n, -(-math.prod(per_unit) // head.vectors.shape[1]), 1)
            coded = (1, head.buckets, 1) if head.buckets else coded
            levels = read_integers(reader.rest(), coded, head.states)
            parts.append(values_of(levels, head, shape, tensor.dtype, row))
    order = rows + channels + taps
    values = np.concatenate(parts).reshape([tensor.shape[d] for d in order])
    values = np.ascontiguousarray(values.transpose([order.index(d) for d in range(len(order))]))
    raw = bytearray(values.tobytes())
    for at, element in head.patches:
        raw[at * dtype.itemsize : (at + 1) * dtype.itemsize] = element
    return np.frombuffer(bytes(raw), dtype).reshape(tensor.shape)
