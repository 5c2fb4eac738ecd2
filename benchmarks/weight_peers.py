"""Quantisers of weights that people use instead: GGUF's types (`libgguf`, the kernels of llama.cpp) and plain rounding.

Each takes matrices whose rows are the weights of one output, and returns the bytes that they take and what they become.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
from packages import install

GGUF = ("Q8_0", "Q6_K", "Q5_K", "Q5_0", "Q4_K", "Q4_0", "IQ4_XS", "IQ4_NL", "Q3_K", "IQ3_S", "Q2_K", "IQ2_S")
SHORT_BLOCKS = {"Q8_0", "Q5_0", "Q4_0", "IQ4_NL"}
"""Types with blocks of 32; the others need rows of 256."""

Tensors = dict[str, np.ndarray]
Make = Callable[[], tuple[int, Tensors]]


def gguf(matrices: Mapping[str, np.ndarray], importance: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Make]]:
    """Every type, with and without an importance matrix: the mean square of each input, by name, (inputs,).

    Where a type needs rows of 256 and a matrix has others, several rows are taken as one, which llama.cpp would refuse:
    it would take a larger type.
    """
    for kind in GGUF:
        yield f"GGUF {kind}", partial(_by_gguf, matrices, kind, {})
        if kind != "Q8_0" and importance:
            yield f"GGUF {kind}, importance matrix", partial(_by_gguf, matrices, kind, importance)


def _by_gguf(
    matrices: Mapping[str, np.ndarray], kind: str, importance: Mapping[str, np.ndarray]
) -> tuple[int, Tensors]:
    libgguf = install("libgguf")
    qtype, total, tensors = libgguf.GGMLQuantizationType[kind], 0, {}
    for name, array in matrices.items():
        width = array.shape[1]
        joined = math.lcm(width, 32 if kind in SHORT_BLOCKS else 256) // width
        if array.shape[0] % joined:
            joined = math.gcd(array.shape[0], joined)
        rows = np.ascontiguousarray(array.reshape(-1, joined * width), np.float32)
        weight = np.tile(importance[name], joined).astype(np.float32) if name in importance else None
        coded = libgguf.quantize_rows(rows, qtype, weight)
        total += coded.nbytes
        tensors[name] = libgguf.dequantize_rows(coded, qtype, n_per_row=rows.shape[1]).reshape(array.shape)
    return total, tensors


def rounding(matrices: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Make]]:
    """Symmetric integers: a float32 scale for each output, or a float16 scale for each 32 weights of a row."""
    yield "int8, a scale for each output", partial(_by_rounding, matrices, 8, 0)
    yield "int8, groups of 32", partial(_by_rounding, matrices, 8, 32)
    yield "int4, groups of 32", partial(_by_rounding, matrices, 4, 32)


def _by_rounding(matrices: Mapping[str, np.ndarray], bits: int, group: int) -> tuple[int, Tensors]:
    total, tensors = 0, {}
    top = 2 ** (bits - 1) - 1
    for name, array in matrices.items():
        blocks = array.reshape(-1, group or array.shape[1])
        scales = np.maximum(np.abs(blocks).max(1, keepdims=True) / top, np.finfo(np.float32).tiny)
        scales = scales.astype(np.float16).astype(np.float32) if group else scales
        levels = np.clip(np.rint(blocks / np.maximum(scales, 1e-12)), -top, top)
        tensors[name] = (levels * scales).reshape(array.shape)
        total += array.size * bits // 8 + scales.size * (2 if group else 4)
    return total, tensors
