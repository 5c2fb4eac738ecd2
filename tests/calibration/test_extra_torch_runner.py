"""PyTorch modules that are run: evaluated, and calibrated by what multiplies weights; collected where torch is."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run
from safetensors.torch import save_file
from torch import Tensor, nn

import wcodec
from wcodec.calibration.network_table import make_network_table
from wcodec.calibration.session import prepare_session as prepare
from wcodec.calibration.session import record_originals
from wcodec.errors import ModelFileError
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.torch_backend import TorchRunner
from wcodec.evaluation.torch_loader import load_torch
from wcodec.modelfiles import open_model

NUMBERS = count()
SOURCE = '''
import torch
from torch import Tensor, nn

class Network(nn.Module):
    """Convolutions, batch normalisation, attention and an LSTM over (steps, channels)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(12, 16, 3, padding=1)
        self.norm = nn.BatchNorm1d(16)
        self.deep = nn.Conv1d(16, 16, 3, padding=1, groups=16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.lstm = nn.LSTM(16, 20, 2, batch_first=True)
        self.odd = nn.Parameter(torch.randn(20, 20) / 20)
        self.last = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x.transpose(1, 2))))
        x = self.deep(x).transpose(1, 2)
        x = x + self.attention(x, x, x)[0]
        x = self.lstm(x)[0][:, -1]
        return 4 * self.last(x + self.odd.cumsum(0)[0])

def build() -> nn.Module:
    return Network()

def other():
    return 7

