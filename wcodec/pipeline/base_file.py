"""An earlier version of a file (`--base`), against which a later one is coded."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from wcodec.codec.delta import DIFFERENCE
from wcodec.container.dtypes import from_float, numpy_type, to_float32
from wcodec.errors import CorruptError
from wcodec.files import sha256_of
from wcodec.model import FLOATS, AnyArray, Tensor, TensorSpec
from wcodec.model.dataclass import dataclass
from wcodec.modelfiles.extents import Extent, read_part


@dataclass(frozen=True)
class BaseFile:
    """The file, its SHA-256, and the extents of its tensors, by name."""

    path: Path
    digest: bytes
    extents: dict[str, Extent]

    def has(self, facts: TensorSpec) -> bool:
        """Whether it has a tensor with this name, shape and element size."""
        found = self.extents.get(facts.name)
        return found is not None and found.facts.shape == facts.shape and found.facts.nbytes == facts.nbytes > 0

    def part(self, facts: TensorSpec, start: int, count: int) -> AnyArray:
        """Values `start` to `start + count` of its tensor with this name, in the type of `facts`.

        Raises: CorruptError if it has none; ModelFileError if it cannot be read.
        """
        if not self.has(facts):
            raise CorruptError(f"{facts.name}: expected such a tensor in the base {self.path}, found none")
        return read_part(self.path, self.extents[facts.name], start, count).view(numpy_type(facts.dtype))

    def values(self, facts: TensorSpec) -> AnyArray:
        """All values[shape]."""
        return self.part(facts, 0, facts.count).reshape(facts.shape)


def open_base(path: Path) -> BaseFile:
    """The base at `path`.

    Raises: ModelFileError if it cannot be read.
    """
    from wcodec.modelfiles.extent_finder import find_extents

    return BaseFile(path, sha256_of(path), {extent.facts.name: extent for extent in find_extents(path).extents})


def difference(tensor: Tensor, base: BaseFile) -> Tensor | None:
    """A tensor minus the base's; None if the base has none, or if a value is not finite."""
    if tensor.dtype not in FLOATS or tensor.exact or not base.has(tensor):
        return None
    facts = TensorSpec(tensor.name, tensor.dtype, tensor.shape)
    both = (tensor.read(), base.values(facts))
    if not all(np.isfinite(to_float32(values, tensor.dtype)).all() for values in both):
        return None
    return Tensor(tensor.name, tensor.dtype, tensor.shape, tensor.layer, False, partial(_subtract_base, tensor, base))


def add_base(values: AnyArray, facts: TensorSpec, base: BaseFile) -> AnyArray:
    """A difference plus the base's values: one addition in float32, rounded to the tensor's type.

    Raises: CorruptError for a type without differences.
    """
    if facts.dtype not in FLOATS:
        raise CorruptError(f"{facts.name}: expected floats in way {DIFFERENCE} of coding against a base")
    with np.errstate(over="ignore", invalid="ignore"):
        total = to_float32(values, facts.dtype) + to_float32(base.values(facts), facts.dtype)
    return from_float(np.asarray(total, np.float32), facts.dtype)


def _subtract_base(tensor: Tensor, base: BaseFile) -> AnyArray:
    with np.errstate(over="ignore"):
        less = to_float32(tensor.read(), tensor.dtype) - to_float32(base.values(tensor), tensor.dtype)
    return from_float(np.asarray(less, np.float32), tensor.dtype)
