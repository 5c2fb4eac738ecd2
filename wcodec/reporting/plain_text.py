"""Text from untrusted files, made safe to show on a terminal, in a log or on a page."""

from __future__ import annotations

from unicodedata import combining, east_asian_width

from wcodec.errors import escape_controls


def count_columns(text: str) -> int:
    """Columns of a terminal that a text takes: two for wide East Asian letters, none for combining accents."""
    if text.isascii():
        return len(text)
    return sum((east_asian_width(letter) in "WF") + (not combining(letter)) for letter in text)


def wrap(text: str, width: int) -> str:
    """The text with its lines broken at spaces if they take more columns than `width`; nothing is cut."""
    return "\n".join(map("\n".join, (_break_line(line, width) for line in text.split("\n"))))


def _break_line(line: str, width: int) -> list[str]:
    if count_columns(line) <= width:
        return [line]
    lines = [""]
    for word in line.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and count_columns(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def escape_markup(text: str) -> str:
    """The text of `escape_controls`, with the special characters of HTML as entities."""
    import html

    return html.escape(escape_controls(text))
