"""Containers that were made to be refused: what each lies about, and the error that it must get.

All their checksums fit (but where a checksum is the lie), so that what is behind the checksums is reached.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import zstandard

from attack.surgery import Anatomy, Entry, one_tensor, row_of, varint
from wcodec.errors import CorruptError, TruncatedError, UnsupportedError
from wcodec.head import MAX_CHUNK
from wcodec.model import TensorFacts

Hostile = tuple[str, bytes, type[Exception]]
C, T, U = CorruptError, TruncatedError, UnsupportedError

VECTOR = TensorFacts("v", "float32", (6,))
MATRIX = TensorFacts("m", "float32", (4, 6))
KERNEL = TensorFacts("k", "float32", (3, 3, 2, 4))
VALUES = struct.pack("<6f", *range(6))
EXACT = b"\0\0" + VALUES
STEP = varint(int.from_bytes(struct.pack(">f", 0.5), "little"))


def good() -> Anatomy:
    """A valid container of one exact vector, from which most lies start."""
    return one_tensor(VECTOR, EXACT, digest=zlib.crc32(VALUES))


def fixed(levels: list[int], bits: int) -> bytes:
    """A chunk of the dense coder with levels as fixed-width symbols."""
    word = 0
    for i, level in enumerate(levels):
        word |= (2 * level if level >= 0 else -2 * level - 1) << (bits * i)
    return bytes((0, 1, bits)) + word.to_bytes((bits * len(levels) + 7) // 8, "little")


def head(rule: int, rest: bytes = b"", layout: int | None = 0, flags: int = 0) -> bytes:
    """The start of a first section."""
    return bytes((rule | flags,)) + (b"" if layout is None else bytes((layout,))) + rest


def every() -> Iterator[Hostile]:
    """All of them, by a name that fits a file."""
    yield from files()
    yield from indexes()
    yield from tables()
    yield from heads()
    yield from rules()
    yield from chunks()


def files() -> Iterator[Hostile]:
    """Lies of the header."""
    base = good()
    file = base.sewn()
    yield "empty", b"", C
    yield "another-magic", b"PK\3\4" + file[4:], C
    yield "magic-alone", file[:4], T
    yield "header-cut", file[:23], T
    yield "body-cut", file[:-1], T
    yield "a-byte-more", file + b"\0", C
    yield "future-version", replace(base, version=2).sewn(), U
    yield "version-0", replace(base, version=0).sewn(), C
    yield "reserved-byte", replace(base, zero=1).sewn(), C
    yield "unknown-feature", replace(base, features=1 << 9).sewn(), U
    yield "all-features", replace(base, features=0xFFFF).sewn(), U
    yield "file-length-too-large", replace(base, file_length=1 << 40).sewn(), T
    yield "file-length-of-64-bits", replace(base, file_length=(1 << 64) - 1).sewn(), T
    yield "file-length-too-small", replace(base, file_length=len(file) - 1).sewn(), C
    yield "index-longer-than-the-file", replace(base, index_length=len(file)).sewn(), C
    yield "index-length-of-32-bits", replace(base, index_length=(1 << 32) - 1).sewn(), C
    yield "no-index", replace(base, index_length=0).sewn(), C
    yield "header-checksum", file[:20] + bytes((file[20] ^ 1,)) + file[21:], C
    yield "section-checksum", file[:26] + bytes((file[26] ^ 1,)) + file[27:], C


def indexes() -> Iterator[Hostile]:
    """Lies of the index."""
    base, (entry,) = good(), good().entries
    two = replace(base, entries=(entry, Entry(duplicate_of=0))).with_tensors([VECTOR, replace(VECTOR, name="w")])
    yield "unknown-kind-of-model-file", replace(base, kind=200).sewn(), U
    yield "unknown-coding-of-the-model-section", replace(base, coding=9).sewn(), U
    yield "hole", replace(base, gap=b"\0\0\0").sewn(), C
    yield "model-section-too-long", replace(base, stored_length=1 << 50).sewn(), C
    yield "model-section-of-64-bits", replace(base, stored_length=(1 << 64) - 1).sewn(), C
    yield "model-section-too-short", replace(base, stored_length=1).sewn(), C
    yield "record-cut", replace(base, index_tail=b"\1\0\0").sewn(), T
    yield "record-of-many-sections", replace(base, index_tail=varint(1 << 60) + bytes(8)).sewn(), C
    yield "varint-not-shortest", replace(base, index_tail=b"\x80\0").sewn(), C
    yield "varint-of-11-bytes", replace(base, index_tail=b"\xff" * 10 + b"\1").sewn(), C
    yield "varint-of-65-bits", replace(base, index_tail=b"\xff" * 9 + b"\2").sewn(), C
    yield "varint-cut", replace(base, index_tail=b"\x80").sewn(), T
    yield "section-of-64-bits", replace(base, index_tail=b"\1" + bytes(4) + varint((1 << 64) - 1) + bytes(4)).sewn(), C
    yield "no-record", replace(base, entries=(), gap=EXACT).sewn(), C
    yield "a-record-too-many", replace(base, entries=(entry, entry)).sewn(), C
    yield "a-record-too-few", base.with_tensors([VECTOR, MATRIX]).sewn(), C
    yield "duplicate-of-itself", two.with_entry(1, Entry(duplicate_of=1)).sewn(), C
    yield "duplicate-of-a-later-one", two.with_entry(0, Entry(duplicate_of=1)).sewn(), C
    yield "duplicate-of-none", two.with_entry(1, Entry(duplicate_of=1 << 62)).sewn(), C
    third = replace(two, entries=(*two.entries, Entry(duplicate_of=1)))
    yield (
        "duplicate-of-a-duplicate",
        third.with_tensors([VECTOR, replace(VECTOR, name="w"), replace(VECTOR, name="x")]).sewn(),
        C,
    )
    yield "duplicate-of-another-shape", two.with_tensors([VECTOR, MATRIX]).sewn(), C
    yield "duplicate-of-another-type", two.with_tensors([VECTOR, TensorFacts("w", "int32", (6,))]).sewn(), C
    yield "digest", base.with_entry(0, replace(entry, digest=entry.digest ^ 1)).sewn(), C
    yield "error-not-a-number", base.with_entry(0, replace(entry, error=0x7FC0)).sewn(), C
    yield "error-below-zero", base.with_entry(0, replace(entry, error=0xBF80)).sewn(), C
    yield "error-of-the-model-infinite", replace(base, error=0x7F80).sewn(), C
    yield "more-kept-than-there-are", base.with_entry(0, replace(entry, error=0, kept=7)).sewn(), C


def tables() -> Iterator[Hostile]:
    """Lies of the model section."""
    base = good()
    one = row_of(VECTOR)
    name = varint(1) + b"v"
    for what, table, error in (
        ("tensors-of-64-bits", varint((1 << 64) - 1) + one, C),
        ("tensors-none", b"\0", C),
        ("cut", b"\1" + one[:-1], T),
        ("name-not-utf-8", b"\1" + varint(2) + b"\xc3\x28" + one[2:], C),
        ("name-longer-than-the-section", b"\1" + varint(5000) + one[1:], T),
        ("name-of-64-bits", b"\1" + varint((1 << 64) - 1) + one[1:], C),
        ("unknown-type", b"\1" + row_of(VECTOR, dtype=200), U),
        ("33-dimensions", b"\1" + name + b"\0" + varint(33) + b"\1" * 33, C),
        ("extent-of-64-bits", b"\1" + name + b"\0\1" + varint((1 << 64) - 1), C),
        ("product-of-many-bits", b"\1" + name + b"\0\x20" + varint(1 << 60) * 32, C),
        ("nothing-times-too-much", b"\1" + name + b"\0\3" + varint(1 << 62) * 2 + b"\0", C),
        ("extent-too-large", b"\1" + name + b"\0\1" + varint(1 << 40), C),
        ("extent-too-small", b"\1" + name + b"\0\1\5", C),
        ("extent-0", b"\1" + name + b"\0\1\0", C),
    ):
        yield (
            f"table-{what}",
            replace(base, table=table, skeleton=b"" if what == "cut" else base.skeleton).sewn(),
            error,
        )
    twice = replace(base, entries=base.entries * 2)
    yield "table-repeated-name", twice.with_tensors([VECTOR, VECTOR]).sewn(), C
    yield "model-section-declares-too-much", replace(base, decoded_length=1 << 40).sewn(), C
    yield "model-section-declares-too-little", replace(base, decoded_length=3).sewn(), C
    frame = magicless(base.table)
    packed = replace(base, coding=1, decoded_length=len(base.table), stored=frame)
    yield "model-section-frame-cut", replace(packed, stored=frame[:-3]).sewn(), C
    yield "model-section-frame-damaged", replace(packed, stored=b"\xff" * len(frame)).sewn(), C
    yield "model-section-frame-empty", replace(packed, stored=b"").sewn(), C
    yield "model-section-behind-the-frame", replace(packed, stored=frame + b"\0").sewn(), C
    yield "model-section-frame-too-long", replace(packed, decoded_length=len(base.table) - 1).sewn(), C
    yield "model-section-frame-of-nothing-declares-much", replace(packed, decoded_length=1 << 26).sewn(), C
    zeros = magicless(base.table + bytes(1 << 24))
    yield "model-section-bomb", replace(packed, decoded_length=len(base.table), stored=zeros).sewn(), C
    yield "model-section-bomb-declared", replace(packed, decoded_length=1 << 30, stored=zeros).sewn(), C
    many = varint(1 << 20) + b"".join(varint(3) + i.to_bytes(3, "little") + b"\0\0" for i in range(1 << 14))
    yield "table-many-tensors", replace(packed, decoded_length=len(many), stored=magicless(many)).sewn(), C


def magicless(plain: bytes) -> bytes:
    """A zstd frame without its magic number and without its size."""
    return zstandard.ZstdCompressor(level=3, write_content_size=False).compress(plain)[4:]


def heads() -> Iterator[Hostile]:
    """Lies of the first section's head."""

    def vector(section: bytes) -> bytes:
        return one_tensor(VECTOR, section, error=0, digest=zlib.crc32(VALUES)).sewn()

    def exact(facts: TensorFacts, *sections: bytes) -> bytes:
        return one_tensor(facts, *sections).sewn()

    chunk = fixed([0, 1, 2, 3, 4, 5], 4)
    yield "head-missing", vector(b""), T
    yield "head-flag-7", vector(head(2, STEP + chunk, flags=0x80)), C
    yield "head-states-3", vector(head(2, STEP + chunk, flags=0x30)), C
    yield "head-states-of-a-table", vector(head(1, b"\0\1\2" + chunk, flags=0x10)), C
    yield "head-states-of-exact-values", vector(b"\x10" + EXACT[1:]), C
    yield "head-patches-of-exact-values", vector(b"\x40" + EXACT[1:]), C
    for rule in range(5, 16):
        yield f"head-unknown-rule-{rule}", vector(head(rule, STEP + chunk)), U
    yield "head-layout-missing", vector(b"\2"), T
    yield "head-unknown-layout", vector(head(2, STEP + chunk, layout=99)), C
    yield "head-layout-of-matrices", vector(head(2, STEP + chunk, layout=1)), C
    yield "head-layout-of-kernels", one_tensor(MATRIX, head(2, STEP + chunk, layout=3)).sewn(), C
    yield "head-transform-without-taps", one_tensor(MATRIX, head(3, STEP + chunk, layout=2)).sewn(), C
    integers = TensorFacts("i", "int32", (6,))
    for rule, parameters in ((1, b"\0\1\2"), (2, STEP), (4, b"\0\0")):
        yield f"head-integers-by-rule-{rule}", one_tensor(integers, head(rule, parameters + chunk)).sewn(), C
    huge, quarter = TensorFacts("h", "float32", (1 << 40,)), TensorFacts("h", "float32", (4 * MAX_CHUNK,))
    repeated = b"\1" + bytes(4)
    yield "chunk-of-a-huge-tensor", exact(huge, b"\0" + repeated), C
    yield "chunk-too-large", exact(quarter, b"\0" + varint(2 * MAX_CHUNK) + repeated, repeated), C
    yield "chunk-too-large-alone", exact(quarter, b"\0" + repeated), C
    yield "chunks-too-few", exact(quarter, b"\0" + varint(MAX_CHUNK) + repeated, repeated), C
    yield "chunks-too-many", exact(VECTOR, b"\0\3" + repeated, repeated, repeated), C
    yield "chunks-of-nothing", exact(VECTOR, b"\0\0" + repeated, repeated), C
    yield "chunks-of-64-bits", exact(VECTOR, b"\0" + varint((1 << 64) - 1) + repeated, repeated), C
    wide = TensorFacts("w", "float32", (2, 1 << 22))
    yield (
        "rows-too-large",
        one_tensor(wide, head(2, b"", layout=None) + b"\1\1" + STEP + b"\0\0\0", b"\0\0\0").sewn(),
        C,
    )
    yield (
        "head-of-a-huge-matrix",
        one_tensor(TensorFacts("h", "float32", (1 << 31, 1 << 29)), head(2, STEP + chunk, layout=1)).sewn(),
        C,
    )
    nothing = TensorFacts("n", "float32", (1 << 40, 1 << 40, 0, 4))
    yield "kernel-of-nothing-times-too-much", one_tensor(nothing, head(2, STEP + b"\0", layout=3), error=0).sewn(), C
    for what, patches, error in (
        ("none", b"\0", C), ("of-64-bits", varint((1 << 64) - 1), C), ("too-many", b"\7" + b"\0\0\0\0\0" * 7, C),
        ("behind-the-end", b"\1\6" + VALUES[:4], C),
        ("overlapping-the-end", b"\2\5" + VALUES[:4] + b"\0" + VALUES[:4], C),
        ("cut", b"\1\0\0\0", C), ("gap-of-64-bits", b"\1" + varint((1 << 64) - 1) + VALUES[:4], C),
    ):  # fmt: skip
        section = head(2, patches, flags=0x40) + (b"" if what == "cut" else STEP + chunk)
        yield f"patches-{what}", vector(section), error


