"""Texts of files of anybody, made safe to show: on a terminal, in a log, in a page."""

from __future__ import annotations

import html


def escape_controls(text: str) -> str:
    """The text with a mark for each control, bidirectional or other invisible character but tabs and ends of lines,
    since a terminal obeys them and names come from files of anybody."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def escape_markup(text: str) -> str:
    """The same, with the characters that HTML has a meaning for as entities."""
    return html.escape(escape_controls(text))
