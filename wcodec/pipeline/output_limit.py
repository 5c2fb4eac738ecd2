"""The largest number of bytes to which a .wcz may decode: `--max-output`, `max_output=`."""

from __future__ import annotations

from pathlib import Path

from wcodec.container.records import Container
from wcodec.errors import UnsupportedError


def count_decoded_bytes(container: Container) -> int:
    """The number of bytes to which a container decodes: its tensors, duplicates included, and its skeleton.

    Raises: ContainerError and its kinds.
    """
    if container.kind == "file":
        from wcodec.modelfiles.extents import parse

        return parse(container.skeleton, container.tensors).layout.length
    return sum(tensor.nbytes for tensor in container.tensors) + len(container.skeleton)


def refuse_larger(source: Path, nbytes: int, limit: int | None) -> None:
    """Raises: UnsupportedError if `source` decodes to more bytes than the limit; None is no limit."""
    if limit is not None and nbytes > limit:
        raise UnsupportedError(f"{source}: expected to decode to at most {limit} bytes, the limit given, got {nbytes}")
