"""wcodec.torch: the functions of safetensors.torch for .wcz files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import wcodec
from wcodec.torch import load_file, load_model, save_file, save_model


def network() -> torch.nn.Module:
    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.ReLU(), torch.nn.Linear(30, 10))


@pytest.mark.parametrize(
    "kind", ["float32", "float16", "bfloat16", "float64", "float8_e4m3fn", "int64", "uint8", "bool"]
)
def test_tensors_of_every_type_are_decoded_exactly(tmp_path: Path, kind: str) -> None:
    tensor = (torch.randn(20, 10, generator=torch.Generator().manual_seed(1)) * 2).to(getattr(torch, kind))
    save_file({"w": tensor, "t": tensor.t() if kind != "float8_e4m3fn" else tensor}, tmp_path / "m.wcz", {"by": "us"})
    found = load_file(tmp_path / "m.wcz")
    assert found["w"].dtype == tensor.dtype
    assert torch.equal(found["w"].view(torch.uint8), tensor.view(torch.uint8))
    assert b'{"by":"us"}' in wcodec.decode(tmp_path / "m.wcz")


def test_load_model_restores_the_weights_of_a_module(tmp_path: Path) -> None:
    model, other = network(), torch.nn.Sequential(torch.nn.Linear(40, 30))
    save_model(model, tmp_path / "m.wcz")
    fresh = network()
    torch.nn.init.zeros_(fresh[0].weight)
    assert load_model(fresh, tmp_path / "m.wcz", device="cpu") == ([], [])
    assert torch.equal(fresh[0].weight, model[0].weight)
    assert load_model(other, tmp_path / "m.wcz", strict=False) == ([], ["2.weight", "2.bias"])
    with pytest.raises(RuntimeError, match=r"2\.weight"):
        load_model(other, tmp_path / "m.wcz")


def test_a_lossy_option_makes_the_file_smaller(tmp_path: Path) -> None:
    state = network().state_dict()
    exact, small = save_file(state, tmp_path / "a.wcz"), save_file(state, tmp_path / "b.wcz", bits=4)
    assert small.file_bytes < 0.3 * exact.file_bytes
    assert wcodec.load(wcodec.encode(state, bits=4))["0.weight"].shape == (30, 40)
    with pytest.raises(wcodec.ModelFileError, match="w: expected a tensor of PyTorch, got list"):
        save_file({"w": [1.0]}, tmp_path / "c.wcz")
