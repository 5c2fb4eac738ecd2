"""The tables of stages and of one tensor: rows of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wcodec.reporting.inspection_tables import Table

if TYPE_CHECKING:
    from wcodec.reporting.stages import Stages
    from wcodec.reporting.tensor_view import CodedValue, TensorView


def tabulate_stages(stages: Sequence[Stages]) -> tuple[Table, Table]:
    """Bytes and ratios after each stage of Deep Compression; then bits of gaps and codes, a kept weight."""
    last = "Huffman" if stages[-1].is_huffman else "coded"
    sizes = [
        (
            one.shown,
            f"{100 * one.kept / one.weights:.1f} %" if one.weights else "-",
            *(cell for stage in ("pruned", "shared", "coded") for cell in _format_stage(one, stage)),
        )
        for one in stages
    ]
    bits = [
        (
            one.shown,
            f"{one.weights:,}",
            f"{one.fillers:,}" if one.gap_bits else "-",
            *_format_widths(one.gap_bits, one.gap_entropy, one.gap_coded),
            *_format_widths(one.code_bits, one.code_entropy, one.code_coded),
        )
        for one in stages
    ]
    return (
        Table(("tensor", "kept", "pruned", "ratio", "shared", "ratio", last, "ratio"), sizes),
        Table(("tensor", "weights", "fillers", "gap", "entropy", last, "code", "entropy", last), bits),
    )


def _format_stage(one: Stages, stage: str) -> tuple[str, str]:
    return f"{getattr(one, stage):,}", f"{one.ratio(stage):.1f}x"


def _format_widths(bits: int, entropy: float, coded: float | None) -> tuple[str, str, str]:
    if not bits:
        return "-", "-", "-"
    return f"{bits}", f"{entropy:.2f}", "-" if coded is None else f"{coded:.2f}"


def tabulate_values(what: str, values: Sequence[CodedValue], most: int) -> Table:
    """The `most` frequent levels or gaps in ascending order: their values, counts and codewords.

    The ideal bits are -log2 of the share, of the values that have codewords if some have. Columns without entries are
    left out: values that differ from row to row, and codewords of coders that have none.
    """
    often = sorted(values, key=lambda one: -one.count)[:most]
    total = sum(one.count for one in values)
    coded = sum(one.count for one in values if one.bits)
    rows = [
        (
            f"{one.level}",
            "-" if one.value is None else f"{one.value:.6g}",
            f"{one.count:,}",
            f"{100 * one.count / total:.1f} %",
            f"{math.log2((coded or total) / one.count):.2f}" if one.count and (one.bits or not coded) else "-",
            one.word or "-",
            f"{one.bits}" if one.bits else "-",
        )
        for one in sorted(often, key=lambda one: one.level)
    ]
    heads = (what, "stands for", "used", "share", "ideal bits", "code word", "bits")
    filled = [at for at in range(len(heads)) if any(row[at] != "-" for row in rows)]
    return Table(tuple(heads[at] for at in filled), [tuple(row[at] for at in filled) for row in rows], 0)


def draw_histogram(view: TensorView, width: int = 40) -> list[str]:
    """A line for each bin: its start, a bar, the number of weights."""
    largest, size = max(view.bins), (view.high - view.low) / len(view.bins)
    return [
        f"{view.low + number * size:>10.4f}  {'#' * -(-count * width // largest):<{width}} {count:,}"
        for number, count in enumerate(view.bins)
    ]