def rules() -> Iterator[Hostile]:
    """Lies of the rules' parameters."""

    def lossy(section: bytes) -> bytes:
        return one_tensor(VECTOR, section, error=0).sewn()

    chunk = fixed([0, 1, -1, 1, 0, 1], 2)
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
        turned = varint(int.from_bytes(struct.pack(">f", step), "little"))
        yield f"step-{what}", lossy(head(2, turned + chunk)), C
    yield "step-of-33-bits", lossy(head(2, varint(1 << 32) + chunk)), C
    yield "step-missing", lossy(head(2)), T
    yield "float-shift-32", lossy(head(4, b"\x20\0" + chunk)), C
    yield "float-offset-of-33-bits", lossy(head(4, b"\0" + varint(1 << 33) + chunk)), C
    yield "float-magnitude-of-32-bits", lossy(head(4, b"\x16" + varint(1 << 20) + chunk)), C
    yield "float-missing", lossy(head(4)), T


def chunks() -> Iterator[Hostile]:
    """Lies of the chunks."""

    def lossy(chunk: bytes) -> bytes:
        return one_tensor(VECTOR, head(2, STEP + chunk), error=0).sewn()

    def exact(payload: bytes) -> bytes:
        return one_tensor(VECTOR, b"\0" + payload).sewn()

    yield "coder-missing", lossy(b""), T
    yield "coder-unknown", lossy(b"\xc8\0\0"), U
    symbols = fixed([0, 1, 2, 3, 4, 5], 4)
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
