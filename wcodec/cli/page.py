"""One HTML page with everything in it: styles, drawings, and the numbers as JSON. It opens without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from wcodec.cli.style import STYLE
from wcodec.output import whole_file

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Whatever a name smuggles in, a browser fetches nothing and runs nothing."""
_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), 127), "\ufffd")
"""What may be in the name of a tensor and not in a page."""


def tile(number: str, word: str) -> str:
    """A figure that counts."""
    return f'<div class="tile"><b>{escape(number)}</b><span>{escape(word)}</span></div>'


def legend(words: Sequence[tuple[int, str]]) -> str:
    """Colours and what they stand for."""
    return '<div class="legend">' + "".join(
        f'<span><i class="b{colour}"></i>{escape(word)}</span>' for colour, word in words
    ) + "</div>"  # fmt: skip


def section(title: str, words: str, body: str) -> str:
    """A card with a heading, a sentence and drawings (which are HTML already)."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(words)}</p>{body}</section>"


def plate(name: str, small: str, body: str) -> str:
    """One of several pictures."""
    return f"<figure><figcaption>{escape(name)} <small>{escape(small)}</small></figcaption>{body}</figure>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Words only; the first column is names."""
    top = "".join(f"<th>{escape(word)}</th>" for word in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def page(title: str, below: str, body: str, numbers: Mapping[str, object], footer: str) -> str:
    """The whole page. Numbers are data for programs: a browser does not run them, and nothing in them can end them."""
    body = body.translate(_CONTROLS)
    data = json.dumps(numbers, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)} - wcodec</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>{escape(title)}</h1><p>{escape(below)}</p></header>{body}<footer>{escape(footer)}</footer></main>"
        f'<script type="application/json" id="wcodec">{data}</script></body></html>\n'
    )


def write(target: Path, text: str) -> None:
    """The page at `target`, whole or not at all.

    Raises: OSError.
    """
    with whole_file(target) as temporary:
        temporary.write_text(text, "utf-8", errors="backslashreplace")
