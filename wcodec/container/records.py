"""The objects of a container: the position of the bytes of each tensor, and their checksums."""

from __future__ import annotations

import struct

from wcodec.container.wire import REST
from wcodec.errors import CorruptError
from wcodec.model import TensorSpec
from wcodec.model.dataclass import dataclass

HEADER_BYTES = 24
KINDS = ("hdf5", "keras", "npz", "safetensors", "file", "shards")
_LARGEST_ERROR = 0x7F7F


@dataclass(frozen=True)
class Section:
    """A byte range of the file and its CRC-32."""

    offset: int
    length: int
    crc: int


@dataclass(frozen=True)
class Record:
    """One tensor in the file.

    duplicate_of: the number of the earlier tensor with the same values; such a record has no sections.
    digest:       CRC-32 of the decoded values.
    error:        sum (w - w')^2 / sum w^2, None if exact.
    kept:         the number of non-zero weights, None if exact.
    index_bytes:  the size of the record in the index.
    delta_mode:   how it is coded against a base (`codec.delta`); 0 without a base.
    base_name:    the tensor's name in the base.
    """

    sections: tuple[Section, ...]
    digest: int = 0
    duplicate_of: int | None = None
    error: float | None = None
    kept: int | None = None
    index_bytes: int = 0
    delta_mode: int = 0
    base_name: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of all sections."""
        return sum(section.length for section in self.sections)


@dataclass(frozen=True)
class Container:
    """The parsed .wcz file.

    tensors, records: one of each for every tensor, in order.
    error:            the relative squared error of the model, see `formats/wcz.md` section 6.
    base:             SHA-256 of the file against which it is coded, None without one.
    """

    kind: str
    file_bytes: int
    source_bytes: int
    error: float
    tensors: tuple[TensorSpec, ...]
    records: tuple[Record, ...]
    skeleton: bytes
    skeleton_bytes: int
    index_bytes: int
    base: bytes | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the model's tensors: all but the remainder of a file that is kept byte for byte."""
        rest = REST if self.kind == "file" else None
        return tuple(number for number, tensor in enumerate(self.tensors) if tensor.name != rest)

    def resolve(self, number: int) -> Record:
        """The record with the values of tensor `number`: its own, or that of the tensor that it duplicates."""
        record = self.records[number]
        return record if record.duplicate_of is None else self.records[record.duplicate_of]


def pack_error(error: float) -> int:
    """A relative error as the upper half of a float32, rounded up. Inverse: `parse_error`."""
    bits = int(struct.unpack("<I", struct.pack("<f", error))[0])
    if (
        struct.unpack("<f", struct.pack("<I", bits))[0] < error
    ):  # rounding to nearest may round down, and to 0 for the smallest
        bits += 1
    return min(bits + 0xFFFF >> 16, _LARGEST_ERROR)


def parse_error(half: int) -> float:
    """Inverse of `pack_error`, up to its rounding.

    Raises: CorruptError for a negative or infinite value or NaN.
    """
    if half > _LARGEST_ERROR:
        raise CorruptError(f"relative error: expected a number from 0 on, got 0x{half:04x}")
    return float(struct.unpack("<f", struct.pack("<I", half << 16))[0])
