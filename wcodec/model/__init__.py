"""The nouns of a model file: tensors that are opened one at a time, and the skeleton that holds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from wcodec.errors import ModelFileError
from wcodec.model.lazy import dataclass

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


AnyArray: TypeAlias = "npt.NDArray[np.generic]"
"""The values of a tensor of any element type, C-contiguous and little-endian. Types that numpy lacks (bfloat16, float8,
opaque bytes) are held as the unsigned integer of the same size."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of a tensor: all that is known without reading it.

    name:  its full path in the model file, unique.
    dtype: a name of `wire.DTYPES`.
    shape: element counts, outermost first; () for a scalar.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the raw values."""
        return self.count * ITEM_BYTES[self.dtype]

    @property
    def is_possible(self) -> bool:
        """Whether arrays of this shape can be: below 2^62 bytes, extents of 0 counted as 1, as the container wants."""
        return math.prod(max(1, extent) for extent in self.shape) * ITEM_BYTES[self.dtype] < 1 << 62


def is_vector(spec: TensorSpec) -> bool:
    """Whether all values lie along one dimension, as in shapes (), (64,) and (1, 64)."""
    return spec.count == max(spec.shape, default=1)


def _unreadable() -> AnyArray:
    raise ModelFileError("tensor: expected a way to read its values, got none")


Progress: TypeAlias = Callable[[TensorSpec], None]
"""Is told of each tensor that is done."""


@dataclass(frozen=True)
class Gain:
    """The role of a vector that multiplies: its relative error is what counts."""


@dataclass(frozen=True)
class Shift:
    """The role of a vector that is added or subtracted: its error counts beside the spread of what it is added to.

    beside: the name of the tensor that tells the spread.
    spread: "norm": the length of a kernel's weights to one output; "root": the square root of each entry, a variance;
            "magnitude": the root mean square of the entries, a gain.
    """

    beside: str
    spread: Literal["norm", "root", "magnitude"]


Role: TypeAlias = Gain | Shift


@dataclass(frozen=True)
class Tensor(TensorSpec):
    """A tensor that can be read.

    layer: the layer's name as the user knows it ("conv2d"), for patterns and tables.
    exact: True where the file's format says that the values must survive unchanged (integer state, quantised layers,
           normalisation statistics).
    read:  opens and returns the values as `AnyArray[shape]`, which the caller may overwrite; called whenever they are
           needed, never cached here.
    role:  what a vector does in the network; None where that is not known.
    user_name: layer and weight as the user knows them ("conv2d/kernel"); "" where that is the name in the file.
    """

    layer: str = ""
    exact: bool = False
    read: Callable[[], AnyArray] = field(default=_unreadable, compare=False, repr=False)
    role: Role | None = None
    user_name: str = ""


@dataclass(frozen=True, eq=False)
class VectorCodebook:
    """The vectors that the blocks of a tensor's weights share.

    layout:  the layout in whose rows the blocks lie (`codec.layout`).
    entries: int32[size, block], in units of `step`; the first vector is 0.
    """

    layout: int
    entries: npt.NDArray[np.int32]
    step: float


@dataclass(frozen=True, eq=False)
class FloatWeights:
    """Weights that calibration or training chose in place of a tensor's own, coded as any others are.

    values: float32[shape].
    """

    values: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StepWeights(FloatWeights):
    """All values are integer multiples of `step` and are coded as these integers; a step of 0 is none."""

    step: float


@dataclass(frozen=True, eq=False)
class RowStepWeights(FloatWeights):
    """All values of a row are integer multiples of the row's step.

    steps: float32[rows], positive, of eight bits of mantissa; the rows are the `axis` of the tensor.
    """

    steps: npt.NDArray[np.float32]
    axis: Literal["first", "last"]


@dataclass(frozen=True, eq=False)
class TableWeights(FloatWeights):
    """The values are few; a codebook has them as they are."""


@dataclass(frozen=True, eq=False)
class SignWeights(FloatWeights):
    """All weights of one output have one magnitude."""


@dataclass(frozen=True, eq=False)
class VectorWeights(FloatWeights):
    """The blocks of the weights are vectors of `codebook`."""

    codebook: VectorCodebook


@dataclass(frozen=True, eq=False)
class GroupWeights(FloatWeights):
    """Groups of an output's weights have steps of their own; a weight is one of a few points times its group's step.

    points: float32[few], ascending.
    steps:  float32[outputs, groups]; the outputs are the last axis, or those of depthwise kernels the last but one.
    group:  weights that share a step, in the order of the input channels and, in a channel, of the taps.
    """

    points: npt.NDArray[np.float32]
    steps: npt.NDArray[np.float32]
    group: int


@dataclass(frozen=True, eq=False)
class HashedWeights(FloatWeights):
    """A weight is plus or minus the integer of its bucket times `step`, by a hash of its place and `seed`.

    levels: int32[buckets]; seed: 32 bits. Places count outputs first, then input channels, then taps.
    """

    levels: npt.NDArray[np.int32]
    step: float
    seed: int


TunedTensor: TypeAlias = (
    FloatWeights
    | StepWeights
    | RowStepWeights
    | TableWeights
    | SignWeights
    | VectorWeights
    | GroupWeights
    | HashedWeights
)


@dataclass(frozen=True)
class Model:
    """A model file: ordered tensors and an opaque skeleton that turns them back into a file.

    kind:     a key of `modelfiles.registry.MODEL_FILES` ("hdf5", "keras", "npz", "safetensors").
    skeleton: everything in the file that is not a tensor's values; refers to tensors by position.
    dropped:  names of tensors left out on purpose (optimizer state).
    roles:    roles of vectors by name that the file's graph tells; None: it tells that the role is not known.
    predicts_values: whether the file says that outputs are values, not classes.
    """

    kind: str
    tensors: tuple[Tensor, ...]
    skeleton: bytes
    source_bytes: int
    dropped: tuple[str, ...] = ()
    roles: Mapping[str, Role | None] = field(default_factory=dict)
    predicts_values: bool = False


# --- element types: id on disk -> (name, bytes an element) -------------------------------------------------------
DTYPES: Final[dict[int, tuple[str, int]]] = {
    0: ("float32", 4),
    1: ("float16", 2),
    2: ("bfloat16", 2),
    3: ("float64", 8),
    4: ("uint8", 1),
    5: ("int8", 1),
    6: ("uint16", 2),
    7: ("int16", 2),
    8: ("uint32", 4),
    9: ("int32", 4),
    10: ("uint64", 8),
    11: ("int64", 8),
    12: ("bool", 1),
    13: ("complex64", 8),
    14: ("complex128", 16),
    15: ("float8_e4m3", 1),
    16: ("float8_e5m2", 1),
    17: ("bytes2", 2),
    18: ("bytes1", 1),
}
DTYPE_IDS: Final = {name: i for i, (name, _) in DTYPES.items()}
ITEM_BYTES: Final = dict(DTYPES.values())
FLOATS: Final = frozenset({"float32", "float16", "bfloat16", "float64"})
"""The types that may be quantised; all others are coded exactly."""
