import numpy as np
import numpy.typing as npt

STATE_COUNT: int

def encode(
    levels: npt.NDArray[np.int32],
    facts: npt.NDArray[np.int32],
    template: npt.NDArray[np.uint32],
    weights: npt.NDArray[np.int32],
    fitted: int,
    side: npt.NDArray[np.int32],
    out: npt.NDArray[np.uint8],
    contexts: npt.NDArray[np.uint16] | None = None,
    predictions: npt.NDArray[np.int32] | None = None,
    samples: npt.NDArray[np.int32] | None = None,
    every: int = 1,
    states_out: npt.NDArray[np.uint32] | None = None,
    quiet: bool = False,
) -> tuple[int, int]: ...
def decode(
    payload: npt.NDArray[np.uint8],
    facts: npt.NDArray[np.int32],
    template: npt.NDArray[np.uint32],
    weights: npt.NDArray[np.int32],
    fitted: int,
    side: npt.NDArray[np.int32],
    levels: npt.NDArray[np.int32],
) -> tuple[int, int]: ...
