"""Sizes, ratios and errors as text for the terminal and the page."""

from __future__ import annotations


def format_size(count: int) -> str:
    """Bytes in three digits: 812 B, 1.09 MB."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.5 or unit == "TB":
            break
    return f"{amount:.{max(0, 2 - len(str(int(amount))) + 1)}f} {unit}"


def format_ratio(before: int, after: int) -> str:
    """12.3x; a dash if the divisor is 0."""
    return f"{before / after:.{1 if before < 100 * after else 0}f}x" if after and before else "-"


def format_error(value: float | None) -> str:
    """A relative squared error; "exact" if it is 0."""
    return "exact" if not value else f"{value:.1e}"
