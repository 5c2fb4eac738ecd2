"""Values that must come back bit for bit: `encode`, and `decode` into bytes or into an array."""

from wcodec.lossless.payload import ZSTD, decode, decode_into, encode
from wcodec.lossless.views import pieces

__all__ = ["ZSTD", "decode", "decode_into", "encode", "pieces"]
