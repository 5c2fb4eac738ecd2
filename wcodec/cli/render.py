"""Numbers as people read them: sizes, summaries, tables. Returns text; `streams` writes it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields
from io import StringIO
from typing import TYPE_CHECKING

from wcodec.cli.exit_codes import printable

if TYPE_CHECKING:
    from rich.table import Table

    from wcodec.inspection import Inspection

def size(count: int) -> str:
    """Bytes in three digits: 812 B, 1.09 MB."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.5 or unit == "TB":
            break
    return f"{amount:.{max(0, 2 - len(str(int(amount))) + 1)}f} {unit}"


def ratio(before: int, after: int) -> str:
    """12.3x; a dash where there is nothing to divide."""
    return f"{before / after:.{1 if before < 100 * after else 0}f}x" if after and before else "-"


def error(value: float | None) -> str:
    """A relative squared error; exact where nothing was lost."""
    return "exact" if not value else f"{value:.1e}"


def table(inspection: Inspection, sort: str | None = None) -> str:
    """Both tables of `inspect`: the tensors, then where every byte of the file goes."""
    from rich.table import Table

    from wcodec.inspection import listed

    tensors = Table(box=None, pad_edge=False, header_style="bold")
    for word in ("tensor", "shape", "type"):
        tensors.add_column(word, overflow="fold")
    for word in ("kept", "bits/weight", "bytes", "ratio", "error"):
        tensors.add_column(word, justify="right", no_wrap=True)
    for tensor in listed(inspection.tensors, sort) if sort else inspection.tensors:
        kept = tensor.weights if tensor.kept is None else tensor.kept
        tensors.add_row(
            printable(tensor.name if tensor.duplicate_of is None else f"{tensor.name} (as {tensor.duplicate_of})"),
            "x".join(map(str, tensor.shape)) or "scalar",
            tensor.dtype,
            f"{100 * kept / tensor.weights:.1f} %" if tensor.weights else "-",
            f"{tensor.bits_per_weight:.2f}",
            f"{tensor.bytes:,}",
            ratio(tensor.raw_bytes, tensor.bytes),
            error(tensor.error),
        )
    if inspection.format_version is None:
        closing = f"{size(inspection.file_bytes)}, of it {size(inspection.tensor_bytes)} in tensors"
        return f"{text_of((tensors,))}\n\n{closing}"
    parts = Table(box=None, pad_edge=False, header_style="bold")
    parts.add_column("part")
    parts.add_column("bytes", justify="right")
    parts.add_column("share", justify="right")
    for part in fields(inspection.parts):
        word, count = part.name, getattr(inspection.parts, part.name)
        if count:
            parts.add_row(word, f"{count:,}", f"{100 * count / inspection.file_bytes:.1f} %")
    parts.add_row("file", f"{inspection.file_bytes:,}", "100.0 %", style="bold")
    return f"{text_of((tensors, parts))}\n\n{_closing(inspection)}"


def summary(inspection: Inspection, what: str, dropped: Sequence[str], seconds: float) -> str:
    """What `encode` did, and what it left out."""
    text = f"{what}: {_closing(inspection)}, {seconds:.1f} s"
    if dropped:
        text += f"\n{len(dropped)} tensors of optimizer state were dropped (--keep-optimizer keeps them)"
    return text


def _closing(inspection: Inspection) -> str:
    before, after = inspection.source_bytes, inspection.file_bytes
    against = f"{ratio(before, after)} of the file, {ratio(inspection.tensor_bytes, after)} of its tensors"
    lost = "lossless" if not inspection.relative_error else f"relative error {inspection.relative_error:.2e}"
    return f"{size(before)} -> {size(after)} ({against}), {lost}"


def text_of(tables: Sequence[Table]) -> str:
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
