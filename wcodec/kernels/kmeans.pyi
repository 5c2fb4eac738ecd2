import numpy as np
import numpy.typing as npt

_F32 = npt.NDArray[np.float32]
_F64 = npt.NDArray[np.float64]
_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]

def anchor(ordered: _F32, middle: int, sums: _F64) -> None: ...
def lloyd(
    ordered: _F32,
    middle: int,
    sums: _F64,
    centroids: _F64,
    starts: _I64,
    prices: _F64,
    fixed: int,
    zeros: int,
    rate: float,
    rounds: int,
) -> int: ...
def assign(weights: _F32, bounds: _F64, choices: _I32, zero: int, levels: _I32) -> bool: ...
def lookup(levels: _I32, values: _F32, negatives: int, weights: _F32) -> int: ...
