"""Readers, streams of symbols and sparse levels, written from wcz.md (section 7) alone.

Slow and obvious. zstd frames are decoded by the `zstandard` package; everything else needs only the standard library.
"""

from __future__ import annotations

import zstandard

MAGIC = b"\x28\xb5\x2f\xfd"
LEVEL_LIMIT = 2**30 - 1


class FileError(Exception):
    """The file cannot be decoded."""


class CorruptError(FileError):
    """The file violates a rule of the page."""


class TruncatedError(CorruptError):
    """The file ends too early."""


class UnsupportedError(FileError):
    """The file needs a newer reader."""


def require(truth: bool, what: str) -> None:
    """Raise CorruptError unless `truth` holds."""
    if not truth:
        raise CorruptError(what)


class Reader:
    """Bytes that are read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, n: int) -> bytes:
        if n > self.left():
            raise TruncatedError(f"{n} bytes wanted, {self.left()} left")
        self.at += n
        return self.data[self.at - n : self.at]

    def rest(self) -> bytes:
        return self.take(self.left())

    def u(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.u(1)
            value |= (byte & 127) << shift
            if byte < 128:
                require(byte > 0 or shift == 0, "varint is not the shortest")
                break
        else:
            raise CorruptError("varint of more than 10 bytes")
        require(value < 2**64, "varint of more than 64 bits")
        return value

    def signed(self) -> int:
        z = self.varint()
        return z // 2 if z % 2 == 0 else -(z + 1) // 2

    def end(self) -> None:
        require(self.left() == 0, f"{self.left()} bytes left over")


class Bits:
    """A bitstream, lowest bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def bit(self) -> int:
        if self.at >= 8 * len(self.data):
            raise TruncatedError("bitstream ends too early")
        self.at += 1
        return self.data[(self.at - 1) // 8] >> (self.at - 1) % 8 & 1

    def number(self, k: int) -> int:
        return sum(self.bit() << i for i in range(k))

    def pad(self) -> int:
        """Skip to the next byte and return its number."""
        while self.at % 8:
            require(self.bit() == 0, "bits left over are not 0")
        return self.at // 8

    def end(self) -> None:
        require(self.pad() == len(self.data), "bytes left over after a bitstream")


def unzstd(frame: bytes, size: int, dictionary: bytes | None = None) -> bytes:
    """A zstd frame without its magic bytes that must decode to `size` bytes."""
    frame = MAGIC + frame
    known = None if dictionary is None else zstandard.ZstdCompressionDict(dictionary)
    try:
        declared = zstandard.frame_content_size(frame)
        require(declared in (-1, size), "zstd frame declares another size")
        decoder = zstandard.ZstdDecompressor(dict_data=known)
        decoder.decompress(frame, max_output_size=size + 1)  # refuses a larger frame
        stream = decoder.decompressobj()
        decoded = stream.decompress(frame)
        require(stream.eof and not stream.unused_data, "zstd frame does not end the payload")
    except zstandard.ZstdError as error:
        raise CorruptError(f"zstd: {error}") from error
    require(len(decoded) == size, f"zstd frame of {len(decoded)} bytes instead of {size}")
    return decoded


def symbols(payload: bytes, count: int, width: int = 32) -> list[int]:
    """A stream of `count` unsigned integers of `width` bits (7.1)."""
    reader = Reader(payload)
    if count == 0:
        reader.end()
        return []
    coder = reader.u(1)
    if coder == 0:
        value = reader.varint()
        reader.end()
        require(value < 2**width, "constant is too large")
        return [value] * count
    if coder == 1:
        b = reader.u(1)
        require(1 <= b <= width, "fixed coder of too many bits")
        bits = Bits(reader.take((count * b + 7) // 8))
        reader.end()
        out = [bits.number(b) for _ in range(count)]
        bits.end()
        return out
    if coder == 2:
        return huffman(reader, count, width)
    if coder == 3:
        w = reader.u(1)
        require(w in (1, 2, 4) and 8 * w <= width, "zstd symbols of a strange width")
        raw = unzstd(reader.rest(), count * w)
        return [int.from_bytes(raw[i : i + w], "little") for i in range(0, len(raw), w)]
    raise UnsupportedError(f"coder of symbols {coder}")


def lengths(bits: Bits, limit: int) -> dict[int, int]:
    """Codeword length of every present token (7.2, step 2)."""
    present: dict[int, int] = {}
    token, previous, total = 0, 4, 0
    while total < 4096:
        kind = bits.number(2) if bits.bit() else -1
        if kind == 2:
            z = 0
            while bits.bit():
                z += 1
                require(z <= 19, "too many absent tokens")
            token += 2**z + bits.number(z)
            continue
        previous = bits.number(4) if kind == 3 else previous + {-1: 0, 0: 1, 1: -1}[kind]
        require(1 <= previous <= 12, "codeword length out of range")
        require(token < limit, "token out of range")
        present[token] = previous
        total += 2 ** (12 - previous)
        token += 1
    require(total == 4096, "code of too many codewords")
    return present


def huffman(reader: Reader, count: int, width: int) -> list[int]:
    """Section 7.2."""
    p = reader.u(1)
    require(p <= 11, "precision")
    bits = Bits(reader.data[reader.at :])
    present = lengths(bits, (width - p + 1) << p if p < width else 2**width)
    reader.take(bits.pad())

    codes: dict[tuple[int, int], int] = {}
    code = 0
    for length in range(1, 13):
        code <<= 1
        for token in sorted(token for token, its in present.items() if its == length):
            codes[length, code] = token
            code += 1

    streams = 4 if count >= 1024 else 1
    sizes: list[int] = [reader.varint() for _ in range(streams - 1)]
    q = -(-count // streams)
    tokens: list[int] = []
    for k in range(streams):
        bits = Bits(reader.take(sizes[k]) if k < streams - 1 else reader.data[reader.at :])
        for _ in range(k * q, min((k + 1) * q, count)):
            length, code = 1, bits.bit()
            while (length, code) not in codes:
                length, code = length + 1, code << 1 | bits.bit()
            tokens.append(codes[length, code])
        if k < streams - 1:
            bits.end()
        else:
            reader.take(bits.pad())

    bits = Bits(reader.rest())
    out = []
    for token in tokens:
        r = max((token >> p) - 1, 0)
        out.append(((token - (r << p)) << r) + bits.number(r))
    bits.end()
    return out


def unzigzag(symbol: int) -> int:
    require(symbol <= 2 * LEVEL_LIMIT, "level out of range")
    return symbol // 2 if symbol % 2 == 0 else -(symbol + 1) // 2


def sparse(payload: bytes, count: int) -> list[int]:
    """Levels by relative index (7.3)."""
    reader = Reader(payload)
    levels = [0] * count
    entries = reader.varint()
    require(entries <= count, "more entries than weights")
    if entries:
        g = reader.u(1)
        require(1 <= g <= 16, "gap bits")
        gaps = symbols(reader.take(reader.varint()), entries)
        codes = symbols(reader.rest(), entries)
        require(codes[-1] != 0, "the last entry is a filler")
        at = 0
        for gap, code in zip(gaps, codes, strict=True):
            require(gap < 2**g, "gap out of range")
            require(code > 0 or gap == 2**g - 1, "short filler")
            at += gap
            require(at < count, "entry after the last weight")
            levels[at] = unzigzag(code)
            at += 1
    reader.end()
    return levels


def dense(payload: bytes, count: int) -> list[int]:
    return [unzigzag(symbol) for symbol in symbols(payload, count)]
