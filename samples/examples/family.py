"""Twelve siblings of one network, coded as a family: python samples/examples/family.py

A network that is fine-tuned for each customer, allele or sensor: the files differ little. wcodec finds which resembles
which, codes one by itself and the others as differences, and decodes a single one from what that one needs. No
framework is needed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import wcodec

COUNT = 12


def write_siblings(folder: Path) -> None:
    """A network, and others that were trained on from it: a tenth of the weights moved."""
    rng = np.random.default_rng(0)
    shapes = {"lstm.kernel": (64, 400), "lstm.recurrent": (100, 400), "last.kernel": (100, 10)}
    parent = {name: (rng.normal(size=shape) / 10).astype(np.float32) for name, shape in shapes.items()}
    folder.mkdir()
    for number in range(COUNT):
        moved = {
            name: array + np.where(rng.random(array.shape) < 0.1, 0.01 * rng.normal(size=array.shape), 0)
            for name, array in parent.items()
        }
        save_file(
            {name: array.astype(np.float32) for name, array in moved.items()}, folder / f"{number:02d}.safetensors"
        )


def main() -> None:
    """Encode the folder both ways, decode one member, and add another."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_siblings(folder / "plain")
        family = wcodec.encode(folder / "plain", folder / "family", lossless=True, family=True).file_bytes
        alone = wcodec.encode(folder / "plain", folder / "alone", lossless=True).file_bytes
        one = wcodec.decode(folder / "family" / "07.safetensors.wcz")
        assert one == (folder / "plain" / "07.safetensors").read_bytes()
        wcodec.verify(folder / "family")
        source = sum(file.stat().st_size for file in (folder / "plain").iterdir())
    print(f"{COUNT} files, {source:,} bytes: {alone:,} each alone, {family:,} as a family")


if __name__ == "__main__":
    main()
