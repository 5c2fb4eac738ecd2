"""The tensors of a .wcz by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.api.paths import StrPath, found_path, maybe_path
from wcodec.model import AnyArray, TensorSpec

if TYPE_CHECKING:
    from wcodec.pipeline.folder_decoder import Place


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


def open(source: StrPath, *, base: StrPath | None = None, max_output: int | str | None = None) -> Weights:
    """The tensors of a .wcz, or of a folder of them, by name.

    base:       the file that it was coded against, or a folder of those.
    max_output: as in `decode`, of all the tensors together.
    Raises: ContainerError and its kinds.
    """
    from wcodec.pipeline.folder_decoder import places_of
    from wcodec.planning.run_options import parse_limit

    return Weights(found_path(source), places_of(Path(source), parse_limit(max_output)), maybe_path(base))
