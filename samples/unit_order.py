"""The order of hidden units in which a network takes the fewest bytes: of some, layer by layer, by real encodings.

Any order answers alike. Units whose weights stand at the same places cost less side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import keras
import numpy as np
import numpy.typing as npt

from wcodec.training.unit_sorting import Levels, find_chain, permute_units

Order = npt.NDArray[np.intp]

ROUNDS: Final = 2
"""Over all layers: the best order of one depends on those beside it."""


def find_order(model: keras.Model, levels: Sequence[Levels], size: Callable[[list[Levels]], int]) -> list[Levels]:
    """The levels with hidden units in the best order that was found; as they are where the network is no plain chain.

    levels: of `model.weights`, in order. size: the bytes of the network with such levels.
    """
    best = list(levels)
    least = size(best)
    for _ in range(ROUNDS):
        for layer in range(len(find_chain(model) or ()) - 1):
            for order in _orders(best, layer):
                tried = permute_units(best, layer, order)
                if (now := size(tried)) < least:
                    best, least = tried, now
    return best


def _orders(levels: Sequence[Levels], layer: int) -> Iterator[Order]:
    kernel, _, following = levels[2 * layer : 2 * layer + 3]
    units = kernel.shape[-1]
    incoming = kernel.reshape(-1, units) != 0
    outgoing = np.moveaxis(following.reshape(-1, units, following.shape[-1]), 1, -1).reshape(-1, units) != 0
    used, uses = incoming.sum(axis=0), outgoing.sum(axis=0)
    places = (np.arange(len(incoming))[:, None] * incoming).sum(axis=0) / np.maximum(used, 1)
    for key in (-(used + uses), -used, -uses, used + uses, places):
        yield np.argsort(key, kind="stable")
    yield _by_likeness(np.concatenate([incoming, outgoing]).astype(np.float64))


def _by_likeness(patterns: npt.NDArray[np.float64]) -> Order:
    """Units in a line, each followed by the one that is most like it (cosine of where they have weights)."""
    unlike = patterns.sum(axis=0) + 1
    likeness = patterns.T @ patterns / np.sqrt(np.outer(unlike, unlike))
    here = int(np.argmax(unlike))
    line, left = [here], [unit for unit in range(len(unlike)) if unit != here]
    while left:
        here = left.pop(int(np.argmax(likeness[here, left])))
        line.append(here)
    return np.array(line, np.intp)
