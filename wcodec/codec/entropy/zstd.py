"""zstd frames without the parts that the container already has: magic, size and checksum (RFC 8878)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import zstandard

from wcodec.errors import CorruptError

MAGIC: Final = b"\x28\xb5\x2f\xfd"


def encode(values: bytes, level: int) -> bytes:
    """One frame. Inverse: `decode`."""
    frame = zstandard.ZstdCompressor(level=level, write_content_size=False, write_checksum=False).compress(values)
    return frame[len(MAGIC) :]


def size_of_file(path: Path) -> int:
    """The size of a whole file after a fast compression, with matches at any distance up to 64 MiB."""
    params = zstandard.ZstdCompressionParameters.from_level(3, window_log=26, enable_ldm=True)
    total = 0
    with path.open("rb") as file, zstandard.ZstdCompressor(compression_params=params).stream_reader(file) as stream:
        while part := stream.read(1 << 20):
            total += len(part)
    return total


def decode(payload: bytes, nbytes: int) -> bytes:
    """Exactly `nbytes` > 0 bytes; it never allocates more. Inverse: `encode`.

    Raises: CorruptError.
    """
    frame = MAGIC + payload
    try:
        declared = zstandard.get_frame_parameters(frame).content_size
        if declared not in (zstandard.CONTENTSIZE_UNKNOWN, nbytes):
            raise CorruptError(f"zstd frame: expected {nbytes} bytes, got a frame of {declared}")
        values = zstandard.ZstdDecompressor().decompress(frame, max_output_size=nbytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError(f"zstd frame: expected {nbytes} bytes, got a damaged frame ({error})") from error
    if len(values) != nbytes:
        raise CorruptError(f"zstd frame: expected {nbytes} bytes, got {len(values)}")
    return values
