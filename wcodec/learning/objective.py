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
    logs = []
    for given in (answers, outputs):
        if probabilities:
            both = tf.concat([1 - given, given], -1) if given.shape[-1] == 1 else given
            scores = tf.math.log(tf.maximum(both, FLOOR))
        else:
            scores = given
        logs.append(tf.nn.log_softmax(scores / TEMPERATURE))
    return TEMPERATURE**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(logs[0]) * (logs[0] - logs[1]), axis=-1))
