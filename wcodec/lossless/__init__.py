"""Values that must come back bit for bit: `encode`, and `decode` into bytes or into an array."""

from wcodec.lossless.payload import ZSTD, decode, decode_into, encode
from wcodec.lossless.views import FAST, MOST, pieces

__all__ = ["FAST", "MOST", "ZSTD", "decode", "decode_into", "encode", "pieces"]
