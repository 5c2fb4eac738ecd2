"""The tensors of a .wcz by name."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Self

from wcodec.api.paths import StrPath, maybe_path, require_path
from wcodec.api.sources import Coded, hide_path, open_source, spool
from wcodec.errors import WcodecError
from wcodec.files import identity_of
from wcodec.model import AnyArray, TensorSpec

if TYPE_CHECKING:
    from wcodec.codec.parallel import Map
    from wcodec.pipeline.base_file import BaseFile
    from wcodec.pipeline.folder_decoder import Place
    from wcodec.pipeline.open_container import OpenContainer


class Weights(Mapping[str, AnyArray]):
    """The tensors of a .wcz by name; each is read and checked when it is requested.

    A name may be the user's ("dense/kernel"), the file's ("layers/dense/vars/0"), or the end of one.

    It is a context manager: after the block no tensor can be read.
    """

    def __init__(
        self, path: Path, places: Mapping[str, Place], base: Path | None = None, threads: int = 1, shown: str = ""
    ) -> None:
        self._shown = shown or str(path)
        self._path, self._places, self._base, self._threads = path, places, base, threads
        self._is_closed = False
        self._bases: dict[Path, BaseFile | None] = {}

    def __getitem__(self, name: str) -> AnyArray:
        """The values. bfloat16 and float8 have types of `ml_dtypes`; without that package bfloat16 becomes float32.

        Raises: KeyError with the nearest names; ContainerError and its kinds; ValueError after the block.
        """
        from wcodec.modelfiles.arrays import as_numbers

        return as_numbers(self.stored(name), self.facts(name).dtype)

    def stored(self, name: str) -> AnyArray:
        """The stored values: those of bfloat16 and float8 are bits, as unsigned integers."""
        from wcodec.codec.parallel import thread_count

        place = self._place(name)
        workers = thread_count(self._threads)
        if workers == 1 or len(place.container.resolve(place.number).sections) == 1:
            return self._decode(place, map)
        with ThreadPoolExecutor(workers, thread_name_prefix="wcodec-chunk") as pool:
            return self._decode(place, pool.map)

    def _decode(self, place: Place, chunk_map: Map) -> AnyArray:
        from wcodec.pipeline.folder_decoder import base_of
        from wcodec.pipeline.open_container import OpenContainer

        if place.path not in self._bases:
            self._bases[place.path] = base_of(place, self._base)
        with place.path.open("rb") as file:
            if place.identity not in (None, identity_of(file)):
                raise WcodecError(f"{place.path}: was replaced or written since it was opened; open it again")
            return OpenContainer(file, place.container, self._bases[place.path]).values(place.number, chunk_map)

    def _place(self, name: str) -> Place:
        if self._is_closed:
            raise ValueError(f"{self._shown}: is closed")
        return self._places[self.find(name)]

    def find(self, name: str) -> str:
        """The name in the file of the tensor that `name` refers to.

        Raises: KeyError with the nearest names, if there is none or several.
        """
        from wcodec.modelfiles.names import find_tensor

        return find_tensor(name, {name: place.user_name for name, place in self._places.items()})

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"<{self._shown}: {len(self)} tensors>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; no tensor can be read afterwards."""
        self._is_closed = True
        self._bases.clear()

    def facts(self, name: str) -> TensorSpec:
        """Type and shape of a tensor, without reading it."""
        place = self._place(name)
        return place.container.tensors[place.number]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, without reading it."""
        return {name: self.facts(name).shape for name in self}

    def dtypes(self) -> dict[str, str]:
        """The element type of each tensor, without reading it: "float32", "bfloat16"."""
        return {name: self.facts(name).dtype for name in self}


def open(
    source: Coded, *, base: StrPath | None = None, max_output: int | str | None = None, threads: int = 1
) -> Weights:
    """The tensors of a .wcz, or of a folder of them, by name.

    base:       the file that it was coded against, or a folder of those.
    max_output: as in `decode`, of all the tensors together.
    threads:    for the parts of a large tensor; 0: all cores.

    >>> with open("model.wcz") as weights:  # doctest: +SKIP
    ...     weights["dense/kernel"]

    Raises: ContainerError and its kinds.
    """
    from wcodec.pipeline.folder_decoder import places_of
    from wcodec.planning.option_values import parse_limit

    most = parse_limit(max_output)
    if isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read"):
        folder = TemporaryDirectory(prefix="wcodec-")
        try:
            spooled = spool(source, Path(folder.name), ".wcz")
            with hide_path(spooled):
                weights = Weights(spooled, places_of(spooled, most), maybe_path(base), threads, "source")
        except BaseException:
            folder.cleanup()
            raise
        weakref.finalize(weights, folder.cleanup)
        return weights
    path = require_path(source)
    return Weights(path, places_of(path, most), maybe_path(base), threads)


def load(
    source: Coded, *, base: StrPath | None = None, max_output: int | str | None = None, threads: int = 0
) -> dict[str, AnyArray]:
    """All tensors of a .wcz, or of a folder of them, by name, decoded in `threads` (0: all cores).

    Types are those of `Weights`; max_output as in `decode`. Raises: ContainerError and its kinds.
    """
    from wcodec.modelfiles.arrays import as_numbers

    return {
        name: as_numbers(values, dtype)
        for name, dtype, values in read_stored_tensors(source, base, max_output, threads)
    }


def read_stored_tensors(
    source: Coded, base: StrPath | None, max_output: int | str | None, threads: int
) -> Iterator[tuple[str, str, AnyArray]]:
    """Name, element type and stored values of all tensors of a .wcz.

    Raises: ContainerError and its kinds.
    """
    from wcodec.pipeline.folder_decoder import base_of, places_of
    from wcodec.pipeline.open_container import OpenContainer
    from wcodec.planning.option_values import parse_limit

    earlier = maybe_path(base)
    with open_source(source, unknown=".wcz") as path:
        for _, group in groupby(places_of(path, parse_limit(max_output)).items(), lambda item: item[1].path):
            named = list(group)
            with named[0][1].path.open("rb") as file:
                opened = OpenContainer(file, named[0][1].container, base_of(named[0][1], earlier))
                yield from _decode_all(opened, [(name, place.number) for name, place in named], threads)


def _decode_all(
    opened: OpenContainer, named: list[tuple[str, int]], threads: int
) -> Iterator[tuple[str, str, AnyArray]]:
    from wcodec.codec.parallel import map_tensors

    specs = [opened.container.tensors[number] for _, number in named]
    decoded = map_tensors(lambda i, chunk_map: opened.values(named[i][1], chunk_map), specs, threads)
    for (name, _), facts, values in zip(named, specs, decoded, strict=True):
        yield name, facts.dtype, values
