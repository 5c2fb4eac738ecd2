import numpy as np
import numpy.typing as npt

Uint8 = npt.NDArray[np.uint8]
Uint16 = npt.NDArray[np.uint16]
Uint32 = npt.NDArray[np.uint32]
Int32 = npt.NDArray[np.int32]

AVX2: bool

def decode(
    words: Uint16,
    count: int,
    begin: Uint32,
    rows: Uint8,
    columns: Uint16,
    first: int,
    lookups: Uint32,
    escaped: Int32,
    states: int,
    values: Int32,
    wide: bool = True,
) -> bool: ...
def encode(
    levels: Int32,
    rows: Uint8,
    columns: Uint16,
    first: int,
    lookups: Uint32,
    states: int,
    words: Uint16,
    begin: Uint32,
    escaped: Int32,
) -> tuple[int, int]: ...
