"""The inverse of a kernel transform as slow, obvious Python."""

from __future__ import annotations


def inverse(levels: list[list[list[int]]], matrix: list[list[int]]) -> list[list[list[int]]]:
    """Each kernel is the sum of the basis's rows, each as often as its level says."""
    return [
        [
            [sum(level * row[tap] for level, row in zip(kernel, matrix, strict=True)) for tap in range(len(matrix))]
            for kernel in line
        ]
        for line in levels
    ]
