"""Context-coded levels, written from wcz.md (sections 8 and 11) alone; names are those of the page."""

from __future__ import annotations

import numpy as np
from reference_coders import LEVEL_LIMIT, CorruptError, Reader, UnsupportedError, require
from reference_range import Estimators, RangeDecoder

NEXT = {4: [(0, 2), (2, 0), (1, 3), (3, 1)], 8: [(0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)]}
PRESETS = {
    (False, False): [0, 8, 20, 0, 12, 32, 8, 2, 1, 0, 0, 44, 0],
    (False, True): [1, 8, 28, 1, 2, 28, 0, 4, 1, 0, 2, 52, 0],
    (True, False): [1, 8, 20, 0, 18, 32, 10, 2, 1, 0, 1, 34, 0],
    (True, True): [1, 6, 28, 2, 8, 22, 0, 5, 2, 0, 1, 52, 0],
}


def sign(x: int) -> int:
    return (x > 0) - (x < 0)


class Trellis:
    """Section 8."""

    def __init__(self, states: int) -> None:
        self.states = states
        self.state = 0

    def odd(self) -> int:
        return self.state >> 1 if self.states == 4 else self.state & 1

    def value(self, level: int) -> int:
        """The integer of a level. Moves to the next state."""
        if self.states == 0:
            return level
        value = 2 * level - self.odd() * sign(level)
        if self.states == 128:
            self.state = self.state >> 1 ^ 78 * (self.state & 1) ^ 43 * (level & 1)
        else:
            self.state = NEXT[self.states][self.state][level & 1]
        return value


def class_of(s: int) -> int:
    y = s + 6
    e = y.bit_length() - 1
    return min(63, 4 * (e - 2) + ((y >> (e - 2)) & 3))


