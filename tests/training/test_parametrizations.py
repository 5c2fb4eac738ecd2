"""Schedules of the sparsity, and the parametrizations of the methods: how latents give the values of a kernel."""

from __future__ import annotations

import numpy as np
import pytest

from wcodec.codec.plan import Prune
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.training.methods.binary import start_binary
from wcodec.training.methods.sparsity_schedules import gradual_schedule, schedule_by_rounds, sparsity_at
from wcodec.training.methods.trained_codebooks import start_points, start_sharing
from wcodec.training.methods.uniform_qat import UniformQuantization, start_uniform

MOST = Prune("sparsity", 0.6)
KERNEL = np.array([[0.5, -1.0, 0.0], [0.25, 2.0, -0.125], [-0.5, 0.75, 1.0]], np.float32)


def test_the_cubic_schedule_is_that_of_zhu_and_gupta() -> None:
    for step in (0, 10, 35, 60, 110, 200):
        part = min(max((step - 10) / 100, 0), 1)
        assert sparsity_at(step, 10, 100, 0.5, 0.9, 3) == pytest.approx(0.9 + (0.5 - 0.9) * (1 - part) ** 3)
        assert sparsity_at(step, 10, 100, 0.5, 0.9, 1) == pytest.approx(0.5 + 0.4 * part)
    assert sparsity_at(10, 10, 100, 0.5, 0.9, 3) == 0.5
    assert sparsity_at(110, 10, 100, 0.5, 0.9, 3) == 0.9


def test_the_sparsity_of_a_schedule_rises_to_the_requested_one() -> None:
    for schedule in (
        gradual_schedule(MOST, 0.5, "cubic"),
        gradual_schedule(MOST, 0.5, "linear"),
        schedule_by_rounds(MOST),
    ):
        amounts = [schedule(done).amount for done in np.linspace(0, 1, 41)]
        assert amounts == sorted(amounts)
        assert amounts[-1] == amounts[31] == 0.6
        assert amounts[0] < 0.6
    assert len({schedule_by_rounds(MOST, rounds=4)(done).amount for done in np.linspace(0, 1, 101)}) == 4
    assert schedule_by_rounds(Prune("deviations", 1.0))(1.0) == Prune("deviations", 1.0)


def test_members_move_their_centroid_by_the_sum_or_the_mean_of_their_gradients() -> None:
    tf = tensorflow()
    values = np.array([[0.9, 1.1, -2.0], [1.0, -2.0, 0.0]], np.float32)
    gradient = tf.constant([[1.0, 2.0, 4.0], [6.0, 8.0, 100.0]])
    by_sum, by_mean = start_sharing(values, 2, "sum"), start_sharing(values, 2, "mean")
    assert by_sum.latent.values.numpy().tolist() == [-2.0, 0.0, 1.0]
    assert by_sum.latent_gradient(tf, gradient).numpy().tolist() == [12.0, 0.0, 9.0]
    assert by_mean.latent_gradient(tf, gradient).numpy().tolist() == [6.0, 0.0, 3.0]
    assert by_sum.value(tf).numpy().tolist() == [[1.0, 1.0, -2.0], [1.0, -2.0, 0.0]]


def test_weights_have_the_value_of_the_nearest_trained_point() -> None:
    tf = tensorflow()
    kernel_of_points = start_points(np.array([[-1.0, -0.9], [1.0, 1.2]], np.float32), 2)
    assert kernel_of_points.value(tf).numpy() == pytest.approx(np.array([[-0.95, -0.95], [1.1, 1.1]]))
    kernel_of_points.latent.values.assign([-0.8, 0.1, 2.0])
    kernel_of_points.update(0.5)
    assert kernel_of_points.value(tf).numpy() == pytest.approx(
        np.array([[-0.8, -0.8], [2.0, 2.0]])
    )  # no other point is much nearer
    kernel_of_points.latent.values.assign([30.0, 0.0, 90.0])
    kernel_of_points.update(0.5)
    assert kernel_of_points.value(tf).numpy().tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert kernel_of_points.latent_gradient(tf, tf.constant([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist() == [
        0.0,
        10.0,
        0.0,
    ]


def test_uniform_and_binary_kernels_have_the_values_of_the_file() -> None:
    tf = tensorflow()
    three = start_uniform(KERNEL, UniformQuantization(3)).value(tf).numpy()
    step = start_uniform(KERNEL, UniformQuantization(3)).export().step
    assert step is not None
    assert np.array_equal(three, np.clip(np.rint(KERNEL / step), -4, 3) * np.float32(step))
    shown = start_binary(KERNEL).value(tf).numpy()
    for column, was in zip(shown.T, KERNEL.T, strict=True):
        assert column == pytest.approx(np.sign(was) * np.abs(was[was != 0]).mean())
    assert start_binary(KERNEL).export().values == pytest.approx(shown, rel=2**-8)
