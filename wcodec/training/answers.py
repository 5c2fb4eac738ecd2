"""Training batches with the answers of the original network, which are computed once for several uses of an input."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.evaluation.examples import Array
from wcodec.evaluation.keras_backend import silence_keras, tensorflow
from wcodec.training.engine import Batch, call_model
from wcodec.training.flat_adam import Float32
from wcodec.training.kept_features import Chain

if TYPE_CHECKING:
    from keras import Variable as Weight
    from tensorflow import Tensor

Ask = Callable[[tuple[Array, ...]], "tuple[tuple[Tensor, ...], tuple[Tensor, ...]]"]
"""ask(inputs) returns the features that training sees, and the outputs of the original network."""

USES: Final = 4
"""How many times an input is trained on."""
KEPT: Final = 32
"""The number of batches that are kept at a time; their examples are mixed with each other."""
FEWEST: Final = 8
"""If memory allows fewer batches, each input is used once, because the same inputs would follow each other."""
MOST_BYTES: Final = 1 << 27
"""The largest number of bytes that are kept, of the inputs or features and of the answers."""


def draw_answered(inputs: Iterator[tuple[Array, ...]], ask: Ask, rng: np.random.Generator) -> Iterator[Batch]:
    """Yield batches without end, of the same sizes as `inputs`, with the outputs of the original network.

    inputs: batches of equal sizes, without end.
    ask:    see `answer_features`.
    """
    every = (tuple(tuple(map(np.asarray, some)) for some in ask(given)) for given in inputs)
    first = next(every)
    kept = min(KEPT, MOST_BYTES // max(1, sum(array.nbytes for some in first for array in some)))
    kept, uses = (kept, USES) if kept >= FEWEST else (1, 1)
    asked = itertools.chain([first], every)
    while True:
        both = zip(*itertools.islice(asked, kept), strict=True)
        seen, answers = (tuple(map(np.concatenate, zip(*some, strict=True))) for some in both)
        for _ in range(uses):
            for rows in np.split(rng.permutation(len(seen[0])), kept):
                yield Batch(tuple(array[rows] for array in seen), tuple(array[rows] for array in answers))


def answer_features(
    first: Chain,
    ask_original: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]],
    kept: Sequence[tuple[Weight, Float32]],
) -> Ask:
    """A function that computes the outputs of the first layers, and those of the original network.

    kept: the weights of the first layers that training starts with, and does not change.
    """
    tf = tensorflow()
    constants = [(weight, tf.constant(values, str(weight.dtype))) for weight, values in kept]

    def ask(inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        outputs = ask_original(inputs)
        for weight, value in constants:
            weight.assign(value)
        with silence_keras():
            return tuple(call_model(first, inputs)), outputs

    asked: Ask = tf.function(ask, autograph=False)
    return asked
