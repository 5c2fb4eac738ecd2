"""Options of the methods: buckets and learned ranges, optimal brain damage, dropout that falls with the connections."""

from __future__ import annotations

import numpy as np
import pytest

from wcodec.calibration.quantizable_weights import make_weight_table
from wcodec.codec.plan import Prune
from wcodec.errors import RecipeError
from wcodec.evaluation.keras_backend import keras, tensorflow
from wcodec.model import GroupWeights
from wcodec.training.methods.dropout import find_dropouts
from wcodec.training.methods.masked_pruning import start_pruning
from wcodec.training.methods.registry import MethodOptions, refuse_idle_options
from wcodec.training.methods.uniform_qat import UniformQuantization, start_uniform
from wcodec.training.methods.weight_groups import Range

KERNEL = np.array([[0.5, -1.0, 0.0], [0.25, 2.0, -0.125], [-0.5, 0.75, 1.0]], np.float32)


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("how", ["symmetric", "asymmetric"])
def test_every_bucket_has_its_own_step_and_uses_all_levels(how: Range, learn: bool) -> None:
    values = np.random.default_rng(3).normal(size=(3, 3, 4, 5)).astype(np.float32)
    values[0, 0, 0] = 0
    given = start_uniform(values, UniformQuantization(2, how, group=16, learn_range=learn)).export()
    assert isinstance(given, GroupWeights)
    assert given.steps.shape == (5, 3)
    rows = np.moveaxis(given.values, -1, 0).transpose(0, 3, 1, 2).reshape(5, 36)
    for row, steps in zip(rows, given.steps, strict=True):
        for start, step in zip((0, 16, 32), steps, strict=True):
            integers = row[start : start + 16] / step
            assert np.array_equal(integers, np.rint(integers))
            assert integers.max() - integers.min() <= 3
    assert np.all(given.values[0, 0, 0] == 0)


def test_optimal_brain_damage_prunes_by_the_curvature() -> None:
    tf = tensorflow()
    way = start_pruning(KERNEL, lambda _: Prune("sparsity", 1 / 3), forget=False, criterion="obd")
    flat = np.where(np.abs(KERNEL) == 2.0, 1e-3, 1.0).astype(np.float32)
    way.latent.step(tf, tf.constant(flat), tf.constant(0.0))
    way.update(0.5)  # the largest weight has the least effect: its gradients are small
    assert np.array_equal(way.mask.numpy() == 0, (np.abs(KERNEL) == 2.0) | (KERNEL == 0) | (KERNEL == -0.125))


def test_dropout_falls_with_the_square_root_of_the_remaining_connections() -> None:
    of = keras().layers
    model = keras().Sequential([of.Input((12,)), of.Dense(8), of.Dropout(0.5), of.Dense(3)])
    (dropout,) = find_dropouts(model, make_weight_table(model))
    assert dropout.kernel == 0
    dropout.scale({0: 0.25})
    assert float(dropout.rate.numpy()) == pytest.approx(0.25)


@pytest.mark.parametrize(
    "words",
    [{"rounds": 0}, {"bucket": 0}, {"prune_every": 0}, {"initial_sparsity": 1.0}, {"prune_begin": 0.8},
     {"criterion": "x"}],
)  # fmt: skip
def test_options_out_of_range_are_refused_by_name(words: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match=next(iter(words)).replace("_", "-")):
        MethodOptions(**words)


def test_an_option_that_no_method_has_is_refused() -> None:
    with pytest.raises(RecipeError, match="--bucket: expected --method quantized or points with it"):
        refuse_idle_options(MethodOptions(bucket=8), ("gradual", "sharing"))
    refuse_idle_options(MethodOptions(bucket=8, rounds=2), ("magnitude", "points"))
