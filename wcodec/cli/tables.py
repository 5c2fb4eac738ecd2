"""Tables and summaries as text for the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from wcodec.cli.stdio import escape_controls
from wcodec.reporting.inspection_tables import Table, compare_sizes, tabulate_parts, tabulate_tensors
from wcodec.reporting.number_format import format_size
from wcodec.reporting.sweep_tables import tabulate_points, tabulate_sensitivities

if TYPE_CHECKING:
    from wcodec.reporting.inspection import Inspection
    from wcodec.reporting.sweep import Sweep


MOST_ROWS = 40


def format_sweep(found: Sweep) -> str:
    """Both tables of `sweep`: the encodings of the model, then the tensors by their sensitivity."""
    more = len(found.sensitivities) - MOST_ROWS
    closing = f"\nand {more} more tensors" if more > 0 else ""
    closing += f"\n\nThe model file has {format_size(found.source_bytes)}."
    if found.examples:
        closing += f" Losses are measured on {found.examples:,} held-out inputs (nats: KL divergence of the outputs;"
        closing += " predicted, lost: points of accuracy)."
    if found.accuracy is not None:
        closing += f" The original is right on {found.accuracy:.2f} % of them."
    text = render_tables((tabulate_points(found), tabulate_sensitivities(found, MOST_ROWS)))
    return text.replace("\n\n", "\n\nEach tensor alone, with 4 times its step:\n", 1) + closing


def format_inspection(inspection: Inspection, sort: str | None = None) -> str:
    """Both tables of `inspect`: the tensors, then what every byte of the file is used for."""
    tensors = tabulate_tensors(inspection, sort)
    if inspection.format_version is None:
        return f"{render_tables((tensors,))}\n\n{compare_sizes(inspection)}"
    return f"{render_tables((tensors, tabulate_parts(inspection)))}\n\n{compare_sizes(inspection)}"


def format_summary(inspection: Inspection, output: str, dropped: Sequence[str], seconds: float) -> str:
    """The result of `encode`, and what it left out."""
    text = f"{output}: {compare_sizes(inspection)}, {seconds:.1f} s"
    if dropped:
        text += f"\n{len(dropped)} tensors of optimizer state were dropped (--keep-optimizer keeps them)"
    return text


def render_tables(tables: Sequence[Table]) -> str:
    """The tables as wide as the terminal, or as wide as they need to be where there is none, with a line between."""
    from rich import table as rich_table
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 1000
    written = StringIO()
    console = Console(file=written, width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False)
    for number, one in enumerate(tables):
        if number:
            console.print()
        drawn = rich_table.Table(box=None, pad_edge=False, header_style="bold")
        fitted = Table(one.head, [[*map(escape_controls, row)] for row in one.rows], one.names, one.spare).fitted(width)
        for column, word in enumerate(fitted.head):
            is_name = column < fitted.names
            drawn.add_column(word, overflow="fold", justify="left" if is_name else "right", no_wrap=not is_name)
        for row in fitted.rows:
            drawn.add_row(*row)
        console.print(drawn)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())
