"""What the modules `wcodec.keras` and `wcodec.torch` share."""

from __future__ import annotations

from typing import Final

from wcodec.api.words import EncodeWords, PythonWords

EXACT: Final = frozenset({*PythonWords.__annotations__, "threads", "base", "effort", "keep_optimizer", "seed"})
"""Keywords that say nothing of a loss."""


def words_or_lossless(words: EncodeWords) -> EncodeWords:
    """The words, and `lossless` where none of them says what may be lost: these functions stand in for exact ones."""
    return words if words.keys() - EXACT else {**words, "lossless": True}
