"""Range coder and estimators, written from wcz.md (sections 11.1 and 11.4) alone."""

from __future__ import annotations

from math import isqrt

from reference_coders import TruncatedError, require

RATE = [(655360 + 5 * c + 8) // (10 * c + 16) for c in range(501)]


class RangeDecoder:
    """Section 11.1."""

    def __init__(self, data: bytes) -> None:
        self.n = len(data)
        self.last = data[-1] if data else 0
        self.bytes = data + bytes(8)
        self.code = int.from_bytes(self.bytes[:8], "big")
        self.range = 2**64 - 1
        self.at = 8

    def split(self, bound: int) -> int:
        bit = int(self.code < bound)
        if bit:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        if self.range < 2**32:
            if self.at + 4 > len(self.bytes):
                raise TruncatedError("range coder ends too early")
            self.code = (self.code << 32 | int.from_bytes(self.bytes[self.at : self.at + 4], "big")) % 2**64
            self.range <<= 32
            self.at += 4
        return bit

    def bit(self, estimator: list[int]) -> int:
        p, c = estimator
        bit = self.split((self.range >> 16) * (p >> 6))
        target = 4194048 if bit else 256
        estimator[0] = p + ((target - p) * RATE[c] >> 16)
        estimator[1] = min(c + 1, 500)
        return bit

    def raw(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self.split(self.range >> 1)
        return value

    def unary(self, family: list[list[int]]) -> int:
        for ones, estimator in enumerate(family):
            if not self.bit(estimator):
                return ones
        return len(family)

    def exp(self, family: list[list[int]]) -> int:
        length = self.unary(family)
        require(length < 31, "exp number of too many bits")
        return (1 << length | self.raw(length)) - 1

    def end(self) -> None:
        z = self.at - self.n
        require(z >= 0 and self.code < self.range, "bytes left over after the range coder")
        if z < 8:
            shortest = self.code >> 8 * z == 0 and self.last != 0
            require(shortest and (256 - self.last) << 8 * z >= self.range - self.code, "wrong end of the range coder")


def centre(q: int) -> int:
    return max(1, (((9 + 2 * (q & 3)) << (q >> 2)) >> 1) - 6)


def theta(m: int) -> int:
    return (isqrt((65536 + m * m) << 16) - 65536) * 256 // m


def estimator(p16: int = 32768, c: int = 0) -> list[int]:
    return [min(max(p16, 64), 65472) << 6, c]


def family(count: int, p16: int = 32768, c: int = 0) -> list[list[int]]:
    return [estimator(p16, c) for _ in range(count)]


def zero_start(m: int) -> int:
    return 131072 * theta(m) // (65536 + theta(m))


class Estimators:
    """Section 11.4."""

    def __init__(self) -> None:
        r = range
        self.zero = [[family(2, zero_start(centre(q)), 6) for _ in r(8)] for q in r(64)]
        self.size = [[[family(13, theta(centre(q)), 6) for _ in r(2)] for _ in r(5)] for q in r(64)]
        self.high = [family(14, theta((9 + 2 * (q & 3)) << 6), 2) for q in r(32)]
        self.s_zero = [[[[family(2, 16 * centre(q), 6) for _ in r(4)] for _ in r(2)] for _ in r(2)] for q in r(64)]
        self.s_size = [
            [[[family(13, theta(centre(2 * q)), 4) for _ in r(2)] for _ in r(2)] for _ in r(3)] for q in r(32)
        ]
        self.sign = [family(16) for _ in r(8)]
        self.sign_n = [family(3) for _ in r(3)]
        self.s_sign = family(8)
        self.s_sign_n = [family(3) for _ in r(3)]
        self.low1 = family(6)
        self.low2 = [family(2) for _ in r(4)]
        self.tail, self.tail_high, self.s_tail = family(31), family(31), family(31)
        self.s_row = estimator()
        self.side = [family(31) for _ in r(13)]
        self.coef = [family(31) for _ in r(16)]
