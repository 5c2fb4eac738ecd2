"""A model in memory, there and back without a file: python samples/examples/in_memory.py

Arrays by name (a state_dict, the weights of any program) become the bytes of a .wcz, which can go into a database or
over a network, and are read one tensor at a time. No framework is needed.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

import wcodec


def make_weights() -> dict[str, npt.NDArray[np.float32]]:
    """The weights of a small text classifier, as numpy has them."""
    rng = np.random.default_rng(0)
    shapes = {
        "embedding.weight": (2000, 64),
        "hidden.weight": (128, 64),
        "hidden.bias": (128,),
        "last.weight": (8, 128),
    }
    return {name: (rng.laplace(size=shape) / shape[-1] ** 0.5).astype(np.float32) for name, shape in shapes.items()}


def main() -> None:
    """Exact, within a loss, and to a file that is open."""
    weights = make_weights()
    exact, small = wcodec.encode(weights, lossless=True), wcodec.encode(weights, preset="small")
    assert all(np.array_equal(array, weights[name]) for name, array in wcodec.load(exact).items())
    with wcodec.open(small) as tensors:
        print(f"{len(tensors)} tensors, shapes {tensors.shapes()}")
        error = np.square(tensors["hidden.weight"] - weights["hidden.weight"]).sum()
        print(f"hidden.weight: relative squared error {error / np.square(weights['hidden.weight']).sum():.4f}")
    stream = io.BytesIO()
    numbers = wcodec.encode(weights, stream, bits=4)
    assert len(stream.getvalue()) == numbers.file_bytes
    source = sum(array.nbytes for array in weights.values())
    print(f"{source:,} bytes of arrays: {len(exact):,} exact, {len(small):,} small, {numbers.file_bytes:,} of 4 bits")


if __name__ == "__main__":
    main()
