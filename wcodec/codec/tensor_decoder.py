"""Decoding of one chunk of a tensor's sections into values: the unit of work of decoding."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from wcodec.codec.delta import BY_CHUNK, RESIDUAL, BaseValues, decode_delta, decode_residual
from wcodec.codec.dequantization import TransformDequantizer, UniformDequantizer
from wcodec.codec.digest import digest
from wcodec.codec.entropy.level_coders import decode_chunk
from wcodec.codec.layout import VECTOR, distances_of, scatter_rows
from wcodec.codec.parallel import Map
from wcodec.codec.quantizers.product import join_blocks
from wcodec.codec.tensor_header import TensorHeader, chunk_shape, parse_header
from wcodec.container.dtypes import from_float, numpy_type
from wcodec.container.reader import read_section
from wcodec.container.records import Record
from wcodec.container.wire import take_byte, take_bytes, take_varint
from wcodec.errors import ContainerError, CorruptError, RecipeError
from wcodec.model import FLOATS, ITEM_BYTES, AnyArray, TensorSpec
from wcodec.model.dataclass import dataclass, replace


@dataclass(frozen=True)
class TensorReader:
    """A tensor's sections in an open file, with its header parsed."""

    file: BinaryIO
    facts: TensorSpec
    record: Record
    header: TensorHeader
    first: memoryview
    base: BaseValues | None = None

    def bytes_of(self, number: int) -> memoryview:
        """Chunk `number` as it is stored. Raises: as `chunk`."""
        where = f"{self.facts.name}, section {number}"
        return memoryview(read_section(self.file, self.record.sections[number], where)) if number else self.first

    def chunk(self, number: int) -> AnyArray:
        """The values of chunk `number`: flat if they are exact, otherwise in the shape of the levels.

        Raises: ContainerError and its kinds.
        """
        chunk = self.bytes_of(number)
        if self.record.delta_mode == BY_CHUNK:
            return self._decode_against_base(chunk, number)
        return _decode_values(chunk, self.header, self.facts, number)

    def _decode_against_base(self, chunk: memoryview, number: int) -> AnyArray:
        """The values of a chunk of exact values that are coded against a base."""
        mode, at = take_byte(chunk, 0, "delta mode of a chunk")
        if mode == RESIDUAL and self.facts.dtype not in FLOATS:
            raise CorruptError(f"chunk: expected floats in delta mode {RESIDUAL}, got {self.facts.dtype}")
        length, at = take_varint(chunk, 1) if mode == RESIDUAL else (len(chunk) - 1, 1)
        first, at = take_bytes(chunk, at, length, "chunk")
        values = _decode_values(first, self.header, self.facts, number)
        if not mode or self.base is None:
            return values
        facts = TensorSpec(self.record.base_name, self.facts.dtype, self.facts.shape)
        base = self.base.part(facts, number * self.header.chunk_units, values.size)
        if mode == RESIDUAL:
            steps = _decode_values(chunk[at:], self.header, self.facts, number)
            words = steps.view(f"<u{steps.itemsize}")
            return decode_residual(values, words, base, self.facts.dtype)
        return decode_delta(mode, values, base, self.facts.dtype)


def open_tensor(file: BinaryIO, facts: TensorSpec, record: Record, base: BaseValues | None) -> TensorReader:
    """Read the first section and parse the header in it.

    base: the file against which the container is coded; needed if the record says so.
    Raises: ContainerError and its kinds.
    """
    first = memoryview(read_section(file, record.sections[0], f"{facts.name}, section 0"))
    header, start = parse_header(facts, first, len(record.sections))
    if record.delta_mode == BY_CHUNK and header.dequantizer is not None:
        raise CorruptError(f"{facts.name}: expected exact values in delta mode {BY_CHUNK}")
    return TensorReader(file, facts, record, header, first[start:], base)


def _decode_values(chunk: memoryview, header: TensorHeader, facts: TensorSpec, number: int) -> AnyArray:
    shape = chunk_shape(facts, header, number)
    if header.dequantizer is None:
        from wcodec.codec import lossless

        item = ITEM_BYTES[facts.dtype]
        raw = np.empty(item * shape[1], np.uint8)
        lossless.decode_into(chunk, raw, item)
        return raw.view(numpy_type(facts.dtype))
    levels, replayed = decode_chunk(chunk, header.dequantizer.level_shape(shape), header.dequantizer.states)
    dequantizer = replace(header.dequantizer, states=0) if replayed else header.dequantizer
    if header.layout != VECTOR:
        dequantizer = dequantizer.for_rows(number * header.chunk_units, shape[0])
    weights = dequantizer.dequantize(levels, facts.dtype in {"float32", "bfloat16"})
    return from_float(join_blocks(weights, shape), facts.dtype)


def decode_tensor(
    file: BinaryIO, facts: TensorSpec, record: Record, chunk_map: Map, base: BaseValues | None = None
) -> AnyArray:
    """One tensor's values[shape] from its sections, or its difference from the base. Inverse: `encode_tensor`.

    Raises: ContainerError and its kinds; RecipeError if it needs a base and has none.
    """
    if record.delta_mode and base is None:
        raise RecipeError(f"{facts.name}: expected --base with the file that it is coded against, got none")
    try:
        sections = open_tensor(file, facts, record, base)
        values: AnyArray = np.empty(facts.shape, numpy_type(facts.dtype))
        for _ in chunk_map(lambda number: _put(sections, number, values), range(len(record.sections))):
            pass
        positions, outlier_bytes = sections.header.positions, sections.header.outlier_bytes
        if positions.size:
            values.reshape(-1).view(np.uint8).reshape(values.size, -1)[positions] = outlier_bytes
    except ContainerError as error:
        named = str(error).startswith(facts.name)
        raise type(error)(str(error) if named else f"{facts.name}: {error}") from error
    except (MemoryError, OverflowError) as error:
        raise CorruptError(f"{facts.name}: expected a tensor that fits in memory, got shape {facts.shape}") from error
    if digest(values, chunk_map) != record.digest:
        raise CorruptError(f"{facts.name}: the digest of the decoded values does not fit")
    return values


def _put(sections: TensorReader, number: int, values: AnyArray) -> None:
    """Decode chunk `number` into its place among the tensor's values[shape]."""
    header, first = sections.header, number * sections.header.chunk_units
    dequantizer, distances = header.dequantizer, distances_of(values.shape, header.layout)
    if isinstance(dequantizer, UniformDequantizer | TransformDequantizer) and distances and _is_direct(sections):
        shape = chunk_shape(sections.facts, header, number)
        levels, replayed = decode_chunk(sections.bytes_of(number), shape, dequantizer.states)
        own = replace(dequantizer, states=0) if replayed else dequantizer
        own.put(levels, values.reshape(-1).view(np.float32), first, distances)
        return
    chunk = sections.chunk(number)
    if dequantizer is None or header.layout == VECTOR:
        values.reshape(-1)[first : first + chunk.size] = chunk.reshape(-1)
    else:
        scatter_rows(chunk, values, first, header.layout)


def _is_direct(sections: TensorReader) -> bool:
    """Whether weights are written to their places as they are computed."""
    return sections.facts.dtype == "float32" and sections.header.layout != VECTOR
