import numpy as np
import numpy.typing as npt

def scale(
    levels: npt.NDArray[np.int32], states: int, step: float, out: npt.NDArray[np.float32] | npt.NDArray[np.float64]
) -> None: ...
def turn(
    levels: npt.NDArray[np.int32],
    states: int,
    matrix: npt.NDArray[np.float64],
    step: float,
    out: npt.NDArray[np.float32] | npt.NDArray[np.float64],
) -> None: ...
def put(
    levels: npt.NDArray[np.int32],
    matrix: npt.NDArray[np.float64],
    step: float,
    out: npt.NDArray[np.float32],
    first: int,
    row: int,
    vector: int,
    tap: int,
) -> None: ...
def place(
    rows: npt.NDArray[np.uint32], out: npt.NDArray[np.uint32], first: int, row: int, channel: int, tap: int
) -> None: ...
