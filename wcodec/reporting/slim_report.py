"""A smaller network compared with the original: lines for a terminal, JSON, and an HTML page with layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wcodec import __version__
from wcodec.model.dataclass import dataclass
from wcodec.reporting import html_page
from wcodec.reporting.inspection_tables import Table
from wcodec.reporting.number_format import format_size


@dataclass(frozen=True)
class LayerWidth:
    """One layer: its units (or its rank) before and after, and why some stay for any score.

    frozen: "" if no unit is frozen.
    """

    name: str
    kind: str
    before: int
    after: int
    frozen: str


@dataclass(frozen=True)
class NetworkFacts:
    """The measurements of a network.

    accuracy: percent, or None.
    r2:       of values, or None.
    seconds:  of `predict` by batch size.
    """

    parameters: int
    macs: float | None
    accuracy: float | None
    loss: float | None
    seconds: Mapping[int, float]
    r2: float | None = None


@dataclass(frozen=True)
class SlimReport:
    """Both networks, and their files.

    examples:     the number on which both were measured.
    agreement:    the percentage of equal predictions.
    divergence:   of the outputs, in nats or relative squared error.
    source_bytes: None if the source is a folder.
    """

    before: NetworkFacts
    after: NetworkFacts
    layers: Sequence[LayerWidth]
    examples: int
    agreement: float | None
    divergence: float | None
    source_bytes: int | None
    file_bytes: int

    def to_json(self) -> dict[str, object]:
        """Numbers only."""
        before, after = self.before, self.after
        return {
            "parameters": after.parameters,
            "parameters_before": before.parameters,
            "macs": after.macs,
            "macs_before": before.macs,
            "file_bytes": self.file_bytes,
            "source_bytes": self.source_bytes,
            "examples": self.examples,
            "accuracy": after.accuracy,
            "accuracy_before": before.accuracy,
            "r2": after.r2,
            "r2_before": before.r2,
            "loss": after.loss,
            "loss_before": before.loss,
            "agreement": self.agreement,
            "divergence": self.divergence,
            "seconds": {str(batch): seconds for batch, seconds in after.seconds.items()},
            "seconds_before": {str(batch): seconds for batch, seconds in before.seconds.items()},
            "layers": [
                {
                    "name": one.name,
                    "kind": one.kind,
                    "width_before": one.before,
                    "width": one.after,
                    "frozen": one.frozen,
                }
                for one in self.layers
            ],
        }

    def lines(self) -> list[str]:
        """Lines for a terminal."""
        rows = [
            f"{one.name:<32} {one.kind:<20} {one.before:>6} -> {one.after:<6}{_describe_frozen(one)}".rstrip()
            for one in self.layers
        ]
        rows += [f"{what:<17} {was} -> {now}{f' ({more})' if more else ''}" for what, was, now, more in self.figures()]
        if self.agreement is not None:
            rows.append(f"agreement         {self.agreement:.2f} % of {self.examples:,} inputs kept apart")
        return rows

    def figures(self) -> list[tuple[str, str, str, str]]:
        """Name, before, after, and a remark or ""."""
        before, after = self.before, self.after
        rows = [("parameters", f"{before.parameters:,}", f"{after.parameters:,}", "")]
        if before.macs and after.macs is not None:
            rows.append(("multiply-adds", f"{before.macs:,.0f}", f"{after.macs:,.0f}", ""))
        if self.source_bytes is not None:
            rows.append(("bytes", format_size(self.source_bytes), format_size(self.file_bytes), ""))
        if before.accuracy is not None and after.accuracy is not None:
            lost = f"{before.accuracy - after.accuracy:+.2f} points lost"
            rows.append(("accuracy", f"{before.accuracy:.2f}", f"{after.accuracy:.2f} %", lost))
        if before.r2 is not None and after.r2 is not None:
            rows.append(("R2", f"{before.r2:.4f}", f"{after.r2:.4f}", ""))
        for batch, seconds in after.seconds.items():
            was = before.seconds[batch]
            faster = f"{was / seconds:.2f} times as fast"
            rows.append((f"batch of {batch}", f"{1e3 * was:.2f}", f"{1e3 * seconds:.2f} ms", faster))
        return rows


def write_slim_page(target: Path, source: Path, report: SlimReport) -> None:
    """Write the page.

    Raises: OSError.
    """
    part = report.after.parameters / max(1, report.before.parameters)
    tiles = [html_page.render_tile(f"{100 * part:.0f} %", "of the parameters")]
    tiles += [html_page.render_tile(more or f"{was} -> {now}", what) for what, was, now, more in report.figures()[1:]]
    figures = Table(("", "before", "after", ""), report.figures())
    rows = [
        (one.name, one.kind, f"{one.before:,}", f"{one.after:,}", _describe_frozen(one).strip())
        for one in report.layers
    ]
    layers = Table(("layer", "kind", "before", "after", ""), rows)
    words = f"Measured on {report.examples:,} inputs that nothing was chosen, fitted or trained by."
    body = [
        f'<div class="tiles">{"".join(tiles)}</div>',
        html_page.render_section("Both networks", words if report.examples else "", html_page.render_table(figures)),
    ]
    if rows:
        about = "Units of each layer, and what keeps them where none could be removed."
        body.append(html_page.render_section("Layers", about, html_page.render_table(layers)))
    footer = f"wcodec {__version__} slim. The page holds its numbers as JSON, in the element wcodec."
    page = html_page.render_page(source.name, "a smaller network", "".join(body), report.to_json(), footer)
    html_page.write_page(target, page, source)


def _describe_frozen(one: LayerWidth) -> str:
    return f" frozen by {one.frozen}" if one.frozen else ""
