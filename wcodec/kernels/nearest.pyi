import numpy as np
import numpy.typing as npt

_F32 = npt.NDArray[np.float32]
_I32 = npt.NDArray[np.int32]

def nearest(vectors: _F32, centroids: _F32, offsets: _F32, scores: _F32, codes: _I32) -> None: ...
