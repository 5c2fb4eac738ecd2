"""Bases of the transform and the hash of rule 8, written from wcz.md (sections 5 and 10) alone."""

from __future__ import annotations

import numpy as np
from reference_coders import Reader, UnsupportedError, require
from reference_context import context

COSINES = [
    [int(t) for t in line.split()]
    for line in """
16384 23170
11585 16384 11585
9459 13377 11585 6689
8192 11585 10703 8192 4433
7327 10362 9855 8383 6091 3202
6689 9459 9137 8192 6689 4730 2448
6193 8758 8538 7890 6847 5460 3800 1949
5793 8192 8035 7568 6811 5793 4551 3135 1598
5461 7723 7606 7258 6689 5917 4965 3862 2642 1341
5181 7327 7237 6969 6529 5928 5181 4307 3326 2264 1146
4940 6986 6915 6703 6355 5877 5280 4575 3777 2902 1968 994
4730 6689 6632 6461 6180 5793 5307 4730 4072 3344 2560 1731 873
4544 6426 6379 6240 6009 5690 5289 4810 4261 3651 2986 2279 1538 775
4379 6193 6154 6037 5845 5579 5243 4842 4379 3861 3295 2687 2045 1378 693
4230 5983 5950 5852 5690 5465 5181 4840 4446 4003 3516 2991 2433 1849 1244 625
4096 5793 5765 5681 5543 5352 5109 4816 4478 4096 3675 3218 2731 2217 1682 1130 568""".strip().splitlines()
]


def read_basis(data: bytes, taps: int) -> tuple[int, np.ndarray]:
    """Shift and matrix of a transform (section 10)."""
    reader = Reader(data)
    kind = reader.u(1)
    require(2 <= taps <= 512, "taps of the transform")
    if kind == 1:
        shift = reader.u(1)
        require(shift <= 15, "shift of the basis")
        matrix = np.array(context(reader.rest(), taps, taps, 1, 0), np.int64)
        require(int(np.abs(matrix).max()) <= 32768, "entry of the basis")
        return shift, matrix.reshape(taps, taps)
    if kind != 0:
        raise UnsupportedError(f"basis {kind}")
    h, w = reader.u(1), reader.u(1)
    reader.end()
    require(1 <= h <= 16 and 1 <= w <= 16 and h * w == taps, "size of the DCT")
    a, b = cosines(h), cosines(w)
    order = sorted((u + v, u, v) for u in range(h) for v in range(w))
    rows = [[(a[u][y] * b[v][x] + 8192) >> 14 for y in range(h) for x in range(w)] for _, u, v in order]
    return 14, np.array(rows, np.int64)


def cosines(n: int) -> list[list[int]]:
    def entry(u: int, x: int) -> int:
        t, m = COSINES[n - 1], u * (2 * x + 1) % (4 * n)
        m = 4 * n - m if m > 2 * n else m
        if u == 0 or m == n:
            return 0 if u else t[0]
        return t[1 + m] if m < n else -t[1 + 2 * n - m]

    return [[entry(u, x) for x in range(n)] for u in range(n)]


def hashed(i: int, seed: int, buckets: int) -> tuple[int, int]:
    """The bucket and the sign of weight number i (section 5, rule 8)."""
    x = (i * 2654435761 + seed) % 2**32
    x = (x ^ x >> 16) * 2246822507 % 2**32
    x = (x ^ x >> 13) * 3266489909 % 2**32
    x ^= x >> 16
    return (x >> 1) * buckets >> 31, -1 if x & 1 else 1
