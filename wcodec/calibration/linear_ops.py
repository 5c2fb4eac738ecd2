"""The linear operations of layers: the rows of inputs that a kernel multiplies, for each kind of layer.

A linear operation turns a kernel into a matrix [inputs, units], and the arguments of a call into rows of inputs.
Kernels without one (embeddings, depthwise and transposed convolutions, custom layers) are rounded without feedback.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wcodec.codec.layout import Value
from wcodec.evaluation.keras_backend import Arguments, keras
from wcodec.evaluation.runner import NetworkWeight

if TYPE_CHECKING:
    from keras import Layer, Variable


Float32 = npt.NDArray[np.float32]
InputRows = Callable[[Arguments, int, np.random.Generator], Float32]


@dataclass(frozen=True)
class LinearOp:
    """A kernel and the rows that it multiplies.

    input_rows: (positional arguments of a call, most rows, random generator) -> float32[rows, inputs].
    order:      the kernel's axes, those of the inputs first.
    input_axes: how many of those axes are inputs.
    """

    variable: Variable | NetworkWeight
    input_rows: InputRows
    order: tuple[int, ...]
    input_axes: int

    @property
    def inputs(self) -> int:
        """The number of rows of `as_matrix`."""
        return math.prod(self.variable.shape[axis] for axis in self.order[: self.input_axes])

    def as_matrix(self, kernel: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """The kernel as [inputs, units]. Inverse: `as_kernel`."""
        turned = kernel.transpose(self.order)
        return np.ascontiguousarray(turned.reshape(math.prod(turned.shape[: self.input_axes]), -1))

    def as_kernel(self, matrix: Float32) -> Float32:
        """Inverse: `as_matrix`."""
        shape = tuple(self.variable.shape[axis] for axis in self.order)
        return np.ascontiguousarray(matrix.reshape(shape).transpose(np.argsort(self.order)))


def find_linear_ops(layer: Layer) -> tuple[LinearOp, ...]:
    """The linear operations of a Keras layer (not of layers inside of it), in the order of its weights."""
    own = type(layer).__module__.startswith("keras.") and not getattr(layer, "quantization_mode", None)
    match type(layer).__name__ if own else None:
        case "Dense":
            return _make_op(layer.kernel, lambda x, most, rng: sample_rows(_to_array(x[0]), most, rng), 1)
        case "EinsumDense":
            return _make_einsum_op(layer)
        case "Conv1D" | "Conv2D" | "Conv3D" if layer.groups == 1:
            return _make_op(layer.kernel, lambda x, most, rng: _extract_conv_rows(layer, x[0], most, rng), -1)
        case "SeparableConv1D" | "SeparableConv2D":
            return _make_op(
                layer.pointwise_kernel,
                lambda x, most, rng: sample_rows(_run_depthwise(layer, x[0]), most, rng),
                -1,
            )
        case "LSTMCell" | "GRUCell" | "SimpleRNNCell":
            return (
                *_make_op(layer.kernel, lambda x, most, rng: sample_rows(_to_array(x[0]), most, rng), 1),
                *_make_op(layer.recurrent_kernel, lambda x, most, rng: sample_rows(_read_state(x[1]), most, rng), 1),
            )
    return ()


def _make_op(variable: Variable, rows: InputRows, input_axes: int) -> tuple[LinearOp, ...]:
    """An operation whose kernel has its inputs first; none if the kernel is computed (LoRA) and not a variable."""
    if not isinstance(variable, keras().Variable):
        return ()
    dims = len(variable.shape)
    return (LinearOp(variable, rows, tuple(range(dims)), input_axes % dims),)


def _make_einsum_op(layer: Layer) -> tuple[LinearOp, ...]:
    """The summed axes are inputs. There is none if the kernel shares an axis with both input and output."""
    operands, _, result = layer.equation.replace(" ", "").replace("...", "").partition("->")
    given, _, weight = operands.partition(",")
    summed = [label for label in weight if label in given and label not in result]
    free = [label for label in weight if label not in summed]
    if not summed or set(free) & set(given) or not isinstance(layer.kernel, keras().Variable):
        return ()
    axes = [given.index(label) - len(given) if "..." in layer.equation else given.index(label) for label in summed]

    def rows(x: Arguments, most: int, rng: np.random.Generator) -> Float32:
        array = _to_array(x[0])
        moved = np.moveaxis(array, axes, range(array.ndim - len(axes), array.ndim))
        return sample_rows(moved.reshape(*moved.shape[: -len(axes)], -1), most, rng)

    return (LinearOp(layer.kernel, rows, tuple(weight.index(label) for label in (*summed, *free)), len(summed)),)


def _to_array(value: object) -> Float32:
    array: Float32 = keras().ops.convert_to_numpy(value).astype(np.float32, copy=False)
    return array


def _read_state(states: object) -> Float32:
    return _to_array(states[0] if isinstance(states, list | tuple) else states)


def sample_rows(array: Float32, most: int, rng: np.random.Generator) -> Float32:
    """The last axis as rows; at most `most`, drawn at random."""
    rows = array.reshape(-1, array.shape[-1])
    return rows[np.sort(rng.choice(len(rows), most, replace=False))] if most < len(rows) else rows


def _move_channels_last(layer: Layer, images: Float32) -> Float32:
    return images if layer.data_format == "channels_last" else np.moveaxis(images, 1, -1)


def _extract_conv_rows(layer: Layer, images: object, most: int, rng: np.random.Generator) -> Float32:
    last = _move_channels_last(layer, _to_array(images))
    return extract_patches(last, layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding, most, rng)


def _run_depthwise(layer: Layer, images: object) -> Float32:
    """The inputs of the pointwise half of a separable convolution."""
    deep = keras().ops.depthwise_conv(
        images,
        layer.depthwise_kernel,
        strides=layer.strides,
        padding=layer.padding,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
    )
    return _move_channels_last(layer, _to_array(deep))


def extract_patches(
    images: Float32,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: str,
    most: int,
    rng: np.random.Generator,
) -> Float32:
    """Patches float32[places, prod(kernel) * channels] of `images[n, *space, channels]`; at most `most`, at random.

    Inside a patch the order is that of Keras' kernels: space, then channels.
    padding: "valid", "same" or "causal".
    """
    dims = len(kernel)
    reach = [(size - 1) * gap + 1 for size, gap in zip(kernel, dilations, strict=True)]
    margins = [
        _find_padding(length, extent, step, padding)
        for length, extent, step in zip(images.shape[1:-1], reach, strides, strict=True)
    ]
    padded = np.pad(images, ((0, 0), *margins, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(1, dims + 1)))
    skips = (slice(None), *(slice(None, None, step) for step in strides), slice(None))
    windows = windows[(*skips, *(slice(None, None, gap) for gap in dilations))]
    places = windows.shape[: dims + 1]
    count = int(np.prod(places))
    chosen = np.sort(rng.choice(count, most, replace=False)) if most < count else np.arange(count)
    found = windows[np.unravel_index(chosen, places)]
    return np.moveaxis(found, 1, -1).reshape(len(found), -1)


def extract_channels_first(
    images: Float32,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[tuple[int, int]],
    most: int,
    rng: np.random.Generator,
) -> Float32:
    """The patches of `images[n, channels, *space]` with `pads` zeros before and after, see `extract_patches`."""
    padded = np.pad(np.moveaxis(images, 1, -1), ((0, 0), *pads, (0, 0)))
    return extract_patches(padded, kernel, strides, dilations, "valid", most, rng)


def _find_padding(length: int, extent: int, step: int, padding: str) -> tuple[int, int]:
    """The number of zeros before and after an axis."""
    if padding == "causal":
        return extent - 1, 0
    if padding == "valid":
        return 0, 0
    total = max((-(-length // step) - 1) * step + extent - length, 0)
    return total // 2, total - total // 2
