"""The tensors of a container that are integers times steps, in the form that runtimes multiply."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.codec.dequantization import ProductDequantizer, UniformDequantizer
from wcodec.codec.layout import from_rows, view_shape
from wcodec.codec.row_dequantizers import PerRowDequantizer
from wcodec.codec.tensor_decoder import open_tensor
from wcodec.container.dtypes import Float32, from_float, to_float32
from wcodec.model.dataclass import dataclass
from wcodec.pipeline.open_container import OpenContainer


@dataclass(frozen=True)
class IntegerLevels:
    """value = step * level.

    levels: int32[shape].
    steps:  float32[shape], often with few different values.
    """

    levels: npt.NDArray[np.int32]
    steps: Float32

    @property
    def magnitude(self) -> int:
        """The largest magnitude of a level."""
        return int(np.abs(self.levels).max(initial=0))


def read_integer_levels(opened: OpenContainer, number: int) -> IntegerLevels | None:
    """The integers of tensor `number`; None if not every value is a level times a step of the file.

    Raises: ContainerError and its kinds.
    """
    facts, record = opened.container.tensors[number], opened.container.resolve(number)
    if record.delta_mode:
        return None
    header = open_tensor(opened.file, facts, record, None).header
    match header.dequantizer:
        case UniformDequantizer(step=step):
            steps = np.broadcast_to(np.float32(step), facts.shape)
        case ProductDequantizer(codebook=codebook):
            steps = np.broadcast_to(np.float32(codebook.step), facts.shape)
        case PerRowDequantizer(steps=of_rows):
            spread = np.broadcast_to(of_rows.reshape(-1, 1, 1), view_shape(facts.shape, header.layout))
            steps = from_rows(spread, facts.shape, header.layout)
        case _:
            return None
    values = opened.values(number)
    levels = np.rint(to_float32(values, facts.dtype).astype(np.float64) / steps)
    if np.abs(levels).max(initial=0) >= 1 << 24:
        return None
    again = from_float((levels * steps).astype(np.float32), facts.dtype)
    return IntegerLevels(levels.astype(np.int32), steps) if np.array_equal(again, values) else None
