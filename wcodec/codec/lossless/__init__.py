"""Exact values: `encode`, and `decode` into bytes or into an array."""

from __future__ import annotations

from wcodec.codec.lossless.payload import LZMA, ZSTD, decode, decode_into, encode
from wcodec.codec.lossless.views import FAST, MOST, split_pieces

__all__ = ["FAST", "LZMA", "MOST", "ZSTD", "decode", "decode_into", "encode", "split_pieces"]
