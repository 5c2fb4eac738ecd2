"""Dependent quantisation as slow, obvious Python."""

from __future__ import annotations

from itertools import product

NEXT = {
    4: ((0, 2), (2, 0), (1, 3), (3, 1)),
    8: ((0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)),
}


def following(state: int, parity: int, states: int) -> int:
    """The state after a level of that parity."""
    if states < 128:
        return NEXT[states][state][parity]
    return state // 2 ^ (78 if state % 2 else 0) ^ (43 if parity else 0)


def reconstruct(levels: list[int], states: int) -> list[int]:
    """What each level stands for: 2k, less its sign where the second quantiser is in force."""
    state, values = 0, []
    for level in levels:
        second = state // 2 if states == 4 else state % 2
        sign = (level > 0) - (level < 0)
        values.append(2 * level - second * sign)
        state = following(state, level % 2, states)
    return values


def least_error(values: list[float], states: int) -> float:
    """The least squared error of all sequences of levels near `values`."""
    near = [sorted({int(v // 2) + d for d in (-1, 0, 1, 2)}) for v in values]
    return min(
        sum((v - kept) ** 2 for v, kept in zip(values, reconstruct(list(levels), states), strict=True))
        for levels in product(*near)
    )
