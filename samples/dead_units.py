"""A chain of layers without its dead units, for the training of `records.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import keras
import numpy as np
import numpy.typing as npt

from wcodec.training.unit_sorting import WEIGHTED, Levels, find_chain

Number = TypeVar("Number", np.int32, np.float32)
Mask = npt.NDArray[np.bool_]
Pick = tuple[npt.NDArray[np.intp], ...]


@dataclass(frozen=True)
class PrunedChain:
    """The smaller network. picks: for each of its weights the indices of the whole network's weight that it keeps."""

    model: keras.Model
    picks: tuple[Pick, ...]
    shapes: tuple[tuple[int, ...], ...]


def prune_units(model: keras.Model, levels: Sequence[Levels]) -> PrunedChain | None:
    """The network without units that nothing reaches, or that reach nothing, with its weights; None for networks that
    are no plain chain of convolutions and dense layers.

    levels: of `model.weights`, in order.
    """
    chain = find_chain(model)
    if chain is None:
        return None
    kernels, biases = [levels[2 * i] for i in range(len(chain))], [levels[2 * i + 1] for i in range(len(chain))]
    alive: list[Mask] = [np.ones(kernel.shape[-1], bool) for kernel in kernels]
    for _ in chain:
        for i, (kernel, bias) in enumerate(zip(kernels[:-1], biases[:-1], strict=True)):
            reached = kernel[..., _inputs(i, kernel, alive), :].any(axis=tuple(range(kernel.ndim - 1))) | (bias != 0)
            following = kernels[i + 1][..., alive[i + 1]].any(axis=-1).reshape(-1, kernels[i + 1].shape[-2])
            reaching = following.any(axis=0).reshape(-1, len(alive[i])).any(axis=0)
            alive[i] = alive[i] & reached & reaching
            alive[i][0] |= not alive[i].any()
    picks: list[Pick] = []
    for i, kernel in enumerate(kernels):
        taps = tuple(np.arange(extent) for extent in kernel.shape[:-2])
        picks.append(np.ix_(*taps, np.flatnonzero(_inputs(i, kernel, alive)), np.flatnonzero(alive[i])))
        picks.append((np.flatnonzero(alive[i]),))
    small = _build(model, chain, [int(mask.sum()) for mask in alive])
    for weight, whole, pick in zip(small.weights, model.weights, picks, strict=True):
        weight.assign(np.asarray(whole)[pick])
    return PrunedChain(small, tuple(picks), tuple(tuple(weight.shape) for weight in model.weights))


def restore_shape(part: PrunedChain, index: int, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """What a weight of the smaller network has, as the whole one has it: zeros where nothing was kept."""
    found = np.zeros(part.shapes[index], values.dtype)
    found[part.picks[index]] = values
    return found


def _inputs(i: int, kernel: Levels, alive: Sequence[Mask]) -> Mask:
    """Which inputs of layer `i` are alive. Behind Flatten a channel has as many inputs as places, channels last."""
    if i == 0:
        return np.ones(kernel.shape[-2], bool)
    return np.tile(alive[i - 1], kernel.shape[-2] // len(alive[i - 1]))


def _build(model: keras.Model, chain: Sequence[keras.Layer], units: Sequence[int]) -> keras.Model:
    config = model.get_config()
    count = dict(zip((layer.name for layer in chain), units, strict=True))
    for layer in config["layers"]:
        if layer["config"].get("name") in count:
            layer["config"][WEIGHTED[layer["class_name"]]] = count[layer["config"]["name"]]
        layer.pop("build_config", None)
    config.pop("build_input_shape", None)
    small: keras.Model = keras.Sequential.from_config(config)
    if not small.built:
        small.build(model.input_shape)
    return small
