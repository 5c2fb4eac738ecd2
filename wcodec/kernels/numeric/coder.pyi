import numpy as np
import numpy.typing as npt

_Words = npt.NDArray[np.unsignedinteger]
_U8 = npt.NDArray[np.uint8]
_I16 = npt.NDArray[np.int16]
_I64 = npt.NDArray[np.int64]

class Params:
    def __init__(
        self,
        *,
        exponent_bits: int,
        mantissa_bits: int,
        middle: int,
        offset: int,
        rows: int,
        channels: int,
        taps: int,
        outermost: bool,
        predicted: bool,
        sparse: bool,
        shared: bool,
        grid: int,
    ) -> None: ...

def encode(words: _Words, params: Params, coefs: _I16, zeros: _U8, coded: _U8, raw_bits: _U8) -> tuple[int, int]: ...
def decode(coded: _U8, raw_bits: _U8, params: Params, coefs: _I16, words: _Words) -> tuple[int, int]: ...
def look(words: _Words, params: Params, columns: int, counts: _I64, zeros: _U8) -> None: ...
def scale(words: _Words, params: Params, values: _I16) -> None: ...
