"""Fitting of the context coder's scale weights by least squares. It is not needed for decoding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy.context_params import FEATURES
from wcodec.kernels.context import fit as kernel


def fit_weights(samples: npt.NDArray[np.int32], taps: int, sets: int, preset: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """Non-negative weights, in 1/128, that predict a magnitude from its features: int32[sets, FEATURES] in 0..255.

    samples: int32[n, FEATURES + 2]: the features, the magnitude (all in 1/256), the tap.
    sets:    1, or `taps` for separate weights of each tap.
    preset:  weights in 1/128 whose expectation determines how much a sample counts.
    """
    gram, right = np.zeros((sets, FEATURES, FEATURES)), np.zeros((sets, FEATURES))
    kernel.moments(samples, np.array(preset, np.float64) / 128, gram, right)
    weights = np.empty((sets, FEATURES))
    for k in range(sets):
        diagonal = np.einsum("ii->i", gram[k])
        if taps == 1:
            diagonal[3] = 0
        # regularised towards the preset, so that similar features share the weight
        lean = 1e-3 * diagonal.mean()
        diagonal += lean * (diagonal > 0)
        weights[k] = np.array(preset) / 128
        kernel.descend(gram[k], right[k] + lean * weights[k], weights[k], 100)
    if taps == 1:
        weights[:, 3] = 0
    return np.clip(np.rint(weights * 128), 0, 255).astype(np.int32)


def fit_lags(
    values: npt.NDArray[np.float32], taps: int, most: int = 6
) -> tuple[tuple[int, ...], tuple[int, ...], npt.NDArray[np.int32], float]:
    """A linear prediction of values [rows, columns] from coded neighbours, with one set of coefficients; for taps == 1.

    Returns rows up, columns back, the coefficients in 1/64, and the share of the energy that is explained.
    """
    offsets = _list_candidates(values)
    reach = max(abs(back) for _, back in offsets)
    columns = values.shape[1]
    padded = np.pad(values, ((2, 0), (reach, reach)))
    stack = np.empty((1 + len(offsets), values.size))
    for row, (up, back) in zip(stack, [(0, 0), *offsets], strict=True):
        row.reshape(values.shape)[:] = padded[2 - up : len(padded) - up, reach - back : reach - back + columns]
    gram = np.dot(stack, stack.T)  # the same product by `@` keeps other threads waiting
    energy = gram[0, 0]
    if energy <= 0:
        return (), (), np.zeros(0, np.int32), 0.0
    chosen: list[int] = []
    left, solution = energy, np.zeros(0)
    while len(chosen) < min(most, len(offsets)):
        trials = []
        for i in range(1, len(stack)):
            if i not in chosen:
                picked = [*chosen, i]
                inner = gram[np.ix_(picked, picked)] + 1e-3 * energy * np.eye(len(picked))
                found = np.linalg.solve(inner, gram[picked, 0])
                trials.append(
                    (energy - 2 * found @ gram[picked, 0] + found @ gram[np.ix_(picked, picked)] @ found, i, found)
                )
        rest, i, found = min(trials, key=lambda trial: trial[:2])
        if 0.5 * values.size * np.log2(max(left, 1e-9) / max(rest, 1e-9)) < 40:
            break
        chosen.append(i)
        left, solution = rest, found
    picked_offsets = [offsets[i - 1] for i in chosen]
    side = np.clip(np.rint(solution * 64), -127, 127).astype(np.int32)
    return (
        tuple(up for up, _ in picked_offsets),
        tuple(back for _, back in picked_offsets),
        side,
        1 - left / max(energy, 1e-9),
    )


def _list_candidates(values: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """The neighbours to try: the one above, and the most correlated of the 128 to the left."""
    rows, columns = values.shape
    above = [(1, 0), (1, 1), (1, -1), (2, 0)] if rows > 2 else []
    spectrum = np.abs(np.fft.rfft(values, 2 * columns, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum.sum(axis=0))[1 : min(columns, 129)]
    best = np.argsort(-np.abs(correlation), kind="stable")[:10]
    return [(0, int(lag) + 1) for lag in best] + above
