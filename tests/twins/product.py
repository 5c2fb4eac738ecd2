"""Vector quantisation the slow way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def nearest(vectors: npt.NDArray[np.float32], centroids: npt.NDArray[np.float32], offsets: list[float]) -> list[int]:
    """The column of least offset - vector . column, the lower of equals, each product rounded and added by itself."""
    codes = []
    for vector in vectors:
        scores = [np.float32(offset) for offset in offsets]
        for x, row in zip(vector, centroids, strict=True):
            scores = [score - x * c for score, c in zip(scores, row, strict=True)]
        codes.append(min(range(len(scores)), key=lambda k: (scores[k], k)))
    return codes
