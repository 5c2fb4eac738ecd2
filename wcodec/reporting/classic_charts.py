"""Charts of Deep Compression in a report: bytes after each stage, shared values, and the lengths of codewords."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wcodec.model.dataclass import replace
from wcodec.pipeline.folder_decoder import places_of
from wcodec.reporting import html_page, svg
from wcodec.reporting.stage_tables import tabulate_stages
from wcodec.reporting.stages import stages_of
from wcodec.reporting.tensor_view import CodedValue, TensorView, view_tensor
from wcodec.reporting.weight_histograms import LARGEST, MOST

CODED: Final = (1, "bits of the code word"), (2, "-log2 of the share: the bits of an ideal code")
LEGEND: Final = {"values": (*CODED, (9, "not used")), "gaps": CODED}
SECTIONS: Final = (
    (
        "values",
        "Codebooks",
        "Each dot is a shared value: its place is the value, its height the length of its code word, its size how "
        "often it is used. Values that are used often have short words.",
    ),
    (
        "gaps",
        "Gaps",
        "The same of the distances to the next weight that is kept: 1 is a neighbour. One that is longer than any gap "
        "takes several, with a filler each.",
    ),
)
"""The name of the chart, the heading, and the text below it."""


def render_classic(coded: Path, base: Path | None = None) -> list[str]:
    """Sections of the page for a .wcz of gaps and codes (`Inspection.is_classic`). base: the file against which it is
    coded.

    Raises: ContainerError and its kinds; RecipeError without a base that is needed.
    """
    sizes, bits = tabulate_stages(stages_of(coded))
    words = (
        "Bytes after each stage of Deep Compression: pruned (float32 values and gaps), shared (codes and a codebook), "
    )
    words += (
        "as coded. Then the bits of a gap (the distance to the next weight that is not 0) and of a code (the number "
    )
    words += "of a shared value), their entropy and what they took, for each weight that is kept."
    tables = html_page.render_table(sizes) + "<br>" + html_page.render_table(bits)
    return [html_page.render_section("Stages", words, tables), *_draw_pictures(_find_largest(coded, base))]


def _find_largest(coded: Path, base: Path | None) -> list[TensorView]:
    """The largest tensors that have shared values with codewords."""
    places = places_of(coded).values()
    known = [(place, place.container.tensors[place.number]) for place in places]
    ranked = sorted((pair for pair in known if len(pair[1].shape) > 1), key=lambda pair: -pair[1].count)
    views = (view_tensor(place, base) for place, facts in ranked[:MOST] if 0 < facts.count <= LARGEST)
    return [view for view in views if view.values]


def _draw_pictures(views: Sequence[TensorView]) -> list[str]:
    if not views:
        return []
    drawn: dict[str, list[str]] = {"values": [], "gaps": []}
    for view in views:
        name = view.user_name or view.name
        for what, rows in (("values", _list_shared_values(view)), ("gaps", _list_distances(view))):
            if any(row.count and row.value is not None for row in rows):
                small = f"{sum(1 for row in rows if row.count):,} {what}, {_format_mean_bits(rows)}"
                picture = svg.draw_dots(
                    f"Code words of the {what} of {name}", _make_axis(what, rows), "bits", _make_dots(rows)
                )
                drawn[what].append(html_page.render_figure(name, small, picture))
    return [
        html_page.render_section(
            title, words, html_page.render_legend(LEGEND[what]) + f'<div class="figures">{"".join(drawn[what])}</div>'
        )
        for what, title, words in SECTIONS
        if drawn[what]
    ]


def _list_shared_values(view: TensorView) -> list[CodedValue]:
    """The shared values; if zeros are gaps, code 0 is used only for fillers."""
    return [replace(row, count=view.fillers) if view.gaps and not row.level else row for row in view.values]


def _list_distances(view: TensorView) -> list[CodedValue]:
    """The gaps as distances: a gap is the number of zeros between two non-zero weights."""
    return [replace(row, value=float(row.level + 1)) for row in view.gaps]


def _make_axis(what: str, rows: Sequence[CodedValue]) -> svg.Axis:
    values = [row.value for row in rows if row.value is not None]
    if what == "gaps":
        return svg.make_log_axis(what, values, lambda tick: f"{tick:,.0f}")
    low, high = min(values), max(values)
    return svg.Axis(what, *((low, high) if low < high else (low - 0.5, low + 0.5)), lambda tick: f"{tick:.3g}", False)


def _format_mean_bits(rows: Sequence[CodedValue]) -> str:
    total = sum(row.count for row in rows)
    if not all(row.bits for row in rows if row.count):
        return "no code words of their own"
    return f"{sum(row.count * row.bits for row in rows) / total:.2f} bits on average"


def _make_dots(rows: Sequence[CodedValue]) -> list[svg.Dot]:
    total, most = sum(row.count for row in rows), max(row.count for row in rows)
    points = []
    for row in rows:
        if row.value is None:
            continue
        if not row.count:
            points.append(svg.Dot(row.value, 0.0, 2.5, 9, f"{row.value:.4g}: not used"))
            continue
        share = row.count / total
        ideal, said = -math.log2(share), f"{row.value:.4g}: used {row.count:,} times ({100 * share:.1f} %)"
        points.append(svg.Dot(row.value, ideal, 2.0, 2, f"{said}, {ideal:.2f} bits in an ideal code"))
        if row.bits:
            size = 2.5 + 4.5 * math.sqrt(row.count / most)
            points.append(
                svg.Dot(row.value, float(row.bits), size, 1, f"{said}, code word {row.word}, {row.bits} bits")
            )
    return sorted(points, key=lambda dot: -dot.radius)
