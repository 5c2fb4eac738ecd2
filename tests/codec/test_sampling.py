"""Bytes and error of a tensor, estimated from a sample of its rows."""

from __future__ import annotations

import numpy as np
import pytest

from wcodec.codec.plan import UniformPlan
from wcodec.codec.sampling import take_sample
from wcodec.codec.tensor_encoder import encode_tensor
from wcodec.model import Tensor


@pytest.mark.parametrize("scale", [0.02, 8.0], ids=["rows of unused tokens", "loud border"])
def test_a_sample_represents_a_tensor_whose_first_and_last_rows_differ(scale: float) -> None:
    values = np.random.default_rng(0).standard_normal((20_000, 96), np.float32)
    values[:200] *= scale
    values[-200:] *= scale
    tensor = Tensor("embeddings", "float32", values.shape, read=values.copy)
    plan = UniformPlan(step=0.3)
    sample, coded = take_sample(tensor, plan), encode_tensor(tensor, plan, None, map)
    assert sample
    nbytes, error = sample.measure(plan)
    assert nbytes == pytest.approx(coded.nbytes, rel=0.03)
    assert error == pytest.approx(coded.squared_error, rel=0.03)
