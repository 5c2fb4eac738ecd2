import numpy as np
import numpy.typing as npt

_Words = npt.NDArray[np.unsignedinteger]
_U8 = npt.NDArray[np.uint8]

def split(words: _Words, planes: _U8) -> None: ...
def join(planes: _U8, words: _Words) -> None: ...
