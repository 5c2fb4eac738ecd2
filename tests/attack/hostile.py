"""Hostile containers: the name of the invalid field, the bytes, and the expected error.

Their checksums are correct (unless the checksum is the invalid field), so that decoders read the fields.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace

from attack import hostile_files
from attack.file_fields import Entry, FileFields, one_tensor, row_of, varint
from attack.hostile_tensors import EXACT, MATRIX, VALUES, VECTOR, C, Hostile, T, U, chunks, heads, magicless, rules
from wcodec.model import TensorSpec


def good() -> FileFields:
    """A valid container of one exact vector, the template of most hostile ones."""
    return one_tensor(VECTOR, EXACT, digest=zlib.crc32(VALUES))


def every() -> Iterator[Hostile]:
    """All hostile containers, with names that are valid file names."""
    yield from files()
    yield from indexes()
    yield from tables()
    yield from heads()
    yield from rules()
    yield from chunks()
    yield from hostile_files.every()


def files() -> Iterator[Hostile]:
    """Containers with an invalid header."""
    base = good()
    file = base.to_bytes()
    yield "empty", b"", C
    yield "another-magic", b"PK\3\4" + file[4:], C
    yield "magic-alone", file[:4], T
    yield "header-cut", file[:23], T
    yield "body-cut", file[:-1], T
    yield "a-byte-more", file + b"\0", C
    yield "future-version", replace(base, version=2).to_bytes(), U
    yield "version-0", replace(base, version=0).to_bytes(), C
    yield "reserved-byte", replace(base, zero=1).to_bytes(), C
    yield "unknown-feature", replace(base, features=1 << 9).to_bytes(), U
    yield "all-features", replace(base, features=0xFFFF).to_bytes(), U
    yield "file-length-too-large", replace(base, file_length=1 << 40).to_bytes(), T
    yield "file-length-of-64-bits", replace(base, file_length=(1 << 64) - 1).to_bytes(), T
    yield "file-length-too-small", replace(base, file_length=len(file) - 1).to_bytes(), C
    yield "index-longer-than-the-file", replace(base, index_length=len(file)).to_bytes(), C
    yield "index-length-of-32-bits", replace(base, index_length=(1 << 32) - 1).to_bytes(), C
    yield "no-index", replace(base, index_length=0).to_bytes(), C
    yield "header-checksum", file[:20] + bytes((file[20] ^ 1,)) + file[21:], C
    yield "section-checksum", file[:26] + bytes((file[26] ^ 1,)) + file[27:], C


def indexes() -> Iterator[Hostile]:
    """Containers with an invalid index."""
    base, (entry,) = good(), good().entries
    two = replace(base, entries=(entry, Entry(duplicate_of=0))).with_tensors([VECTOR, replace(VECTOR, name="w")])
    yield "unknown-kind-of-model-file", replace(base, kind=200).to_bytes(), U
    yield "unknown-coding-of-the-model-section", replace(base, coding=9).to_bytes(), U
    yield "hole", replace(base, gap=b"\0\0\0").to_bytes(), C
    yield "model-section-too-long", replace(base, stored_length=1 << 50).to_bytes(), C
    yield "model-section-of-64-bits", replace(base, stored_length=(1 << 64) - 1).to_bytes(), C
    yield "model-section-too-short", replace(base, stored_length=1).to_bytes(), C
    yield "record-cut", replace(base, index_tail=b"\1\0\0").to_bytes(), T
    yield "record-of-many-sections", replace(base, index_tail=varint(1 << 60) + bytes(8)).to_bytes(), C
    yield "varint-not-shortest", replace(base, index_tail=b"\x80\0").to_bytes(), C
    yield "varint-of-11-bytes", replace(base, index_tail=b"\xff" * 10 + b"\1").to_bytes(), C
    yield "varint-of-65-bits", replace(base, index_tail=b"\xff" * 9 + b"\2").to_bytes(), C
    yield "varint-cut", replace(base, index_tail=b"\x80").to_bytes(), T
    yield (
        "section-of-64-bits",
        replace(base, index_tail=b"\1" + bytes(4) + varint((1 << 64) - 1) + bytes(4)).to_bytes(),
        C,
    )
    yield "no-record", replace(base, entries=(), gap=EXACT).to_bytes(), C
    yield "a-record-too-many", replace(base, entries=(entry, entry)).to_bytes(), C
    yield "a-record-too-few", base.with_tensors([VECTOR, MATRIX]).to_bytes(), C
    yield "duplicate-of-itself", two.with_entry(1, Entry(duplicate_of=1)).to_bytes(), C
    yield "duplicate-of-a-later-one", two.with_entry(0, Entry(duplicate_of=1)).to_bytes(), C
    yield "duplicate-of-none", two.with_entry(1, Entry(duplicate_of=1 << 62)).to_bytes(), C
    third = replace(two, entries=(*two.entries, Entry(duplicate_of=1)))
    yield (
        "duplicate-of-a-duplicate",
        third.with_tensors([VECTOR, replace(VECTOR, name="w"), replace(VECTOR, name="x")]).to_bytes(),
        C,
    )
    yield "duplicate-of-another-shape", two.with_tensors([VECTOR, MATRIX]).to_bytes(), C
    yield "duplicate-of-another-type", two.with_tensors([VECTOR, TensorSpec("w", "int32", (6,))]).to_bytes(), C
    yield "digest", base.with_entry(0, replace(entry, digest=entry.digest ^ 1)).to_bytes(), C
    yield "error-not-a-number", base.with_entry(0, replace(entry, error=0x7FC0)).to_bytes(), C
    yield "error-below-zero", base.with_entry(0, replace(entry, error=0xBF80)).to_bytes(), C
    yield "error-of-the-model-infinite", replace(base, error=0x7F80).to_bytes(), C
    yield "more-kept-than-there-are", base.with_entry(0, replace(entry, error=0, kept=7)).to_bytes(), C


def tables() -> Iterator[Hostile]:
    """Containers with an invalid model section."""
    base = good()
    row = row_of(VECTOR)
    name = varint(1) + b"v"
    for what, table, error in (
        ("tensors-of-64-bits", varint((1 << 64) - 1) + row, C),
        ("tensors-none", b"\0", C),
        ("cut", b"\1" + row[:-1], T),
        ("name-not-utf-8", b"\1" + varint(2) + b"\xc3\x28" + row[2:], C),
        ("name-longer-than-the-section", b"\1" + varint(5000) + row[1:], T),
        ("name-of-64-bits", b"\1" + varint((1 << 64) - 1) + row[1:], C),
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
            replace(base, table=table, skeleton=b"" if what == "cut" else base.skeleton).to_bytes(),
            error,
        )
    twice = replace(base, entries=base.entries * 2)
    yield "table-repeated-name", twice.with_tensors([VECTOR, VECTOR]).to_bytes(), C
    yield "model-section-declares-too-much", replace(base, decoded_length=1 << 40).to_bytes(), C
    yield "model-section-declares-too-little", replace(base, decoded_length=3).to_bytes(), C
    frame = magicless(base.table)
    packed = replace(base, coding=1, decoded_length=len(base.table), stored=frame)
    yield "model-section-frame-cut", replace(packed, stored=frame[:-3]).to_bytes(), C
    yield "model-section-frame-damaged", replace(packed, stored=b"\xff" * len(frame)).to_bytes(), C
    yield "model-section-frame-empty", replace(packed, stored=b"").to_bytes(), C
    yield "model-section-behind-the-frame", replace(packed, stored=frame + b"\0").to_bytes(), C
    yield "model-section-frame-too-long", replace(packed, decoded_length=len(base.table) - 1).to_bytes(), C
    yield "model-section-frame-of-nothing-declares-much", replace(packed, decoded_length=1 << 26).to_bytes(), C
    zeros = magicless(base.table + bytes(1 << 24))
    yield "model-section-bomb", replace(packed, decoded_length=len(base.table), stored=zeros).to_bytes(), C
    yield "model-section-bomb-declared", replace(packed, decoded_length=1 << 30, stored=zeros).to_bytes(), C
    many = varint(1 << 20) + b"".join(varint(3) + i.to_bytes(3, "little") + b"\0\0" for i in range(1 << 14))
    yield "table-many-tensors", replace(packed, decoded_length=len(many), stored=magicless(many)).to_bytes(), C
