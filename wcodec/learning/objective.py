"""What a network in training makes small: the distance of its answers from the original's, for TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wcodec.learning.scores import FLOOR

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor

TEMPERATURE: Final = 2.0
"""Of the answers; warm ones tell more of an input than its class."""


def distance(tf: ModuleType, outputs: Tensor, answers: Tensor, probabilities: bool, spread: float) -> Tensor:
    """T^2 KL at temperature T (Hinton et al. 2015); of values, the squared error over the variance."""
    if outputs.shape.rank == 1:
        outputs = outputs[:, None]
    if outputs.shape[-1] == 1 and not probabilities:
        return tf.reduce_mean(tf.square(outputs - answers)) / spread
    before, now = (tf.nn.log_softmax(scores_of(tf, one, probabilities) / TEMPERATURE) for one in (answers, outputs))
    return TEMPERATURE**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(before) * (before - now), axis=-1))


def scores_of(tf: ModuleType, given: Tensor, probabilities: bool) -> Tensor:
    """Logarithms of probabilities, or what they are made of; one unit that is a probability becomes no and yes."""
    if not probabilities:
        return given
    both = tf.concat([1 - given, given], -1) if given.shape[-1] == 1 else given
    return tf.math.log(tf.maximum(both, FLOOR))
