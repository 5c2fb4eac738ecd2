"""The relative index the slow way."""

from __future__ import annotations


def sparsify(levels: list[int], gap_bits: int) -> tuple[list[int], list[int]]:
    gaps, codes, run = [], [], 0
    for level in levels:
        if level == 0:
            run += 1
            continue
        while run >= 1 << gap_bits:
            gaps.append((1 << gap_bits) - 1)
            codes.append(0)
            run -= 1 << gap_bits
        gaps.append(run)
        codes.append(2 * level if level > 0 else -2 * level - 1)
        run = 0
    return gaps, codes


def densify(gaps: list[int], codes: list[int], weights: int) -> list[int]:
    levels = [0] * weights
    at = 0
    for gap, code in zip(gaps, codes, strict=True):
        at += gap
        levels[at] = -(code // 2) - 1 if code % 2 else code // 2
        at += 1
    return levels
