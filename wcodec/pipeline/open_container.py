"""An open container: the values of its tensors, and the model file that they form."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from wcodec.codec.delta import DIFFERENCE
from wcodec.codec.parallel import Map, map_tensors
from wcodec.codec.tensor_decoder import decode_tensor
from wcodec.container.records import Container
from wcodec.model import AnyArray, Progress, TensorSpec
from wcodec.model.dataclass import dataclass
from wcodec.modelfiles import write_model
from wcodec.pipeline.duplicates import last_uses
from wcodec.pipeline.export import convert, is_conversion

if TYPE_CHECKING:
    from wcodec.pipeline.base_file import BaseFile
    from wcodec.pipeline.lossless_decoder import Sink


@dataclass(frozen=True)
class OpenContainer:
    """A container and the file from which it is read; values are decoded one tensor at a time."""

    file: BinaryIO
    container: Container
    base: BaseFile | None = None

    def names(self) -> tuple[str, ...]:
        """The tensors' names, in order."""
        return tuple(self.container.tensors[number].name for number in self.container.numbers)

    def __getitem__(self, name: str) -> AnyArray:
        """The tensor's values. Only its byte ranges are read.

        Raises: KeyError if there is no such tensor; ContainerError if it is damaged.
        """
        if name not in self.names():
            raise KeyError(name)
        return self.values(self.container.numbers[self.names().index(name)])

    def values(self, number: int, chunk_map: Map = map) -> AnyArray:
        """The values[shape] of tensor `number`, checked against its digest."""
        facts, record = self.container.tensors[number], self.container.resolve(number)
        values = decode_tensor(self.file, facts, record, chunk_map, self.base)
        if record.delta_mode != DIFFERENCE or self.base is None:
            return values
        from wcodec.pipeline.base_file import add_base

        return add_base(values, TensorSpec(record.base_name, facts.dtype, facts.shape), self.base)


def is_lossless(container: Container) -> bool:
    """Whether the container restores a file byte for byte."""
    if container.kind != "file":
        return False
    from wcodec.modelfiles.extents import parse

    return parse(container.skeleton, container.tensors).digest is not None


def write_decoded(
    opened: OpenContainer, source: Path, target: Path, temporary: Path, threads: int, progress: Progress | None
) -> None:
    """Write the file that will be named `target` to the path `temporary`."""
    container = opened.container
    if is_conversion(container, source, target):
        shown = container.numbers
        tensors = [container.tensors[number] for number in shown]
        convert(temporary, target.suffix, tensors, decode_values(opened, shown, threads, progress))
    elif is_lossless(container):
        from wcodec.pipeline.lossless_decoder import decode_lossless

        with temporary.open("wb", buffering=0) as file:
            decode_lossless(opened.file, container, opened.base, _make_sink(file), threads, progress)
    else:
        values = decode_values(opened, range(len(container.tensors)), threads, progress)
        write_model(temporary, container.kind, container.skeleton, container.tensors, values)


def decode_values(
    opened: OpenContainer, numbers: Sequence[int], threads: int, progress: Progress | None
) -> Iterator[AnyArray]:
    """The values of these tensors, in ascending order. Threads begin at once, before the first values are asked for.

    Values that later tensors duplicate are kept for them if they fit.
    """
    container = opened.container
    uses = last_uses(container)
    own = [number for number in numbers if container.records[number].duplicate_of not in uses]
    tensors = [container.tensors[number] for number in own]
    decoded = map_tensors(lambda i, chunk_map: opened.values(own[i], chunk_map), tensors, threads)
    return _add_duplicates(container, numbers, uses, decoded, progress)


def _add_duplicates(
    container: Container,
    numbers: Sequence[int],
    uses: Mapping[int, int],
    decoded: Iterator[AnyArray],
    progress: Progress | None,
) -> Iterator[AnyArray]:
    kept: dict[int, AnyArray] = {}
    for number in numbers:
        first = container.records[number].duplicate_of
        if first is not None and first in uses:
            values = kept.pop(first) if uses[first] == number else kept[first]
        else:
            values = next(decoded)
            if number in uses:
                kept[number] = values
        if progress:
            progress(container.tensors[number])
        yield values


def _make_sink(file: BinaryIO) -> Sink:
    """A function that writes bytes to a position in a file; may be called from several threads."""

    def write(at: int, part: memoryview | bytes) -> None:
        left = memoryview(part)
        while left:
            count = os.pwrite(file.fileno(), left, at)
            left, at = left[count:], at + count

    return write
