"""Numbers as differences from those of an earlier version: integers that are small where the two are close.

Floats are taken by their place in the order of all floats of their type, so a difference of 1 is the next float.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.lossless.views import WORDS, Kind, kind_of

Words = npt.NDArray[np.unsignedinteger]
Bytes = npt.NDArray[np.uint8]


def difference(values: Bytes, base: Bytes, dtype: str) -> tuple[Bytes, str] | None:
    """values - base, both uint8[bytes] of elements of `dtype`: as bytes, and the type of integers to code them as.

    None where elements of `dtype` are neither floats nor integers. Inverse: `restored`.
    """
    kind = kind_of(dtype)
    if kind is None:
        return None
    place = _place(values.view(WORDS[kind.item_bytes]), kind)
    place -= _place(base.view(WORDS[kind.item_bytes]), kind)
    return place.view(np.uint8), f"int{8 * kind.item_bytes}"


def restored(difference: Bytes, base: Bytes, dtype: str) -> Bytes:
    """The values. Inverse: `difference`, with the same base."""
    kind = kind_of(dtype)
    assert kind
    place = _place(base.view(WORDS[kind.item_bytes]), kind)
    place += difference.view(WORDS[kind.item_bytes])
    return _word(place, kind).view(np.uint8)


def _place(words: Words, kind: Kind) -> Words:
    """A float's place in the order of floats; an integer itself. A copy. Inverse: `_word`."""
    if not kind.exponent_bits:
        return words.copy()
    top = words.dtype.type(1 << (8 * kind.item_bytes - 1))
    places: Words = np.where(words & top, ~words, words | top)
    return places


def _word(places: Words, kind: Kind) -> Words:
    """Inverse: `_place`."""
    if not kind.exponent_bits:
        return places
    top = places.dtype.type(1 << (8 * kind.item_bytes - 1))
    words: Words = np.where(places & top, places ^ top, ~places)
    return words
