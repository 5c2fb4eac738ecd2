"""wcodec evaluate: what the loss costs, measured by running the model."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.errors import BUDGET, OK
from wcodec.cli.output_paths import check_source

if TYPE_CHECKING:
    from wcodec.evaluation.evaluate import Evaluation


EXAMPLE = "wcodec evaluate model.h5.wcz --data mnist.npz:test --baseline model.h5 --max-drop 0.5"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="X.wcz|MODEL", type=Path, help="what encode wrote, or a model file")
    parser.add_argument(
        "--data",
        metavar="D",
        required=True,
        help="examples: F.npz with x and y, F.npz:test (x_test, y_test), an image folder, or module:function",
    )
    parser.add_argument("--baseline", metavar="SRC", type=Path, help="the original, to compare with")
    parser.add_argument("--max-drop", metavar="POINTS", type=float, help="exit 4 if more accuracy than this is lost")
    parser.add_argument("--limit", metavar="N", type=int, help="use at most N examples")
    parser.add_argument("--rescale", metavar="F", type=float, help="factor for the inputs (default: 1/255 for bytes)")
    parser.add_argument("--model", metavar="ARCH", help="for weights alone: a model file, or module:function")
    parser.add_argument(
        "--import", dest="imports", metavar="MODULE", action="append", default=[], help="has own layers"
    )
    parser.add_argument("--unsafe", action="store_true", help="let the model file run code of its own")
    parser.add_argument("--json", action="store_true", help="the numbers as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Measure, and hold the result against --max-drop.

    Raises: WcodecError, OSError.
    """
    if args.max_drop is not None and args.baseline is None:
        from wcodec.errors import RecipeError

        raise RecipeError("--max-drop: expected --baseline SRC to compare with")
    source = check_source(args.source)
    baseline = check_source(args.baseline) if args.baseline else None
    from wcodec.evaluation.evaluate import evaluate

    found = evaluate(
        source,
        args.data,
        baseline,
        rescale=args.rescale,
        limit=args.limit,
        architecture=args.model,
        imports=args.imports,
        unsafe=args.unsafe,
    )
    numbers = {field.name: getattr(found, field.name) for field in fields(found) if field.name != "said"}
    if not args.quiet:
        for sentence in found.notes:
            stdio.write_note(sentence)
        if found.loss is None and found.output_error is None:
            stdio.write_note("nothing was compared: the data has no labels (y), and there is no --baseline")
    stdio.write_data(json.dumps(numbers, indent=1) if args.json else _text(found))
    if args.max_drop is not None and (found.accuracy_drop is None or found.accuracy_drop > args.max_drop):
        drop = "unknown without labels" if found.accuracy_drop is None else f"{found.accuracy_drop:.2f} points"
        stdio.write_note(f"wcodec: {source}: expected a drop of at most {args.max_drop:g} points, got {drop}")
        return BUDGET
    return OK


def _text(found: Evaluation) -> str:
    from wcodec.reporting.number_format import format_ratio, format_size

    lines = [f"examples          {found.examples:,}"]
    if found.accuracy is not None:
        lines.append(f"accuracy          {found.accuracy:.2f} %")
    if found.baseline_accuracy is not None and found.accuracy_drop is not None:
        lines.append(f"baseline accuracy {found.baseline_accuracy:.2f} % (drop {found.accuracy_drop:+.2f} points)")
    if found.loss is not None:
        lines.append(f"loss              {found.loss:.4f}")
    if found.agreement is not None:
        lines.append(f"agreement         {found.agreement:.2f} %")
    if found.output_error is not None:
        lines.append(f"output error      {found.output_error:.2e}")
    if found.file_bytes is not None and found.source_bytes is not None:
        before, after = found.source_bytes, found.file_bytes
        lines.append(f"bytes             {format_size(before)} -> {format_size(after)} ({format_ratio(before, after)})")
    return "\n".join(lines)
