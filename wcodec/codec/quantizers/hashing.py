"""Hashed weights (HashedNets: Chen et al. 2015): few values, which weights share by a hash of their positions.

Weight i is sign(i) * values[bucket(i)], by integer arithmetic modulo 2^32 (`formats/wcz.md` section 5, rule 8). The
last steps are those of MurmurHash3, in which every input bit affects every output bit.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

ODD: Final = np.uint32(2654435761)
FIRST: Final = np.uint32(2246822507)
SECOND: Final = np.uint32(3266489909)


def hash_places(count: int, seed: int, buckets: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The bucket int32[count] and the sign int32[count], 1 or -1, of each weight. seed: 32 bits."""
    x = np.arange(count, dtype=np.uint32) * ODD + np.uint32(seed)
    x ^= x >> np.uint32(16)
    x *= FIRST
    x ^= x >> np.uint32(13)
    x *= SECOND
    x ^= x >> np.uint32(16)
    places = (x >> np.uint32(1)).astype(np.uint64) * np.uint64(buckets) >> np.uint64(31)
    return places.astype(np.int32), 1 - 2 * (x & np.uint32(1)).astype(np.int32)
