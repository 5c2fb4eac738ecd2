"""Small PyTorch networks of the kinds that people have, for images (n, 28, 28), and their training.

python benchmarks/torch_networks.py --data fashion_mnist.npz --out DIR [--epochs 3] [name ...]

Writes DIR/NAME.safetensors, the state_dict, and DIR/NAME.onnx. As `--model torch_networks:vit` the functions are what
`wcodec --data` runs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

SEED = 1
BATCH = 128


class ConvolutionalNetwork(nn.Module):
    """Convolutions with batch normalisation, halved by strides, and two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, stride=2), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        )  # fmt: skip
        self.hidden = nn.Linear(64 * 49, 128)
        self.last = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolutions(x.reshape(-1, 1, 28, 28)).flatten(1)
        return self.last(torch.relu(self.hidden(x)))


class RecurrentNetwork(nn.Module):
    """An LSTM over the rows of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 128, batch_first=True)
        self.last = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.last(states[:, -1])


class Transformer(nn.Module):
    """A vision transformer of two blocks over patches of 7 x 7."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 64, 7, stride=7)
        self.positions = nn.Parameter(torch.randn(16, 64) * 0.02)
        block = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.last = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x.reshape(-1, 1, 28, 28)).flatten(2).transpose(1, 2) + self.positions
        return self.last(self.blocks(x).mean(1))


def cnn_bn() -> nn.Module:
    """See `ConvolutionalNetwork`."""
    return ConvolutionalNetwork()


def lstm() -> nn.Module:
    """See `RecurrentNetwork`."""
    return RecurrentNetwork()


def vit() -> nn.Module:
    """See `Transformer`."""
    return Transformer()


def mlp() -> nn.Module:
    """LeNet-300-100."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


NETWORKS = {"cnn_bn": cnn_bn, "lstm": lstm, "vit": vit, "mlp": mlp}


def train(network: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    """Adam with a rate that falls to 0 as a cosine."""
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loss = nn.CrossEntropyLoss()
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss(network(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    network.eval()


def export(network: nn.Module, path: Path) -> None:
    """Write an ONNX model that takes any number of examples."""
    torch.backends.mha.set_fastpath_enabled(False)
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    example = torch.zeros(2, 28, 28)
    torch.onnx.export(
        network, (example,), str(path), input_names=["x"], output_names=["y"], dynamic_axes=axes, dynamo=False
    )


def main() -> None:
    """Train the networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with np.load(args.data) as data:
        x, test = (torch.from_numpy(data[f"x_{part}"].astype(np.float32) / 255) for part in ("train", "test"))
        y, truth = (torch.from_numpy(data[f"y_{part}"].astype(np.int64)) for part in ("train", "test"))
    for name in args.names:
        torch.manual_seed(SEED)
        network, start = NETWORKS[name](), time.perf_counter()
        train(network, x, y, args.epochs)
        with torch.no_grad():
            accuracy = 100 * float((network(test).argmax(1) == truth).float().mean())
        save_file(
            {key: value.contiguous() for key, value in network.state_dict().items()}, args.out / f"{name}.safetensors"
        )
        export(network, args.out / f"{name}.onnx")
        print(f"{name}: {accuracy:.2f} %, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
