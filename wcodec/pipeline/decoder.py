"""Decoding of a container: sections -> levels -> weights -> model file. Inverse: `encoder`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.container.reader import open_file, parse
from wcodec.container.records import Container
from wcodec.files import steady, whole_file
from wcodec.model import Progress
from wcodec.model.dataclass import replace
from wcodec.pipeline.open_container import OpenContainer, decode_values, is_lossless, write_decoded
from wcodec.pipeline.output_limit import count_decoded_bytes, refuse_larger

if TYPE_CHECKING:
    from wcodec.pipeline.base_file import BaseFile


@contextmanager
def open_container(source: Path, base: Path | None = None, max_output: int | None = None) -> Iterator[OpenContainer]:
    """The container at `source`, with its index read and checked.

    base:       the file against which it was coded, or a folder with it; without it, only tensors that do not need it
                can be decoded.
    max_output: the largest number of bytes to which the container may decode, None for any number.
    Raises: ContainerError and its kinds, UnsupportedError if it is larger; RecipeError for another base.
    """
    with open_file(source) as file, steady(source, file):
        container = parse(file, max_output)
        if max_output is not None:
            refuse_larger(source, count_decoded_bytes(container), max_output)
        opened = OpenContainer(file, container)
        yield replace(opened, base=_find_base(opened, source, base)) if base else opened


def with_base(opened: OpenContainer, source: Path) -> OpenContainer:
    """The container with its base, which may be another .wcz in its folder.

    Raises: RecipeError if the base was not given and is not in the folder.
    """
    return opened if opened.base else replace(opened, base=_find_base(opened, source, None))


def _find_base(opened: OpenContainer, source: Path, given: Path | None) -> BaseFile | None:
    if opened.container.base is None:
        return None
    from wcodec.pipeline.base_chain import find_base

    return find_base(source, opened.container, given)


def decode(
    source: Path,
    target: Path,
    *,
    base: Path | None = None,
    max_output: int | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Container:
    """Write the model file in `source` to `target`, atomically. Inverse: `encoder.encode`.

    If the target is named .safetensors or .npz and another kind was encoded, it gets the tensors alone, by name.
    base:       the file against which it was coded, or a folder with it; a .wcz in the folder of `source` is found.
    max_output: the largest size of the tensors and the skeleton, and of the written file; None for any size.
    Raises: ContainerError and its kinds; OSError if `target` cannot be written.
    """
    with open_container(source, base, max_output) as opened, whole_file(target, source) as temporary:
        write_decoded(with_base(opened, source), source, target, temporary, threads, progress)
        refuse_larger(source, temporary.stat().st_size, max_output)
        return opened.container


def verify(
    source: Path,
    *,
    base: Path | None = None,
    max_output: int | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Container:
    """Decode everything and check every checksum, without writing.

    base, max_output: as in `decode`. Raises: ContainerError and its kinds.
    """
    with open_container(source, base, max_output) as opened:
        whole = with_base(opened, source)
        if is_lossless(opened.container):
            from wcodec.pipeline.lossless_decoder import decode_lossless

            decode_lossless(opened.file, opened.container, whole.base, _discard, threads, progress)
            return opened.container
        for _ in decode_values(whole, range(len(opened.container.tensors)), threads, progress):
            pass
        return opened.container


def _discard(at: int, part: memoryview | bytes) -> None:
    """Discards the bytes."""
