"""The verbs in Python. Paths may be texts; files appear whole or not at all, over what was there.

What is written replaces a file of that name without a question, as `numpy.save` does; only the command asks for -f. A
source or a base that is missing is FileNotFoundError.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from wcodec.errors import WcodecError
from wcodec.model import AnyArray, TensorSpec
from wcodec.reporting.inspection import Inspection

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from wcodec.pipeline.folder_decoder import Place


StrPath = str | PathLike[str]


class Words(TypedDict, total=False):
    """The options of `encode`: those of `planning.options`, as on the command line; see `wcodec encode -h`."""

    lossless: bool
    preset: str
    effort: str
    sparsity: float
    threshold: float | str
    bits: int
    clusters: int
    block: int
    start: str
    step: float | str
    quantizer: str
    per_channel: bool
    coder: str
    set: str | Sequence[str] | Mapping[str, str | Mapping[str, object]]
    include: str | Sequence[str]
    exclude: str | Sequence[str]
    max_error: float
    target_size: int | str
    target_ratio: float
    global_sparsity: bool
    keep_optimizer: bool
    seed: int


def encode(
    source: StrPath,
    target: StrPath,
    *,
    base: StrPath | None = None,
    threads: int = 0,
    executor: Executor | None = None,
    **words: Unpack[Words],
) -> Inspection:
    """Write the .wcz `target` of a model file and return its numbers. Inverse: `decode`.

    A model of several files (a folder, an index of shards) becomes a folder of .wcz files.
    base:     an earlier version of the file; what is the same takes no bytes, and decoding needs it.
    executor: encodes them: a pool of threads or processes, or `dask.distributed.Client(...).get_executor()`, whose
              workers open the files themselves.

    >>> encode("model.h5", "model.wcz", bits=4, sparsity=0.9, set={"dense_1": {"bits": 8}})  # doctest: +SKIP

    Raises: RecipeError, ModelFileError, BudgetError, OSError; WcodecError where `target` is what is read.
    """
    from wcodec.pipeline.folder_encoder import encode_any as story
    from wcodec.planning.parsing import parse_recipe
    from wcodec.reporting.inspection import inspect as numbers

    recipe = parse_recipe(words)
    there, earlier = _found(source), _path(base)
    _refuse_same(Path(target), there, earlier)
    story(there, Path(target), recipe, base=earlier, threads=threads, executor=executor)
    return numbers(Path(target))


def decode(source: StrPath, target: StrPath, *, base: StrPath | None = None, threads: int = 0) -> None:
    """Write the model file that a .wcz holds. Inverse: `encode`.

    Raises: ContainerError and its kinds, OSError; WcodecError where `target` is what is read.
    """
    from wcodec.pipeline.folder_decoder import decode as story

    there, earlier = _found(source), _path(base)
    _refuse_same(Path(target), there, earlier)
    story(there, Path(target), base=earlier, threads=threads)


def verify(source: StrPath, *, base: StrPath | None = None, threads: int = 0) -> None:
    """Decode everything and check every checksum.

    Raises: ContainerError and its kinds.
    """
    from wcodec.pipeline.folder_decoder import verify as story

    story(_found(source), base=_path(base), threads=threads)


def inspect(source: StrPath) -> Inspection:
    """Where the bytes of a .wcz or a model file go.

    Raises: ContainerError and its kinds, ModelFileError.
    """
    from wcodec.reporting.inspection import inspect as numbers

    return numbers(_found(source))


def _refuse_same(target: Path, *read: Path | None) -> None:
    """Raises: WcodecError where `target` is one of the files that are read, which would be lost, or lies inside it."""
    for one in read:
        if one and ((target.exists() and target.samefile(one)) or one.resolve() in target.resolve().parents):
            raise WcodecError(f"{target}: expected another output, got what is read, or a place inside of it")


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else _found(path)


def _found(path: StrPath) -> Path:
    """Raises: FileNotFoundError, as Python's own functions do."""
    if not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return Path(path)


def full_name(names: Collection[str], asked: str) -> str:
    """The one name that is `asked`, or else the one that ends in it: "dense/kernel" finds "model_weights/dense/kernel".

    Raises: KeyError, saying what there is, where there is none or several.
    """
    found = [asked] if asked in names else [name for name in names if name.endswith(f"/{asked}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise KeyError(f"expected one tensor {asked!r}, found {', '.join(found)}")
    raise KeyError(f"expected a tensor {asked!r}, found {', '.join(list(names)[:4])}, ...")


class Weights(Mapping[str, AnyArray]):
    """The tensors of a .wcz by name, or by the end of it; each is read and checked when it is asked for."""

    def __init__(self, path: Path, places: Mapping[str, Place], base: Path | None = None) -> None:
        self._path, self._places, self._base = path, places, base

    def __getitem__(self, name: str) -> AnyArray:
        from wcodec.pipeline.decoder import OpenContainer
        from wcodec.pipeline.folder_decoder import base_of

        place = self._places[full_name(self._places, name)]
        with place.path.open("rb") as file:
            return OpenContainer(file, place.container, base_of(place, self._base)).values(place.number)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"<{self._path}: {len(self)} tensors>"

    def facts(self, name: str) -> TensorSpec:
        """Type and shape of a tensor, without reading it."""
        place = self._places[full_name(self._places, name)]
        return place.container.tensors[place.number]


def open(source: StrPath, *, base: StrPath | None = None) -> Weights:
    """The tensors of a .wcz, or of a folder of them, by name.

    base: the file that it was coded against, or a folder of those.
    Raises: ContainerError and its kinds.
    """
    from wcodec.pipeline.folder_decoder import places_of

    return Weights(_found(source), places_of(Path(source)), _path(base))
