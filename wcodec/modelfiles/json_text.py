"""JSON of files of anybody: parsed only where what comes of it fits in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, TypeAlias

from wcodec.errors import ModelFileError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What json.loads returns."""
MOST_MARKS: Final = 1_250_000
"""Brackets, colons and commas of a text: there are fewer values than these, of 100 bytes each at most beside texts."""


def parse_json(
    text: str, where: str, object_pairs_hook: Callable[[list[tuple[str, Json]]], object] | None = None
) -> Json:
    """What a text says.

    Raises: ModelFileError where it has too many values; ValueError, RecursionError where it is no JSON.
    """
    marks = sum(text.count(mark) for mark in "[{,:")
    if marks > MOST_MARKS:
        raise ModelFileError(f"{where}: expected JSON of at most {MOST_MARKS} values, got about {marks}")
    parsed: Json = json.loads(text, object_pairs_hook=object_pairs_hook)
    return parsed
