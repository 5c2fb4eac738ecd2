"""The charts of a sweep: size against loss, and the sensitivity of each tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wcodec.reporting import html_page, svg
from wcodec.reporting.number_format import format_size
from wcodec.reporting.quality_oracle import ALLOWED
from wcodec.reporting.sweep_tables import BEST, tabulate_points, tabulate_sensitivities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wcodec.reporting.sweep_result import Point, Sweep


DEEPEST = 5.0
"""Points of accuracy below the original down to which a curve is drawn."""
MOST_STEMS = 40


def render_charts(sweep: Sweep) -> list[str]:
    """Sections of the page."""
    found = []
    accuracies = [p.judged.accuracy for p in sweep.points if p.judged and p.judged.accuracy is not None]
    if sweep.accuracy is not None and accuracies:
        found.append(_draw_accuracy(sweep, sweep.accuracy, accuracies))
    if any(point.judged and point.judged.score is not None for point in sweep.points):
        words = "What the user's own measure loses against the original."
        drawn = _draw_curve(sweep, "score lost", lambda p: max(p.judged.lost, 0.0) if p.judged else 0.0, "Lost score")
        found.append(html_page.render_section("Size and lost score", words, drawn))
    if any(point.judged and point.judged.divergence is not None for point in sweep.points):
        words = f"KL divergence of the outputs from the original's, in nats, on {sweep.examples:,} held-out inputs. "
        words += "0.01 nats cost about 0.4 points of accuracy."
        drawn = _draw_curve(sweep, "divergence, nats", lambda p: p.judged.lost if p.judged else 0.0, "Divergence")
        found.append(html_page.render_section("Size and divergence", words, drawn))
    words = "Relative squared error of the weights."
    if any(point.method == "calibrated" for point in sweep.points):
        words += " Calibration changes weights on purpose, so this error says little about calibrated files."
    drawn = _draw_curve(sweep, "relative error", lambda point: point.relative_error, "Error")
    found.append(html_page.render_section("Size and error of the weights", words, drawn))
    return [*found, _draw_sensitivity(sweep), _render_points(sweep)]


def _make_series(points: Sequence[Point], y: Callable[[Point], float]) -> list[svg.Series]:
    def mark(point: Point) -> svg.Mark:
        said = f"{point.name or point.method} {point.size:.3g}: {point.file_bytes:,} bytes, {y(point):.4g}"
        return float(point.file_bytes), y(point), point.name, said

    free = [mark(point) for point in points if point.method != "calibrated"]
    fed = [mark(point) for point in points if point.method == "calibrated"]
    found = [svg.Series("without data", 1, free), svg.Series("calibrated", 2, fed)]
    return [one for one in found if one.marks]


def _make_bytes_axis(sweep: Sweep) -> svg.Axis:
    return svg.make_log_axis(
        "bytes of the file", [point.file_bytes for point in sweep.points], lambda x: format_size(round(x))
    )


def _render_legend(series: Sequence[svg.Series]) -> str:
    return html_page.render_legend([(one.colour, one.name) for one in series]) if len(series) > 1 else ""


def _draw_curve(sweep: Sweep, label: str, y: Callable[[Point], float], title: str) -> str:
    series = _make_series(sweep.points, y)
    axis = svg.make_log_axis(label, [y(point) for point in sweep.points], lambda value: f"{value:.3g}")
    return _render_legend(series) + svg.draw_curve(f"{title} by size", _make_bytes_axis(sweep), axis, series)


def _draw_accuracy(sweep: Sweep, original: float, accuracies: Sequence[float]) -> str:
    points = [point for point in sweep.points if point.judged and point.judged.accuracy is not None]
    series = _make_series(points, lambda point: (point.judged.accuracy if point.judged else None) or 0.0)
    low = max(min(*accuracies, original), original - DEEPEST)
    room = 0.08 * max(max(*accuracies, original) - low, 0.25)
    axis = svg.Axis("accuracy, %", low - room, max(*accuracies, original) + room, lambda v: f"{v:.4g}", False)
    words = f"Measured on {sweep.examples:,} held-out inputs."
    if min(accuracies) < low:
        words += f" Points that are more than {DEEPEST:g} points below the original are drawn at the bottom."
    drawn = svg.draw_curve("Accuracy by size", _make_bytes_axis(sweep), axis, series, (original, "the original"))
    return html_page.render_section("Size and accuracy", words, _render_legend(series) + drawn)


def _draw_sensitivity(sweep: Sweep) -> str:
    dearest = [one for one in sweep.sensitivities if one.cost > 0][:MOST_STEMS]
    if not dearest:
        return ""
    judged = any(one.judged for one in dearest)
    loss = "nats" if judged else "relative error"
    rows = [
        (one.shown, one.cost, f"{one.shown}: {one.saved:,} bytes saved for {one.cost * one.saved / 1000:.3g} {loss}",
         f"saves {format_size(one.saved)}")
        for one in dearest
    ]  # fmt: skip
    axis = svg.make_log_axis(
        f"{loss} lost for each 1,000 bytes saved", [one.cost for one in dearest], lambda v: f"{v:.3g}"
    )
    words = "Each tensor is encoded alone with four times its step, and all others keep their values. Tensors at the "
    words += "top lose most for the bytes they save: give them more bits, and fewer to those at the bottom (--set)."
    return html_page.render_section("Sensitivity", words, svg.draw_stems("Loss for bytes saved, by tensor", axis, rows))


def _render_points(sweep: Sweep) -> str:
    words = "Every encoding that was measured, and the command that makes it; of a calibrated one, a file like it."
    words += f" {BEST} is the smallest that loses at most {ALLOWED:g} points." if sweep.best else ""
    words += "" if sweep.complete else " The time limit ended the sweep early."
    encodings = html_page.render_section("The encodings", words, html_page.render_table(tabulate_points(sweep)))
    words = (
        "The option halves the step of a tensor that loses more than most for its bytes, and quadruples that of others."
    )
    table = tabulate_sensitivities(sweep, MOST_STEMS)
    return encodings + (
        html_page.render_section("Options by tensor", words, html_page.render_table(table)) if table.rows else ""
    )
