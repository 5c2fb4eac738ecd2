"""What the encoder of the context coder chooses: scale weights by least squares. Nothing here is needed to decode."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FEATURES = 13


def fit_weights(samples: npt.NDArray[np.int32], taps: int, sets: int) -> npt.NDArray[np.int32]:
    """Non-negative weights, in 1/128, that predict a magnitude from its features: int32[sets, FEATURES] in 0..255.

    samples: int32[n, FEATURES + 2]: the features, the magnitude (all in 1/256), the tap.
    sets:    1, or `taps` for weights of each tap's own.
    """
    features = samples[:, :FEATURES].astype(np.float64) / 256
    target = samples[:, FEATURES].astype(np.float64) / 256
    group = samples[:, FEATURES + 1] if sets > 1 else np.zeros(len(samples), np.int64)
    expected = (features[:, 2] + features[:, 4] + features[:, 5]) / 3 + 0.05
    if taps == 1:
        features[:, 3] = 0
    weights = np.zeros((sets, FEATURES))
    weights[:, 4] = 1
    for _ in range(2):
        scaled = features / expected[:, None]
        gram = np.empty((sets, FEATURES, FEATURES))
        right = np.empty((sets, FEATURES))
        for k in range(sets):
            part = scaled[group == k]
            gram[k] = part.T @ part
            right[k] = part.T @ (target / expected)[group == k]
        weights = _nonnegative(gram, right, weights)
        expected = np.maximum(np.einsum("nf,nf->n", features, weights[group]), 0) + 0.05
    return np.clip(np.rint(weights * 128), 0, 255).astype(np.int32)


def _nonnegative(
    gram: npt.NDArray[np.float64], right: npt.NDArray[np.float64], start: npt.NDArray[np.float64], rounds: int = 60
) -> npt.NDArray[np.float64]:
    """Minimises w G w / 2 - b w over w >= 0 by coordinate descent, for many G at once."""
    weights = start.copy()
    size = gram.shape[1]
    ridge = 1e-4 * np.trace(gram, axis1=1, axis2=2)[:, None] / size + 1e-12
    gram = gram + ridge[:, :, None] * np.eye(size)
    diagonal = np.einsum("kii->ki", gram)
    for _ in range(rounds):
        for i in range(size):
            slope = np.einsum("kj,kj->k", gram[:, i], weights) - right[:, i]
            weights[:, i] = np.maximum(0, weights[:, i] - slope / diagonal[:, i])
    return weights


def fit_lags(
    values: npt.NDArray[np.float32], taps: int, most: int = 6
) -> tuple[tuple[int, ...], tuple[int, ...], npt.NDArray[np.int32], float]:
    """A linear prediction of values [rows, columns] from coded neighbours: rows up, columns back, coefficients in 1/64,
    and the share of the energy that it explains. One set of coefficients; for taps == 1.
    """
    offsets = _candidates(values)
    reach = max(abs(back) for _, back in offsets)
    columns = values.shape[1]
    padded = np.pad(values, ((2, 0), (reach, reach)))
    shifted = [padded[2 - up : len(padded) - up, reach - back : reach - back + columns].ravel() for up, back in [(0, 0), *offsets]]
    stack = np.stack(shifted).astype(np.float64)
    gram = stack @ stack.T
    energy = gram[0, 0]
    chosen: list[int] = []
    left, solution = energy, np.zeros(0)
    while len(chosen) < most:
        trials = []
        for i in range(1, len(stack)):
            if i not in chosen:
                picked = [*chosen, i]
                inner = gram[np.ix_(picked, picked)] + 1e-3 * energy * np.eye(len(picked))
                found = np.linalg.solve(inner, gram[picked, 0])
                trials.append((energy - 2 * found @ gram[picked, 0] + found @ gram[np.ix_(picked, picked)] @ found, i, found))
        rest, i, found = min(trials, key=lambda trial: trial[:2])
        if 0.5 * values.size * np.log2(max(left, 1e-9) / max(rest, 1e-9)) < 40:
            break
        chosen.append(i)
        left, solution = rest, found
    picked_offsets = [offsets[i - 1] for i in chosen]
    side = np.clip(np.rint(solution * 64), -127, 127).astype(np.int32)
    return tuple(up for up, _ in picked_offsets), tuple(back for _, back in picked_offsets), side, 1 - left / max(energy, 1e-9)


def _candidates(values: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """The neighbours worth trying: above, and the most correlated of the 128 to the left."""
    rows, columns = values.shape
    above = [(1, 0), (1, 1), (1, -1), (2, 0)] if rows > 2 else []
    spectrum = np.abs(np.fft.rfft(values, 2 * columns, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum.sum(axis=0))[1 : min(columns, 129)]
    best = np.argsort(-np.abs(correlation), kind="stable")[:10]
    return [(0, int(lag) + 1) for lag in best] + above
