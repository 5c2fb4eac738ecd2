"""A network after a little more training, coded against what it was before: `--lossless` with and without `--base`.

    python benchmarks/versions.py [--out versions.md]

samples/lenet300.h5, after 100 steps of Adam (1e-4) or of SGD (1e-2), batches of 64; the images only make the pair.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from page import publish

import wcodec

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
STEPS, BATCH = 100, 64


def train(optimizer: keras.optimizers.Optimizer, target: Path) -> Path:
    """The sample, after some steps."""
    data = np.load(SAMPLES / "mnist.npz")
    x = data["x_train"][: STEPS * BATCH].reshape(-1, 28, 28, 1).astype(np.float32) / 255
    model = keras.models.load_model(SAMPLES / "lenet300.h5", compile=False)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, data["y_train"][: STEPS * BATCH], batch_size=BATCH, shuffle=False, verbose=0)
    model.save(target, include_optimizer=False)
    return target


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = ["File bytes.", ""]
    lines += ["| training | file | --lossless | with --base | with --base, --fast |", "|---|--:|--:|--:|--:|"]
    base = SAMPLES / "lenet300.h5"
    with tempfile.TemporaryDirectory() as folder:
        for name, optimizer in (("Adam", keras.optimizers.Adam(1e-4)), ("SGD", keras.optimizers.SGD(1e-2))):
            source, packed = train(optimizer, Path(folder) / f"{name}.h5"), Path(folder) / "m.wcz"
            sizes = [
                wcodec.encode(source, packed, lossless=True, **words).file_bytes
                for words in ({}, {"base": base}, {"base": base, "effort": "fast"})
            ]
            lines.append(f"| {name} | {source.stat().st_size:,} | " + " | ".join(f"{size:,}" for size in sizes) + " |")
    publish(lines, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
