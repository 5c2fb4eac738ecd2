"""Containers with wrong tensors: headers, parameters of dequantizers, chunks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import zstandard

from attack.file_fields import one_tensor, varint
from wcodec.codec.tensor_header import MAX_CHUNK
from wcodec.errors import CorruptError, TruncatedError, UnsupportedError
from wcodec.model import TensorSpec

Hostile = tuple[str, bytes, type[Exception]]
C, T, U = CorruptError, TruncatedError, UnsupportedError

VECTOR = TensorSpec("v", "float32", (6,))
MATRIX = TensorSpec("m", "float32", (4, 6))
KERNEL = TensorSpec("k", "float32", (3, 3, 2, 4))
VALUES = struct.pack("<6f", *range(6))
EXACT = b"\0\0" + VALUES
STEP = varint(int.from_bytes(struct.pack(">f", 0.5), "little"))


def pack_fixed(levels: list[int], bits: int) -> bytes:
    """A chunk of the dense coder with levels as fixed-width symbols."""
    word = 0
    for i, level in enumerate(levels):
        word |= (2 * level if level >= 0 else -2 * level - 1) << (bits * i)
    return bytes((0, 1, bits)) + word.to_bytes((bits * len(levels) + 7) // 8, "little")


def head(rule: int, rest: bytes = b"", layout: int | None = 0, flags: int = 0) -> bytes:
    """The start of a first section."""
    return bytes((rule | flags,)) + (b"" if layout is None else bytes((layout,))) + rest


def magicless(plain: bytes) -> bytes:
    """A zstd frame without its magic number and without its size."""
    return zstandard.ZstdCompressor(level=3, write_content_size=False).compress(plain)[4:]


def heads() -> Iterator[Hostile]:
    """Containers with an invalid header of the first section."""

    def vector(section: bytes) -> bytes:
        return one_tensor(VECTOR, section, error=0, digest=zlib.crc32(VALUES)).to_bytes()

    def exact(facts: TensorSpec, *sections: bytes) -> bytes:
        return one_tensor(facts, *sections).to_bytes()

    chunk = pack_fixed([0, 1, 2, 3, 4, 5], 4)
    yield "head-missing", vector(b""), T
    yield "head-flag-7", vector(head(2, STEP + chunk, flags=0x80)), C
    yield "head-states-of-a-table", vector(head(1, b"\0\1\2" + chunk, flags=0x10)), C
    yield "head-states-of-exact-values", vector(b"\x10" + EXACT[1:]), C
    yield "head-patches-of-exact-values", vector(b"\x40" + EXACT[1:]), C
    for rule in range(9, 16):
        yield f"head-unknown-rule-{rule}", vector(head(rule, STEP + chunk)), U
    yield "head-layout-missing", vector(b"\2"), T
    yield "head-unknown-layout", vector(head(2, STEP + chunk, layout=99)), C
    yield "head-layout-of-matrices", vector(head(2, STEP + chunk, layout=1)), C
    yield "head-layout-of-kernels", one_tensor(MATRIX, head(2, STEP + chunk, layout=3)).to_bytes(), C
    yield "head-transform-of-a-vector", vector(head(3, STEP + chunk)), C
    integers = TensorSpec("i", "int32", (6,))
    parameters_of = {1: b"\0\1\2", 2: STEP, 4: b"\0\0", 5: STEP + b"\2\1\0", 6: b"\2\3\1\0\x3f"}
    for rule, parameters in parameters_of.items():
        yield f"head-integers-by-rule-{rule}", one_tensor(integers, head(rule, parameters + chunk)).to_bytes(), C
    huge, quarter = TensorSpec("h", "float32", (1 << 40,)), TensorSpec("h", "float32", (4 * MAX_CHUNK,))
    repeated = b"\1" + bytes(4)
    yield "chunk-of-a-huge-tensor", exact(huge, b"\0" + repeated), C
    yield "chunk-too-large", exact(quarter, b"\0" + varint(2 * MAX_CHUNK) + repeated, repeated), C
    yield "chunk-too-large-alone", exact(quarter, b"\0" + repeated), C
    yield "chunks-too-few", exact(quarter, b"\0" + varint(MAX_CHUNK) + repeated, repeated), C
    yield "chunks-too-many", exact(VECTOR, b"\0\3" + repeated, repeated, repeated), C
    yield "chunks-of-nothing", exact(VECTOR, b"\0\0" + repeated, repeated), C
    yield "chunks-of-64-bits", exact(VECTOR, b"\0" + varint((1 << 64) - 1) + repeated, repeated), C
    wide = TensorSpec("w", "float32", (2, 1 << 22))
    yield (
        "rows-too-large",
        one_tensor(wide, head(2, b"", layout=None) + b"\1\1" + STEP + b"\0\0\0", b"\0\0\0").to_bytes(),
        C,
    )
    yield (
        "head-of-a-huge-matrix",
        one_tensor(TensorSpec("h", "float32", (1 << 31, 1 << 29)), head(2, STEP + chunk, layout=1)).to_bytes(),
        C,
    )
    nothing = TensorSpec("n", "float32", (1 << 40, 1 << 40, 0, 4))
    yield (
        "kernel-of-nothing-times-too-much",
        one_tensor(nothing, head(2, STEP + b"\0", layout=3), error=0).to_bytes(),
        C,
    )
    for what, patches, error in (
        ("none", b"\0", C), ("of-64-bits", varint((1 << 64) - 1), C), ("too-many", b"\7" + b"\0\0\0\0\0" * 7, C),
        ("behind-the-end", b"\1\6" + VALUES[:4], C),
        ("overlapping-the-end", b"\2\5" + VALUES[:4] + b"\0" + VALUES[:4], C),
        ("cut", b"\1\0\0\0", C), ("gap-of-64-bits", b"\1" + varint((1 << 64) - 1) + VALUES[:4], C),
    ):  # fmt: skip
        section = head(2, patches, flags=0x40) + (b"" if what == "cut" else STEP + chunk)
        yield f"patches-{what}", vector(section), error


def rules() -> Iterator[Hostile]:
    """Containers with invalid parameters of the dequantizers."""

    def lossy(section: bytes) -> bytes:
        return one_tensor(VECTOR, section, error=0).to_bytes()

    chunk = pack_fixed([0, 1, -1, 1, 0, 1], 2)
    ascending = struct.pack("<2e", -1.0, 1.0)
    for what, codebook, error in (
        ("of-no-values", b"\0\0\2", C), ("without-its-zero", b"\3\3\2" + ascending, C),
        ("of-64-bits", b"\0" + varint((1 << 64) - 1) + b"\2" + ascending, C),
        ("of-2-to-the-21", b"\0" + varint(1 << 21) + b"\2", C),
        ("width-3", b"\1\3\3" + ascending, C), ("descending", b"\1\3\2" + ascending[2:] + ascending[:2], C),
        ("positive-before-zero", b"\2\3\2" + ascending, C),
        ("not-a-number", b"\1\3\2" + ascending[:2] + b"\0\x7e", C), ("too-small", b"\1\2\2" + ascending[:2], C),
        ("of-zero-alone", b"\0\1\2", C),
    ):  # fmt: skip
        yield f"codebook-{what}", lossy(head(1, codebook + chunk)), error
    yield "codebook-cut", lossy(head(1, varint(40) + varint(100) + b"\2" + ascending)), T
    yield "codebook-missing", lossy(head(1)), T
    for what, step in (("0", 0.0), ("negative", -0.5), ("infinite", float("inf")), ("not-a-number", float("nan"))):
        packed = varint(int.from_bytes(struct.pack(">f", step), "little"))
        yield f"step-{what}", lossy(head(2, packed + chunk)), C
    yield "step-of-33-bits", lossy(head(2, varint(1 << 32) + chunk)), C
    yield "step-missing", lossy(head(2)), T
    yield "float-shift-32", lossy(head(4, b"\x20\0" + chunk)), C
    yield "float-offset-of-33-bits", lossy(head(4, b"\0" + varint(1 << 33) + chunk)), C
    yield "float-magnitude-of-32-bits", lossy(head(4, b"\x16" + varint(1 << 20) + chunk)), C
    yield "float-missing", lossy(head(4)), T
    yield "product-of-a-vector", lossy(head(5, STEP + b"\2\1\0" + chunk)), C
    codes = pack_fixed([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 2)

    def product(parameters: bytes, flags: int = 0) -> bytes:
        return one_tensor(MATRIX, head(5, parameters + codes, layout=1, flags=flags), error=0).to_bytes()

    yield "product-states", product(STEP + b"\2\1\0", flags=0x10), C
    yield "product-step-0", product(b"\0\2\1\0"), C
    yield "product-block-0", product(STEP + b"\0\1\0"), C
    yield "product-block-too-large", product(STEP + varint(1025) + b"\1\0"), C
    yield "product-of-no-vectors", product(STEP + b"\2\0\0"), C
    yield "product-too-many-vectors", product(STEP + b"\2" + varint(65537) + b"\0"), C
    yield "product-of-64-bits", product(STEP + varint((1 << 64) - 1) + varint((1 << 64) - 1) + b"\0"), C
    yield "product-codebook-too-large", product(STEP + varint(1024) + varint(4096) + b"\0"), C
    yield "product-codebook-cut", product(STEP + b"\2\3\x7f\0"), T
    yield "product-codebook-of-nothing", product(STEP + b"\2\1\1\0"), C
    yield "product-codebook-missing", one_tensor(MATRIX, head(5, STEP, layout=1), error=0).to_bytes(), T
    hashed = pack_fixed([1, -1, 2], 3)
    for what, given, error in (
        ("step-0", b"\0" + bytes(4) + b"\3", C), ("of-no-buckets", STEP + bytes(4) + b"\0", C),
        ("too-many-buckets", STEP + bytes(4) + varint(MATRIX.count), C), ("seed-cut", STEP + b"\1\2", T),
        ("of-64-bits", STEP + bytes(4) + varint((1 << 64) - 1), C),
    ):  # fmt: skip
        section = head(8, given + (b"" if what == "seed-cut" else hashed), layout=1)
        yield f"hashed-{what}", one_tensor(MATRIX, section, error=0).to_bytes(), error
    yield "hashed-of-a-vector", lossy(head(8, STEP + bytes(4) + b"\3" + hashed)), C
    many = head(8, b"", layout=None) + b"\1\1" + STEP + bytes(4) + b"\3" + hashed
    yield "hashed-sections", one_tensor(MATRIX, many, *([hashed] * (MATRIX.shape[0] - 1)), error=0).to_bytes(), C
    yield "product-code-outside", product(STEP + b"\2\2\0"), C
    for what, steps, error in (
        ("missing", b"", T), ("cut", b"\2\3\1\0", T), ("of-3-bytes", b"\3\4\1\0\0\x3f", C),
        ("too-many", b"\2\5\0\0\x3f\0\x3f", C), ("too-few", b"\4\3\0\0\x3f", T), ("of-nothing", b"\2\0", T),
        ("of-64-bits", b"\2" + varint((1 << 64) - 1), T), ("0", b"\2\3\0\0\0", C), ("negative", b"\2\3\0\0\xbf", C),
        ("infinite", b"\2\3\0\x80\x7f", C), ("not-a-number", b"\4\5\0" + struct.pack("<f", float("nan")), C),
        ("by-an-unknown-method", b"\2\3\xff\0\x3f", U),
    ):  # fmt: skip
        yield f"steps-{what}", lossy(head(6, steps + (b"" if error is T else chunk))), error
    yield "steps-with-states", lossy(head(6, b"\2\3\0\0\x3f" + chunk, flags=0x10)), C


def static_chunks() -> Iterator[Hostile]:
    """Chunks of six levels of one class, with a table of one group."""
    scales, groups, hazards, states = b"\2\0\0", b"\2\0\1", b"\2\0\0", struct.pack("<I", 1 << 16) * 8
    yield "nothing-but-its-number", b"\3\1", T
    yield "no-class", b"\3\0\0" + scales + groups + hazards + b"\0" + states, C
    yield "65-classes", b"\3\x41\0" + scales + groups + hazards + b"\0" + states, C
    yield "far-classes", b"\3\1" + varint(766) + scales + groups + hazards + b"\0" + states, C
    yield "code-256", b"\3\1\0\3\0" + varint(256) + groups + hazards + b"\0" + states, C
    yield "group-0", b"\3\1\0" + scales + b"\2\0\0" + hazards + b"\0" + states, C
    yield "group-25", b"\3\1\0" + scales + b"\2\0\x19" + hazards + b"\0" + states, C
    yield "hazard-64", b"\3\1\0" + scales + groups + b"\2\0\x48" + b"\0" + states, C
    yield "hazards-cut", b"\3\1\0" + scales + groups + b"\x7f\0\0", T
    yield "escapes-too-many", b"\3\1\0" + scales + groups + hazards + b"\7" + b"\2\0\2" + states, C
    yield "escape-too-large", b"\3\1\0" + scales + groups + hazards + b"\1\6\0" + varint((1 << 32) - 1) + states, C
    yield "states-cut", b"\3\1\0" + scales + groups + hazards + b"\0" + states[:-1], T
    yield "states-0", b"\3\1\0" + scales + groups + hazards + b"\0" + bytes(32), C
    yield "half-a-word", b"\3\1\0" + scales + groups + hazards + b"\0" + states + b"\0", C
    yield "words-left-over", b"\3\1\0" + scales + groups + hazards + b"\0" + states + bytes(200), C


def fixed_chunks() -> Iterator[Hostile]:
    """Chunks of six levels."""
    yield "nothing", b"\4", T
    yield "behind-no-entries", b"\4\0\0", C
    yield "entries-too-many", b"\4\7\2\3\1\0\0\0\0\0", C
    yield "entries-of-64-bits", b"\4" + varint((1 << 64) - 1) + b"\2\3\1\0\0\0\0", C
    yield "weights-without-an-entry", b"\4\5\0\3\1\0\0", C
    yield "gap-bits-17", b"\4\1\x11\3\1\0\0\0\1", C
    yield "code-bits-0", b"\4\1\2\0\1\0", C
    yield "code-bits-32", b"\4\1\2\x20\1\0\1\0\0\0", C
    yield "negatives-too-many", b"\4\1\2\3" + varint(1 << 30) + b"\0\1", C
    yield "codes-cut", b"\4\2\2\5\1\0\1", T
    yield "a-byte-more", b"\4\1\2\3\1\0\1\0", C
    yield "bits-left-over", b"\4\1\2\3\1\4\1", C
    yield "filler-last", b"\4\1\1\1\0\1\0", C
    yield "gap-behind-the-end", b"\4\1\3\1\0\7\1", C
    yield "level-too-large", b"\4\1\1\x1f\0\0\xff\xff\xff\x7f", C


def chunks() -> Iterator[Hostile]:
    """Containers with invalid chunks."""

    def lossy(chunk: bytes) -> bytes:
        return one_tensor(VECTOR, head(2, STEP + chunk), error=0).to_bytes()

    def exact(payload: bytes) -> bytes:
        return one_tensor(VECTOR, b"\0" + payload).to_bytes()

    yield "coder-missing", lossy(b""), T
    yield "coder-unknown", lossy(b"\xc8\0\0"), U
    symbols = pack_fixed([0, 1, 2, 3, 4, 5], 4)
    yield "dense-a-byte-more", lossy(symbols + b"\0"), C
    yield "dense-a-byte-less", lossy(symbols[:-1]), T
    yield "dense-nothing", lossy(b"\0"), T
    yield "dense-unknown-symbols", lossy(b"\0\x09\0"), U
    yield "dense-33-bits", lossy(b"\0\1\x21" + bytes(25)), C
    yield "dense-0-bits", lossy(b"\0\1\0"), C
    yield "dense-constant-of-40-bits", lossy(b"\0\0" + varint(1 << 40)), C
    yield "dense-level-too-large", lossy(b"\0\0" + varint((1 << 32) - 1)), C
    yield "dense-zstd-width-3", lossy(b"\0\3\3" + bytes(18)), C
    yield "dense-zstd-damaged", lossy(b"\0\3\1" + bytes(9)), C
    yield "dense-zstd-bomb", lossy(b"\0\3\1" + magicless(bytes(1 << 24))), C
    yield "dense-huffman-empty", lossy(b"\0\2\0"), T
    yield "dense-huffman-precision-12", lossy(b"\0\2\x0c" + bytes(20)), C
    yield "sparse-nothing", lossy(b"\1"), T
    yield "sparse-entries-of-64-bits", lossy(b"\1" + varint((1 << 64) - 1) + b"\4\2\0\0\0\0"), C
    yield "sparse-entries-too-many", lossy(b"\1\7\4\2\0\0\0\0"), C
    yield "sparse-gap-bits-0", lossy(b"\1\1\0\2\0\0\0\0"), C
    yield "sparse-gap-bits-17", lossy(b"\1\1\x11\2\0\0\0\0"), C
    yield "sparse-gaps-cut", lossy(b"\1\1\4\x7f\0\0\0\0"), T
    yield "sparse-behind-no-entries", lossy(b"\1\0\0"), C
    yield "sparse-gap-behind-the-end", lossy(b"\1\1\4\2\0\7\0\2"), C
    yield "sparse-filler-last", lossy(b"\1\1\1\2\0\1\0\0"), C
    yield from ((f"fixed-{what}", lossy(chunk), error) for what, chunk, error in fixed_chunks())
    yield from ((f"static-{what}", lossy(chunk), error) for what, chunk, error in static_chunks())
    yield "lossless-missing", exact(b""), T
    yield "lossless-unknown-method", exact(b"\x63" + VALUES), U
    yield "lossless-stored-too-short", exact(b"\0" + VALUES[:-1]), T
    yield "lossless-stored-too-long", exact(b"\0" + VALUES + b"\0"), C
    yield "lossless-repeated-too-long", exact(b"\1" + VALUES), C
    yield "lossless-zstd-damaged", exact(b"\2" + VALUES), C
    yield "lossless-zstd-bomb", exact(b"\2" + magicless(bytes(1 << 24))), C
    yield "lossless-zstd-short", exact(b"\2" + magicless(bytes(23))), C
    yield "lossless-planes-cut", exact(b"\3\x05\0"), T
    yield "lossless-planes-too-short", exact(b"\3\0\0\0"), T
