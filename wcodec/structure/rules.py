"""The table of rules: how units pass through each Keras layer.

A layer without a rule freezes its units, by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from wcodec.evaluation.keras_backend import keras
from wcodec.structure import (
    rules_attention,
    rules_linear,
    rules_merging,
    rules_normalizing,
    rules_passing,
    rules_recurrent,
)
from wcodec.structure.flow import Flow, LayerCall

if TYPE_CHECKING:
    from keras import Layer, Operation

Rule = Callable[[LayerCall], list[Flow]]

_DIMENSIONS: Final = ("1D", "2D", "3D")


def _for_each_dimension(stem: str, rule: Rule) -> dict[str, Rule]:
    return {stem + dimensions: rule for dimensions in _DIMENSIONS}


LAYERS: Final[dict[str, Rule]] = {
    "Dense": rules_linear.dense,
    "EinsumDense": rules_linear.einsum,
    "Embedding": rules_linear.embedding,
    "ReversibleEmbedding": rules_linear.embedding,
    **_for_each_dimension("Conv", rules_linear.conv),
    **{f"Conv{dimensions}Transpose": rules_linear.conv_transposed for dimensions in _DIMENSIONS},
    **_for_each_dimension("DepthwiseConv", rules_linear.depthwise),
    **_for_each_dimension("SeparableConv", rules_linear.separable),
    "BatchNormalization": rules_passing.batch_norm,
    **dict.fromkeys(
        ("LayerNormalization", "RMSNormalization", "UnitNormalization"), rules_normalizing.over_units
    ),
    "GroupNormalization": rules_normalizing.by_groups,
    "PReLU": rules_passing.prelu,
    "Softmax": rules_passing.softmax,
    **dict.fromkeys(("Activation", "ReLU", "LeakyReLU", "ELU", "Rescaling"), rules_passing.elementwise),
    **dict.fromkeys(
        ("Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Identity"),
        rules_passing.same,
    ),
    **_for_each_dimension("SpatialDropout", rules_passing.same),
    **{name + size: rules_passing.spatial for name in ("MaxPooling", "AveragePooling", "Cropping", "UpSampling")
       for size in _DIMENSIONS},
    **_for_each_dimension("ZeroPadding", rules_passing.padding),
    **_for_each_dimension("GlobalAveragePooling", rules_passing.global_pooling),
    **_for_each_dimension("GlobalMaxPooling", rules_passing.global_pooling),
    "Flatten": rules_passing.flatten,
    "Reshape": rules_passing.reshape,
    "Permute": rules_passing.permute,
    "RepeatVector": rules_passing.repeat_vector,
    "Masking": rules_passing.masking,
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Maximum", "Minimum", "Average"), rules_merging.merge),
    "Concatenate": rules_merging.concatenate,
    **dict.fromkeys(("SimpleRNN", "GRU", "LSTM"), rules_recurrent.recurrent),
    "Bidirectional": rules_recurrent.bidirectional,
    "MultiHeadAttention": rules_attention.multi_head,
    "GroupedQueryAttention": rules_attention.grouped_query,
    "Attention": rules_attention.dot_product,
    "AdditiveAttention": rules_attention.additive,
}  # fmt: skip
"""By the name of the class, for Keras' layers."""

OPERATIONS: Final[dict[str, Rule]] = {
    **dict.fromkeys(
        ("Add", "Subtract", "Multiply", "Maximum", "Minimum", "Divide", "TrueDivide"), rules_merging.arithmetic
    ),
    **dict.fromkeys(
        ("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Gelu", "Elu", "Selu", "Softplus", "HardSigmoid", "HardSilu",
         "Abs", "Absolute", "Square", "Sqrt", "Exp", "Negative"), rules_passing.operation,
    ),
}  # fmt: skip
"""By the name of the class, for `keras.ops` in functional models."""


def rule_of(layer: Layer | Operation) -> Rule | None:
    """The rule of a layer or operation; None if it is custom, quantised or unknown."""
    if not type(layer).__module__.startswith("keras.") or getattr(layer, "quantization_mode", None):
        return None
    name = type(layer).__name__
    if not isinstance(layer, keras().Layer):
        return OPERATIONS.get(name)
    if name == "TimeDistributed":
        return partial(rules_recurrent.time_distributed, rule_of=rule_of)
    return LAYERS.get(name)
