"""An earlier version of a file, against which a later one is coded: `--base`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wcodec.errors import CorruptError, RecipeError
from wcodec.floats import Float32, Float64, from_float, numpy_type, to_float32
from wcodec.model import Bits, Tensor, TensorFacts
from wcodec.modelfiles.template import Extent, read_part
from wcodec.sha import sha256_of
from wcodec.wire import FLOATS

OWN, BY_CHUNK, DIFFERENCE = range(3)
"""How a tensor is coded: by itself; exactly, each chunk in one of the ways below; as its difference, lossy."""
ALONE, XOR, STEPS, SUM = range(4)
"""How a chunk is coded: by itself; as bits that differ; as steps from one number to the other; as a float to be added,
whose size hangs less on the weight's than the steps' does, and the steps from that sum."""
_SIGNED = FLOATS | {"float8_e4m3", "float8_e5m2"}
Words = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Base:
    """The file, its SHA-256 and where the values of its tensors lie, by name."""

    path: Path
    digest: bytes
    extents: dict[str, Extent]

    def has(self, facts: TensorFacts) -> bool:
        """Whether it has a tensor of that name, shape and size of elements."""
        found = self.extents.get(facts.name)
        return found is not None and found.facts.shape == facts.shape and found.facts.nbytes == facts.nbytes > 0

    def part(self, facts: TensorFacts, start: int, count: int) -> Bits:
        """Values `start` to `start + count` of its tensor of that name, as those of `facts`' type.

        Raises: CorruptError where it has none; ModelFileError where it cannot be read.
        """
        if not self.has(facts):
            raise CorruptError(f"{facts.name}: expected such a tensor in the base {self.path}, found none")
        return read_part(self.path, self.extents[facts.name], start, count).view(numpy_type(facts.dtype))

    def values(self, facts: TensorFacts) -> Bits:
        """All values[shape]."""
        return self.part(facts, 0, facts.count).reshape(facts.shape)


def open_base(path: Path) -> Base:
    """The base at `path`.

    Raises: ModelFileError where it cannot be read.
    """
    from wcodec.modelfiles.cut import cut  # noqa: PLC0415 - brings h5py, which only a base needs

    return Base(path, sha256_of(path), {extent.facts.name: extent for extent in cut(path).extents})


def base_for(path: Path | None, digest: bytes | None) -> Base | None:
    """The base that a container needs, which must be the very file; None where it needs none.

    Raises: RecipeError where it is another, or none is given.
    """
    if digest is None:
        return None
    if path is None:
        raise RecipeError(f"base: expected --base with the file of SHA-256 {digest.hex()}, got none")
    if path.exists() and not path.is_file():
        raise RecipeError(f"{path}: expected a file as the base, found something else")
    base = open_base(path)
    if base.digest != digest:
        raise RecipeError(f"{path}: expected the base of SHA-256 {digest.hex()}, got {base.digest.hex()}")
    return base


def apart(way: int, values: Bits, base: Bits, dtype: str) -> Words:
    """Words that say how values differ from the base's. Inverse: `together`."""
    new, old = _words(values), _words(base)
    if way == XOR:
        return new ^ old
    return _steps(new, old, dtype)


def together(way: int, words: Bits, base: Bits, dtype: str) -> Bits:
    """The values of a chunk. Inverse: `apart`.

    Raises: CorruptError for an unknown way.
    """
    coded, old = _words(words), _words(base)
    one = coded.dtype.type(1)
    if way == XOR:
        new = coded ^ old
    elif way == STEPS:
        steps = (coded >> one) ^ (coded.dtype.type(0) - (coded & one))
        new = _disordered(_ordered(old, dtype) + steps, dtype)
    else:
        raise CorruptError(f"chunk: expected way 0 to 3 of coding against the base, got {way}")
    return new.view(numpy_type(dtype))


def summands(values: Bits, base: Bits, dtype: str) -> tuple[Bits, Words]:
    """Floats to be added to the base's, of the same type, and the steps from these sums to the values.

    Inverse: `summed`.
    """
    new, old = _floats(values, dtype), _floats(base, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        more = from_float(new - old, dtype)
    usual = np.isfinite(_floats(more, dtype)) & np.isfinite(old)
    more = np.where(usual, _words(more), 0).astype(_words(more).dtype).view(numpy_type(dtype))
    return more, _steps(_words(values), _sums(base, more, dtype), dtype)


def summed(more: Bits, steps: Words, base: Bits, dtype: str) -> Bits:
    """The values of a chunk of floats. Inverse: `summands`."""
    return together(STEPS, steps, _sums(base, more, dtype).view(numpy_type(dtype)), dtype)


def _sums(base: Bits, more: Bits, dtype: str) -> Words:
    """One addition each, rounded to the type; the base's own bits where nothing is added."""
    added = _floats(more, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        total = from_float(_floats(base, dtype) + added, dtype)
    return np.where(added == 0, _words(base), _words(total))


def _floats(values: Bits, dtype: str) -> Float32 | Float64:
    return values.astype(np.float64, copy=False) if dtype == "float64" else to_float32(values, dtype)


def difference(tensor: Tensor, base: Base) -> Tensor | None:
    """A tensor of what is to be added to the base's; None where there is none, or something is not finite."""
    if tensor.dtype not in FLOATS or tensor.exact or not base.has(tensor):
        return None
    facts = TensorFacts(tensor.name, tensor.dtype, tensor.shape)
    both = (tensor.read(), base.values(facts))
    if not all(np.isfinite(to_float32(values, tensor.dtype)).all() for values in both):
        return None
    return Tensor(tensor.name, tensor.dtype, tensor.shape, tensor.layer, False, partial(_less, tensor, base))


def added(values: Bits, facts: TensorFacts, base: Base) -> Bits:
    """What a difference and the base's values come to: one addition in float32, rounded to the tensor's type.

    Raises: CorruptError for a type that has no differences.
    """
    if facts.dtype not in FLOATS:
        raise CorruptError(f"{facts.name}: expected floats in way {DIFFERENCE} of coding against a base")
    with np.errstate(over="ignore", invalid="ignore"):
        total = to_float32(values, facts.dtype) + to_float32(base.values(facts), facts.dtype)
    return from_float(np.asarray(total, np.float32), facts.dtype)


def _less(tensor: Tensor, base: Base) -> Bits:
    with np.errstate(over="ignore"):
        less = to_float32(tensor.read(), tensor.dtype) - to_float32(base.values(tensor), tensor.dtype)
    return from_float(np.asarray(less, np.float32), tensor.dtype)


def _words(values: Bits) -> Words:
    size = min(values.itemsize, 8)
    words: Words = np.ascontiguousarray(values).reshape(-1).view(np.dtype(f"<u{size}"))
    return words


def _steps(new: Words, old: Words, dtype: str) -> Words:
    """From old to new in the order of numbers, zigzag."""
    steps = _ordered(new, dtype) - _ordered(old, dtype)
    top = new.dtype.type(8 * new.itemsize - 1)
    return (steps << new.dtype.type(1)) ^ (new.dtype.type(0) - (steps >> top))


def _ordered(words: Words, dtype: str) -> Words:
    """Numbers in the order of the floats that their bits are; integers as they are."""
    if dtype not in _SIGNED:
        return words
    sign = words.dtype.type(1 << 8 * words.itemsize - 1)
    return np.where(words & sign, ~words, words | sign)


def _disordered(words: Words, dtype: str) -> Words:
    """Inverse: `_ordered`."""
    if dtype not in _SIGNED:
        return words
    sign = words.dtype.type(1 << 8 * words.itemsize - 1)
    return np.where(words & sign, words & ~sign, ~words)


