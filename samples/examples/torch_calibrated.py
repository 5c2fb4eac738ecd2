"""A PyTorch state_dict coded by unlabelled inputs: python samples/examples/torch_calibrated.py   (needs wcodec[torch])

wcodec gets the state_dict and the `nn.Module` that takes it, sees what multiplies each weight while the module runs,
and writes a .wcz that decodes to a safetensors state_dict.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import wcodec

SAMPLES = Path(__file__).parent.parent


def build() -> nn.Module:
    """A small classifier of digits."""
    layers = nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 5, stride=2), nn.ReLU()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))


def train(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """Three epochs."""
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(3):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()


def main() -> None:
    """Train, encode with and without inputs, and compare."""
    torch.manual_seed(0)
    with np.load(SAMPLES / "mnist.npz") as data:
        images, labels = data["x_train"][:10_000], data["y_train"][:10_000]
        test = data["x_test"][:2000], data["y_test"][:2000]
    network, x = build(), torch.from_numpy(images.astype(np.float32) / 255)[:, None]
    train(network, x, torch.from_numpy(labels.astype(np.int64)))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "m.safetensors", Path(folder) / "m.wcz"
        save_file(network.state_dict(), source)
        plain = wcodec.encode(source, target).file_bytes
        wcodec.encode(source, target, data=images[:2000], model=build, max_drop=0.5, time_limit="20s")
        found = wcodec.evaluate(target, test, baseline=source, architecture=build)
        wcodec.decode(target, Path(folder) / "back.safetensors")
        network.load_state_dict(load_file(Path(folder) / "back.safetensors"))
    print(f"{found.source_bytes:,} bytes: {plain:,} without data, {found.file_bytes:,} calibrated")
    print(f"accuracy {found.baseline_accuracy:.2f} % -> {found.accuracy:.2f} %")


if __name__ == "__main__":
    main()
