"""The tables of a sweep, as text."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields
from io import StringIO
from typing import TYPE_CHECKING

from wcodec.cli.errors import escape_controls
from wcodec.reporting.number_format import format_error, format_ratio, format_size

if TYPE_CHECKING:
    from rich.table import Table

    from wcodec.reporting.inspection import Inspection
    from wcodec.reporting.sweep import QualityLoss, Sweep


MOST_ROWS = 40


def format_sweep(found: Sweep) -> str:
    """The curve, then the tensors, those first that lose most for what they save."""
    from rich.table import Table

    judged = [point.judged for point in found.points if point.judged]
    curve = Table(box=None, pad_edge=False, header_style="bold")
    curve.add_column("coding")
    for word in ("step", "file bytes", "ratio", "error", *_words(judged)):
        curve.add_column(word, justify="right", no_wrap=True)
    for point in found.points:
        curve.add_row(
            point.name or point.method,
            f"{point.size:.3g}",
            f"{point.file_bytes:,}",
            format_ratio(found.source_bytes, point.file_bytes),
            f"{point.relative_error:.1e}",
            *_numbers(point.judged, judged),
        )
    tensors = Table(box=None, pad_edge=False, header_style="bold")
    tensors.add_column("alone, by 4 times the step", overflow="fold")
    loss = "nats" if judged else "error added"
    for word in ("weights", "bytes", "saved", "own error", loss, f"{loss} for 1,000 B"):
        tensors.add_column(word, justify="right", no_wrap=True)
    for one in found.sensitivities[:MOST_ROWS]:
        tensors.add_row(
            escape_controls(one.name),
            f"{one.weights:,}",
            f"{one.fine_bytes:,}",
            f"{one.saved:,}",
            f"{one.relative_error:.1e}",
            f"{one.judged.divergence if one.judged else one.share:.2e}",
            f"{one.cost:.2e}",
        )
    more = len(found.sensitivities) - MOST_ROWS
    closing = f"{format_size(found.source_bytes)} of model file"
    if found.examples:
        closing += f"; judged on {found.examples:,} inputs kept apart"
    if found.accuracy is not None:
        closing += f", of which the original gets {found.accuracy:.2f} % right"
    return f"{render_tables((curve, tensors))}\n" + (f"and {more} more\n" if more > 0 else "") + f"\n{closing}"


def _words(judged: list[QualityLoss]) -> list[str]:
    words = ["nats", "points predicted"] if judged else []
    words += ["agree"] if any(one.agreement is not None for one in judged) else []
    return words + (["points lost"] if any(one.accuracy_drop is not None for one in judged) else [])


def _numbers(one: QualityLoss | None, judged: list[QualityLoss]) -> list[str]:
    if one is None:
        return []
    found = [f"{one.divergence:.4f}", f"{one.predicted_drop:.2f}"]
    if "agree" in _words(judged):
        found.append("-" if one.agreement is None else f"{one.agreement:.2f} %")
    if "points lost" in _words(judged):
        found.append("-" if one.accuracy_drop is None else f"{one.accuracy_drop:+.2f}")
    return found


def format_inspection(inspection: Inspection, sort: str | None = None) -> str:
    """Both tables of `inspect`: the tensors, then where every byte of the file goes."""
    from rich.table import Table

    from wcodec.reporting.inspection import sort_tensors

    tensors = Table(box=None, pad_edge=False, header_style="bold")
    for word in ("tensor", "shape", "type"):
        tensors.add_column(word, overflow="fold")
    for word in ("kept", "bits/weight", "bytes", "ratio", "error"):
        tensors.add_column(word, justify="right", no_wrap=True)
    for tensor in sort_tensors(inspection.tensors, sort) if sort else inspection.tensors:
        kept = tensor.weights if tensor.kept is None else tensor.kept
        tensors.add_row(
            escape_controls(
                tensor.name if tensor.duplicate_of is None else f"{tensor.name} (as {tensor.duplicate_of})"
            ),
            "x".join(map(str, tensor.shape)) or "scalar",
            tensor.dtype,
            f"{100 * kept / tensor.weights:.1f} %" if tensor.weights else "-",
            f"{tensor.bits_per_weight:.2f}",
            f"{tensor.bytes:,}",
            format_ratio(tensor.raw_bytes, tensor.bytes),
            format_error(tensor.error),
        )
    if inspection.format_version is None:
        closing = f"{format_size(inspection.file_bytes)}, of it {format_size(inspection.tensor_bytes)} in tensors"
        return f"{render_tables((tensors,))}\n\n{closing}"
    parts = Table(box=None, pad_edge=False, header_style="bold")
    parts.add_column("part")
    parts.add_column("bytes", justify="right")
    parts.add_column("share", justify="right")
    for part in fields(inspection.parts):
        word, count = part.name, getattr(inspection.parts, part.name)
        if count:
            parts.add_row(word, f"{count:,}", f"{100 * count / inspection.file_bytes:.1f} %")
    parts.add_row("file", f"{inspection.file_bytes:,}", "100.0 %", style="bold")
    return f"{render_tables((tensors, parts))}\n\n{_closing(inspection)}"


def format_summary(inspection: Inspection, what: str, dropped: Sequence[str], seconds: float) -> str:
    """What `encode` did, and what it left out."""
    text = f"{what}: {_closing(inspection)}, {seconds:.1f} s"
    if dropped:
        text += f"\n{len(dropped)} tensors of optimizer state were dropped (--keep-optimizer keeps them)"
    return text


def _closing(inspection: Inspection) -> str:
    before, after = inspection.source_bytes, inspection.file_bytes
    against = (
        f"{format_ratio(before, after)} of the file, {format_ratio(inspection.tensor_bytes, after)} of its tensors"
    )
    lost = "lossless" if not inspection.relative_error else f"relative error {inspection.relative_error:.2e}"
    return f"{format_size(before)} -> {format_size(after)} ({against}), {lost}"


def render_tables(tables: Sequence[Table]) -> str:
    """As wide as the terminal, or as wide as it takes where there is none; a reader of a file can scroll."""
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 1000
    console = Console(file=StringIO(), width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False)
    for number, one in enumerate(tables):
        if number:
            console.print()
        console.print(one)
    written = console.file
    assert isinstance(written, StringIO)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())
