"""The levels of a tensor as they are in a .wcz, chunk by chunk, for the tables of stages and views of a tensor."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import fixed_fields, sparse
from wcodec.codec.entropy.level_coders import decode_chunk
from wcodec.codec.layout import VECTOR
from wcodec.codec.tensor_header import TensorHeader, chunk_shape, parse_header
from wcodec.container.reader import read_section
from wcodec.container.records import Record
from wcodec.container.wire import DENSE, FIXED, SPARSE
from wcodec.errors import ContainerError
from wcodec.model import TensorSpec
from wcodec.model.dataclass import dataclass, replace

Levels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class CodedChunk:
    """One chunk.

    coder:       number of its level coder.
    levels:      int32[n] in the order of the layout; with trellis states as they are coded.
    values:      the value of each level, before it is rounded to the tensor's type; None if a level stands for several
                 weights.
    nbytes:      of the chunk, with the number of the coder.
    gap_bits:    0 without gaps.
    gaps, codes: the streams of the sparse coder and of fixed fields; codes also the one stream of the dense coder.
    fields:      the head of fixed fields; None for other coders.
    """

    coder: int
    levels: Levels
    values: npt.NDArray[np.floating] | None
    nbytes: int
    gap_bits: int = 0
    gaps: bytes = b""
    codes: bytes = b""
    fields: fixed_fields.Fields | None = None


def read_header(file: BinaryIO, facts: TensorSpec, record: Record) -> tuple[TensorHeader, memoryview]:
    """The header of a tensor, and the bytes of the first chunk after it.

    Raises: ContainerError and its kinds.
    """
    first = memoryview(read_section(file, record.sections[0], f"{facts.name}, section 0"))
    header, start = parse_header(facts, first, len(record.sections))
    return header, first[start:]


def read_chunks(file: BinaryIO, facts: TensorSpec, record: Record) -> Iterator[CodedChunk]:
    """The chunks of a tensor with levels; none for a tensor whose values are exact.

    Raises: ContainerError and its kinds.
    """
    try:
        header, first = read_header(file, facts, record)
        if header.dequantizer is None:
            return
        for number, section in enumerate(record.sections):
            chunk = memoryview(read_section(file, section, f"section {number}")) if number else first
            yield _read_chunk(chunk, facts, header, number)
    except ContainerError as error:
        raise type(error)(f"{facts.name}: {error}") from error


def _read_chunk(chunk: memoryview, facts: TensorSpec, header: TensorHeader, number: int) -> CodedChunk:
    dequantizer = header.dequantizer
    assert dequantizer is not None
    shape = dequantizer.level_shape(chunk_shape(facts, header, number))
    levels, replayed = decode_chunk(chunk, shape, dequantizer.states)
    if header.layout != VECTOR:
        dequantizer = dequantizer.for_rows(number * header.chunk_units, shape[0])
    values = (replace(dequantizer, states=0) if replayed else dequantizer).dequantize(levels, False)
    shown = values.reshape(-1) if values.size == levels.size else None
    coder, payload, flat = int(chunk[0]), bytes(chunk[1:]), levels.reshape(-1)
    if coder == SPARSE:
        _, gap_bits, start, end = sparse.parse_head(payload, prod(shape))
        return CodedChunk(coder, flat, shown, len(chunk), gap_bits, payload[start:end], payload[end:])
    if coder == FIXED:
        fields, start = fixed_fields.parse_fields(payload, prod(shape))
        end = start + fields.gap_bytes
        return CodedChunk(coder, flat, shown, len(chunk), fields.gap_bits, payload[start:end], payload[end:], fields)
    return CodedChunk(coder, flat, shown, len(chunk), codes=payload if coder == DENSE else b"")
