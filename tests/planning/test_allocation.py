"""Allocation: the statistics of a tensor, and its plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from attack.small_models import weights

from wcodec.codec.plan import CodebookPlan, ExactPlan, FloatPlan, Plan, UniformPlan
from wcodec.codec.statistics import is_weight, measure_tensor
from wcodec.errors import RecipeError
from wcodec.model import Model, Tensor
from wcodec.planning.allocation import plan_model
from wcodec.planning.parsing import parse_recipe


def tensor(name: str, values: np.ndarray, exact: bool = False) -> Tensor:
    return Tensor(name, values.dtype.name, values.shape, name.rpartition("/")[0], exact, lambda: values)


VALUES = {
    "a/kernel": weights(1, 300, 200), "a/bias": weights(2, 200), "b/kernel": weights(3, 200, 10) * np.float32(3),
    "depthwise/kernel": weights(4, 3, 3, 64, 1), "count": np.arange(4), "norm/mean": weights(5, 64),
    "scale": np.float32([2.5]).reshape(()),
}  # fmt: skip


def plans(**words: object) -> dict[str, Plan]:
    tensors = tuple(tensor(name, values, exact=name == "norm/mean") for name, values in VALUES.items())
    model = Model("npz", tensors, b"", 1)
    statistics = [measure_tensor(t, t.read()) if t.dtype == "float32" and not t.exact else None for t in tensors]
    return dict(zip(VALUES, plan_model(model, statistics, parse_recipe(words)), strict=True))


def test_exact_tensors_have_exact_plans_with_any_option() -> None:
    for words in ({}, {"bits": 2}, {"sparsity": 0.9}, {"preset": "small"}):
        planned = plans(**words)
        assert isinstance(planned["count"], ExactPlan)
        assert isinstance(planned["norm/mean"], ExactPlan)
    assert {type(plan) for plan in plans(lossless=True).values()} == {ExactPlan}


def test_vectors_are_pruned_and_quantised_only_by_name() -> None:
    assert isinstance(plans(sparsity=0.9, bits=2)["a/bias"], FloatPlan | ExactPlan)
    assert isinstance(plans(set="a/bias:bits=2")["a/bias"], CodebookPlan)


@pytest.mark.parametrize("options", ["bits=8", "clusters=9", "sparsity=0.5", "threshold=0.1", "step=0.1"])
def test_value_options_of_a_pattern_exclude_vectors_unless_it_is_their_name(options: str) -> None:
    planned = plans(set=f"^a:{options}")
    assert planned["a/bias"] == plans()["a/bias"]
    assert planned["a/kernel"] != plans()["a/kernel"]
    for name in ("a/bias", "^a/bias$"):
        assert plans(set=f"{name}:{options}")["a/bias"] != plans()["a/bias"]


def test_a_pattern_that_finds_only_vectors_is_refused_if_it_has_no_effect() -> None:
    with pytest.raises(RecipeError, match="pattern 'bias': expected a tensor of two or more dimensions"):
        plans(set="bias:bits=8")
    assert plans(set="bias:lossless")["a/bias"] == ExactPlan()


@pytest.mark.parametrize("options", ["bits=8", "sparsity=0.5", "step=0.1"])
def test_a_scalar_stays_exact_and_options_for_it_are_refused(options: str) -> None:
    with pytest.raises(RecipeError, match="pattern 'scale': expected a tensor of two or more dimensions"):
        plans(set=f"scale:{options}")
    assert plans(set="scale:lossless")["scale"] == plans()["scale"]


def test_a_step_can_be_a_multiple_of_that_of_the_preset() -> None:
    for name in ("a/kernel", "b/kernel"):
        plan, twice = plans()[name], plans(step="2x")[name]
        assert isinstance(plan, UniformPlan)
        assert twice == replace(plan, step=2 * plan.step)


def test_depthwise_kernels_have_few_clusters_only_by_name() -> None:
    assert isinstance(plans(bits=3)["depthwise/kernel"], UniformPlan)
    assert plans(set="depthwise:bits=3")["depthwise/kernel"].clusters == 8


def test_larger_tensors_and_larger_weights_get_larger_steps() -> None:
    planned = plans()
    assert planned["a/kernel"].step > 0 < planned["b/kernel"].step
    per_rms = {k: planned[k].step / np.sqrt(np.square(VALUES[k]).mean()) for k in ("a/kernel", "b/kernel")}
    assert per_rms["a/kernel"] > per_rms["b/kernel"]


def test_an_error_bound_gives_all_weight_tensors_the_same_step() -> None:
    planned = plans(max_error=1e-3)
    assert len({planned[name].step for name in VALUES if len(VALUES[name].shape) >= 2}) == 1


@pytest.mark.parametrize("outlier", [1e30, -1e10])
def test_outliers_are_irregular(outlier: float) -> None:
    values = weights(6, 40, 50)
    values[3, 4] = outlier
    found = measure_tensor(tensor("w", values), values)
    assert found.in_range == values.size - 1
    assert found.limit < abs(outlier)
    assert abs(found.rms - np.sqrt(np.square(weights(6, 40, 50)).mean())) < 0.01


def test_nonfinite_weights_are_irregular_and_not_in_the_statistics() -> None:
    values = weights(7, 30, 20)
    values[0, :3] = np.nan, np.inf, -np.inf
    found = measure_tensor(tensor("w", values), values)
    rest = values[np.isfinite(values)].astype(np.float64)
    assert (found.in_range, found.low, found.high) == (597, rest.min(), rest.max())
    assert found.energy == pytest.approx(np.square(rest).sum())


@pytest.mark.parametrize(
    "values", [np.empty((0, 3), np.float32), np.full((2, 2), np.nan, np.float32)], ids=["none", "nan"]
)
def test_a_tensor_without_regular_weights_has_an_exact_plan(values: np.ndarray) -> None:
    found = measure_tensor(tensor("w", values), values)
    assert (found.in_range, found.rms) == (0, 0.0)
    planned = plan_model(Model("npz", (tensor("w", values),), b"", 1), [found], parse_recipe({"bits": 4}))
    assert isinstance(planned[0], ExactPlan)


def test_weight_tensors_are_nonempty_floats_of_two_dimensions() -> None:
    for shape, dtype, expected in (((2, 3), "float32", True), ((6,), "float32", False), ((2, 3), "int32", False)):
        assert is_weight(tensor("w", np.zeros(shape, dtype))) == expected
    assert not is_weight(tensor("w", np.zeros((0, 3), np.float32)))
