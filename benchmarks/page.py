"""The output of a benchmark: printed, and written to the page that is committed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def publish(lines: Iterable[str], page: Path | None) -> None:
    """Print the lines; write them to `page`, where one is given."""
    text = "\n".join([*lines, ""])
    print(text, end="")
    if page:
        page.write_text(text, "utf-8")
