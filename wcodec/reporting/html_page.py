"""One HTML page with its styles, charts, and numbers as JSON. It loads nothing from the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wcodec.files import whole_file
from wcodec.reporting.inspection_tables import Table
from wcodec.reporting.json_numbers import format_json
from wcodec.reporting.plain_text import escape_markup as escape

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A browser loads nothing and runs nothing, whatever the names of tensors contain."""
_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), 127), "\ufffd")
"""Characters that names of tensors may have and pages may not."""


def render_tile(number: str, word: str) -> str:
    """A number with a label."""
    return f'<div class="tile"><b>{escape(number)}</b><span>{escape(word)}</span></div>'


def render_legend(words: Sequence[tuple[int, str]]) -> str:
    """Colours and their meanings."""
    return '<div class="legend">' + "".join(
        f'<span><i class="b{colour}"></i>{escape(word)}</span>' for colour, word in words
    ) + "</div>"  # fmt: skip


def render_section(title: str, words: str, body: str) -> str:
    """A section with a heading, a text, and a body of HTML."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(words)}</p>{body}</section>"


def render_figure(name: str, small: str, body: str) -> str:
    """A figure with a caption."""
    return f"<figure><figcaption>{escape(name)} <small>{escape(small)}</small></figcaption>{body}</figure>"


def render_table(table: Table) -> str:
    """A table of text; names are left-aligned and folded, numbers are neither."""

    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = ['<{} class="name">' if at < table.names else "<{}>" for at in range(len(cells))]
        return "".join(f"{kind.format(tag)}{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    top, body = line("th", table.head), "".join(f"<tr>{line('td', row)}</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def render_page(title: str, below: str, body: str, numbers: Mapping[str, object], footer: str) -> str:
    """The whole page. The numbers are JSON in a script element that browsers do not run and names cannot close."""
    body = body.translate(_CONTROLS)
    data = format_json(numbers, compact=True).replace("<", "\\u003c").replace("&", "\\u0026")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)} - wcodec</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>{escape(title)}</h1><p>{escape(below)}</p></header>{body}<footer>{escape(footer)}</footer></main>"
        f'<script type="application/json" id="wcodec">{data}</script></body></html>\n'
    )


def write_page(target: Path, text: str, source: Path) -> None:
    """Write the page of a file to `target` atomically, with the file's permissions.

    Raises: OSError.
    """
    with whole_file(target, source) as temporary:
        temporary.write_text(text, "utf-8", errors="backslashreplace")


_COLOURS = "".join(
    f".f{i}{{fill:var(--c{i})}}.s{i}{{stroke:var(--c{i})}}.b{i}{{background:var(--c{i})}}" for i in range(1, 10)
)
STYLE = f"""
:root {{
  color-scheme: light dark;
  --bg: #f7f7f4; --card: #fff; --fg: #1d2126; --soft: #5f6771; --grid: #e4e5e2; --area: #c9d3df;
  --c1: #2563c9; --c2: #d9731a; --c3: #1f9e83; --c4: #8a55c4; --c5: #cc4661;
  --c6: #8a8b2d; --c7: #4aa3c9; --c8: #9a7558; --c9: #9aa1a9;
}}
@media (prefers-color-scheme: dark) {{ :root {{
  --bg: #14171b; --card: #1c2026; --fg: #e7e9ec; --soft: #9aa3ad; --grid: #2e343c; --area: #3b4654;
  --c1: #6ea4ff; --c2: #f2a154; --c3: #4fcbb0; --c4: #b78df0; --c5: #f0819a;
  --c6: #c2c35c; --c7: #82cdee; --c8: #cfa98a; --c9: #7d8790;
}} }}
* {{ box-sizing: border-box }}
body {{ margin: 0; background: var(--bg); color: var(--fg); font: 15px/1.5 system-ui, "Segoe UI", sans-serif }}
main {{ max-width: 960px; margin: 0 auto; padding: 32px 20px 60px }}
h1 {{ font-size: 26px; margin: 0 0 2px; overflow-wrap: anywhere }}
h2 {{ font-size: 17px; margin: 0 0 4px }}
p {{ margin: 0 0 14px; color: var(--soft); max-width: 75ch }}
section, .tile {{ background: var(--card); border: 1px solid var(--grid); border-radius: 10px }}
section {{ padding: 20px 24px; margin-top: 18px }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 12px; margin-top: 18px }}
.tile {{ padding: 12px 14px; min-width: 0; overflow-wrap: anywhere }}
.tile b {{ display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums }}
.tile span, footer {{ color: var(--soft); font-size: 13px }}
svg {{ display: block; width: 100%; height: auto; overflow: visible }}
svg text {{ fill: var(--soft); font-size: 12px }}
svg .label {{ font-size: 13px }}
svg .strong {{ fill: var(--fg); font-weight: 600 }}
svg .name {{ fill: var(--fg) }}
.grid {{ stroke: var(--grid); fill: none }}
.axis {{ stroke: var(--soft); fill: none }}
.level {{ stroke: var(--soft); fill: none; stroke-dasharray: 5 4 }}
.line {{ fill: none; stroke-width: 2 }}
.stem {{ fill: none; stroke-width: 1.6 }}
.dot {{ stroke: var(--card); stroke-width: 1.5 }}
.area {{ fill: var(--area) }}
{_COLOURS}
.legend {{ display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 10px; font-size: 13px; color: var(--soft) }}
.legend i {{ display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px }}
.figures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 22px 26px }}
figure {{ margin: 0; min-width: 0 }}
figcaption {{ font-size: 13px; margin-bottom: 6px; overflow-wrap: anywhere }}
figcaption small {{ color: var(--soft) }}
.pattern {{ display: block; width: 100%; height: 160px; image-rendering: pixelated }}
.pattern {{ border: 1px solid var(--grid); border-radius: 4px }}
.scroll {{ overflow-x: auto }}
.wide svg {{ min-width: 640px }}
table {{ border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums }}
th, td {{ text-align: right; padding: 4px 0 4px 16px; border-bottom: 1px solid var(--grid); white-space: nowrap }}
th {{ color: var(--soft); font-weight: 500 }}
th.name, td.name {{ text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9ch }}
th:first-child, td:first-child {{ padding-left: 0 }}
td:first-child {{ min-width: 13ch }}
footer {{ margin-top: 22px }}
@media print {{ section {{ break-inside: avoid }} }}
"""
