"""What codes of vectors in whole bytes cost: python benchmarks/aligned_codes.py [MODEL ...] [--out FILE]

Bytes of the same codebooks with codes that are entropy-coded, in as few bits as hold them, and in whole bytes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from page import publish

import wcodec

ROOT = Path(__file__).parent.parent
MODELS = [ROOT / "samples" / name for name in ("lenet300.h5", "lenet5.keras", "tutorial_cnn.h5")]
VECTORS = (16, 64, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, default=MODELS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = [
        "File bytes of `--quantizer product --block 4`, by the coder of the codes.",
        "",
        "| model | vectors | default coder | `--coder fixed` | `--aligned` | more than the default |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    ways: tuple[dict[str, object], ...] = ({}, {"coder": "fixed"}, {"aligned": True})
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            for size in VECTORS:
                words = {"quantizer": "product", "block": 4, "clusters": size}
                target = Path(folder) / "m.wcz"
                found = [wcodec.encode(model, target, force=True, **words, **way).file_bytes for way in ways]
                more = 100 * (found[2] / found[0] - 1)
                sizes = " | ".join(f"{one:,}" for one in found)
                lines.append(f"| {model.name} | {size} | {sizes} | {more:.1f} % |")
    publish(lines, args.out)


if __name__ == "__main__":
    main()
