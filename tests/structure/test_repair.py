"""Repair of networks with fewer units: statistics and recurrent kernels."""

from __future__ import annotations

import numpy as np

from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import keras
from wcodec.structure.graph import trace
from wcodec.structure.obs import scores_by_obs
from wcodec.structure.rebuild import without
from wcodec.structure.repair import repair
from wcodec.structure.selection import Amount, select


def test_repair_keeps_statistics_that_are_not_those_of_the_examples() -> None:
    layers = keras().layers
    block = [layers.Dense(24), layers.BatchNormalization(), layers.ReLU()]
    model = keras().Sequential([layers.Input((12,)), *block, layers.Dense(3), layers.BatchNormalization()])
    graph, inputs = trace(model), 30 * np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    examples = Examples((inputs,))
    kept = select(graph, scores_by_obs(graph, examples), Amount("width", 0.5, uniform=True))
    small = without(graph, kept)
    repair(graph, kept, small, examples)
    before, after = (np.asarray(one(inputs)) for one in (model, small))
    assert ((before - after) ** 2).mean() < 0.4 * before.var()


def test_recurrent_kernels_do_not_grow_by_repair() -> None:
    layers = keras().layers
    keras().utils.set_random_seed(3)
    model = keras().Sequential([layers.Input((30, 4)), layers.GRU(48), layers.Dense(3)])
    steps = np.random.default_rng(0).normal(size=(300, 30, 4)).astype(np.float32).cumsum(axis=1) / 3
    graph, examples = trace(model), Examples((steps,))
    kept = select(graph, scores_by_obs(graph, examples), Amount("width", 0.5))
    small = without(graph, kept)
    repair(graph, kept, small, examples)
    before, after = (one.layers[0].cell.recurrent_kernel.numpy() for one in (model, small))
    assert np.abs(after).max() < 1.4 * np.abs(before).max()
    whole, part = (np.asarray(one(steps)) for one in (model, small))
    assert ((whole - part) ** 2).mean() < 0.002 * whole.var()
