"""The verbs in Python. Paths may be texts; files appear whole or not at all, over what was there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TypedDict, Unpack

from wcodec.container.records import Container
from wcodec.inspection import Inspection
from wcodec.model import Bits

StrPath = str | PathLike[str]


class Words(TypedDict, total=False):
    """What may be said to `encode`, as on the command line; see `wcodec encode -h`."""

    lossless: bool
    preset: str
    effort: str
    sparsity: float
    threshold: float | str
    bits: int
    clusters: int
    block: int
    step: float
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


def encode(source: StrPath, target: StrPath, *, threads: int = 0, **words: Unpack[Words]) -> Inspection:
    """Write the .wcz `target` of a model file and return its numbers. Inverse: `decode`.

    >>> encode("model.h5", "model.wcz", bits=4, sparsity=0.9, set={"dense_1": {"bits": 8}})  # doctest: +SKIP

    Raises: RecipeError, ModelFileError, BudgetError, OSError.
    """
    from wcodec.encoder import encode as story
    from wcodec.inspection import inspect as numbers
    from wcodec.request import recipe_from

    story(Path(source), Path(target), recipe_from(words), threads=threads)
    return numbers(Path(target))


def decode(source: StrPath, target: StrPath, *, threads: int = 0) -> None:
    """Write the model file that a .wcz holds. Inverse: `encode`.

    Raises: ContainerError and its kinds, OSError.
    """
    from wcodec.decoder import decode as story

    story(Path(source), Path(target), threads=threads)


def verify(source: StrPath, *, threads: int = 0) -> None:
    """Decode everything and check every checksum.

    Raises: ContainerError and its kinds.
    """
    from wcodec.decoder import verify as story

    story(Path(source), threads=threads)


def inspect(source: StrPath) -> Inspection:
    """Where the bytes of a .wcz or a model file go.

    Raises: ContainerError and its kinds, ModelFileError.
    """
    from wcodec.inspection import inspect as numbers

    return numbers(Path(source))


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


class Weights(Mapping[str, Bits]):
    """The tensors of a .wcz by name, or by the end of it; each is read and checked when it is asked for."""

    def __init__(self, path: Path, container: Container) -> None:
        self._path, self._container = path, container
        self._numbers = {tensor.name: number for number, tensor in enumerate(container.tensors)}

    def __getitem__(self, name: str) -> Bits:
        from wcodec.decoder import OpenContainer

        number = self._numbers[full_name(self._numbers, name)]
        with self._path.open("rb") as file:
            return OpenContainer(file, self._container).values(number)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return f"<{self._path}: {len(self)} tensors>"


def open(source: StrPath) -> Weights:
    """The tensors of a .wcz, by name.

    Raises: ContainerError and its kinds.
    """
    from wcodec.decoder import open_container

    with open_container(Path(source)) as opened:
        return Weights(Path(source), opened.container)
