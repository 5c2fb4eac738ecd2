"""What labels buy: python benchmarks/finetuned.py --data fashion_mnist.npz [--out results/finetuned.md] [name ...]

Networks of `benchmarks/zoo.py` are coded within a budget of half a point: by calibration without labels, and by epochs
of training with them, on the same examples; both are measured on the test images.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

NAMES = ("resnet_bn", "lstm", "vit")
HEAD = """# With labels, and without

`python benchmarks/finetuned.py --data fashion_mnist.npz`: {limit:,} training images, a drop of at most {drop} points
asked; calibration (`--data`, {time} on this machine) and training (`--finetune {epochs}`); test accuracy in percent.

| network | file, bytes | accuracy | calibrated, bytes | accuracy | trained, bytes | accuracy | trained / calibrated |
|---|--:|--:|--:|--:|--:|--:|--:|
"""


def command(*words: object) -> str:
    """Standard output of wcodec."""
    told = [sys.executable, "-m", "wcodec", *map(str, words)]
    return subprocess.run(told, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare training with labels with calibration without.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of the zoo (default: {', '.join(NAMES)})")
    parser.add_argument("--data", type=Path, required=True, help="an archive such as Keras' fashion_mnist.npz")
    parser.add_argument("--zoo", type=Path, default=Path("zoo"), help="folder of the networks; made where missing")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int, default=20_000)
    parser.add_argument("--drop", type=float, default=0.5)
    parser.add_argument("--time-limit", default="3m")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    head = HEAD.format(limit=options.limit, drop=options.drop, time=options.time_limit, epochs=options.epochs)
    lines = [head.rstrip()]
    for name in options.names or NAMES:
        source = next((file for file in options.zoo.glob(f"{name}.*") if file.suffix in (".keras", ".h5")), None)
        if source is None:
            zoo = Path(__file__).parent / "zoo.py"
            subprocess.run([sys.executable, zoo, "--data", options.data, "--out", options.zoo, name], check=True)
            source = next(file for file in options.zoo.glob(f"{name}.*") if file.suffix in (".keras", ".h5"))
        same = ["--data", f"{options.data}:train", "--limit", options.limit, "--max-drop", options.drop, "-f"]
        coded = [options.zoo / f"{name}.{how}.wcz" for how in ("calibrated", "trained")]
        command("encode", source, "-o", coded[0], *same, "--time-limit", options.time_limit)
        command("encode", source, "-o", coded[1], *same, "--finetune", options.epochs)
        told = [
            json.loads(command("evaluate", file, "--data", f"{options.data}:test", "--baseline", source, "--json"))
            for file in coded
        ]
        columns = [f"{source.stat().st_size:,}", f"{told[0]['baseline_accuracy']:.2f}"]
        for one in told:
            columns += [f"{one['file_bytes']:,}", f"{one['accuracy']:.2f}"]
        lines.append(f"| {name} | {' | '.join(columns)} | {told[1]['file_bytes'] / told[0]['file_bytes']:.2f} |")
        print(lines[-1], flush=True)
    text = "\n".join([*lines, ""])
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
