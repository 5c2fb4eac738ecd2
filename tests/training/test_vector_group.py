"""Shared vectors in training: the network has the values of the file, and blocks move to the nearest vector."""

from __future__ import annotations

import numpy as np
import pytest

from wcodec.calibration.codebook_weights import CodebookRequest, quantize_kernel
from wcodec.calibration.quantizable_weights import make_weight_table
from wcodec.evaluation.keras_backend import keras, tensorflow
from wcodec.model import VectorWeights
from wcodec.training.vector_group import VectorGroup, start_vectors


def start_group(layer: object, shape: tuple[int, ...], clusters: int = 12) -> tuple[VectorGroup, VectorWeights]:
    """The kernel of a layer in a codebook of vectors, and the group that trains it."""
    keras().utils.set_random_seed(2)
    model = keras().Sequential([keras().layers.Input(shape), layer])
    (kernel,) = make_weight_table(model).kernels
    tuned, _ = quantize_kernel(kernel, (), CodebookRequest("product", clusters, 4), 0.0, 0.01)
    assert isinstance(tuned, VectorWeights)
    return start_vectors(0, model.weights[0], tuned, 0.01, 0.01), tuned


KINDS = [("dense", (24,)), ("conv", (6, 6, 8))]


def layer_of(kind: str) -> object:
    layers = keras().layers
    return layers.Dense(20, use_bias=False) if kind == "dense" else layers.Conv2D(12, 3, use_bias=False)


@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_training_starts_from_the_weights_of_the_codebook(kind: str, shape: tuple[int, ...]) -> None:
    group, tuned = start_group(layer_of(kind), shape)
    assert np.array_equal(group.values(tensorflow())[0].numpy(), tuned.values)
    before = group.members.numpy()
    group.reassign()
    assert np.array_equal(group.members.numpy(), before)
    coded = group.export()
    assert np.abs(coded.values - tuned.values).max() <= 0.5001 * coded.codebook.step
    assert len(coded.codebook.entries) <= 13
    assert not group.vectors.values.numpy()[0].any()


@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_the_latents_of_blocks_start_half_way_to_the_original(kind: str, shape: tuple[int, ...]) -> None:
    group, tuned = start_group(layer_of(kind), shape)
    own = group.own.values.numpy().reshape(-1)[group.order].reshape(tuned.values.shape)
    original = np.asarray(group.weights[0])
    assert np.abs(original - tuned.values).max() > 0.01
    assert np.allclose(own, (tuned.values + original) / 2, atol=1e-6)


@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_a_vector_moves_by_the_mean_gradient_of_its_members_and_a_block_to_the_nearest_vector(
    kind: str, shape: tuple[int, ...]
) -> None:
    group, tuned = start_group(layer_of(kind), shape)
    tf, before = tensorflow(), group.members.numpy().copy()
    wanted = np.random.default_rng(1).normal(0, float(tuned.values.std()), tuned.values.shape).astype(np.float32)
    first = float(np.square(tuned.values - wanted).sum())
    for _ in range(300):
        values = group.values(tf)[0]
        group.apply(tf, [values - wanted], tf.constant(0.0), tf.constant(1.0))
        group.reassign()
    last = float(np.square(group.export().values - wanted).sum())
    assert last < 0.8 * first
    assert (group.members.numpy() != before).mean() > 0.3
    assert np.bincount(group.members.numpy(), minlength=group.counts.shape[0])[1:].min() > 0
    assert not group.vectors.values.numpy()[0].any()


def test_a_vector_without_members_splits_the_cluster_with_the_largest_error() -> None:
    group, _ = start_group(layer_of("dense"), (24,))
    vectors = group.vectors.values.numpy()
    vectors[5] = 100.0
    group.vectors.values.assign(vectors)
    group.reassign()
    assert np.abs(group.vectors.values.numpy()).max() < 10
    assert (group.members.numpy() == 5).any()