def fails():
    raise ValueError("no network today")
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user in the working directory, and its state_dict."""
    name = f"my_networks_{next(NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(3)
    network = build(name)
    with torch.no_grad():
        network.norm.running_mean.normal_()
        network.norm.running_var.uniform_(0.5, 2)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, "m.safetensors")
    return name


def build(name: str) -> nn.Module:
    network: nn.Module = __import__(name).build()
    return network


def draw_inputs(count: int) -> np.ndarray:
    """Correlated inputs."""
    rng = np.random.default_rng(9)
    return (rng.normal(size=(count, 6, 3)) @ rng.normal(size=(3, 12)) + 0.2 * rng.normal(size=(count, 6, 12))).astype(
        np.float32
    )


def load(name: str) -> TorchRunner:
    return load_torch(build(name), Path("m.safetensors"), "m.safetensors")


def test_a_runner_has_the_outputs_of_the_module(module: str) -> None:
    x, runner = draw_inputs(7), load(module)
    with torch.no_grad():
        expected = runner.module(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(runner.predict((x,))[0], expected)
    before = runner.get_weights()
    runner.set_weights([0 * array for array in before])
    assert not runner.predict((x,))[0].any()
    runner.set_weights(before)
    np.testing.assert_array_equal(runner.predict((x,))[0], expected)


def test_a_runner_records_every_multiplication_by_a_weight(module: str) -> None:
    x, runner = draw_inputs(30), load(module)
    with open_model(Path("m.safetensors")) as file:
        table = make_network_table(runner, file, (), (x,))
    assert {one.path for one in table.kernels if one.op is None} == {"deep.weight"}
    assert {one.path for one in table.kernels if one.op} == {
        "conv.weight", "attention.in_proj_weight", "attention.out_proj.weight",
        "lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.weight_ih_l1", "lstm.weight_hh_l1", "last.weight",
    }  # fmt: skip
    assert table.missed == ("odd",)
    assert {one.path for one in table.statistics} == {"norm.running_mean", "norm.running_var"}
    examples = Examples((x,))
    session = prepare(runner, examples, examples, most=30, table=table)
    rows = {
        group.kernels[0].path: np.concatenate([batch[0] for batch in record_originals(session, number)])
        for number, group in enumerate(session.groups)
        if group.recorded
    }
    kernels = {one.path: one for one in table.kernels}
    found: dict[str, Tensor] = {}
    for name in ("conv", "last"):
        layer = runner.module.get_submodule(name)
        layer.register_forward_hook(lambda own, given, out, name=name: found.update({name: out}))
    runner.predict((x,))
    for name, outputs in found.items():
        kernel = kernels[f"{name}.weight"]
        made = rows[kernel.path] @ kernel.op.as_matrix(kernel.original)
        made += dict(runner.module.named_parameters())[f"{name}.bias"].detach().numpy()
        units = outputs.movedim(1, -1).reshape(-1, outputs.shape[1]).numpy()
        np.testing.assert_allclose(np.sort(made, axis=0), np.sort(units, axis=0), atol=1e-5)
    assert rows["lstm.weight_hh_l1"].shape[1] == 20
    assert np.abs(rows["lstm.weight_hh_l1"]).max() <= 1


def test_statistics_of_batch_normalization_are_estimated_again(module: str) -> None:
    x, runner = draw_inputs(64), load(module)
    with open_model(Path("m.safetensors")) as file:
        table = make_network_table(runner, file, (), (x,))
    runner.reestimate(table.batch_norms, [(x[:32],), (x[32:],)])
    with torch.no_grad():
        seen = runner.module.conv(torch.from_numpy(x).transpose(1, 2))
    mean = table.batch_norms[0].moving_mean.read()
    np.testing.assert_allclose(mean, seen.mean((0, 2)).numpy(), atol=1e-5)
    assert not runner.module.norm.training


def test_calibration_diverges_less_than_a_data_free_file_of_the_same_size(wcodec: Run, module: str) -> None:
    np.savez("x.npz", x=draw_inputs(600))
    arch = ["--data", "x.npz", "--model", f"{module}:build"]
    done = wcodec("encode", "m.safetensors", "-o", "small.wcz", *arch, "--max-kl", "0.01", "--time-limit", "20s")
    assert done.returncode == 0, done.stderr
    assert "1 tensors are not followed and are coded as without data: odd" in done.stderr
    size = Path("small.wcz").stat().st_size
    assert wcodec("encode", "m.safetensors", "-o", "plain.wcz", "--target-size", size).returncode == 0
    errors = []
    for coded in ("small.wcz", "plain.wcz"):
        done = wcodec("evaluate", coded, *arch, "--baseline", "m.safetensors", "--json")
        assert done.returncode == 0, done.stderr
        errors.append(json.loads(done.stdout)["output_error"])
    assert errors[0] < 0.7 * errors[1]


def test_weights_of_nested_modules_are_matched_by_name(module: str) -> None:
    x, whole = draw_inputs(3), load(module)
    expected = whole.predict((x,))[0]
    inside = load_torch(nn.Sequential(build(module)), Path("m.safetensors"), "m")
    np.testing.assert_array_equal(inside.predict((x,))[0], expected)
    state = {f"model.{key}": value for key, value in whole.module.state_dict().items()}
    torch.save({"state_dict": state}, "m.pt")
    outside = load_torch(build(module), Path("m.pt"), "m.pt")
    np.testing.assert_array_equal(outside.predict((x,))[0], expected)
    assert "state_dict.model.last.weight" in {one.path for one in outside.weights}
    with pytest.raises(ModelFileError, match=r"expected tensors 0.weight, 0.bias for the module"):
        load_torch(nn.Sequential(nn.Linear(3, 4)), Path("m.safetensors"), "m")


@pytest.mark.parametrize(
    ("function", "message"),
    [("other", "nn.Module, got int"), ("fails", ".py:32: ValueError"), ("absent", "found none")],
)
def test_a_function_that_returns_no_module_is_refused_in_one_line(
    wcodec: Run, module: str, function: str, message: str
) -> None:
    np.savez("x.npz", x=draw_inputs(20))
    done = wcodec("encode", "m.safetensors", "--data", "x.npz", "--model", f"{module}:{function}", "-q")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert not Path("m.safetensors.wcz").exists()


@pytest.mark.parametrize("labelled", [True, False])
def test_maps_of_classes_have_their_channels_first(labelled: bool) -> None:
    torch.manual_seed(3)
    network, changed = (nn.Conv2d(3, 5, 3, padding=1) for _ in range(2))
    images = np.random.default_rng(1).normal(size=(70, 3, 12, 14)).astype(np.float32)
    with torch.no_grad():
        changed.weight.copy_(network.weight + 0.1 * torch.randn(network.weight.shape))
        maps, found = (net(torch.from_numpy(images)).numpy() for net in (network, changed))
    labels = maps.argmax(1)
    measured = wcodec.evaluate(changed, data=(images, labels) if labelled else images, baseline=network)
    same = 100 * (found.argmax(1) == labels).mean()
    assert measured.agreement == pytest.approx(same)
    assert measured.accuracy == (pytest.approx(same) if labelled else None)


class Heads(nn.Module):
    """Two outputs in a dict or a tuple, with a number that is no output."""

    def __init__(self, *, named: bool) -> None:
        super().__init__()
        self.value, self.choice, self.named = nn.Linear(6, 1), nn.Linear(6, 3), named

    def forward(self, x: Tensor) -> object:
        found = self.value(x), self.choice(x)
        return {"value": found[0], "choice": found[1], "mean": found[0].mean()} if self.named else found


@pytest.mark.parametrize("named", [True, False])
def test_labels_are_assigned_to_outputs_by_a_run_of_the_network(named: bool, tmp_path: Path) -> None:
    torch.manual_seed(2)
    network, x = Heads(named=named), np.random.default_rng(3).normal(size=(300, 6)).astype(np.float32)
    values, choices = x[:, 0] + 5, np.arange(300) % 3
    names = ["value", "choice"] if named else ["output 0", "output 1"]
    with torch.no_grad():
        predicted = network.value(torch.tensor(x)).numpy()[:, 0]
        chosen = network.choice(torch.tensor(x)).argmax(1).numpy()
    labels: list[object] = [(x, [values, choices])]
    for keys in (names, ["0", "1"]) if named else (["0", "1"],):
        words = [f"y_{key}" if key in names else f"y{key}" for key in keys]
        arrays = dict(zip(words, (values, choices), strict=True))
        np.savez(tmp_path / f"{keys[0]}.npz", x=x, **arrays)
        labels.append(str(tmp_path / f"{keys[0]}.npz"))
    labels += [(x, {"value": values, "choice": choices})] if named else []
    for data in labels:
        found = wcodec.evaluate(network, data=data).outputs
        assert [one.name for one in found] == names
        assert found[0].loss == pytest.approx(float(np.square(predicted - values).mean()))
        assert found[0].r2 is not None
        assert found[1].accuracy == pytest.approx(100 * float((chosen == choices).mean()))
