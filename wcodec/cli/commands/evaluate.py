"""wcodec evaluate: the accuracy and the loss of a model, measured by running it."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.commands.scores import evaluate_score, read_score
from wcodec.cli.errors import BUDGET, OK
from wcodec.cli.output_paths import check_source
from wcodec.cli.shared_options import add_input_options, add_table_options, data_options, require_data
from wcodec.errors import RecipeError
from wcodec.planning.run_options import SCORE_OPTIONS

if TYPE_CHECKING:
    from wcodec.evaluation.evaluate import Evaluation


EXAMPLE = "wcodec evaluate model.h5.wcz --data mnist.npz:test --baseline model.h5 --max-drop 0.5"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="X.wcz|MODEL", type=Path, help="a file that encode wrote, or a model file")
    parser.add_argument(
        "--data",
        metavar="D",
        help="examples: F.npz with x and y, F.npz:test (x_test, y_test), an image folder, or module:function",
    )
    parser.add_argument("--baseline", metavar="SRC", type=Path, help="the original model, to compare with")
    parser.add_argument(
        "--max-drop", metavar="POINTS", type=float, help="exit with code 4 if the accuracy drops by more"
    )
    add_table_options(parser, SCORE_OPTIONS)
    add_input_options(parser)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure a model, and compare the drop of its accuracy with --max-drop.

    Raises: WcodecError, OSError.
    """
    if args.max_drop is not None and args.baseline is None:
        raise RecipeError("--max-drop: expected --baseline SRC to compare with")
    source = check_source(args.source)
    baseline = check_source(args.baseline) if args.baseline else None
    if score := read_score(args):
        require_data(args)
        return evaluate_score(args, source, baseline, score)
    if not args.data:
        raise RecipeError("evaluate: expected --data D, or --score MODULE:F")
    from wcodec.evaluation.evaluate import evaluate

    found = evaluate(source, args.data, baseline, **data_options(args))
    numbers = {field.name: getattr(found, field.name) for field in fields(found) if field.name != "notes"}
    if not args.quiet:
        for note in found.notes:
            stdio.write_note(note)
        if found.loss is None and found.output_error is None:
            stdio.write_note("nothing was compared: the data has no labels (y) and --baseline is not given")
    stdio.write_data(json.dumps(numbers, indent=1) if args.json else _text(found))
    if args.max_drop is not None and (found.accuracy_drop is None or found.accuracy_drop > args.max_drop):
        drop = "unknown without labels" if found.accuracy_drop is None else f"{found.accuracy_drop:.2f} points"
        stdio.write_note(f"wcodec: {source}: expected a drop of at most {args.max_drop:g} points, got {drop}")
        return BUDGET
    return OK


def _text(found: Evaluation) -> str:
    from wcodec.reporting.number_format import format_ratio, format_size

    drop = "" if found.accuracy_drop is None else f" (drop {found.accuracy_drop:+.2f} points)"
    before, after = found.source_bytes, found.file_bytes
    sizes = before and after and f"{format_size(before)} -> {format_size(after)} ({format_ratio(before, after)})"
    rows = (
        ("examples", f"{found.examples:,}"),
        ("accuracy", found.accuracy is not None and f"{found.accuracy:.2f} %"),
        ("baseline accuracy", found.baseline_accuracy is not None and f"{found.baseline_accuracy:.2f} %{drop}"),
        ("loss", found.loss is not None and f"{found.loss:.4f}"),
        ("agreement", found.agreement is not None and f"{found.agreement:.2f} %"),
        ("output error", found.output_error is not None and f"{found.output_error:.2e}"),
        ("bytes", sizes),
    )
    return "\n".join(f"{name:18}{value}" for name, value in rows if value)
