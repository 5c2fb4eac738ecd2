import numpy as np
import numpy.typing as npt

def moments(
    samples: npt.NDArray[np.int32],
    preset: npt.NDArray[np.float64],
    gram: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
) -> None: ...
def descend(
    gram: npt.NDArray[np.float64], right: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], rounds: int
) -> None: ...
