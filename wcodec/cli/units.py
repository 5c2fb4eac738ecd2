"""Words for time and threads on the command line."""

from __future__ import annotations

import argparse
import re

from wcodec.errors import RecipeError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_seconds(text: str) -> float:
    """Seconds of "90", "90s", "5m" or "1.5h".

    Raises: RecipeError.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    if not found:
        raise RecipeError(f"time: expected a number with s, m or h, got {text!r}")
    return float(found[1]) * _SECONDS[found[2]]


def parse_threads(text: str) -> int:
    """0 to 1024 threads.

    Raises: argparse.ArgumentTypeError, which is a usage error.
    """
    if not text.isdecimal() or int(text) > 1024:
        raise argparse.ArgumentTypeError(f"expected 0 to 1024 threads, got {text!r}")
    return int(text)
