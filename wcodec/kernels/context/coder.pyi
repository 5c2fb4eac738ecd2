import numpy as np
import numpy.typing as npt

STATE_COUNT: int
ZERO_AT: int
SIZE_AT: int
SIGN_AT: int
HIGH_AT: int
SPARSE_ZERO_AT: int
SPARSE_SIZE_AT: int
SPARSE_SIGN_AT: int

class Params:
    def __init__(
        self,
        *,
        sparse: bool,
        states: int,
        grain: int,
        predictor: int,
        offset: int,
        start: int,
        near: tuple[int, int],
        up: tuple[int, ...],
        back: tuple[int, ...],
    ) -> None: ...

def encode(
    levels: npt.NDArray[np.int32],
    params: Params,
    initial_states: npt.NDArray[np.uint32],
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
    params: Params,
    initial_states: npt.NDArray[np.uint32],
    weights: npt.NDArray[np.int32],
    fitted: int,
    side: npt.NDArray[np.int32],
    levels: npt.NDArray[np.int32],
) -> tuple[int, int]: ...
