"""`.npy`: one array, named `array`. It is read as a template, and comes back as a `.npy`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from wcodec.model import Model
from wcodec.modelfiles.extents import BIG_ENDIAN, FORTRAN_ORDER, SUFFIXES, Extent, model_of, tidy
from wcodec.modelfiles.npz import parse_header, spec_of

NAME = "array"


@contextmanager
def read(path: Path, keep_optimizer: bool) -> Iterator[Model]:
    """The array of a `.npy` file, which can be read until the context ends.

    Raises: ModelFileError, by name for arrays of Python objects.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        extent = extent_of(file, NAME, 0, size)
    yield model_of(path, tidy(SUFFIXES.index(".npy"), size, [extent]))


def extent_of(file: IO[bytes], name: str, begin: int, size: int) -> Extent:
    """Where the values of a `.npy` lie that has `size` bytes and begins at `begin`; `file` is read from its place on.

    Raises: ModelFileError.
    """
    header = parse_header(file, name)
    facts = spec_of(header, name, size, name)
    flags = BIG_ENDIAN * (header.descr[0] == ">") | FORTRAN_ORDER * (header.fortran and facts.count > 0)
    return Extent(facts, begin + header.bytes, flags)
