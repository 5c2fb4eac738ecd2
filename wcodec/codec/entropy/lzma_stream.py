"""Raw LZMA streams ("LZMA1") without the header of .lzma or .xz files, which the container replaces."""

from __future__ import annotations

from typing import Final

from wcodec.errors import CorruptError, TruncatedError, UnsupportedError

LEAST_DICTIONARY: Final = 1 << 12
MOST_DICTIONARY: Final = 1 << 26
"""The largest dictionary in bytes; a decoder needs this memory in addition to the output."""
USUAL: Final = (3, 0, 2)
"""Bits of literal context, of literal position and of position, as in `xz -9`."""


def encode(values: bytes) -> bytes:
    """A byte of properties, as in .lzma files, and the stream with its end mark. Inverse: `decode`."""
    import lzma

    lc, lp, pb = USUAL
    stream = lzma.compress(values, lzma.FORMAT_RAW, filters=[_filter(len(values), lc, lp, pb, lzma.PRESET_EXTREME | 9)])
    return bytes((lc + 9 * (lp + 5 * pb),)) + stream


def decode(payload: bytes, nbytes: int) -> bytes:
    """Exactly `nbytes` > 0 bytes. It allocates at most these and a dictionary of the same size. Inverse: `encode`.

    Raises: CorruptError, TruncatedError; UnsupportedError if Python was built without lzma.
    """
    try:
        import lzma
    except ImportError as error:
        raise UnsupportedError("lossless: expected a Python with its module lzma, got one without") from error
    if not payload:
        raise TruncatedError("lzma: ended early; needed its properties, got nothing")
    rest, pb = payload[0] % 45, payload[0] // 45
    lc, lp = rest % 9, rest // 9
    if pb > 4 or lc + lp > 4:
        raise CorruptError(f"lzma: expected properties of at most 4 bits, got {lc}, {lp} and {pb}")
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_filter(nbytes, lc, lp, pb, 0)])
    try:
        values = decoder.decompress(payload[1:], nbytes)
        # The end mark may follow the last byte.
        more = b"" if decoder.eof else decoder.decompress(b"", 1)
    except (lzma.LZMAError, EOFError) as error:
        raise CorruptError(f"lzma: expected a stream of {nbytes} bytes, got a damaged one ({error})") from error
    if len(values) != nbytes or more or not decoder.eof or decoder.unused_data:
        raise CorruptError(f"lzma: expected a stream of {nbytes} bytes, got {len(values)} or more and no end there")
    return values


def _filter(nbytes: int, lc: int, lp: int, pb: int, preset: int) -> dict[str, int]:
    import lzma

    dictionary = min(max(nbytes, LEAST_DICTIONARY), MOST_DICTIONARY)
    return {"id": lzma.FILTER_LZMA1, "preset": preset, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}
