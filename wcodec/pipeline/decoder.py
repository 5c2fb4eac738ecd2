"""Decoding of a container: sections -> levels -> weights -> model file. Inverse: `encoder`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wcodec.codec.delta import DIFFERENCE
from wcodec.codec.parallel import Map, map_tensors
from wcodec.codec.tensor_decoder import decode_tensor
from wcodec.container.reader import open_file, parse
from wcodec.container.records import Container
from wcodec.container.wire import REST
from wcodec.files import whole_file
from wcodec.model import AnyArray, Progress, TensorSpec
from wcodec.modelfiles import write_model
from wcodec.pipeline.base_file import BaseFile, added, base_for
from wcodec.pipeline.export import convert, is_conversion
from wcodec.pipeline.lossless_decoder import Sink, decode_lossless, is_lossless


@dataclass(frozen=True)
class OpenContainer:
    """A container and the file it is read from; values come one tensor at a time."""

    file: BinaryIO
    container: Container
    base: BaseFile | None = None

    def names(self) -> tuple[str, ...]:
        """The tensors' names, in order."""
        return tuple(tensor.name for tensor in self.container.tensors if tensor.name != REST)

    def __getitem__(self, name: str) -> AnyArray:
        """The tensor's values. Reads only its byte ranges.

        Raises: KeyError where there is no such tensor; ContainerError where it is damaged.
        """
        if name not in self.names():
            raise KeyError(name)
        return self.values(self.names().index(name))

    def values(self, number: int, chunk_map: Map = map) -> AnyArray:
        """The values of tensor `number`, shaped, checked against its digest."""
        facts, record = self.container.tensors[number], self.container.resolve(number)
        values = decode_tensor(self.file, facts, record, chunk_map, self.base)
        if record.delta_mode != DIFFERENCE or self.base is None:
            return values
        return added(values, TensorSpec(record.base_name, facts.dtype, facts.shape), self.base)


@contextmanager
def open_container(source: Path, base: Path | None = None) -> Iterator[OpenContainer]:
    """The container at `source`, its index read and checked.

    base: the file that it was coded against, where it was; without it, only what does not need it can be decoded.
    Raises: ContainerError and its kinds; RecipeError where the base is another file.
    """
    with open_file(source) as file:
        container = parse(file)
        yield OpenContainer(file, container, base_for(base, container.base) if base else None)


def needs_base(opened: OpenContainer) -> None:
    """Raises: RecipeError where the container is coded against a file that was not given."""
    if opened.base is None:
        base_for(None, opened.container.base)


def decode(
    source: Path, target: Path, *, base: Path | None = None, threads: int = 0, progress: Progress | None = None
) -> Container:
    """Write the model file that `source` holds to `target`, whole or not at all. Inverse: `encoder.encode`.

    A target named .safetensors or .npz where that is not what was encoded gets the tensors alone, by name.
    Raises: ContainerError and its kinds; OSError where `target` cannot be written.
    """
    with open_container(source, base) as opened, whole_file(target, source) as temporary:
        container = opened.container
        needs_base(opened)
        if is_conversion(container, source, target):
            shown = [number for number, facts in enumerate(container.tensors) if facts.name != REST]
            tensors = [container.tensors[number] for number in shown]
            convert(temporary, target.suffix, tensors, _some(opened, shown, threads, progress))
            return container
        if is_lossless(container):
            with temporary.open("wb", buffering=0) as file:
                decode_lossless(opened.file, container, opened.base, _writer(file), threads, progress)
            return container
        values = _some(opened, range(len(container.tensors)), threads, progress)
        write_model(temporary, container.kind, container.skeleton, container.tensors, values)
        return container


def verify(source: Path, *, base: Path | None = None, threads: int = 0, progress: Progress | None = None) -> Container:
    """Decode everything and check every checksum, writing nothing.

    Raises: ContainerError and its kinds.
    """
    with open_container(source, base) as opened:
        needs_base(opened)
        if is_lossless(opened.container):
            decode_lossless(opened.file, opened.container, opened.base, _nowhere, threads, progress)
            return opened.container
        for _ in _some(opened, range(len(opened.container.tensors)), threads, progress):
            pass
        return opened.container


def _some(opened: OpenContainer, numbers: Sequence[int], threads: int, progress: Progress | None) -> Iterator[AnyArray]:
    """The values of these tensors, in order."""
    tensors = [opened.container.tensors[number] for number in numbers]
    decoded = map_tensors(lambda i, chunk_map: opened.values(numbers[i], chunk_map), tensors, threads)
    for facts, values in zip(tensors, decoded, strict=True):
        if progress:
            progress(facts)
        yield values


def _writer(file: BinaryIO) -> Sink:
    """Writes bytes to their place in a file; safe to call from several threads."""

    def write(at: int, part: memoryview | bytes) -> None:
        left = memoryview(part)
        while left:
            count = os.pwrite(file.fileno(), left, at)
            left, at = left[count:], at + count

    return write


def _nowhere(at: int, part: memoryview | bytes) -> None:
    """Writes nothing."""
