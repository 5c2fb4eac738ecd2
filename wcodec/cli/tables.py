"""Tables and summaries as text for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from wcodec.errors import escape_name
from wcodec.reporting.inspection_tables import Table, compare_sizes, tabulate_parts, tabulate_tensors
from wcodec.reporting.number_format import format_size
from wcodec.reporting.plain_text import count_columns, wrap
from wcodec.reporting.stage_tables import draw_histogram, tabulate_stages, tabulate_values
from wcodec.reporting.sweep_tables import (
    BEST,
    COMMAND,
    rank_correlation,
    tabulate_points,
    tabulate_sensitivities,
)

if TYPE_CHECKING:
    from wcodec.reporting.inspection import Inspection
    from wcodec.reporting.stages import Stages
    from wcodec.reporting.sweep_result import Sweep
    from wcodec.reporting.tensor_view import TensorView


MOST_ROWS = 40
GAP: Final = "  "
LEAST_NAME: Final = 8
"""The smallest width of a name, on any terminal."""


def format_sweep(found: Sweep) -> str:
    """Both tables of `sweep`: the encodings with their commands, then the tensors by sensitivity."""
    from wcodec.reporting.quality_oracle import ALLOWED

    points, tensors = tabulate_points(found), tabulate_sensitivities(found, MOST_ROWS)
    blocks = [render_tables((points,))]
    if COMMAND not in points.fit_width(_find_terminal_width()).head:
        blocks.append("\n".join(f"{one.label}: {one.command}" for one in found.points))
    more = len(found.sensitivities) - MOST_ROWS
    blocks.append(f"Each tensor alone, with 4 times its step:\n{render_tables((tensors,))}")
    blocks[-1] += f"\nand {more} more tensors" if more > 0 else ""
    closing = f"The model file has {format_size(found.source_bytes)}"
    closing += f", its tensors {format_size(found.tensor_bytes)}; ratios are of the file."
    if found.examples:
        closing += f" Losses are measured on {found.examples:,} held-out inputs (nats: KL divergence of the outputs;"
        closing += " predicted, lost: points of accuracy, with the standard error from the number of inputs)."
    if found.accuracy is not None:
        closing += f" The original is right on {found.accuracy:.2f} % of them."
    if (rank := rank_correlation(found)) is not None:
        closing += f" Predicted and measured nats of single tensors have a rank correlation of {rank:.2f}."
    if found.best:
        closing += f" {BEST} is the smallest file that loses at most {ALLOWED:g} points."
    return "\n\n".join([*blocks, wrap(closing, _find_terminal_width())])


def _find_terminal_width() -> int:
    """Columns of the terminal; as many as any table needs without a terminal."""
    terminal = sys.stdout.isatty()
    if not terminal:
        return 1000
    from shutil import get_terminal_size

    return get_terminal_size().columns


def format_inspection(inspection: Inspection, sort: str | None = None) -> str:
    """Both tables of `inspect`: the tensors, then the use of every byte of the file."""
    tensors, sizes = tabulate_tensors(inspection, sort), wrap(compare_sizes(inspection), _find_terminal_width())
    parts = () if inspection.format_version is None else (tabulate_parts(inspection),)
    return f"{render_tables((tensors, *parts))}\n\n{sizes}"


def format_stages(stages: Sequence[Stages]) -> str:
    """Both tables of `--stages`, with an explanation of the columns."""
    sizes, bits = tabulate_stages(stages)
    what = "bytes after each stage: pruned (float32 and gaps), shared (codes and codebook), as coded:"
    more = "bits of a gap and of a code, their entropy and what they took, a kept weight:"
    above, between = (wrap(words, _find_terminal_width()) for words in (what, more))
    return f"{above}\n{render_tables((sizes,))}\n\n{between}\n{render_tables((bits,))}"


def format_tensor(view: TensorView) -> str:
    """The output of `inspect --tensor`: facts, values and gaps with their codewords, and a histogram."""
    alias = f" ({view.name} in the file)" if view.user_name else ""
    facts = [
        f"{view.user_name or view.name}{alias}: {'x'.join(map(str, view.shape)) or 'scalar'} {view.dtype}, "
        f"{view.zeros:,} zeros",
        f"rule: {view.rule}" + (f", step {view.step:.6g}" if view.step else ""),
        f"layout: {view.layout}" + (f" ({' x '.join(map(str, view.rows))})" if view.rows else ""),
        f"coder: {', '.join(view.coders) or 'exact values'}, {view.chunks} chunk{'s' * (view.chunks > 1)}",
    ]
    if view.states or view.outliers:
        facts.append(f"trellis states: {view.states}, outliers: {view.outliers:,}")
    if view.gap_bits:
        facts.append(f"gaps: {view.gap_bits} bits, {view.fillers:,} fillers")
    blocks = ["\n".join(facts)]
    for what, rows in (("level", view.values), ("gap", view.gaps)):
        if rows:
            blocks.append(render_tables((tabulate_values(what, rows, MOST_ROWS),)))
            if len(rows) > MOST_ROWS:
                blocks[-1] += f"\nthe {MOST_ROWS} most frequent of {len(rows):,}; --json has all"
    if view.bins:
        blocks.append("weights that are not 0:\n" + "\n".join(draw_histogram(view)))
    return "\n\n".join(blocks)


def format_summary(
    inspection: Inspection, output: str, dropped: Sequence[str], seconds: float, measured: str = ""
) -> str:
    """The result of `encode`, and the tensors that it left out. measured: the loss of the outputs, if it is known."""
    text = f"{output}: {compare_sizes(inspection, measured)}, {seconds:.1f} s"
    if dropped:
        text += f"\n{len(dropped)} tensors of optimizer state were dropped (--keep-optimizer keeps them)"
    return text


def render_tables(tables: Sequence[Table]) -> str:
    """The tables as wide as the terminal, or as wide as needed without one, separated by an empty line."""
    width = _find_terminal_width()
    shown = [Table(one.head, [[*map(escape_name, row)] for row in one.rows], one.names, one.spare) for one in tables]
    return "\n\n".join(_render_table(one.fit_width(width), width) for one in shown)


def _render_table(table: Table, width: int) -> str:
    """Names are left-aligned, numbers right-aligned; names are folded if there is not enough width."""
    rows = [table.head, *table.rows]
    widths = [max(map(count_columns, column)) for column in zip(*rows, strict=True)]
    for name in sorted(range(table.names), key=lambda number: -widths[number]):
        over = sum(widths) + len(GAP) * (len(widths) - 1) - width
        widths[name] = max(min(LEAST_NAME, widths[name]), widths[name] - max(0, over))
    lines = []
    for row in rows:
        folded = [_fold(cell, size) for cell, size in zip(row, widths, strict=True)]
        for line in range(max(map(len, folded))):
            parts = [cell[line] if line < len(cell) else "" for cell in folded]
            spare = [" " * (size - count_columns(part)) for part, size in zip(parts, widths, strict=True)]
            cells = [p + s if i < table.names else s + p for i, (p, s) in enumerate(zip(parts, spare, strict=True))]
            lines.append(GAP.join(cells).rstrip())
    return "\n".join(lines)


def _fold(text: str, width: int) -> list[str]:
    """The text in pieces of at most this many columns."""
    pieces, taken = [""], 0
    for letter in text if count_columns(text) > width else ():
        columns = count_columns(letter)
        if taken + columns > width and pieces[-1]:
            pieces.append("")
            taken = 0
        pieces[-1] += letter
        taken += columns
    return pieces if pieces != [""] else [text]
