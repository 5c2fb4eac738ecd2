"""The tables of a sweep: rows of text, shown alike by the terminal and the HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wcodec.reporting.inspection_tables import Table
from wcodec.reporting.number_format import format_ratio

if TYPE_CHECKING:
    from wcodec.reporting.quality_oracle import QualityLoss
    from wcodec.reporting.sweep_result import Sweep


BEST = "*"
"""The mark of the smallest file that loses at most `sweep.ALLOWED` points."""


def tabulate_points(sweep: Sweep) -> Table:
    """Every encoding of the model: its name, the command that makes it, its size, and its loss."""
    losses = [point.judged for point in sweep.points if point.judged]
    columns = [column for column in _LOSSES if any(_format_cell(loss, column) != "-" for loss in losses)]
    rows = [
        (
            f"{point.label} {BEST}" if point is sweep.best else point.label,
            point.command,
            f"{point.file_bytes:,}",
            format_ratio(sweep.source_bytes, point.file_bytes),
            f"{point.relative_error:.1e}",
            *(_add_bar(_format_cell(point.judged, column), column, sweep.error_bar(point)) for column in columns),
        )
        for point in sweep.points
    ]
    spare = (COMMAND, "error", "nats", "ratio", "agree", "predicted")
    return Table(("encoding", COMMAND, "bytes", "ratio", "error", *columns), rows, 2, spare)


COMMAND = "command"


def _add_bar(cell: str, column: str, bar: float | None) -> str:
    return cell if bar is None or cell == "-" or column != "lost" else f"{cell} \u00b1{bar:.2f}"


_LOSSES = ("nats", "predicted", "agree", "lost", "score", "score lost")
"""KL divergence; predicted drop of the accuracy in points; equal predictions in percent; measured drop in points; the
user's score, and its decrease."""


def _format_cell(loss: QualityLoss | None, column: str) -> str:
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
    """At most `most` tensors, each encoded alone with a coarse step; those that lose most for the bytes saved first."""
    loss = "nats" if any(one.judged for one in sweep.sensitivities) else "error added"
    predicted = any(one.judged and one.judged.predicted is not None for one in sweep.sensitivities)
    rows = [
        (
            one.shown,
            one.option,
            f"{one.weights:,}",
            f"{one.fine_bytes:,}",
            f"{one.saved:,}",
            f"{one.relative_error:.1e}",
            *([_format_predicted(one.judged)] if predicted else []),
            f"{one.judged.lost if one.judged else one.share:.2e}",
            f"{one.cost:.2e}",
        )
        for one in sweep.sensitivities[:most]
    ]
    head = ("tensor", "option", "weights", "bytes", "saved", "own error", *(["predicted"] if predicted else []), loss)
    return Table((*head, "per kB saved"), rows, 2, ("own error", "weights", "bytes", "predicted", loss))


def _format_predicted(loss: QualityLoss | None) -> str:
    return "-" if loss is None or loss.predicted is None else f"{loss.predicted:.2e}"


def rank_correlation(sweep: Sweep) -> float | None:
    """Spearman's correlation of the predicted and the measured nats of single tensors; None for fewer than three."""
    pairs = [(one.judged.predicted, one.judged.lost) for one in sweep.sensitivities if one.judged]
    known = [(predicted, measured) for predicted, measured in pairs if predicted is not None]
    if len(known) < 3:
        return None
    first, then = (_rank_values(list(values)) for values in zip(*known, strict=True))
    squares = sum((a - b) ** 2 for a, b in zip(first, then, strict=True))
    return 1.0 - 6.0 * squares / (len(known) * (len(known) ** 2 - 1))


def _rank_values(values: list[float]) -> list[int]:
    order = sorted(range(len(values)), key=values.__getitem__)
    return [order.index(place) for place in range(len(values))]
