import numpy as np
import numpy.typing as npt

AVX2: bool

def choose(
    values: npt.NDArray[np.float32],
    states: int,
    rate: float,
    sparse: bool,
    predicted: bool,
    contexts: npt.NDArray[np.uint16],
    predictions: npt.NDArray[np.int32],
    bits: npt.NDArray[np.float32],
    sizes: npt.NDArray[np.float32],
    slopes: npt.NDArray[np.float32],
    levels: npt.NDArray[np.int32],
    wide: bool = True,
    zeros: bool = False,
) -> None: ...
def choose_in_lanes(
    values: npt.NDArray[np.float32],
    states: int,
    rate: float,
    rows: npt.NDArray[np.uint8],
    columns: npt.NDArray[np.uint16],
    classes: npt.NDArray[np.uint8],
    bits: npt.NDArray[np.float32],
    sizes: npt.NDArray[np.float32],
    levels: npt.NDArray[np.int32],
    wide: bool = True,
    zeros: bool = False,
) -> None: ...
def replay(levels: npt.NDArray[np.int32], states: int, values: npt.NDArray[np.int32]) -> None: ...
