"""Numbers by contexts, written from wcz.md (sections 9.1 and 11.1) alone: slow, with every step written out."""

from __future__ import annotations

import math
from collections import defaultdict

from reference_coders import Reader, UnsupportedError, require
from reference_range import RangeDecoder

FIELDS = [(8, 23), (5, 10), (8, 7), (11, 52), (4, 3), (5, 2)]


def clip(x: int, least: int, most: int) -> int:
    return max(least, min(most, x))


def seldom(y: int) -> int:
    if y < 16384:
        return max(y.bit_length(), 10) - 10
    return 5 + (y >= 32768) + (y >= 57344)


def class_of(u: int) -> int:
    length = u.bit_length() - 1
    return 4 * length + (u >> (length - 2) & 3)


class Numbers:
    """One payload, starting with its parameters."""

    def __init__(self, payload: bytes, nbytes: int, item_bytes: int) -> None:
        reader = Reader(payload)
        kind, flags = reader.u(1), reader.u(1)
        if kind > 6 or flags >> 5:
            raise UnsupportedError(f"numbers of kind {kind}, flags {flags}")
        self.real = kind < 6
        self.exponent_bits, self.digits = FIELDS[kind] if self.real else (0, 0)
        self.bits = 1 + self.exponent_bits + self.digits if self.real else 8 * item_bytes
        self.R, self.C, self.K, self.middle = (reader.varint() for _ in range(4))
        self.offset = 0 if self.real else reader.varint()
        self.outermost, self.predicted, self.sparse, self.shares = (bool(flags >> i & 1) for i in range(4))
        self.grid = reader.u(4) if flags & 16 else 0
        self.exponents = 1 << self.exponent_bits if self.real else self.bits + 1
        require(self.bits in {8, 16, 32, 64} and self.R * self.C * self.K * self.bits == 8 * nbytes, "count of numbers")
        require(1 <= self.K <= 512 and self.middle < self.exponents and not self.offset >> self.bits, "design")
        require(not (self.sparse and self.K > 1) and bool(flags & 16) == (self.grid > 0), "design")
        require(self.real or not flags & 24, "design of integers")
        self.coder = RangeDecoder(reader.take(reader.varint()))
        self.rest = reader.rest()
        self.noise, self.at = int.from_bytes(self.rest, "little"), 0
        self.estimators: defaultdict[tuple[object, ...], list[int]] = defaultdict(lambda: [1 << 21, 0])
        self.shared = 0

    def bit(self, *key: object) -> int:
        return self.coder.bit(self.estimators[key])

    def raw(self, count: int) -> int:
        value = self.noise >> self.at & ((1 << count) - 1)
        self.at += count
        return value

    def decode(self) -> bytes:
        R, C, K = self.R, self.C, self.K
        self.read_coefficients()
        self.T, self.sums, self.count = [153600] * K, [16 * 153600] * K, 16
        self.F, self.W = [153600] * (C * K), [32768] * (C * K)
        self.above = [0] * (C * K)
        words = [0] * (R * C * K)
        for r in range(R):
            row = self.read_row()
            for j, word in enumerate(row):
                c, k = divmod(j, K)
                words[k * R * C + r * C + c if self.outermost else r * C * K + j] = word
            self.after_row(r)
            self.above = self.v
        self.coder.end()
        require(len(self.rest) == (self.at + 7) // 8 and not self.noise >> self.at, "raw bits")
        return b"".join(word.to_bytes(self.bits // 8, "little") for word in words)

    def read_coefficients(self) -> None:
        self.coefs: list[list[int]] = []
        mean = 64
        for k in range(0 if not self.predicted else 2 if self.K == 1 else self.K):
            row = []
            for _ in range(1 if self.K == 1 else k):
                family = [self.estimators["coef", min(15, mean >> 6), i] for i in range(31)]
                a = self.coder.exp(family)
                require(a <= 127, "coefficient")
                mean += ((a << 6) - mean) >> 3
                row.append(-a if a > 0 and self.coder.raw(1) else a)
            self.coefs.append(row)

    def read_row(self) -> list[int]:
        C, K, T = self.C, self.K, self.T
        if self.shares and not self.bit("same"):
            node = 1
            for _ in range(6):
                node = 2 * node + self.bit("grid", node)
            self.shared = node - 64
        self.S, self.n, self.e, self.w, self.ratio = [4 * t for t in T], 4, sum(T) // K, 32768, 256
        self.v = [0] * (C * K)
        row = []
        for c in range(C):
            self.q = 0
            for k in range(K):
                row.append(self.read_number(c * K + k, k))
            if not self.sparse:
                self.step()
        return row

    def step(self) -> None:
        self.n += 1
        if self.n > 255:
            self.n, self.S = 128, [s >> 1 for s in self.S]

    def read_number(self, j: int, k: int) -> int:
        left = self.v[j - 1] if j else 0
        if self.sparse:
            there = self.bit("nothing", seldom(self.w), seldom(self.W[j]), left != 0, self.above[j] != 0)
            self.w += -(self.w >> 5) + 2047 * there
            self.W[j] += -(self.W[j] >> 4) + 4095 * there
            if not there:
                return self.offset
        u = self.usual(j, k)
        quarter, X = class_of(u) & 3, (class_of(u) >> 2) - 17 + self.middle
        p = P = 0
        if self.predicted:
            if self.K == 1:
                p = self.coefs[0][0] * left + self.coefs[1][0] * self.above[j]
            else:
                p = sum(a * v for a, v in zip(self.coefs[k], self.v[j - k : j], strict=True))
            t = class_of(max(8, 4 * abs(p))) - class_of(u)
            P = 1 + sum(t >= bound for bound in (-10, -6, -3, -1, 1, 3, 5, 8))
        x = self.exponent(X, P, quarter)
        require(0 <= x < self.exponents, "exponent")
        d = self.digits if self.real else max(x - 1, 0)
        negative, mantissa = 0, 0
        if self.real or x:
            negative, mantissa = self.sign_and_digits(x, d, clip(x - X + 4, 0, 7), quarter, p, P)
        self.learn(j, k, x, d, mantissa, negative)
        if self.real:
            return negative << (self.bits - 1) | x << d | mantissa
        magnitude = 1 << d | mantissa if x else 0
        return ((-magnitude if negative else magnitude) + self.offset) % (1 << self.bits)

    def usual(self, j: int, k: int) -> int:
        T = self.T
        mean = self.S[k] * (65536 // self.n) >> 16
        if self.K == 1:
            if j % 16 == 0:
                self.ratio = min(4095, (mean << 8) // (T[0] + 1))
            product = self.F[j] * self.ratio >> 8
        else:
            before = (T[0] >> 4) + sum(t >> 4 for t in T[:k])
            product = mean * min(4095, (self.q + (T[0] >> 4)) * (2**36 // (before + 1)) >> 28) >> 8
        return max(8, (24 * self.F[j] + 36 * mean + 4 * self.e + 64 * product) >> 7)

    def exponent(self, X: int, P: int, quarter: int) -> int:
        large = self.bit("size", P, quarter, 0)
        first, most = (1, 7) if large else (8, 15)
        steps = 0
        while steps < most and self.bit("size", P, quarter, first + steps):
            steps += 1
        if steps == most:
            return self.coder.raw(self.exponent_bits or 7)
        return X + steps if large else X - 1 - steps

    def sign_and_digits(self, x: int, d: int, size: int, quarter: int, p: int, P: int) -> tuple[int, int]:
        negative = 0
        context = size * 4 + quarter
        if self.predicted:
            agrees = self.bit("sign", P, size)
            negative = int((p < 0) == bool(agrees))
            h = abs(p)
            lead = h >> (h.bit_length() - 3) & 3 if h >= 64 else 0
            context = ((clip(x - self.middle + 18 - h.bit_length(), 0, 4) * 2 + agrees) * 4 + lead) * 8 + size
        prefix = 1
        for _ in range(min(2, d)):
            prefix = 2 * prefix + self.bit("lead", context, prefix)
        f = d - min(2, d)
        place, low = min(self.shared, f), 0
        g = clip(x - self.middle + 16, 0, 31)
        while self.grid >> g & 1 and place < f:
            one = self.bit("zeros", g, place)
            place += 1
            if one:
                low = 1 << (place - 1)
                break
        if not self.predicted:
            negative = self.raw(1)
        low |= self.raw(f - place) << place
        return negative, (prefix - (1 << min(2, d))) << f | low

    def learn(self, j: int, k: int, x: int, d: int, mantissa: int, negative: int) -> None:
        full = 1 << d | mantissa
        if x == 0:
            full = 2 * mantissa if self.real else 0
        shift = d - (x - self.middle + 9)
        a = min(16383, math.floor(full >> shift if shift >= 0 else full << -shift))
        self.v[j] = -a if negative else a
        self.S[k] += a << 8
        self.q += a << 4
        self.e += ((a << 8) - self.e) >> 5
        if self.sparse:
            self.step()

    def after_row(self, r: int) -> None:
        share = max(4, 256 // (min(r, 64) + 1))
        for j, v in enumerate(self.v):
            if v or not self.sparse:
                self.F[j] += ((abs(v) << 8) - self.F[j]) * share >> 8
            self.sums[j % self.K] += abs(v) << 8
        self.count += sum(v != 0 for v in self.v) if self.sparse else self.C
        self.T = [total // self.count for total in self.sums]
        if self.count >= 1 << 20:
            self.count >>= 1
            self.sums = [total >> 1 for total in self.sums]


def decode_numbers(payload: bytes, nbytes: int, item_bytes: int) -> bytes:
    return Numbers(payload, nbytes, item_bytes).decode()
