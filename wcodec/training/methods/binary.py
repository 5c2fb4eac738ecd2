"""Binary weights with a scale: BinaryConnect (Courbariaux, Bengio and David 2015) with the scale of XNOR-Net
(Rastegari, Ordonez, Redmon and Farhadi 2016).

A weight is the sign of its latent times the mean magnitude of the latents of its output. Latents are clipped, because
the sign of a latent far from zero would never change again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.codec.quantizers.affine import compute_row_steps, quantize_rows
from wcodec.model import SignWeights, TunedTensor
from wcodec.training.flat_adam import Adam, Float32
from wcodec.training.methods.parametrization import Parametrization, nonzero_mask

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor, Variable


FARTHEST: Final = 3.0
"""The largest magnitude of a latent, as a multiple of the initial mean magnitude."""


@dataclass(frozen=True)
class BinaryWeights:
    """A kernel with two values for each output (last axis), or for each input of depthwise kernels with one output."""

    latent: Adam
    mask: Variable
    axis: int
    limit: float
    per_tensor_rate: bool = False

    def value(self, tf: ModuleType) -> Tensor:
        others = [i for i in range(len(self.latent.values.shape)) if i != self.axis]
        kept = tf.maximum(tf.reduce_sum(self.mask, others, keepdims=True), 1.0)
        scale = tf.reduce_sum(tf.abs(self.latent.values) * self.mask, others, keepdims=True) / kept
        return tf.where(self.latent.values >= 0, scale, -scale) * self.mask

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        # dL/dW = dL/dW~ (1/n + alpha 1[|W| <= 1]) of XNOR-Net, with W in units of the limit.
        count = self.latent.values.shape[self.axis] / np.prod(self.latent.values.shape)
        inside = tf.cast(abs(self.latent.values) <= self.limit, "float32")
        return gradient * self.mask * (count + inside / FARTHEST)

    def _clip(self) -> None:
        """Clip the latents, so that every sign can still change (BinaryConnect)."""
        self.latent.values.assign(np.clip(self.latent.values.numpy(), -self.limit, self.limit))

    def update(self, done: float) -> None:
        self._clip()

    def export(self) -> TunedTensor:
        values = np.where(self.latent.values.numpy() >= 0, 1, -1) * np.abs(self.latent.values.numpy())
        turned = np.moveaxis(values * self.mask.numpy(), self.axis, 0).astype(np.float32)
        turned[(turned == 0) & np.moveaxis(self.mask.numpy() > 0, self.axis, 0)] = np.finfo(np.float32).tiny
        steps = compute_row_steps(turned, "binary", 1)
        levels = quantize_rows(turned, steps, "binary")
        signed = levels * steps.reshape(-1, *(1,) * (levels.ndim - 1))
        return SignWeights(np.ascontiguousarray(np.moveaxis(signed, 0, self.axis)))


def start_binary(values: Float32) -> Parametrization:
    """A parametrization that starts from these values."""
    axis = values.ndim - 1 if values.shape[-1] > 1 or values.ndim < 3 else values.ndim - 2
    mean = float(np.abs(values).mean()) if values.size else 0.0
    return BinaryWeights(Adam.start(values), nonzero_mask(values), axis, FARTHEST * mean)
