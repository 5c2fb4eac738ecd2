"""The model section: the table of tensors and the skeleton, compressed together so that names are shared."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import zstandard

from wcodec.container.wire import MAX_DIMS, MAX_NAME_BYTES, MAX_TENSORS, put_varint, take_byte, take_bytes, take_varint
from wcodec.errors import CorruptError, ModelFileError, UnsupportedError
from wcodec.model import DTYPE_IDS, DTYPES, TensorSpec
from wcodec.model.dataclass import dataclass

STORED, ZSTD, ZSTD_DICTIONARY = 0, 1, 2
DICTIONARY_FEATURE, EXTENTS_FEATURE, BASE_FEATURE, SHARDS_FEATURE = 1, 2, 4, 8
KNOWN_FEATURES = DICTIONARY_FEATURE | BASE_FEATURE | EXTENTS_FEATURE | SHARDS_FEATURE
ALWAYS_FEATURES = DICTIONARY_FEATURE | BASE_FEATURE
"""Features that any kind of model file may have."""
KIND_FEATURES = {"file": EXTENTS_FEATURE, "shards": SHARDS_FEATURE}
"""The feature that a reader must have for a kind of model file."""
MAX_LENGTH = 1 << 26
_HARD = 19
KEPT_FOR = 1 << 16
"""The longest section for which a compressor is kept: it holds 3 to 6 MB; those for longer ones hold up to 85 MB."""
_DETERMINING = (
    "window_log", "hash_log", "chain_log", "search_log", "min_match", "target_length", "strategy", "compression_level"
)  # fmt: skip
"""The compression parameters that depend on the level and on sizes."""


@dataclass(frozen=True)
class ModelSection:
    """The section as it is in the file. length: its decoded size in bytes."""

    coding: int
    length: int
    stored: bytes

    @property
    def features(self) -> int:
        """The feature bits that a reader of this section needs."""
        return DICTIONARY_FEATURE if self.coding == ZSTD_DICTIONARY else 0


@cache
def _read_dictionary() -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(Path(__file__).with_name("skeleton-1.dict").read_bytes())


@dataclass(frozen=True)
class BaseInfo:
    """The file against which a container is coded: its SHA-256, and the delta mode of each tensor (`codec.delta`)."""

    digest: bytes
    delta_modes: tuple[int, ...]


class _Compressors(threading.local):
    """The compressors of a thread: zstd indexes the dictionary again in each one, which takes 10 ms."""

    def __init__(self) -> None:
        self.made: dict[tuple[int, ...], zstandard.ZstdCompressor] = {}


_COMPRESSORS = _Compressors()


def _get_compressor(level: int, source_size: int, with_dictionary: bool) -> zstandard.ZstdCompressor:
    dictionary = _read_dictionary() if with_dictionary else None
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=source_size,
        dict_size=len(dictionary) if dictionary else 0,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=0,
        write_checksum=0,
        write_dict_id=0,
    )
    if dictionary is None or source_size > KEPT_FOR:
        return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters)
    key = tuple(getattr(parameters, name) for name in _DETERMINING)
    if key not in _COMPRESSORS.made:
        made = zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters)
        _COMPRESSORS.made[key] = made
    return _COMPRESSORS.made[key]


def pack_model_section(tensors: Sequence[TensorSpec], skeleton: bytes, base: BaseInfo | None = None) -> ModelSection:
    """Table and skeleton in the smallest of the codings. Inverse: `parse_model_section`.

    Raises: ModelFileError if a reader would refuse the section.
    """
    if len(tensors) > MAX_TENSORS:
        raise ModelFileError(f"model: expected at most {MAX_TENSORS} tensors, got {len(tensors)}")
    plain = bytearray()
    put_varint(plain, len(tensors))
    for tensor in tensors:
        name = tensor.name.encode(errors="replace")
        if not tensor.is_possible or name.decode() != tensor.name:
            raise ModelFileError(f"{tensor.name[:80]!r}: expected UTF-8 and a possible shape, got {tensor.shape}")
        if len(name) > MAX_NAME_BYTES or len(tensor.shape) > MAX_DIMS:
            raise ModelFileError(f"{tensor.name[:80]}: expected a name and a shape of usual length, got {tensor.shape}")
        put_varint(plain, len(name))
        plain += name
        plain.append(DTYPE_IDS[tensor.dtype])
        put_varint(plain, len(tensor.shape))
        for extent in tensor.shape:
            put_varint(plain, extent)
    if base:
        plain += base.digest + bytes(base.delta_modes)
    plain += skeleton
    if len(plain) > MAX_LENGTH:
        raise ModelFileError(f"model: expected at most {MAX_LENGTH} bytes outside of the tensors, got {len(plain)}")
    candidates = [ModelSection(STORED, len(plain), bytes(plain))]
    level = _HARD if len(plain) <= 1 << 22 else 3
    for coding in (ZSTD, ZSTD_DICTIONARY):
        compressor = _get_compressor(level, len(plain), with_dictionary=coding == ZSTD_DICTIONARY)
        candidates.append(ModelSection(coding, len(plain), compressor.compress(bytes(plain))))
    return min(candidates, key=lambda candidate: len(candidate.stored))


def parse_model_section(
    section: ModelSection, records: int, has_base: bool = False
) -> tuple[tuple[TensorSpec, ...], bytes, BaseInfo | None]:
    """The table of tensors, the skeleton, and the facts about a base. Inverse: `pack_model_section`.

    records: the number of records in the index; the table must have as many tensors.
    Raises: CorruptError, TruncatedError, UnsupportedError.
    """
    plain = memoryview(_decompress(section))
    count, at = take_varint(plain, 0)
    if count != records or count > MAX_TENSORS:
        raise CorruptError(f"model section: expected {records} tensors, as in the index, got {count}")
    tensors = []
    for _ in range(count):
        tensor, at = _parse_facts(plain, at)
        tensors.append(tensor)
    if len({tensor.name for tensor in tensors}) != count:
        raise CorruptError("model section: expected unique tensor names, got a repeated one")
    if not has_base:
        return tuple(tensors), bytes(plain[at:]), None
    digest, at = take_bytes(plain, at, 32, "model section")
    stored, at = take_bytes(plain, at, count, "model section")
    ways = tuple(stored)
    if max(ways, default=0) > 2:
        raise UnsupportedError(f"model section: delta mode {max(ways)} is not known to this version")
    return tuple(tensors), bytes(plain[at:]), BaseInfo(bytes(digest), ways)


def _decompress(section: ModelSection) -> bytes:
    if section.length > MAX_LENGTH:
        raise CorruptError(f"model section: expected at most {MAX_LENGTH} bytes decoded, got {section.length}")
    if section.coding == STORED:
        plain = section.stored
    elif section.coding in {ZSTD, ZSTD_DICTIONARY}:
        plain = _unpack(section)
    else:
        raise UnsupportedError(f"model section: coding {section.coding} is not known to this version")
    if len(plain) != section.length:
        raise CorruptError(f"model section: expected {section.length} bytes decoded, got {len(plain)}")
    return plain


def _unpack(section: ModelSection) -> bytes:
    """One zstd frame and no bytes after it; never more than the section's length."""
    frame = zstandard.MAGIC_NUMBER.to_bytes(4, "little") + section.stored
    dictionary = _read_dictionary() if section.coding == ZSTD_DICTIONARY else None
    decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=MAX_LENGTH)
    try:
        if zstandard.get_frame_parameters(frame).content_size not in {zstandard.CONTENTSIZE_UNKNOWN, section.length}:
            raise CorruptError(f"model section: expected a frame of {section.length} bytes, got one of another size")
        return decompressor.decompress(frame, max_output_size=section.length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError(f"model section: expected a zstd frame of {section.length} bytes, got {error}") from error


def _parse_facts(plain: memoryview, at: int) -> tuple[TensorSpec, int]:
    length, at = take_varint(plain, at)
    if length > MAX_NAME_BYTES:
        raise CorruptError(f"tensor name: expected at most {MAX_NAME_BYTES} bytes, got {length}")
    raw, at = take_bytes(plain, at, length, "model section")
    try:
        name = str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise CorruptError(f"tensor name at byte {at}: expected UTF-8, got {error.reason}") from error
    dtype, at = take_byte(plain, at, "model section")
    if dtype not in DTYPES:
        raise UnsupportedError(f"{name}: element type {dtype} is not known to this version")
    dims, at = take_varint(plain, at)
    if dims > MAX_DIMS:
        raise CorruptError(f"{name}: expected at most {MAX_DIMS} dimensions, got {dims}")
    shape = []
    for _ in range(dims):
        extent, at = take_varint(plain, at)
        shape.append(extent)
    facts = TensorSpec(name, DTYPES[dtype][0], tuple(shape))
    # Extents of 0 are checked too: an array cannot have them together with too large ones.
    if not facts.is_possible:
        raise CorruptError(f"{name}: expected less than 2**62 bytes, got shape {facts.shape}")
    return facts, at
