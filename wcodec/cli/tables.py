"""The tables of a sweep, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wcodec.cli.exit_codes import printable
from wcodec.cli.render import ratio, text_of
from wcodec.cli.render import size as size_text

if TYPE_CHECKING:
    from wcodec.sweep import Judgement, Sweep

MOST_ROWS = 40


def sweep_tables(found: Sweep) -> str:
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
            ratio(found.source_bytes, point.file_bytes),
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
            printable(one.name),
            f"{one.weights:,}",
            f"{one.fine_bytes:,}",
            f"{one.saved:,}",
            f"{one.relative_error:.1e}",
            f"{one.judged.divergence if one.judged else one.share:.2e}",
            f"{one.cost:.2e}",
        )
    more = len(found.sensitivities) - MOST_ROWS
    closing = f"{size_text(found.source_bytes)} of model file"
    if found.examples:
        closing += f"; judged on {found.examples:,} inputs kept apart"
    if found.accuracy is not None:
        closing += f", of which the original gets {found.accuracy:.2f} % right"
    return f"{text_of((curve, tensors))}\n" + (f"and {more} more\n" if more > 0 else "") + f"\n{closing}"


def _words(judged: list[Judgement]) -> list[str]:
    words = ["nats", "points predicted"] if judged else []
    words += ["agree"] if any(one.agreement is not None for one in judged) else []
    return words + (["points lost"] if any(one.accuracy_drop is not None for one in judged) else [])


def _numbers(one: Judgement | None, judged: list[Judgement]) -> list[str]:
    if one is None:
        return []
    found = [f"{one.divergence:.4f}", f"{one.predicted_drop:.2f}"]
    if "agree" in _words(judged):
        found.append("-" if one.agreement is None else f"{one.agreement:.2f} %")
    if "points lost" in _words(judged):
        found.append("-" if one.accuracy_drop is None else f"{one.accuracy_drop:+.2f}")
    return found
