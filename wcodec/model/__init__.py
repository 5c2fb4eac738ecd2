"""The objects of a model file: tensors, which are opened one at a time, and the skeleton."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from wcodec.errors import ModelFileError
from wcodec.model.dataclass import dataclass, field

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


AnyArray: TypeAlias = "npt.NDArray[np.generic]"
"""The values of a tensor of any element type, C-contiguous and little-endian. Types that numpy lacks (bfloat16, float8,
opaque bytes) are unsigned integers of the same size."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of a tensor, which are known without reading it.

    name:  its full path in the model file, unique.
    dtype: a name of `wire.DTYPES`.
    shape: element counts, outermost first; () for a scalar.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the raw values."""
        return self.count * ITEM_BYTES[self.dtype]

    @property
    def is_possible(self) -> bool:
        """Whether arrays can have this shape: below 2^62 bytes, with extents of 0 counted as 1, as in the container."""
        return math.prod(max(1, extent) for extent in self.shape) * ITEM_BYTES[self.dtype] < 1 << 62


def is_vector(spec: TensorSpec) -> bool:
    """Whether all values are along one dimension, as in shapes (), (64,) and (1, 64)."""
    return spec.count == max(spec.shape, default=1)


def _refuse_to_read() -> AnyArray:
    raise ModelFileError("tensor: expected a way to read its values, got none")


Progress: TypeAlias = Callable[[TensorSpec], None]
"""Called with each finished tensor."""


@dataclass(frozen=True)
class Gain:
    """The role of a vector that multiplies: its relative error is decisive."""


@dataclass(frozen=True)
class Shift:
    """The role of a vector that is added or subtracted: its error is compared with the spread of the values it is added
    to.

    beside: the name of the tensor that determines the spread.
    spread: "norm": the norm of a kernel's weights to one output; "root": the square root of each entry, a variance;
            "magnitude": the root mean square of the entries, a gain.
    """

    beside: str
    spread: Literal["norm", "root", "magnitude"]


Role: TypeAlias = Gain | Shift


@dataclass(frozen=True)
class Tensor(TensorSpec):
    """A tensor that can be read.

    layer:     the user's name of the layer ("conv2d"), for patterns and tables.
    exact:     whether the file's format requires exact values (integer state, quantised layers, normalisation
               statistics).
    read:      opens and returns the values as `AnyArray[shape]`, which the caller may overwrite; called whenever they
               are needed, never cached here.
    role:      the role of a vector in the network; None if it is unknown.
    user_name: the user's name of layer and weight ("conv2d/kernel"); "" if it is the name in the file.
    """

    layer: str = ""
    exact: bool = False
    read: Callable[[], AnyArray] = field(default=_refuse_to_read, compare=False, repr=False)
    role: Role | None = None
    user_name: str = ""


@dataclass(frozen=True, eq=False)
class VectorCodebook:
    """The vectors that the blocks of a tensor's weights share.

    layout:  the layout in whose rows the blocks are (`codec.layout`).
    entries: int32[size, block], in units of `step`; the first vector is 0.
    """

    layout: int
    entries: npt.NDArray[np.int32]
    step: float


@dataclass(frozen=True, eq=False)
class FloatWeights:
    """Weights from calibration or training that replace a tensor's own, and are quantised in the usual way.

    values: float32[shape].
    """

    values: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StepWeights(FloatWeights):
    """Integer multiples of `step`, which are coded as these integers; a step of 0 means no step."""

    step: float


@dataclass(frozen=True, eq=False)
class RowStepWeights(FloatWeights):
    """Integer multiples of a step for each row.

    steps: float32[rows], positive, with eight bits of mantissa; the rows are the `axis` of the tensor.
    """

    steps: npt.NDArray[np.float32]
    axis: Literal["first", "last"]


@dataclass(frozen=True, eq=False)
class TableWeights(FloatWeights):
    """Few distinct values, which a codebook stores exactly."""


@dataclass(frozen=True, eq=False)
class SignWeights(FloatWeights):
    """Weights with one magnitude for each output."""


@dataclass(frozen=True, eq=False)
class VectorWeights(FloatWeights):
    """Weights whose blocks are vectors of `codebook`."""

    codebook: VectorCodebook


@dataclass(frozen=True, eq=False)
class GroupWeights(FloatWeights):
    """Weights in groups of an output: each is one of a few points times the step of its group.

    points: float32[few], ascending.
    steps:  float32[outputs, groups]; the outputs are the last axis, for depthwise kernels the second to last.
    group:  the number of weights that share a step, in the order of input channels and, in a channel, of taps.
    """

    points: npt.NDArray[np.float32]
    steps: npt.NDArray[np.float32]
    group: int


@dataclass(frozen=True, eq=False)
class HashedWeights(FloatWeights):
    """Each weight is plus or minus the integer of its bucket times `step`, by a hash of its position and `seed`.

    levels: int32[buckets].
    seed:   32 bits. Positions count outputs first, then input channels, then taps.
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


PredictedTask: TypeAlias = Literal["unknown", "values", "multilabel", "classes"]
"""What a file says of an output: values, decisions of which each has a logit or a probability of its own, or classes
of which one is true."""


@dataclass(frozen=True)
class Model:
    """A model file: ordered tensors, and an opaque skeleton that combines them to a file.

    kind:            a key of `modelfiles.registry.MODEL_FILES` ("hdf5", "keras", "npz", "safetensors").
    skeleton:        everything in the file except the tensors' values; it refers to tensors by position.
    dropped:         names of tensors left out on purpose (optimizer state).
    roles:           roles of vectors by name, from the file's graph; None: the graph shows that the role is unknown.
    tasks:           of the outputs in their order, see `PredictedTask`.
    """

    kind: str
    tensors: tuple[Tensor, ...]
    skeleton: bytes
    source_bytes: int
    dropped: tuple[str, ...] = ()
    roles: Mapping[str, Role | None] = field(default_factory=dict)
    tasks: tuple[PredictedTask, ...] = ("unknown",)

    @property
    def predicts_values(self) -> bool:
        """Whether the file says that outputs are values, not classes."""
        return "values" in self.tasks


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
