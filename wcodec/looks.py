"""One reading of every tensor before any is coded: what planning needs to know, and which tensors are the same."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from wcodec.allocation import Survey, survey
from wcodec.model import Bits, Tensor
from wcodec.parallel import tensor_by_tensor
from wcodec.wire import FLOATS

_PIECES, _PIECE = 128, 512


@dataclass(frozen=True)
class Look:
    """What one reading of a tensor tells: its survey (None where it must stay exact) and a fingerprint of its bytes."""

    survey: Survey | None
    fingerprint: bytes


def look(tensor: Tensor) -> Look:
    """Read the tensor once. The fingerprint is of evenly spread pieces where the tensor is large."""
    values = tensor.read()
    lossy = tensor.dtype in FLOATS and not tensor.exact
    return Look(survey(tensor, values) if lossy else None, _digest(values, sampled=True))


def look_at(tensors: Iterable[Tensor], threads: int) -> list[Look]:
    """A look at each; where fingerprints by pieces are alike, all bytes are read for them."""
    every = list(tensors)
    looks = list(tensor_by_tensor(lambda i, _: look(every[i]), every, threads))
    keys = [(tensor.dtype, tensor.shape, found.fingerprint) for tensor, found in zip(every, looks, strict=True)]
    times = Counter(keys)
    return [
        replace(found, fingerprint=_digest(tensor.read(), sampled=False)) if times[key] > 1 else found
        for tensor, found, key in zip(every, looks, keys, strict=True)
    ]


def _digest(values: Bits, sampled: bool) -> bytes:
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if sampled and raw.size > 2 * _PIECES * _PIECE:
        every = raw.size // _PIECES
        raw = np.ascontiguousarray(raw[: every * _PIECES].reshape(_PIECES, every)[:, :_PIECE])
    return hashlib.blake2b(raw.data, digest_size=16, usedforsecurity=False).digest()
