"""wcodec evaluate: the accuracy and the loss of a model, measured by running it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.commands.scores import evaluate_score, read_score
from wcodec.cli.errors import BUDGET, OK
from wcodec.cli.max_output_option import add_max_output_option
from wcodec.cli.output_paths import check_source
from wcodec.cli.shared_options import add_input_options, add_table_options, data_options, make_reader, require_data
from wcodec.errors import RecipeError, escape_name
from wcodec.planning.run_options import REQUEST_WORDS, SCORE_OPTIONS
from wcodec.reporting.json_numbers import format_json

if TYPE_CHECKING:
    from wcodec.evaluation.evaluate import Evaluation
    from wcodec.evaluation.output_scores import OutputScores


EXAMPLE = "wcodec evaluate model.h5.wcz --data mnist.npz:test --baseline model.h5 --max-drop 0.5"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="X.wcz|MODEL", type=Path, help="a file that encode wrote, or a model file")
    parser.add_argument(
        "--data",
        metavar="D",
        type=make_reader(REQUEST_WORDS["data"]),
        help="examples: F.npz with x and y (or y_NAME), F.npz:test (x_test, y_test), an image folder, module:function",
    )
    parser.add_argument("--baseline", metavar="SRC", type=Path, help="the original model, to compare with")
    parser.add_argument(
        "--max-drop", metavar="POINTS", type=float, help="exit with code 4 if the accuracy of an output drops by more"
    )
    parser.add_argument(
        "--max-loss", metavar="PERCENT", type=float, help="exit with code 4 if the loss of an output rises by more"
    )
    add_table_options(parser, SCORE_OPTIONS)
    add_max_output_option(parser)
    add_input_options(parser)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure a model, and compare its losses with --max-drop and --max-loss.

    Raises: WcodecError, OSError.
    """
    for option in ("max_drop", "max_loss"):
        if getattr(args, option) is not None and args.baseline is None:
            raise RecipeError(f"--{option.replace('_', '-')}: expected --baseline SRC to compare with")
    source = check_source(args.source)
    baseline = check_source(args.baseline) if args.baseline else None
    if score := read_score(args):
        require_data(args)
        if args.max_loss is not None:
            raise RecipeError("--max-loss: cannot be combined with --score, whose budget is --max-drop")
        return evaluate_score(args, source, baseline, score)
    if not args.data:
        raise RecipeError("evaluate: expected --data D, or --score MODULE:F")
    from wcodec.evaluation.evaluate import evaluate

    found = evaluate(source, args.data, baseline, **data_options(args), max_output=args.max_output)
    if not args.quiet:
        for note in found.notes:
            stdio.write_note(note)
        if found.loss is None and found.output_error is None:
            stdio.write_note("nothing was compared: the data has no labels (y) and --baseline is not given")
    numbers = {name: value for name, value in asdict(found).items() if name != "notes"}
    stdio.write_data(format_json(numbers) if args.json else _format_sizes(found))
    exceeded = [*_report_drop(found, args.max_drop), *_report_loss(found, args.max_loss)]
    for words in exceeded:
        stdio.write_note(f"wcodec: {escape_name(source)}: {words}")
    return BUDGET if exceeded else OK


def _report_drop(found: Evaluation, most: float | None) -> Iterator[str]:
    """Messages for the outputs where the drop of its accuracy exceeds the limit."""
    if most is None:
        return
    expected = f"expected a drop of at most {most:g} points"
    drops = {one: one.accuracy_drop for one in found.outputs if one.accuracy_drop is not None}
    if not drops:
        values = any(one.mae is not None for one in found.outputs)
        yield f"{expected}, got " + ("values: --max-loss PERCENT is for them" if values else "unknown without labels")
    for one, drop in drops.items():
        if not drop <= most:
            yield f"{_name_output(found, one)}{expected}, got {drop:.2f} points"


def _report_loss(found: Evaluation, most: float | None) -> Iterator[str]:
    """Messages for the outputs where the rise of its loss exceeds the limit."""
    if most is None:
        return
    expected = f"expected a loss that rises by at most {most:g} %"
    rises = {one: one.loss_rise for one in found.outputs if one.loss_rise is not None}
    if not rises:
        yield f"{expected}, got unknown without labels"
    for one, rise in rises.items():
        if not rise <= most:
            yield f"{_name_output(found, one)}{expected}, got {rise:.2f} % ({one.baseline_loss:.4g} to {one.loss:.4g})"


def _name_output(found: Evaluation, one: OutputScores) -> str:
    return f"output {one.name}: " if len(found.outputs) > 1 else ""


def _format_sizes(found: Evaluation) -> str:
    from wcodec.reporting.number_format import format_ratio, format_size

    before, after = found.source_bytes, found.file_bytes
    sizes = before and after and f"{format_size(before)} -> {format_size(after)} ({format_ratio(before, after)})"
    rows = [("examples", f"{found.examples:,}")]
    for one in found.outputs:
        rows += [(f"output {one.name}", "")] if len(found.outputs) > 1 else []
        rows += _make_rows(one)
    rows += [("bytes", sizes)] if sizes else []
    return "\n".join(f"{name:19}{value}".rstrip() for name, value in rows)


def _make_rows(one: OutputScores) -> Iterator[tuple[str, str]]:
    """The known figures of an output."""
    drop = "" if one.accuracy_drop is None else f" (drop {one.accuracy_drop:+.2f} points)"
    rise = "" if one.loss_rise is None else f" (rise {one.loss_rise:+.2f} %)"
    rows = (
        ("accuracy", one.accuracy, ".2f", " %"),
        ("baseline accuracy", one.baseline_accuracy, ".2f", f" %{drop}"),
        ("loss", one.loss, ".4g" if one.mae is not None else ".4f", ""),
        ("baseline loss", one.baseline_loss, ".4g" if one.mae is not None else ".4f", rise),
        ("mean abs. error", one.mae, ".4g", ""),
        ("baseline m.a.e.", one.baseline_mae, ".4g", ""),
        ("R2", one.r2, ".4f", ""),
        ("baseline R2", one.baseline_r2, ".4f", ""),
        ("agreement", one.agreement, ".2f", " %"),
        ("output error", one.output_error, ".2e", ""),
    )
    for name, value, form, unit in rows:
        if value is not None:
            yield name, f"{value:{form}}{unit}"
