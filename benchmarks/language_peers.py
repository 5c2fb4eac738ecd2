"""Bits a byte of the language model after compression: wcodec beside GGUF's types and plain rounding.

    python benchmarks/language_peers.py out/lm [--out page.md] [--epochs 8] [--windows 100]

`language_model.py train out/lm` makes the model. The others leave vectors as they are and do not count them; the whole
file of wcodec is counted. Importance matrices, calibration and training see the training text; bits are of
the text held out. Rows that are done are kept in the folder (rows-WINDOWS.jsonl): a run that ended early goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import runtime_peers
import weight_peers
from language_model import bits_a_byte, held_out
from page import publish

import wcodec

SIZES = ("1.1MB", "900kB", "750kB", "600kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where language_model.py left lm.keras and text.npz")
    parser.add_argument("--epochs", type=int, default=8, help="of training within a budget (default: 8; 0: none)")
    parser.add_argument("--tune", type=int, default=200, help="steps of calibration (default: 200; 0: none)")
    parser.add_argument("--windows", type=int, default=100, help="held-out windows of 128 bytes that are measured")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = keras.saving.load_model(args.folder / "lm.keras")
    x, y = (array[: args.windows] for array in held_out(args.folder))
    count = sum(array.size for array in matrices(model).values())
    start = bits_a_byte(model, x, y)
    journal = args.folder / f"rows-{args.windows}.jsonl"
    known = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    rows = {row[1]: tuple(row) for row in known}
    for name, make in (*_wcodec(args), *_peers(model, args.folder)):
        if name in rows:
            continue
        begin = time.process_time()
        nbytes, found = make()
        used = time.process_time() - begin
        rows[name] = (nbytes, name, bits_a_byte(found, x, y), used)
        with journal.open("a") as file:
            print(json.dumps(rows[name]), file=file)
        print(rows[name], file=sys.stderr, flush=True)
    publish(_page(list(rows.values()), count, start, args), args.out)


def matrices(model: keras.Model) -> dict[str, np.ndarray]:
    """(outputs, inputs) float32 of every weight of two dimensions or more, by its path."""
    found = {}
    for variable in model.weights:
        if variable.path.endswith(("kernel", "embeddings")):
            value = np.asarray(variable)
            merges_heads = variable.path.endswith("attention_output/kernel")
            inputs = value.shape[0] * value.shape[1] if merges_heads else value.shape[0]
            whole = value if "embeddings" in variable.path else value.reshape(inputs, -1).T
            found[variable.path] = np.ascontiguousarray(whole)
    return found


def _with(model: keras.Model, tensors: dict[str, np.ndarray]) -> keras.Model:
    """The model with other matrices, in place."""
    for variable in model.weights:
        if variable.path in tensors:
            whole = tensors[variable.path]
            plain = whole if "embeddings" in variable.path else whole.T
            variable.assign(plain.reshape(variable.shape))
    return model


def _importance(model: keras.Model, folder: Path) -> dict[str, np.ndarray]:
    """Mean square of each input of the dense layers, over 100 windows of the training text; not inside attention."""
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    with np.load(folder / "text.npz") as archive:
        x = archive["x_train"][:100].astype(np.int32)
    inputs = keras.Model(model.inputs, [layer.input for layer in dense]).predict(x, verbose=0)
    return {layer.kernel.path: np.square(one).mean((0, 1)) for layer, one in zip(dense, inputs, strict=True)}


def _peers(model: keras.Model, folder: Path) -> Iterator[tuple[str, object]]:
    original = matrices(model)
    makers = [
        *weight_peers.rounding(original),
        *runtime_peers.runtimes(original),
        *weight_peers.gguf(original, _importance(model, folder)),
    ]
    for name, make in makers:

        def change(make=make) -> tuple[int, keras.Model]:
            nbytes, tensors = make()
            return nbytes, _with(model, tensors)

        yield name, change
    _with(model, original)


def _wcodec(args: argparse.Namespace) -> Iterator[tuple[str, object]]:
    """Whole files: presets, sizes, calibrated by inputs, trained with labels."""
    source = args.folder / "lm.keras"
    target = Path(tempfile.mkdtemp(prefix="wcodec-language-")) / "lm.wcz"
    data = f"{args.folder / 'text.npz'}:train"
    cases: list[dict[str, object]] = [
        {"max_error": 1e-5}, {"max_error": 3e-5},
        {"preset": "safe"}, {"preset": "balanced"}, {"preset": "small"}, {"preset": "small", "effort": "best"},
        *({"target_size": size} for size in SIZES),
    ]  # fmt: skip
    if args.tune:
        cases += [{"data": data, "limit": 2000, "max_kl": kl, "tune": args.tune} for kl in (0.003, 0.01, 0.05)]
    if args.epochs:
        cases += [{"data": data, "limit": 3000, "max_loss": rise, "finetune": args.epochs} for rise in (1.0, 4.0)]
    for words in cases:

        def make_peer(words=words) -> tuple[int, keras.Model]:
            wcodec.encode(source, target, **words)
            return target.stat().st_size, wcodec.load_model(target, compile=False)

        said = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in words.items() if key != "data")
        yield f"wcodec {said}" + (" --data" if "data" in words else ""), make_peer


def _page(rows: list[tuple], count: int, start: float, args: argparse.Namespace) -> Iterator[str]:
    size = (args.folder / "lm.keras").stat().st_size
    yield f"A decoder of {count:,} weights in matrices, {size:,} file bytes; {start:.4f}"
    yield f"bits a byte on {args.windows} windows of 128 bytes."
    yield ""
    yield "| coder | bytes | bits a weight | bits a byte | lost | CPU s |"
    yield "|---|--:|--:|--:|--:|--:|"
    for nbytes, name, bits, used in sorted(rows, reverse=True):
        yield f"| {name} | {nbytes:,} | {8 * nbytes / count:.2f} | {bits:.4f} | {bits - start:+.4f} | {used:.1f} |"


if __name__ == "__main__":
    main()
