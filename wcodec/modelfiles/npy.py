"""`.npy`: one array, named `array`. It is read as an extent, and decoded to a `.npy` file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from wcodec.model import Model
from wcodec.modelfiles.extents import BIG_ENDIAN, FORTRAN_ORDER, SUFFIXES, Extent, make_layout, model_of
from wcodec.modelfiles.npz import parse_header, spec_of

NAME = "array"


@contextmanager
def read(path: Path, keep_optimizer: bool) -> Iterator[Model]:
    """A context manager of the array of a `.npy` file, which can be read until it ends.

    Raises: ModelFileError, also for arrays of Python objects.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        extent = extent_of(file, NAME, 0, size)
    yield model_of(path, make_layout(SUFFIXES.index(".npy"), size, [extent]))


def extent_of(file: IO[bytes], name: str, begin: int, size: int) -> Extent:
    """The extent of a `.npy` file of `size` bytes that starts at `begin`. `file` is read from its current position.

    Raises: ModelFileError.
    """
    header = parse_header(file, name)
    facts = spec_of(header, name, size, name)
    flags = BIG_ENDIAN * (header.descr[0] == ">") | FORTRAN_ORDER * (header.fortran and facts.count > 0)
    return Extent(facts, begin + header.bytes, flags)
