"""The tables of an inspection and of a sweep: rows of text, which the terminal and the HTML page show alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wcodec.reporting.number_format import format_error, format_ratio

if TYPE_CHECKING:
    from wcodec.reporting.inspection import Inspection, TensorNumbers
    from wcodec.reporting.quality_oracle import QualityLoss
from wcodec.reporting.sweep import Sweep


@dataclass(frozen=True)
class Table:
    """A head and rows of as many cells. The first `names` columns are names, the others are numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


def tabulate_tensors(inspection: Inspection, order: str | None = None) -> Table:
    """Every tensor of a file, in the order of the file or by "size", "ratio" or "error" (see `sort_tensors`)."""
    tensors = sort_tensors(inspection.tensors, order)
    if inspection.format_version is None:
        plain = [(*_names(one), f"{one.bytes:,}") for one in tensors]
        return Table(("tensor", "shape", "type", "bytes"), plain, 3)
    rows = [
        (
            *_names(one),
            f"{100 * (one.weights if one.kept is None else one.kept) / one.weights:.1f} %" if one.weights else "-",
            f"{one.bits_per_weight:.2f}",
            f"{one.bytes:,}",
            format_ratio(one.raw_bytes, one.bytes),
            format_error(one.error),
        )
        for one in tensors
    ]
    return Table(("tensor", "shape", "type", "kept", "bits/weight", "bytes", "ratio", "error"), rows, 3)


def sort_tensors(tensors: Sequence[TensorNumbers], order: str | None) -> Sequence[TensorNumbers]:
    """The tensors by "size" (bytes, largest first), "ratio" (worst first) or "error" (largest first)."""
    keys = {
        "size": lambda t: -t.bytes,
        "ratio": lambda t: t.raw_bytes / max(1, t.bytes),
        "error": lambda t: -(t.error or 0.0),
    }
    return sorted(tensors, key=keys[order]) if order else tensors


def tabulate_points(sweep: Sweep) -> Table:
    """Every encoding of the model: the options that make `encode` write it, its size, and what it loses."""
    losses = [point.judged for point in sweep.points if point.judged]
    columns = [column for column in _LOSSES if any(_cell(loss, column) != "-" for loss in losses)]
    rows = [
        (
            point.option,
            f"{point.file_bytes:,}",
            format_ratio(sweep.source_bytes, point.file_bytes),
            f"{point.relative_error:.1e}",
            *(_cell(point.judged, column) for column in columns),
        )
        for point in sweep.points
    ]
    return Table(("encode with", "bytes", "ratio", "error", *columns), rows)


_LOSSES = ("nats", "predicted", "agree", "lost", "score", "score lost")
"""KL divergence; predicted drop of the accuracy, points; equal predictions, percent; measured drop, points; the user's
score, and how much lower than the original's it is."""


def _cell(loss: QualityLoss | None, column: str) -> str:
    if loss is None:
        return "-"
    values = {
        "nats": "-" if loss.divergence is None else f"{loss.divergence:.4f}",
        "predicted": "-" if loss.predicted_drop is None else f"{loss.predicted_drop:.2f}",
        "agree": "-" if loss.agreement is None else f"{loss.agreement:.2f} %",
        "lost": "-" if loss.accuracy_drop is None else f"{loss.accuracy_drop:+.2f}",
        "score": "-" if loss.score is None else f"{loss.score:.4f}",
        "score lost": "-" if loss.score_drop is None else f"{loss.score_drop:+.4f}",
    }
    return values[column]


def tabulate_sensitivities(sweep: Sweep, most: int) -> Table:
    """At most `most` tensors, each encoded alone with a coarse step; those first that lose most for what they save."""
    loss = "nats" if any(one.judged for one in sweep.sensitivities) else "error added"
    rows = [
        (
            one.name,
            f"{one.weights:,}",
            f"{one.fine_bytes:,}",
            f"{one.saved:,}",
            f"{one.relative_error:.1e}",
            f"{one.judged.lost if one.judged else one.share:.2e}",
            f"{one.cost:.2e}",
        )
        for one in sweep.sensitivities[:most]
    ]
    return Table(("tensor", "weights", "bytes", "saved", "own error", loss, "per kB saved"), rows)


def _names(tensor: TensorNumbers) -> tuple[str, str, str]:
    name = tensor.name if tensor.duplicate_of is None else f"{tensor.name} (as {tensor.duplicate_of})"
    return name, "x".join(map(str, tensor.shape)) or "scalar", tensor.dtype
