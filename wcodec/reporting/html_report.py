"""The HTML report of encode, inspect and sweep."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from wcodec import __version__
from wcodec.model.dataclass import dataclass
from wcodec.reporting import html_page, svg
from wcodec.reporting.classic_charts import render_classic
from wcodec.reporting.inspection_tables import Table, tabulate_tensors
from wcodec.reporting.number_format import format_error, format_ratio, format_size
from wcodec.reporting.sweep_charts import render_charts

if TYPE_CHECKING:
    from wcodec.reporting.inspection import Inspection, TensorNumbers
    from wcodec.reporting.sweep_result import Sweep
    from wcodec.reporting.weight_histograms import WeightHistogram


@dataclass(frozen=True)
class Part:
    """A use of bytes of a file. colour: 1 to 9, as the page numbers them."""

    name: str
    colour: int
    meaning: str


PARTS: Final = (
    Part("levels", 1, "whole numbers that stand for weights"),
    Part("codes", 5, "the number of each kept weight's value in the codebook"),
    Part("gaps", 3, "distances between weights that are not 0"),
    Part("codebooks", 4, "shared values, and steps"),
    Part("tables", 7, "lengths of code words, frequencies, the coder's choice"),
    Part("lossless", 2, "values that are kept bit for bit"),
    Part("skeleton", 6, "everything in the model file that is not a weight"),
    Part("index", 9, "names, shapes, checksums"),
    Part("container", 8, "the header of the file"),
)
COLOURS: Final = {part.name: part.colour for part in PARTS}
MOST_BARS = 30


class EncodingFacts(Protocol):
    """The facts of an encoding, as `pipeline.attempt.Encoded` has them."""

    @property
    def measured(self) -> Mapping[str, float]: ...
    @property
    def tried(self) -> Sequence[Sequence[str]]: ...
    @property
    def messages(self) -> Sequence[str]: ...


ACCENT = (37, 99, 201)


def write_report(
    target: Path,
    source: Path,
    inspection: Inspection,
    histograms: Sequence[WeightHistogram],
    *,
    sweep: Sweep | None = None,
    command: str,
    seconds: float | None = None,
    made: EncodingFacts | None = None,
    base: Path | None = None,
) -> None:
    """Write the page atomically.

    source:  the file whose name and permissions the page has.
    command: the verb.
    made:    the measurements and messages of the encoding.
    base:    the file against which it is coded.
    Raises: OSError; ContainerError and its kinds.
    """
    body = [_render_tiles(inspection, seconds, made.measured if made else {})]
    if made and made.tried:
        words = "What the search measured, in turn. Bytes are of the file, about; losses are of the outputs."
        table = Table(("step", "bytes", "nats or error", "points predicted", "in budget"), made.tried)
        body.append(html_page.render_section("What was tried", words, html_page.render_table(table)))
    if made and made.messages:
        body.append(_render_messages(made.messages))
    if sweep:
        body += render_charts(sweep)
    if inspection.is_classic and sweep is None:
        body += render_classic(inspection.path, base)
    body += [
        _render_bytes_by_tensor(inspection),
        _render_bytes_by_part(inspection),
        *_render_histograms(histograms, {one.name: one.shown for one in inspection.tensors}),
        _render_tensors(inspection),
    ]
    numbers: dict[str, object] = {"command": command, "inspection": inspection.to_json()}
    if made and made.measured:
        numbers["measured"] = dict(made.measured)
    if sweep:
        numbers["sweep"] = sweep.to_json()
    numbers["portraits"] = [one.to_json() for one in histograms]
    coded = inspection.format_version is not None
    below = f"{_describe_file(inspection, sweep)}{'' if coded else ', not encoded yet'}"
    footer = f"wcodec {__version__} {command}. The page holds its numbers as JSON, in the element wcodec."
    page = html_page.render_page(source.name, below, "".join(filter(None, body)), numbers, footer)
    html_page.write_page(target, page, source)


def _describe_file(inspection: Inspection, sweep: Sweep | None) -> str:
    tensors, weights = len(inspection.tensors), sum(tensor.weights for tensor in inspection.tensors)
    text = f"{tensors:,} tensors of {weights:,} numbers"
    return text + (", here encoded with the preset balanced" if sweep else "")


def _render_messages(lines: Sequence[str]) -> str:
    """The messages of the encoding: budget, epochs and results, one row each."""
    table = Table(("step", "found"), [line.partition(": ")[::2] for line in lines], 2)
    words = "The messages of encode in order: the budget, the epochs, and the result."
    return html_page.render_section("What was done", words, html_page.render_table(table))


def _render_losses(measured: Mapping[str, float]) -> list[str]:
    """Tiles with the losses."""
    tiles = []
    for name, before, shape, word in (
        ("accuracy", "baseline_accuracy", "{:.2f} %", "accuracy"),
        ("r2", "baseline_r2", "{:.4f}", "R2"),
    ):
        if name in measured:
            was = f", {shape.format(measured[before])} before" if before in measured else ""
            tiles.append(html_page.render_tile(shape.format(measured[name]), f"{word}{was}"))
    if "agreement" in measured:
        tiles.append(html_page.render_tile(f"{measured['agreement']:.2f} %", "predictions unchanged"))
    if "epochs" in measured:
        tiles.append(html_page.render_tile(f"{measured['epochs']:,}", "epochs of training"))
    return tiles


def _render_tiles(inspection: Inspection, seconds: float | None, measured: Mapping[str, float]) -> str:
    tiles = [*_render_losses(measured), html_page.render_tile(format_size(inspection.source_bytes), "model file")]
    if inspection.format_version is not None:
        tiles += [
            html_page.render_tile(format_size(inspection.file_bytes), ".wcz file"),
            html_page.render_tile(format_ratio(inspection.source_bytes, inspection.file_bytes), "smaller, the file"),
            html_page.render_tile(format_ratio(inspection.tensor_bytes, inspection.file_bytes), "smaller, its tensors"),
        ]
        if not measured:
            tiles.append(html_page.render_tile(format_error(inspection.relative_error), "relative squared error"))
    else:
        tiles.append(html_page.render_tile(format_size(inspection.tensor_bytes), "in tensors"))
    if seconds is not None:
        tiles.append(html_page.render_tile(f"{seconds:.1f} s", "time"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _render_bytes_by_tensor(inspection: Inspection) -> str:
    if not inspection.tensors:
        return ""
    largest = sorted(inspection.tensors, key=lambda one: -one.bytes)
    rows = [
        (one.shown, _list_parts(one), f"{format_size(one.bytes)} of {format_size(one.raw_bytes)}")
        for one in largest[:MOST_BARS]
    ]
    rest = largest[MOST_BARS:]
    if rest:
        total, raw = sum(one.bytes for one in rest), sum(one.raw_bytes for one in rest)
        rows.append(
            (
                f"{len(rest):,} more tensors",
                [(total, 9, f"{total:,} bytes")],
                f"{format_size(total)} of {format_size(raw)}",
            )
        )
    used = {colour for _, parts, _ in rows for _, colour, _ in parts}
    shown = _render_legend(used) if inspection.format_version is not None else ""
    drawn = svg.draw_bars("Bytes of each tensor by part", rows)
    return html_page.render_section("Size by tensor", "Bytes in the file, the largest tensors first.", shown + drawn)


def _render_legend(used: Collection[int]) -> str:
    """The parts with these colours, each with its meaning."""
    return html_page.render_legend([(one.colour, f"{one.name}: {one.meaning}") for one in PARTS if one.colour in used])


def _list_parts(tensor: TensorNumbers) -> list[tuple[float, int, str]]:
    counts = tensor.parts.as_dict()
    found = [(count, COLOURS[word], f"{word}: {count:,} bytes") for word, count in counts.items() if count]
    return sorted(found, key=lambda one: one[1] == 9) if found else [(tensor.bytes, 1, f"{tensor.bytes:,} bytes")]


def _render_bytes_by_part(inspection: Inspection) -> str:
    if inspection.format_version is None:
        return ""
    whole = max(1, inspection.file_bytes)
    counts = [(part.name, getattr(inspection.parts, part.name)) for part in fields(inspection.parts)]
    rows = [
        (word, [(count, COLOURS[word], f"{count:,} bytes")], f"{format_size(count)}, {100 * count / whole:.1f} %")
        for word, count in sorted(counts, key=lambda one: -one[1])
        if count
    ]
    legend = _render_legend({COLOURS[word] for word, count in counts if count})
    drawn = svg.draw_bars("Bytes of the file by part", rows)
    return html_page.render_section("Size by part", "All bytes of the file, by what they are used for.", legend + drawn)


def _render_histograms(histograms: Sequence[WeightHistogram], shown: Mapping[str, str]) -> list[str]:
    """shown: user names by name in the file."""
    if not histograms:
        return []
    both = any(one.before is not None and one.after is not None for one in histograms)
    words = "The grey area shows the weights before encoding, the lines their values after" if both else "Histograms"
    words += " (the largest tensors). Heights are square roots of counts, so that rare values are visible."
    spreads = [
        html_page.render_figure(shown.get(one.name, one.name), _format_shape(one), svg.draw_histogram(
            f"Weights of {one.name}", (one.low, one.high), one.before, one.after, one.values))
        for one in histograms
    ]  # fmt: skip
    patterns = [
        html_page.render_figure(shown.get(one.name, one.name), f"{100 * one.kept:.1f} % not zero",
                   svg.draw_image(f"Where {one.name} is not zero", [row.tobytes() for row in one.pattern], ACCENT))
        for one in histograms
    ]  # fmt: skip
    where = "Rows and columns are units and weights in file order. Empty cells are zero; large tensors are averaged."
    return [
        html_page.render_section("Weights and their values", words, f'<div class="figures">{"".join(spreads)}</div>'),
        html_page.render_section("Which weights are kept", where, f'<div class="figures">{"".join(patterns)}</div>'),
    ]


def _format_shape(one: WeightHistogram) -> str:
    shape = "×".join(map(str, one.shape))
    return f"{shape}, {len(one.values)} values" if one.values else shape


def _render_tensors(inspection: Inspection) -> str:
    coded = inspection.format_version is not None
    words = "Errors are relative: squared errors over squared weights." if coded else "As the model file has them."
    return html_page.render_section("Every tensor", words, html_page.render_table(tabulate_tensors(inspection)))
