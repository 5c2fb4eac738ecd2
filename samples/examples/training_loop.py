"""A checkpoint after each epoch, each as its difference from the last: python samples/examples/training_loop.py

`wcodec.keras.ModelCheckpoint` stands where Keras' own callback does. Its files are exact, the state of the optimizer
too, and training goes on from any of them. The oldest that is kept needs no other file. Needs wcodec[keras].
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import wcodec
import wcodec.keras

SAMPLES = Path(__file__).parent.parent


def main() -> None:
    """Fine-tune a network for four epochs of few images, and go on from the last file."""
    with np.load(SAMPLES / "mnist.npz") as data:
        x, y = data["x_train"][:500].astype(np.float32) / 255, data["y_train"][:500]
    model = wcodec.load_model(SAMPLES / "tutorial_cnn.h5")
    model.compile("sgd", "sparse_categorical_crossentropy")
    with tempfile.TemporaryDirectory() as folder:
        keep = wcodec.keras.ModelCheckpoint(Path(folder) / "{epoch:02d}.wcz", keep=3)
        model.fit(x, y, batch_size=100, epochs=4, verbose=0, callbacks=[keep])
        sizes = [file.stat().st_size for file in keep.files]
        alone = [len(wcodec.encode(wcodec.decode(file), lossless=True)) for file in keep.files]
        back = wcodec.keras.load_model(keep.files[-1])
        assert all(np.array_equal(a, b) for a, b in zip(back.get_weights(), model.get_weights(), strict=True))
        back.fit(x, y, batch_size=100, epochs=1, verbose=0)
    print(f"files kept: {', '.join(f'{size:,}' for size in sizes)} bytes")
    print(f"each alone: {', '.join(f'{size:,}' for size in alone)} bytes")


if __name__ == "__main__":
    main()
