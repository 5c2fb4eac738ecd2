"""JSON from untrusted files, which is parsed only if the result fits in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, TypeAlias

from wcodec.errors import ModelFileError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What json.loads returns."""
MOST_MARKS: Final = 1_250_000
"""The largest number of brackets, colons and commas. A text has fewer values, of at most 100 bytes each
without strings."""


def parse_json(
    text: str, where: str, object_pairs_hook: Callable[[list[tuple[str, Json]]], object] | None = None
) -> Json:
    """The value of a JSON text.

    Raises: ModelFileError if it has too many values; ValueError or RecursionError if it is not JSON.
    """
    marks = sum(text.count(mark) for mark in "[{,:")
    if marks > MOST_MARKS:
        raise ModelFileError(f"{where}: expected JSON of at most {MOST_MARKS} values, got about {marks}")
    parsed: Json = json.loads(text, object_pairs_hook=object_pairs_hook)
    return parsed
