"""One chunk of a tensor's sections -> its values: the piece of work that decoding is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from wcodec import lossless
from wcodec.container.read import read_section
from wcodec.container.records import Record
from wcodec.floats import from_float, numpy_type
from wcodec.head import Head, chunk_shape, parse_head
from wcodec.layout import VECTOR
from wcodec.levels import decode_chunk
from wcodec.model import Bits, TensorFacts
from wcodec.rules import in_shape, level_shape, rule_of_rows
from wcodec.wire import ITEM_BYTES


@dataclass(frozen=True)
class Sections:
    """A tensor's sections in an open file, its head parsed."""

    file: BinaryIO
    facts: TensorFacts
    record: Record
    head: Head
    first: memoryview

    def chunk(self, number: int) -> Bits:
        """The values of chunk `number`, flat where they are exact, else shaped as levels are.

        Raises: ContainerError and its kinds.
        """
        where = f"{self.facts.name}, section {number}"
        chunk = memoryview(read_section(self.file, self.record.sections[number], where)) if number else self.first
        return _values(chunk, self.head, self.facts, number)


def open_sections(file: BinaryIO, facts: TensorFacts, record: Record) -> Sections:
    """Reads the first section, and the head in it.

    Raises: ContainerError and its kinds.
    """
    first = memoryview(read_section(file, record.sections[0], f"{facts.name}, section 0"))
    head, start = parse_head(facts, first, len(record.sections))
    return Sections(file, facts, record, head, first[start:])


def _values(chunk: memoryview, head: Head, facts: TensorFacts, number: int) -> Bits:
    shape = chunk_shape(facts, head, number)
    if head.rule is None:
        item = ITEM_BYTES[facts.dtype]
        raw = np.empty(item * shape[1], np.uint8)
        lossless.decode_into(chunk, raw, item)
        return raw.view(numpy_type(facts.dtype))
    levels = decode_chunk(chunk, level_shape(head.rule, shape), head.rule.states)
    rule = head.rule if head.layout == VECTOR else rule_of_rows(head.rule, number * head.chunk_units, shape[0])
    weights = rule.weights(levels, facts.dtype in {"float32", "bfloat16"})
    return from_float(in_shape(weights, shape), facts.dtype)
