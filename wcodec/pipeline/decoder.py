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
from wcodec.pipeline.duplicates import last_uses
from wcodec.pipeline.export import convert, is_conversion
from wcodec.pipeline.lossless_decoder import Sink, decode_lossless, is_lossless
from wcodec.pipeline.output_limit import decoded_bytes, refuse_larger


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
def open_container(source: Path, base: Path | None = None, max_output: int | None = None) -> Iterator[OpenContainer]:
    """The container at `source`, its index read and checked.

    base:       the file that it was coded against, where it was; without it, only what does not need it can be decoded.
    max_output: bytes that the whole container may decode to, None for any number.
    Raises: ContainerError and its kinds, UnsupportedError where it is larger; RecipeError for another base.
    """
    with open_file(source) as file:
        container = parse(file, max_output)
        if max_output is not None:
            refuse_larger(source, decoded_bytes(container), max_output)
        yield OpenContainer(file, container, base_for(base, container.base) if base else None)


def needs_base(opened: OpenContainer) -> None:
    """Raises: RecipeError where the container is coded against a file that was not given."""
    if opened.base is None:
        base_for(None, opened.container.base)


def decode(
    source: Path,
    target: Path,
    *,
    base: Path | None = None,
    max_output: int | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Container:
    """Write the model file that `source` holds to `target`, whole or not at all. Inverse: `encoder.encode`.

    A target named .safetensors or .npz where that is not what was encoded gets the tensors alone, by name.
    max_output: the most bytes of the tensors and the skeleton, and of the file that is written; None for any number.
    Raises: ContainerError and its kinds; OSError where `target` cannot be written.
    """
    with open_container(source, base, max_output) as opened, whole_file(target, source) as temporary:
        needs_base(opened)
        _write(opened, source, target, temporary, threads, progress)
        refuse_larger(source, temporary.stat().st_size, max_output)
        return opened.container


def _write(
    opened: OpenContainer, source: Path, target: Path, temporary: Path, threads: int, progress: Progress | None
) -> None:
    """Write what is to be called `target` to the path `temporary`."""
    container = opened.container
    if is_conversion(container, source, target):
        shown = [number for number, facts in enumerate(container.tensors) if facts.name != REST]
        tensors = [container.tensors[number] for number in shown]
        convert(temporary, target.suffix, tensors, _some(opened, shown, threads, progress))
    elif is_lossless(container):
        with temporary.open("wb", buffering=0) as file:
            decode_lossless(opened.file, container, opened.base, _writer(file), threads, progress)
    else:
        values = _some(opened, range(len(container.tensors)), threads, progress)
        write_model(temporary, container.kind, container.skeleton, container.tensors, values)


def verify(
    source: Path,
    *,
    base: Path | None = None,
    max_output: int | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Container:
    """Decode everything and check every checksum, writing nothing.

    max_output: the most bytes that it may decode to, None for any number.
    Raises: ContainerError and its kinds.
    """
    with open_container(source, base, max_output) as opened:
        needs_base(opened)
        if is_lossless(opened.container):
            decode_lossless(opened.file, opened.container, opened.base, _nowhere, threads, progress)
            return opened.container
        for _ in _some(opened, range(len(opened.container.tensors)), threads, progress):
            pass
        return opened.container


def _some(opened: OpenContainer, numbers: Sequence[int], threads: int, progress: Progress | None) -> Iterator[AnyArray]:
    """The values of these tensors, in ascending order. What later ones duplicate is kept for them if it fits."""
    container = opened.container
    uses = last_uses(container)
    own = [number for number in numbers if container.records[number].duplicate_of not in uses]
    tensors = [container.tensors[number] for number in own]
    decoded = map_tensors(lambda i, chunk_map: opened.values(own[i], chunk_map), tensors, threads)
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
