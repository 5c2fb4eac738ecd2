"""Numbers as JSON that every parser reads: NaN and infinities, which JSON does not have, are null."""

from __future__ import annotations

import json
import math
from typing import Final

INDENT: Final = 1


def format_json(numbers: object, *, compact: bool = False) -> str:
    """The JSON of numbers, texts, lists and dicts; on one line if it is compact, otherwise with a line for each."""
    indent, separators = (None, (",", ":")) if compact else (INDENT, None)
    try:
        return json.dumps(numbers, indent=indent, separators=separators, allow_nan=False)
    except ValueError:
        return json.dumps(_replace_non_finite(numbers), indent=indent, separators=separators)


def _replace_non_finite(numbers: object) -> object:
    if isinstance(numbers, dict):
        return {key: _replace_non_finite(value) for key, value in numbers.items()}
    if isinstance(numbers, list | tuple):
        return [_replace_non_finite(one) for one in numbers]
    return None if isinstance(numbers, float) and not math.isfinite(numbers) else numbers
