"""The preset Deep Compression (Han, Mao and Dally 2016): the options of kernels that the user leaves open.

Weights below a threshold in standard deviations of their tensor are pruned. The others share the values of a codebook
by k-means from a linear start, with 8 bits for convolutions and 5 for dense kernels. Gaps and codes are Huffman coded;
biases are exact.
"""

from __future__ import annotations

from typing import Final

from wcodec.codec.plan import Prune
from wcodec.model import Tensor
from wcodec.model.dataclass import replace
from wcodec.planning.recipe import Options, Recipe

THRESHOLD: Final = 0.5
"""The threshold in standard deviations, without retraining."""
TRAINED_THRESHOLD: Final = 2.25
"""The same for pruning by rounds with retraining."""
CONVOLUTION_BITS, DENSE_BITS = 8, 5
METHODS: Final = "magnitude,sharing"
"""The training methods (`training.methods.registry`) that the paper combines."""


def classic_options(tensor: Tensor) -> Options:
    """The preset's options for a kernel; one of three or more dimensions is a convolution's."""
    bits = CONVOLUTION_BITS if len(tensor.shape) > 2 else DENSE_BITS
    return Options(prune=Prune("deviations", THRESHOLD), bits=bits, start="linear")


def for_training(recipe: Recipe) -> Recipe:
    """The recipe with the threshold of pruning by rounds, if the user gave none."""
    trained = Options(prune=Prune("deviations", TRAINED_THRESHOLD))
    return replace(recipe, options=recipe.options.merge_with(trained))
