"""What labels buy: python benchmarks/finetuned.py --data fashion_mnist.npz [--out results/finetuned.md] [name ...]

Networks of `benchmarks/zoo.py` are coded within a budget of half a point: by calibration without labels, and by epochs
of training with them, on the same examples, which the networks have not seen (resnet_bn has, once); both are measured
on the test images, which choose nothing. What is in the folder of the zoo (networks, figures) is not made again.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from page import publish

NAMES = ("resnet_bn", "lstm", "vit")
WAYS = ("calibrated", "trained")
KEPT = ("weight_bytes", "file_bytes", "tensor_bytes", "accuracy", "baseline_accuracy")
HEAD = """# With labels, and without

The last {unseen:,} training images, a drop of at most {drop} points asked; calibration without labels
(`--data --time-limit {limit}`), and training with them (`--finetune {epochs}`). Accuracies are of the 10,000 test
images, in percent; bytes are those of the weights in finished files, CPU seconds those of the whole commands.

| network | accuracy | float32 | calibrated, bytes | accuracy | CPU s | trained, bytes | accuracy | CPU s | ratio |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
"""


def wcodec(*words: object) -> str:
    """Standard output of the command."""
    told = [sys.executable, "-m", "wcodec", *map(str, words)]
    return subprocess.run(told, check=True, stdout=subprocess.PIPE, text=True).stdout


def network(name: str, options: argparse.Namespace) -> Path:
    """The float network; trained where it is missing."""

    def found() -> Path | None:
        return next((file for file in options.zoo.glob(f"{name}.*") if file.suffix in (".keras", ".h5")), None)

    if found() is None:
        words = [Path(__file__).parent / "zoo.py", "--data", options.data, "--out", options.zoo]
        subprocess.run([sys.executable, *words, *options.zoo_words.split(), name], check=True)
    source = found()
    assert source is not None
    return source


def write_unseen(options: argparse.Namespace) -> Path:
    """The images of both ways, in a file of their own."""
    path: Path = options.zoo / f"unseen-{options.unseen}.npz"
    if not path.exists():
        with np.load(options.data, allow_pickle=False) as archive:
            np.savez(path, x=archive["x_train"][-options.unseen :], y=archive["y_train"][-options.unseen :])
    return path


def figures(source: Path, way: str, options: argparse.Namespace) -> Mapping[str, float]:
    """Of the file coded in one of the ways; remembered beside it."""
    told = options.zoo / f"{source.stem}.{way}.json"
    if told.exists():
        known: Mapping[str, float] = json.loads(told.read_text())
        return known
    coded = told.with_suffix(".wcz")
    how = ["--time-limit", options.limit] if way == "calibrated" else ["--finetune", options.epochs]
    budget = ["--data", write_unseen(options), "--max-drop", options.drop]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wcodec("encode", source, "-o", coded, "-f", *budget, *how)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worth = wcodec("evaluate", coded, "--data", f"{options.data}:test", "--baseline", source, "--json")
    numbers = json.loads(wcodec("inspect", coded, "--json")) | json.loads(worth)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    known = {name: numbers[name] for name in KEPT}
    known = {**known, "seconds": seconds}
    told.write_text(json.dumps(known))
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare training with labels with calibration without.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of the zoo (default: {', '.join(NAMES)})")
    parser.add_argument("--data", type=Path, required=True, help="an archive such as Keras' fashion_mnist.npz")
    parser.add_argument("--zoo", type=Path, default=Path("zoo"), help="folder of the networks; made where missing")
    parser.add_argument("--zoo-words", default="--epochs 4", help="further words for zoo.py where it makes them")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", default="4m", help="time for calibration")
    parser.add_argument("--unseen", type=int, default=20_000, help="training images for both, the last ones")
    parser.add_argument("--drop", type=float, default=0.5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = HEAD.format(**vars(options)).splitlines()
    for name in options.names or NAMES:
        source = network(name, options)
        told = [figures(source, way, options) for way in WAYS]
        columns = [name, f"{told[0]['baseline_accuracy']:.2f}", f"{told[0]['tensor_bytes']:,}"]
        for one in told:
            columns += [f"{one['weight_bytes']:,}", f"{one['accuracy']:.2f}", f"{one['seconds']:.0f}"]
        lines.append(f"| {' | '.join(columns)} | {told[1]['weight_bytes'] / told[0]['weight_bytes']:.2f} |")
        print(lines[-1], flush=True)
    publish(lines, options.out)


if __name__ == "__main__":
    main()
