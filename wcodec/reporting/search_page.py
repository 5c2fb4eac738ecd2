"""The history of a policy search, as an HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from wcodec import __version__
from wcodec.model.dataclass import dataclass
from wcodec.reporting import html_page, svg
from wcodec.reporting.inspection_tables import Table

BEST = 20
"""The number of trials in the table."""


@dataclass(frozen=True)
class SearchTrial:
    """One encoding.

    bytes:   of the weights.
    kl:      divergence of the outputs, nats.
    allowed: whether it is within the budget.
    policy:  the change from the origin of the search in octaves, by name.
    """

    number: int
    bytes: int
    kl: float
    allowed: bool
    policy: Mapping[str, float]


def write_search_page(target: Path, source: Path, trials: Sequence[SearchTrial], first: int) -> None:
    """Write the page. first: the bytes at the start of the search.

    Raises: OSError.
    """
    allowed = [one for one in trials if one.allowed]
    best = min((one.bytes for one in allowed), default=first)
    tiles = [
        html_page.render_tile(f"{len(trials):,}", "trials"),
        html_page.render_tile(f"{len(allowed):,}", "within the budget"),
        html_page.render_tile(f"{first:,}", "bytes of weights at first"),
        html_page.render_tile(f"{min(best, first):,}", "at best"),
        html_page.render_tile(f"{100 * (1 - min(best, first) / max(1, first)):.1f} %", "gained"),
    ]
    body = [f'<div class="tiles">{"".join(tiles)}</div>']
    if len(trials) > 1:
        words = "Bytes of the weights, in the order of the trials."
        body.append(html_page.render_section("Trials", words, _draw(trials)))
    ranked = sorted(allowed, key=lambda one: one.bytes)[:BEST]
    words = (
        "By how many octaves steps and damping differ from those at first. Below 0 octaves that part of the weights "
    )
    words += "or units of a group is kept."
    body.append(
        html_page.render_section("The best within the budget", words, html_page.render_table(_make_table(ranked)))
    )
    numbers: dict[str, object] = {"first": first, "trials": [asdict(one) for one in trials]}
    footer = f"wcodec {__version__} encode --search. The page holds its numbers as JSON, in the element wcodec."
    below = "a search for the precision of each group of weights"
    page = html_page.render_page(source.name, below, "".join(body), numbers, footer)
    html_page.write_page(target, page, source)


def _draw(trials: Sequence[SearchTrial]) -> str:
    x = svg.Axis("trial", 0.0, float(len(trials) + 1), lambda value: f"{value:.0f}", logarithmic=False)
    y = svg.make_log_axis("bytes", [one.bytes for one in trials], lambda value: f"{value:,.0f}")
    drawn = []
    for name, colour, allowed in (("within the budget", 1, True), ("over it", 9, False)):
        for one in (one for one in trials if one.allowed == allowed):
            tip = f"trial {one.number + 1}: {one.bytes:,} bytes, {one.kl:.5f} nats, {name}"
            drawn.append(svg.Series(name, colour, [(float(one.number + 1), float(one.bytes), "", tip)]))
    legend = html_page.render_legend([(1, "within the budget"), (9, "over it")])
    return legend + svg.draw_curve("Bytes of the trials", x, y, drawn)


def _make_table(trials: Sequence[SearchTrial]) -> Table:
    names = list(trials[0].policy) if trials else []
    rows = [
        (f"{one.number + 1}", f"{one.bytes:,}", f"{one.kl:.5f}", *(f"{one.policy[name]:+.2f}" for name in names))
        for one in trials
    ]
    return Table(("trial", "bytes", "nats", *names), rows)