class Chunk:
    """Decodes one chunk of levels[R, C, K]."""

    def __init__(self, payload: bytes, rows: int, channels: int, taps: int, states: int) -> None:
        self.R, self.C, self.K = rows, channels, taps
        self.trellis = Trellis(states)
        reader = Reader(payload)
        self.parameters(reader)
        self.est = Estimators()
        self.rc = RangeDecoder(reader.rest())
        self.side_information()

    def parameters(self, reader: Reader) -> None:
        """The bytes before the range coder (11.2)."""
        flags, s = reader.u(1), reader.u(1)
        self.sparse, self.predictor, weights = flags & 1, flags >> 1 & 3, flags >> 3 & 3
        if flags >> 5 or self.predictor == 3 or weights == 3:
            raise UnsupportedError(f"context flags {flags}")
        m = ((4 + (s & 3)) << (s >> 2)) >> 4
        require(m < 2**39 and (m <= 4096 or not self.sparse), "first expectation")
        self.grain = max(0, m.bit_length() - 14)
        self.M = m >> self.grain
        self.sets = (0, 1, self.K)[weights]
        self.n0, self.n1 = (reader.u(1) + 1, reader.u(1) + 1) if weights and self.K == 1 else (4, 5)
        self.offset = reader.signed() if self.predictor == 2 else 0
        require(abs(self.offset) <= 2**20, "offset")
        self.lags: list[tuple[int, int]] = []
        if self.predictor == 1:
            count = reader.u(1)
            require(1 <= count <= 16 and self.K == 1, "lags")
            for _ in range(count):
                v = reader.varint()
                z = v // 3
                self.lags.append((v % 3, z // 2 if z % 2 == 0 else -(z + 1) // 2))
            require(all((-256 if up else 1) <= back <= 256 for up, back in self.lags), "lag out of range")

    def side_information(self) -> None:
        """Section 11.3."""
        self.weights = [[self.rc.exp(self.est.side[i]) for i in range(13)] for _ in range(self.sets)]
        require(all(weight <= 255 for one in self.weights for weight in one), "weight out of range")
        if not self.weights:
            self.weights = [PRESETS[bool(self.sparse), self.K > 1]]
        self.coefficients: list[int] = []
        m = 64
        for _ in self.lags:
            a = self.rc.exp(self.est.coef[min(15, m >> 6)])
            require(a <= 127, "coefficient out of range")
            m += ((a << 6) - m) >> 3
            self.coefficients.append(-a if a and self.rc.raw(1) else a)

    def decode(self) -> np.ndarray:
        R, C, K = self.R, self.C, self.K
        start = self.M << 4
        self.T, self.tap_sum, self.tap_count = [self.M] * K, [16 * self.M] * K, 16
        self.F, self.W, self.Z = [start] * (C * K), [0] * (C * K), [128] * (C * K)
        self.slow, self.H, self.Y = 0, [start] * C, 128
        self.x, self.v = [[0] * (C * K)], [[0] * (C * K), [0] * (C * K)]
        levels = np.zeros((R, C * K), np.int64)
        for r in range(R):
            self.x.append([0] * (C * K))
            self.v.append([0] * (C * K))
            self.row(r, levels[r])
            self.after_row(r)
        self.rc.end()
        return levels

    @staticmethod
    def at(values: list[int], j: int) -> int:
        return values[j] if 0 <= j < len(values) else 0

    def column_features(self, r: int, c: int, k: int) -> list[int]:
        """U, F8, D, HM and G (11.5.1)."""
        if r == 0:
            return [self.T[k]] * 5
        j, above = c * self.K + k, self.x[-2]
        hm = self.H[c] >> 4 if self.K > 1 else self.T[0]
        g = (self.at(above, j - 1) + self.at(above, j + 1)) << 7
        return [above[j] << 8, self.F[j] >> 4, self.W[j] * (16384 // self.slow) >> 6, hm, g]

    def row(self, r: int, levels: np.ndarray) -> None:
        C, K, T, x = self.C, self.K, self.T, self.x[-1]
        rs, n = [4 * t for t in T], 4
        e = (sum(T) // K) << 4
        x1 = x2 = x3 = (e + 2048) >> 12
        ratio, ksum = 256, 0
        if self.sparse and not self.rc.bit(self.est.s_row):
            for _ in range(C * K):
                self.trellis.value(0)
            return
        for j in range(C * K):
            c, k = divmod(j, K)
            u, f8, d, hm, g = self.column_features(r, c, k)
            rm = rs[k] * (65536 // n) >> 16
            if K == 1:
                near, side = (self.at(x, j - self.n0) + self.at(x, j - self.n1)) << 7, g
                if j % 16 == 0:
                    ratio = min(4095, (rm << 8) // (T[0] + 1))
                product = d * ratio >> 8
            else:
                near = ksum * (65536 // k) >> 8 if k else e >> 4
                side = x[j - K] << 8 if c else T[k]
                ratio = min(4095, (((ksum << 8) + T[0]) << 4) // (((sum(T[:k]) + T[0]) >> 4) + 1))
                product = rm * ratio >> 8
            product = min(261888, product)
            pr = self.prediction(j)
            features = [u, f8, d, hm, T[k], rm, e >> 4, x1 << 8, (x2 + x3) << 7, near, side, product]
            features.append(min(261888, abs(pr) >> self.grain))
            weights = self.weights[k if len(self.weights) > 1 else 0]
            total = sum(weight * feature for weight, feature in zip(weights, features, strict=True)) % 2**32
            q = class_of(min(2**19, total >> 7))

            level, a = self.level(j, q, pr)
            require(abs(level) <= LEVEL_LIMIT, "level out of range")
            levels[j] = level
            self.v[-1][j] = min(max(self.trellis.value(level), -32767), 32767)
            x[j] = (16 if a else 0) if self.sparse else min(a >> self.grain, 1023)
            e += ((x[j] << 12) - e) >> 5
            x1, x2, x3 = x[j], x1, x2
            rs[k] += x[j] << 8
            ksum += x[j]
            if k == K - 1:
                ksum, n = 0, n + 1
                if n > 255:
                    n, rs = 128, [s >> 1 for s in rs]

    def prediction(self, j: int) -> int:
        pairs = zip(self.lags, self.coefficients, strict=True)
        lags = sum(coefficient * self.at(self.v[-1 - up], j - back) for (up, back), coefficient in pairs)
        return (self.offset << 8) + 4 * lags

    def level(self, j: int, q: int, pr: int) -> tuple[int, int]:
        """A level and the magnitude that was coded (11.5.4)."""
        odd, m, w = self.trellis.odd(), abs(pr), pr
        if self.trellis.states and not odd:
            w = sign(pr) * (m >> 1)
        elif odd and m > 128:
            w = sign(pr) * ((m + 256) >> 1)
        p = (w + 128) >> 8 if self.predictor and not self.sparse else 0
        f = min(max(w - (p << 8), -32768), 32767)
        left, above = self.at(self.v[-1], j - self.K), self.v[-2][j]
        a, negative = (self.sparse_level if self.sparse else self.dense_level)(j, q, odd, f, left, above)
        return (p - a if negative else p + a), a

    def dense_level(self, j: int, q: int, odd: int, f: int, left: int, above: int) -> tuple[int, int]:
        rc, est, flip, fa = self.rc, self.est, int(f < 0), abs(f)
        qf = min(7, fa >> 4)
        shift = min(30, self.grain + (0 if q < 32 else (q >> 2) - 7))

        def sign_bit() -> int:
            if self.predictor:
                return rc.bit(est.sign[qf][q >> 2]) ^ flip
            return rc.bit(est.sign_n[sign(left)][sign(above)])

        if shift == 0:
            if not rc.bit(est.zero[q][qf][odd]):
                return 0, 0
            negative = sign_bit()
            agreement = 2
            if fa >= 16:
                agreement = (3 + (fa >= 64)) if negative == flip else (1 - (fa >= 64))
            return self.magnitude(est.size[q][agreement][odd], est.tail), negative
        h = rc.unary(est.high[max(0, q - 32)])
        h += rc.exp(est.tail_high) if h == 14 else 0
        require(h <= LEVEL_LIMIT >> shift, "level out of range")
        low = rc.bit(est.low1[min(h, 5)])
        if shift > 1:
            low = low << 1 | rc.bit(est.low2[min(h, 3)][low])
        if shift > 2:
            low = low << (shift - 2) | rc.raw(shift - 2)
        a = h << shift | low
        return a, sign_bit() if a else 0

    def sparse_level(self, j: int, q: int, odd: int, f: int, left: int, above: int) -> tuple[int, int]:
        rc, est, flip, fa = self.rc, self.est, int(f < 0), abs(f)
        if not rc.bit(est.s_zero[q][left != 0][above != 0][min(3, fa >> 5)][odd]):
            return 0, 0
        if self.predictor:
            negative = rc.bit(est.s_sign[min(7, fa >> 5)]) ^ flip
            agreement = 1 if negative == flip else 2
        else:
            negative, agreement = rc.bit(est.s_sign_n[sign(left)][sign(above)]), 0
        z = class_of((self.Y + self.Z[j]) >> 1) >> 1
        a = self.magnitude(est.s_size[z][agreement][left != 0][odd], est.s_tail)
        i = min(a - 1, 1023) << 8
        self.Y += (i - self.Y) >> 4
        self.Z[j] += (i - self.Z[j]) >> 4
        return a, negative

    def magnitude(self, bins: list[list[int]], tail: list[list[int]]) -> int:
        ones = self.rc.unary(bins)
        return 14 + self.rc.exp(tail) if ones == 13 else 1 + ones

    def after_row(self, r: int) -> None:
        """Section 11.5.6."""
        x, C, K = self.x[-1], self.C, self.K
        share = max(16, 256 // (r + 1)) if r < 16 else 16
        for j in range(C * K):
            self.F[j] += ((x[j] << 12) - self.F[j]) * share >> 8
            self.W[j] += x[j]
        self.slow += 1
        if self.slow > 255:
            self.W, self.slow = [w >> 1 for w in self.W], 128
        if K > 1:
            for c in range(C):
                t = (sum(x[c * K : (c + 1) * K]) << 8) // K
                self.H[c] += ((t << 4) - self.H[c]) * share >> 8
        self.tap_count += C
        for k in range(K):
            self.tap_sum[k] += sum(x[k::K]) << 8
            self.T[k] = self.tap_sum[k] // self.tap_count
        if self.tap_count >= 2**20:
            self.tap_count >>= 1
            self.tap_sum = [s >> 1 for s in self.tap_sum]


def context(payload: bytes, rows: int, channels: int, taps: int, states: int) -> list[int]:
    """The levels of a chunk, in C order (11.2)."""
    count = rows * channels * taps
    if not payload:
        return [0] * count
    if count == 0:
        raise CorruptError("payload of no levels")
    if taps > 64:
        channels, taps = channels * taps, 1
    return [int(level) for level in Chunk(payload, rows, channels, taps, states).decode().ravel()]
