import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

def divide(values: Floats, step: float, most: float, out: Floats) -> float: ...
def to_levels(values: Floats, scale: float, offset: float, levels: npt.NDArray[np.int32]) -> None: ...
