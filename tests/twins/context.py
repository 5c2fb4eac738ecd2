"""The context coder's decoder as slow, obvious Python, written from the specification alone."""

from __future__ import annotations

from collections import defaultdict
from math import isqrt

from twins.trellis import following

PRESETS = {
    (0, 0): (0, 8, 20, 0, 12, 32, 8, 2, 1, 0, 0, 44, 0),
    (0, 1): (1, 8, 28, 1, 2, 28, 0, 4, 1, 0, 2, 52, 0),
    (1, 0): (1, 8, 20, 0, 18, 32, 10, 2, 1, 0, 1, 34, 0),
    (1, 1): (1, 6, 28, 2, 8, 22, 0, 5, 2, 0, 1, 52, 0),
}


class RangeDecoder:
    def __init__(self, coded: bytes) -> None:
        self.coded, self.at, self.range, self.code = coded, 8, 2**64 - 1, int.from_bytes((coded + bytes(8))[:8], "big")
        self.states: defaultdict[tuple[object, ...], list[int]] = defaultdict(lambda: [1 << 21, 0])

    def narrow(self, bound: int) -> int:
        bit = int(self.code < bound)
        if bit:
            self.range = bound
        else:
            self.code, self.range = self.code - bound, self.range - bound
        if self.range < 1 << 32:
            word = (self.coded + bytes(12))[self.at : self.at + 4]
            assert self.at + 4 <= len(self.coded) + 8, "truncated"
            self.at, self.code, self.range = (
                self.at + 4,
                self.code << 32 | int.from_bytes(word, "big"),
                self.range << 32,
            )
        return bit

    def bit(self, *key: object) -> int:
        state = self.states[key]
        bit = self.narrow((self.range >> 16) * (state[0] >> 6))
        count = state[1]
        state[0] += ((4194048 if bit else 256) - state[0]) * ((655360 + 5 * count + 8) // (10 * count + 16)) >> 16
        state[1] = min(count + 1, 500)
        return bit

    def raw(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            value = value * 2 + self.narrow(self.range >> 1)
        return value

    def exp(self, *key: object) -> int:
        length = 0
        while self.bit(*key, length):
            length += 1
        return (1 << length | self.raw(length)) - 1

    def unary(self, most: int, *key: object) -> int:
        count = 0
        while count < most and self.bit(*key, count):
            count += 1
        return count


def classify(s: int) -> int:
    y = s + 6
    e = y.bit_length() - 1
    return min(63, 4 * (e - 2) + (y >> e - 2 & 3))


def start_states(coder: RangeDecoder) -> None:  # noqa: PLR0912
    def theta(m: int) -> int:
        return (isqrt((65536 + m * m) << 16) - 65536) * 256 // m

    def put(p: int, count: int, *key: object) -> None:
        coder.states[key] = [min(max(p, 64), 65472) << 6, count]

    for q in range(64):
        centre = max(1, ((9 + 2 * (q & 3)) << (q >> 2) >> 1) - 6)
        t = theta(centre)
        for odd in range(2):
            for i in range(8):
                put(131072 * t // (65536 + t), 6, "zero", q, i, odd)
            for agree in range(5):
                for i in range(13):
                    put(t, 6, "size", q, agree, odd, i)
            for left in range(2):
                for above in range(2):
                    for i in range(4):
                        put(16 * centre, 6, "s_zero", q, left, above, i, odd)
                if q % 2 == 0:
                    for agree in range(3):
                        for i in range(13):
                            put(t, 4, "s_size", q // 2, agree, left, odd, i)
        if q >= 32:
            for i in range(14):
                put(theta((9 + 2 * (q & 3)) << 6), 2, "high", q - 32, i)


def zigzag(z: int) -> int:
    return -((z + 1) // 2) if z % 2 else z // 2


def sign(a: int) -> int:
    return (a > 0) - (a < 0)


def decode(payload: bytes, shape: tuple[int, int, int], states: int) -> list[int]:  # noqa: PLR0912, PLR0915
    """All levels of an honest payload, in order."""
    R, C, K = shape
    if K > 64:
        C, K = C * K, 1
    if not payload:
        return [0] * (R * C * K)
    flags, start, *_ = payload
    sparse, predictor, mode, at = flags & 1, flags >> 1 & 3, flags >> 3 & 3, 2
    M = (4 + (start & 3)) << (start >> 2) >> 4
    grain = max(0, M.bit_length() - 14)
    M >>= grain
    near_lags = (4, 5)
    if mode and K == 1:
        near_lags, at = (payload[2] + 1, payload[3] + 1), 4

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            value |= (payload[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if payload[at - 1] < 128:
                return value

    offset, lags = 0, []
    if predictor == 2:
        offset = zigzag(varint())
    elif predictor == 1:
        at += 1
        for _ in range(payload[at - 1]):
            v = varint()
            lags.append((v % 3, zigzag(v // 3)))
    coder = RangeDecoder(payload[at:])
    start_states(coder)
    sets = [PRESETS[sparse, int(K > 1)]]
    if mode:
        sets = [tuple(coder.exp("side", i) for i in range(13)) for _ in range(K if mode == 2 else 1)]
    coefficients, m = [], 64
    for _ in lags:
        a = coder.exp("coef", min(15, m >> 6))
        m += ((a << 6) - m) >> 3
        coefficients.append(-a if a and coder.raw(1) else a)

    N = C * K
    T, tap_sum, tap_count = [M] * K, [16 * M] * K, 16
    F, W, slow, Z, H, Y, trellis = [M << 4] * N, [0] * N, 0, [128] * N, [M << 4] * C, 128, 0
    xs: defaultdict[tuple[int, int], int] = defaultdict(int)
    vs: defaultdict[tuple[int, int], int] = defaultdict(int)
    levels: list[int] = []

    def size(*key: object) -> int:
        a = 1 + coder.unary(13, *key)
        return a if a < 14 else 14 + coder.exp("tail", key[0])

    for r in range(R):
        rs, n, e = [4 * t for t in T], 4, sum(T) // K << 4
        x1 = x2 = x3 = e + 2048 >> 12
        ratio, ksum = 256, 0
        whole = not sparse or coder.bit("row")
        for j in range(N):
            c, k = divmod(j, K)
            odd = (trellis >> 1 if states == 4 else trellis & 1) if states else 0
            level = 0
            if whole:
                up, fast, mean, channel, beside = T[k], T[k], T[k], T[k], T[k]
                if r:
                    up, fast, mean, channel = xs[r - 1, j] << 8, F[j] >> 4, W[j] * (16384 // slow) >> 6, H[c] >> 4
                    beside = xs[r - 1, j - 1] + xs[r - 1, j + 1] << 7
                rm = rs[k] * (65536 // n) >> 16
                if K == 1:
                    channel, side = T[0], beside
                    near = xs[r, j - near_lags[0]] + xs[r, j - near_lags[1]] << 7
                    if j % 16 == 0:
                        ratio = min(4095, (rm << 8) // (T[0] + 1))
                    product = mean * ratio >> 8
                else:
                    near = ksum * (65536 // k) >> 8 if k else e >> 4
                    side = xs[r, j - K] << 8 if c else T[k]
                    ratio = min(4095, ((ksum << 8) + T[0] << 4) // ((sum(T[:k]) + T[0] >> 4) + 1))
                    product = rm * ratio >> 8
                pr = (
                    offset << 8
                    if predictor == 2
                    else 4 * sum(a * vs[r - u, j - b] for a, (u, b) in zip(coefficients, lags, strict=True))
                )
                features = (
                    up,
                    fast,
                    mean,
                    channel,
                    T[k],
                    rm,
                    e >> 4,
                    x1 << 8,
                    x2 + x3 << 7,
                    near,
                    side,
                    min(261888, product),
                    min(261888, abs(pr) >> grain),
                )
                weights = sets[k if len(sets) > 1 else 0]
                q = classify(min(1 << 19, sum(w * f for w, f in zip(weights, features, strict=True)) % (1 << 32) >> 7))
                guess = pr
                if states and odd == 0:
                    guess = sign(pr) * (abs(pr) >> 1)
                elif states and abs(pr) > 128:
                    guess = sign(pr) * (abs(pr) + 256 >> 1)
                p, f = 0, min(max(guess, -32768), 32767)
                if predictor and not sparse:
                    p = guess + 128 >> 8
                    f = guess - (p << 8)
                flip, fa = int(f < 0), abs(f)
                left, above = vs[r, j - K], vs[r - 1, j]

                def read_sign(name: str, *key: int, flip: int = flip, left: int = left, above: int = above) -> int:
                    if predictor:
                        return coder.bit(name, *key) ^ flip
                    return coder.bit(name, "neighbours", sign(left), sign(above))

                a = negative = 0
                if sparse:
                    a = coder.bit("s_zero", q, int(left != 0), int(above != 0), min(3, fa >> 5), odd)
                    if a:
                        negative = read_sign("s_sign", min(7, fa >> 5))
                        agree = 0 if not predictor else 1 if negative == flip else 2
                        a = size("s_size", classify(Y + Z[j] >> 1) >> 1, agree, int(left != 0), odd)
                        i = min(a - 1, 1023) << 8
                        Y += i - Y >> 4
                        Z[j] += i - Z[j] >> 4
                else:
                    qf = min(7, fa >> 4)
                    shift = min(30, grain + (0 if q < 32 else (q >> 2) - 7))
                    if shift == 0:
                        if coder.bit("zero", q, qf, odd):
                            negative = read_sign("sign", qf, q >> 2)
                            far = int(fa >= 64)
                            agree = 2 if fa < 16 else 3 + far if negative == flip else 1 - far
                            a = size("size", q, agree, odd)
                    else:
                        h = coder.unary(14, "high", max(0, q - 32))
                        h = h if h < 14 else 14 + coder.exp("tail", "high")
                        low = coder.bit("low1", min(h, 5))
                        if shift > 1:
                            low = low << 1 | coder.bit("low2", min(h, 3), low)
                        if shift > 2:
                            low = low << shift - 2 | coder.raw(shift - 2)
                        a = h << shift | low
                        if a:
                            negative = read_sign("sign", qf, q >> 2)
                level = p - a if negative else p + a
                x = (16 if a else 0) if sparse else min(a >> grain, 1023)
                xs[r, j] = x
                e += (x << 12) - e >> 5
                x1, x2, x3 = x, x1, x2
                rs[k] += x << 8
                ksum += x
                if k == K - 1:
                    ksum, n = 0, n + 1
                    if n > 255:
                        n, rs = 128, [s >> 1 for s in rs]
            value = level
            if states:
                value = 2 * level - odd * sign(level)
                trellis = following(trellis, level % 2, states)
            vs[r, j] = min(max(value, -32767), 32767)
            levels.append(level)
        share = max(16, 256 // (r + 1)) if r < 16 else 16
        for j in range(N):
            F[j] += ((xs[r, j] << 12) - F[j]) * share >> 8
            W[j] += xs[r, j]
            tap_sum[j % K] += xs[r, j] << 8
        slow += 1
        if slow > 255:
            slow, W = 128, [w >> 1 for w in W]
        if K > 1:
            for c in range(C):
                total = (sum(xs[r, c * K + k] for k in range(K)) << 8) // K
                H[c] += ((total << 4) - H[c]) * share >> 8
        tap_count += C
        T = [s // tap_count for s in tap_sum]
        if tap_count >= 1 << 20:
            tap_count, tap_sum = tap_count >> 1, [s >> 1 for s in tap_sum]
    return levels
