"""Shared parts of the modules `wcodec.keras` and `wcodec.torch`."""

from __future__ import annotations

from typing import Final

from wcodec.api.words import EncodeWords, PythonWords

EXACT: Final = frozenset({*PythonWords.__annotations__, "threads", "base", "effort", "keep_optimizer", "seed"})
"""Keywords without an effect on the loss."""


def words_or_lossless(words: EncodeWords) -> EncodeWords:
    """The options, with `lossless` if none of them is lossy, because these functions replace exact ones."""
    return words if words.keys() - EXACT else {**words, "lossless": True}
