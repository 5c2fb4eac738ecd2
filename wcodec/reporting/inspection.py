"""The sizes of a container or a model file and of its tensors, and the use of every byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from wcodec.container.reader import is_container, open_file, parse, read_section
from wcodec.container.records import HEADER_BYTES, Container, Record
from wcodec.container.wire import READER_VERSION
from wcodec.errors import ContainerError, escape_controls
from wcodec.model import ITEM_BYTES, TensorSpec
from wcodec.model.dataclass import dataclass, field
from wcodec.modelfiles.names import Label, labels_of
from wcodec.reporting.byte_breakdown import ByteBreakdown, tensor_breakdown

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class TensorNumbers:
    """The size of one tensor. `error` is sum (w - w')^2 / sum w^2; it and `kept` are None if values are exact.

    bytes:     of its sections and its record in the index.
    name:      in the file.
    user_name: layer and weight in the user's words, "" if it equals the name in the file.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    dtype: str
    weights: int
    raw_bytes: int
    bytes: int
    parts: ByteBreakdown
    kept: int | None = None
    error: float | None = None
    duplicate_of: str | None = None
    user_name: str = ""

    @property
    def shown(self) -> str:
        """The name in tables."""
        return self.user_name or self.name

    @property
    def bits_per_weight(self) -> float:
        """Bits of the file for each element."""
        return 8 * self.bytes / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class Inspection:
    """The numbers of a file. `weight_bytes`: all sections of tensors; `tensor_bytes`: the same tensors uncompressed.

    format_version is None, and parts are empty, for a model file. `pandas.DataFrame(numbers.tensors)` is their table.
    """

    path: Path
    file_bytes: int
    source_bytes: int
    tensor_bytes: int
    weight_bytes: int
    relative_error: float
    parts: ByteBreakdown
    tensors: tuple[TensorNumbers, ...]
    format_version: int | None = READER_VERSION
    dropped: tuple[str, ...] = field(default=())

    @property
    def is_lossless(self) -> bool:
        """Whether every value of every tensor is exact."""
        return not self.relative_error and not any(tensor.error for tensor in self.tensors)

    @property
    def ratio(self) -> float:
        """Bytes of the source for each byte of the file."""
        return self.source_bytes / self.file_bytes

    def __str__(self) -> str:
        """The table of tensors, and the sizes."""
        from wcodec.reporting.inspection_tables import align, compare_sizes, tabulate_tensors  # noqa: PLC0415 - few are printed

        return escape_controls(f"{align(tabulate_tensors(self))}\n\n{compare_sizes(self)}")

    def _repr_html_(self) -> str:
        """The inspection as HTML for a notebook."""
        from wcodec.reporting.html_page import render_table  # noqa: PLC0415 - as above
        from wcodec.reporting.inspection_tables import compare_sizes, tabulate_tensors  # noqa: PLC0415

        return f"{render_table(tabulate_tensors(self))}<p>{compare_sizes(self)}</p>"

    @property
    def is_classic(self) -> bool:
        """Whether every tensor with levels has codes for single weights: the stages of Deep Compression apply."""
        return self.parts.codes > 0 and not self.parts.levels

    def to_json(self) -> dict[str, object]:
        """The keys of `inspect --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "format_version": self.format_version,
            "file_bytes": self.file_bytes,
            "source_bytes": self.source_bytes,
            "tensor_bytes": self.tensor_bytes,
            "weight_bytes": self.weight_bytes,
            "ratio": self.source_bytes / self.file_bytes if self.file_bytes else None,
            "tensor_ratio": self.tensor_bytes / self.file_bytes if self.file_bytes else None,
            "relative_error": self.relative_error,
            "parts": self.parts.as_dict(),
            "tensors": [_describe_tensor(tensor) for tensor in self.tensors],
            "dropped": list(self.dropped),
        }


def inspect(source: Path, max_output: int | None = None) -> Inspection:
    """The numbers of a .wcz, of which only headers and tables are decoded, or of a model file.

    max_output: the largest number of bytes to which a .wcz may decode, None for any number.
    Raises: ContainerError and its kinds; ModelFileError.
    """
    if source.is_dir() or source.name == "index.wcz":
        from wcodec.pipeline.folder_decoder import index_of, parts_of, places_of  # noqa: PLC0415 - a .wcz needs it not

        if index := index_of(source):
            if max_output is not None:
                places_of(source, max_output)
            return _merge(index, [inspect(part) for _, part in parts_of(index)])
    if source.suffix != ".wcz" and not is_container(source):
        return _inspect_model(source)
    return _inspect_container(source, max_output)


def _merge(index: Path, parts: Sequence[Inspection]) -> Inspection:
    """The numbers of a sharded container: its index and all its parts."""
    own = _inspect_container(index)
    whole = own.parts
    for part in parts:
        whole += part.parts
    return Inspection(
        path=index,
        file_bytes=own.file_bytes + sum(part.file_bytes for part in parts),
        source_bytes=sum(part.source_bytes for part in parts),
        tensor_bytes=sum(part.tensor_bytes for part in parts),
        weight_bytes=sum(part.weight_bytes for part in parts),
        relative_error=own.relative_error,
        parts=whole,
        tensors=tuple(tensor for part in parts for tensor in part.tensors),
    )


def _inspect_container(source: Path, max_output: int | None = None) -> Inspection:
    with open_file(source) as file:
        container = parse(file, max_output)
        if max_output is not None:
            from wcodec.pipeline.output_limit import count_decoded_bytes, refuse_larger  # noqa: PLC0415 - brings numpy

            refuse_larger(source, count_decoded_bytes(container), max_output)
        shown = container.numbers
        labels = labels_of(container)
        tensors = tuple(_measure_tensor(file, container, number, labels) for number in shown)
    beside = [record for number, record in enumerate(container.records) if number not in shown]
    whole = ByteBreakdown(
        skeleton=container.skeleton_bytes + sum(record.nbytes for record in beside),
        index=container.index_bytes - sum(container.records[number].index_bytes for number in shown),
        container=HEADER_BYTES,
    )
    for tensor in tensors:
        whole += tensor.parts
    return Inspection(
        path=source,
        file_bytes=container.file_bytes,
        source_bytes=container.source_bytes,
        tensor_bytes=sum(tensor.raw_bytes for tensor in tensors),
        weight_bytes=sum(container.records[number].nbytes for number in shown),
        relative_error=container.error,
        parts=whole,
        tensors=tensors,
    )


def _inspect_model(source: Path) -> Inspection:
    """The tensors of a model file as `encode` reads them, with optimizer state."""
    from wcodec.modelfiles import open_model  # noqa: PLC0415 - a .wcz is inspected without it

    with open_model(source, keep_optimizer=True) as model:
        tensors = tuple(
            TensorNumbers(
                name=one.name,
                layer=one.layer,
                shape=one.shape,
                dtype=one.dtype,
                weights=one.count,
                raw_bytes=one.nbytes,
                bytes=one.nbytes,
                parts=ByteBreakdown(),
                user_name=one.user_name,
            )
            for one in model.tensors
        )
        total = sum(tensor.raw_bytes for tensor in tensors)
        return Inspection(
            path=source,
            file_bytes=model.source_bytes,
            source_bytes=model.source_bytes,
            tensor_bytes=total,
            weight_bytes=total,
            relative_error=0.0,
            parts=ByteBreakdown(),
            tensors=tensors,
            format_version=None,
        )


def _measure_tensor(file: BinaryIO, container: Container, number: int, labels: Sequence[Label]) -> TensorNumbers:
    facts, record = container.tensors[number], container.records[number]
    original = None if record.duplicate_of is None else container.tensors[record.duplicate_of].name
    held = container.resolve(number)
    return TensorNumbers(
        name=facts.name,
        layer=labels[number].layer,
        shape=facts.shape,
        dtype=facts.dtype,
        weights=facts.count,
        raw_bytes=facts.nbytes,
        bytes=record.nbytes + record.index_bytes,
        parts=_measure_parts(file, facts, record),
        kept=held.kept,
        error=held.error,
        duplicate_of=original,
        user_name=labels[number].user_name,
    )


def _measure_parts(file: BinaryIO, facts: TensorSpec, record: Record) -> ByteBreakdown:
    parts = ByteBreakdown(index=record.index_bytes)
    if record.kept is None:  # exact: its sections need not be read
        return parts + ByteBreakdown(lossless=record.nbytes)
    try:
        sections = [read_section(file, section, f"section {i}") for i, section in enumerate(record.sections)]
        return parts + tensor_breakdown(sections, ITEM_BYTES[facts.dtype])
    except ContainerError as error:
        raise type(error)(f"{facts.name}: {error}") from error


def _describe_tensor(tensor: TensorNumbers) -> dict[str, object]:
    return {
        "name": tensor.name,
        "user_name": tensor.shown,
        "layer": tensor.layer,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "weights": tensor.weights,
        "kept": tensor.kept if tensor.kept is not None else tensor.weights,
        "bits_per_weight": tensor.bits_per_weight,
        "bytes": tensor.bytes,
        "parts": tensor.parts.as_dict(),
        "relative_error": tensor.error if tensor.error is not None else 0.0,
        "duplicate_of": tensor.duplicate_of,
    }
