"""A language model of bytes, trained on the text of Python's own documentation strings: 2.5 M, rows of 256 or 1024.

    python benchmarks/language_model.py train out/lm [--steps N]     # out/lm/lm.keras, out/lm/text.npz (:train, :test)
    python benchmarks/language_model.py score out/lm MODEL...           # bits a byte on the held-out text

A file of the standard library is held out where its name's CRC is a multiple of 12. Both sets are windows of 128 bytes.
"""

from __future__ import annotations

import argparse
import ast
import os
import sysconfig
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from keras import layers

import wcodec

CUTS = {"x": slice(None, -1), "y": slice(1, None)}
WINDOW, WIDTH, HEADS, LAYERS, BATCH = 128, 256, 8, 3, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["train", "score"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--steps", type=int, default=1500, help="of 16 windows")
    args = parser.parse_args()
    if args.verb == "train":
        train(args.folder, args.steps)
    for path in args.models:
        model = wcodec.load_model(path) if path.suffix == ".wcz" else keras.saving.load_model(path)
        print(f"{path}\t{path.stat().st_size}\t{bits_a_byte(model, *held_out(args.folder)):.4f}")


def texts() -> Iterator[tuple[str, bytes]]:
    """Documentation strings of every module of the standard library, and the topics of `help()`."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if "site-packages" in path.parts or "dist-packages" in path.parts:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
        found = [ast.get_docstring(node) for node in nodes]
        yield str(path.relative_to(root)), "\n".join(text for text in found if text and len(text) > 60).encode()
    topics = __import__("pydoc_data.topics").topics.topics
    yield from ((f"topic {name}", topics[name].encode()) for name in sorted(topics))


def windows(*, held_out: bool) -> np.ndarray:
    """uint8[n, 129] of one of the two sets."""
    parts = [text for name, text in texts() if (zlib.crc32(name.encode()) % 12 == 0) == held_out]
    joined = np.frombuffer(b"\n".join(parts), np.uint8)
    count = len(joined) // (WINDOW + 1)
    return joined[: count * (WINDOW + 1)].reshape(count, WINDOW + 1)


def network() -> keras.Model:
    """A decoder of pre-normalised blocks (Vaswani et al. 2017; Radford et al. 2019)."""
    tokens = keras.Input((WINDOW,), dtype="int32")
    places = keras.ops.cumsum(keras.ops.ones_like(tokens), 1) - 1
    x = layers.Embedding(256, WIDTH, name="tokens")(tokens)
    x = layers.Add()([x, layers.Embedding(WINDOW, WIDTH, name="places")(places)])
    for _ in range(LAYERS):
        y = layers.LayerNormalization()(x)
        y = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y, use_causal_mask=True)
        x = layers.Add()([x, y])
        y = layers.LayerNormalization()(x)
        y = layers.Dense(WIDTH)(layers.Dense(4 * WIDTH, "gelu")(y))
        x = layers.Add()([x, y])
    return keras.Model(tokens, layers.Dense(256)(layers.LayerNormalization()(x)))


def train(folder: Path, steps: int) -> None:
    """Adam with a cosine schedule; the last weights are kept."""
    keras.utils.set_random_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    known, unknown = windows(held_out=False), windows(held_out=True)
    print(f"{known.size:,} bytes to train on, {unknown.size:,} held out")
    model = network()
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=1.5e-3, warmup_steps=steps // 15)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0), loss, metrics=["accuracy"])
    rng = np.random.default_rng(0)
    flat = known.ravel()
    for step in range(steps):
        starts = rng.integers(0, len(flat) - WINDOW - 1, BATCH)
        batch = np.stack([flat[start : start + WINDOW + 1] for start in starts]).astype(np.int32)
        found = model.train_on_batch(batch[:, :-1], batch[:, 1:])
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: {found[0] / np.log(2):.3f} bits a byte", flush=True)
    model.save(folder / "lm.keras")
    sets = {"train": known, "test": unknown}
    arrays = {f"{letter}_{name}": one[:, cut] for name, one in sets.items() for letter, cut in CUTS.items()}
    np.savez(folder / "text.npz", **arrays)
    print(f"held out: {bits_a_byte(model, unknown[:, :-1], unknown[:, 1:]):.4f} bits a byte")


def held_out(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and the bytes that follow."""
    with np.load(folder / "text.npz") as archive:
        return archive["x_test"], archive["y_test"]


def bits_a_byte(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """Mean of -log2 of the probability of each next byte."""
    logits = model.predict(x.astype(np.int32), batch_size=64, verbose=0).astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    picked = np.take_along_axis(logits, y[..., None].astype(np.int64), -1)[..., 0]
    return float(np.mean(np.log(np.exp(logits).sum(-1)) - picked) / np.log(2))


if __name__ == "__main__":
    main()
