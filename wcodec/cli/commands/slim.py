"""wcodec slim: a smaller network, which loads in plain Keras."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.cli.output_paths import check_source, check_target
from wcodec.cli.shared_options import add_input_options, add_table_options, data_options
from wcodec.errors import RecipeError
from wcodec.planning.run_options import REQUEST_WORDS

if TYPE_CHECKING:
    from wcodec.structure.request import Slimmed, SlimRequest

EXAMPLE = "wcodec slim model.keras -o small.keras --width 0.5 --data mnist.npz:train --finetune 5"
KINDS = (".keras", ".h5", ".wcz")
CRITERIA = ("l1", "l2", "geometric-median", "bn-scale", "taylor", "fisher", "obs", "random")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="SRC", type=Path, help="a Keras model: .keras, .h5, .wcz")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help=".keras, .h5, or .wcz")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the output")
    parser.add_argument("--json", action="store_true", help="the numbers as JSON on standard output")
    much = parser.add_argument_group("how much stays (one of these, or only a budget)")
    much.add_argument("--width", metavar="W", type=float, help="this part of the units: 0.5")
    much.add_argument("--params", metavar="P", type=float, help="this part of the parameters")
    much.add_argument("--macs", metavar="M", type=float, help="this part of the multiply-adds")
    much.add_argument("--speedup", metavar="X", type=float, help="so many times faster here, at a batch of 256")
    much.add_argument("--low-rank", metavar="R", help="two thinner layers for one, of this part of its weights; auto")
    much.add_argument("--student", metavar="FILE|M:F", help="another network, trained to answer as SRC does")
    much.add_argument("--compact", action="store_true", help="only dead units go: the answers stay")
    much.add_argument("--uniform", action="store_true", help="the same part of every layer")
    much.add_argument("--max-drop", metavar="POINTS", type=float, help="accuracy to lose at most; finds the narrowest")
    much.add_argument("--max-loss", metavar="PERCENT", type=float, help="rise of the loss at most, likewise")
    how = parser.add_argument_group("which units go, and what is done then")
    how.add_argument("--criterion", choices=CRITERIA, help="default: obs, by --data or by assumed moments")
    how.add_argument("--data", metavar="D", help="inputs, labels or none: F.npz:train, an image folder, ...")
    add_table_options(how, [REQUEST_WORDS["validation"], REQUEST_WORDS["augment"]])
    how.add_argument("--finetune", metavar="EPOCHS", type=int, help="train by labels and the original's answers")
    how.add_argument("--tune", metavar="STEPS", type=int, help="train by the original's answers alone")
    how.add_argument("--seed", metavar="N", type=int, default=0, help="of what is random (default: 0)")
    add_input_options(how)


def run(args: argparse.Namespace) -> int:
    """Make the smaller network, write it, and say what it is beside the original.

    Raises: WcodecError, OSError.
    """
    source = check_source(args.source)
    if args.output.suffix not in KINDS:
        got = args.output.suffix or "none"
        raise RecipeError(f"{args.output}: expected a name that ends in {', '.join(KINDS)}, got {got}")
    target = check_target(source, args.output, args.force)
    from wcodec.structure.output import write_network
    from wcodec.structure.slim import slim

    found = slim(source, _request(args))
    written = write_network(found.model, target)
    numbers = _numbers(found, source, written)
    if args.json:
        stdio.write_data(json.dumps(numbers, indent=1))
    if not args.quiet:
        for line in _lines(found, source.stat().st_size if source.is_file() else None, written):
            stdio.write_note(line)
    return OK


def _request(args: argparse.Namespace) -> SlimRequest:
    from wcodec.structure.request import SlimRequest, chosen_amount

    return SlimRequest(
        amount=chosen_amount({of: getattr(args, of) for of in ("width", "params", "macs")}, args.uniform),
        speedup=args.speedup,
        low_rank=_rank(args.low_rank),
        student=args.student,
        compact=args.compact,
        criterion=args.criterion,
        data=args.data,
        validation=args.validation,
        augment=args.augment,
        epochs=args.finetune,
        steps=args.tune,
        max_drop=args.max_drop,
        max_loss=args.max_loss,
        **data_options(args),
        seed=args.seed,
        told=(lambda _: None) if args.quiet else stdio.write_note,
    )


def _rank(text: str | None) -> float | None:
    """--low-rank as a part of the weights; 0 for auto."""
    if text is None or text == "auto":
        return None if text is None else 0.0
    try:
        part = float(text)
    except ValueError as exc:
        raise RecipeError(f"--low-rank: expected a number over 0 to 1, or auto, got {text}") from exc
    if not 0 < part <= 1:
        raise RecipeError(f"--low-rank: expected over 0 to 1, or auto, got {text}")
    return part


def _numbers(found: Slimmed, source: Path, written: int) -> dict[str, object]:
    before, after = found.before, found.after
    return {
        "parameters": after.parameters,
        "parameters_before": before.parameters,
        "macs": after.macs,
        "macs_before": before.macs,
        "file_bytes": written,
        "source_bytes": source.stat().st_size if source.is_file() else None,
        "examples": found.examples,
        "accuracy": after.accuracy,
        "accuracy_before": before.accuracy,
        "loss": after.loss,
        "loss_before": before.loss,
        "agreement": found.agreement,
        "divergence": found.divergence,
        "seconds": {str(batch): seconds for batch, seconds in after.seconds.items()},
        "seconds_before": {str(batch): seconds for batch, seconds in before.seconds.items()},
        "layers": [
            {"name": one.name, "kind": one.kind, "width_before": one.before, "width": one.after, "frozen": one.frozen}
            for one in found.layers
        ],
    }


def _lines(found: Slimmed, source_bytes: int | None, written: int) -> list[str]:
    from wcodec.reporting.number_format import format_size

    before, after = found.before, found.after
    lines = []
    for one in found.layers:
        why = f" frozen by {one.frozen}" if one.frozen else ""
        lines.append(f"{one.name:<32} {one.kind:<20} {one.before:>6} -> {one.after:<6}{why}")
    lines.append(f"parameters        {before.parameters:,} -> {after.parameters:,}")
    if before.macs and after.macs is not None:
        lines.append(f"multiply-adds     {before.macs:,.0f} -> {after.macs:,.0f}")
    if source_bytes is not None:
        lines.append(f"bytes             {format_size(source_bytes)} -> {format_size(written)}")
    if before.accuracy is not None and after.accuracy is not None:
        lost = before.accuracy - after.accuracy
        lines.append(f"accuracy          {before.accuracy:.2f} -> {after.accuracy:.2f} % ({lost:+.2f} points lost)")
    if found.agreement is not None:
        lines.append(f"agreement         {found.agreement:.2f} % of {found.examples:,} inputs kept apart")
    for batch, seconds in after.seconds.items():
        was = before.seconds[batch]
        times = f"{1e3 * was:.2f} -> {1e3 * seconds:.2f} ms ({was / seconds:.2f} times as fast)"
        lines.append(f"{f'batch of {batch}':<17} {times}")
    return lines
