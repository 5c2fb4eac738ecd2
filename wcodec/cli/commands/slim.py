"""wcodec slim: make a smaller network, which loads in plain Keras."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.cli.output_paths import check_source, check_target
from wcodec.cli.progress import show_search, show_steps
from wcodec.cli.report_option import add_report_option, check_report_target
from wcodec.cli.shared_options import add_input_options, add_table_options, data_options, make_reader
from wcodec.cli.tables import format_summary
from wcodec.errors import escape_name
from wcodec.planning.option_values import parse_seconds
from wcodec.planning.options import OPTIONS
from wcodec.planning.run_options import REQUEST_WORDS
from wcodec.reporting.json_numbers import format_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from wcodec.structure.request import SlimRequest

EXAMPLE = "wcodec slim model.keras -o small.keras --width 0.5 --data mnist.npz:train --finetune 5"
CRITERIA = ("l1", "l2", "geometric-median", "bn-scale", "taylor", "fisher", "obs", "random")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="SRC", type=Path, help="a Keras model: .keras, .h5, .wcz")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help=".keras, .h5, or .wcz")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the output")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    much = parser.add_argument_group("size of the result (one of these, or only a budget)")
    much.add_argument("--width", metavar="W", type=float, help="fraction of the units to keep: 0.5")
    much.add_argument("--params", metavar="P", type=float, help="fraction of the parameters to keep")
    much.add_argument("--macs", metavar="M", type=float, help="fraction of the multiply-adds to keep")
    much.add_argument("--speedup", metavar="X", type=float, help="factor of speed on this machine, at a batch of 256")
    much.add_argument(
        "--low-rank",
        metavar="R",
        help="replace each layer by two thinner ones with this fraction of its weights, or auto",
    )
    much.add_argument(
        "--student",
        metavar="FILE|M:F",
        type=make_reader(REQUEST_WORDS["model"]),
        help="another network, trained to reproduce the outputs of SRC",
    )
    much.add_argument(
        "--compact",
        action="store_true",
        help="remove only dead units (no incoming or no outgoing weights); outputs stay the same",
    )
    much.add_argument("--uniform", action="store_true", help="keep the same fraction of every layer")
    much.add_argument(
        "--max-drop", metavar="POINTS", type=float, help="largest drop of accuracy; finds the narrowest network"
    )
    much.add_argument(
        "--max-loss", metavar="PERCENT", type=float, help="largest rise of the loss; finds the narrowest network"
    )
    how = parser.add_argument_group("choice of units and training")
    how.add_argument(
        "--criterion", choices=CRITERIA, help="criterion of removal (default: obs, from --data or assumed moments)"
    )
    add_table_options(how, [REQUEST_WORDS[word] for word in ("data", "validation", "augment", "time_limit")])
    how.add_argument("--finetune", metavar="EPOCHS", type=int, help="train with labels and the original's outputs")
    how.add_argument("--tune", metavar="STEPS", type=int, help="train with the original's outputs alone")
    how.add_argument("--seed", metavar="N", type=int, default=0, help="seed of the random numbers (default: 0)")
    how.add_argument("--resume", action="store_true", help="continue an interrupted --finetune or --tune")
    add_input_options(how)
    coding = parser.add_argument_group("encoding of OUT.wcz, as for encode; without these, --data calibrates it")
    add_table_options(coding, [option for option in OPTIONS if option.word != "seed"])
    add_report_option(parser)


def run(args: argparse.Namespace) -> int:
    """Make the smaller network, write it, and compare it with the original.

    Raises: WcodecError, OSError.
    """
    source = check_source(args.source)
    target = check_target(source, args.output, args.force)
    report = check_report_target(args, (target,))
    seconds = float("inf") if args.time_limit is None else parse_seconds("--time-limit", args.time_limit)
    words = {option.word: getattr(args, option.word) for option in OPTIONS if option.word != "seed"}
    from wcodec.api.slimming import parse_coding, write_slimmed

    recipe, calibrates = parse_coding(target, words, seed=args.seed, has_data=args.data is not None)
    from wcodec.api.request import Listeners
    from wcodec.reporting.slim_report import write_slim_page
    from wcodec.structure.slim import slim

    with show_steps("slim", args.quiet) as watch:
        request = _make_request(args, target, seconds, watch)
        found = slim(source, request)
    listeners = Listeners(log=stdio.choose_log(args.quiet), search=lambda: show_search(args.quiet))
    made = write_slimmed(found, target, recipe, request, source=source, calibrates=calibrates, listeners=listeners)
    numbers = found.report(source, target)
    if report:
        write_slim_page(report, source, numbers)
    if args.json:
        coded = {} if made is None or not made.encoded.measured else {"measured": dict(made.encoded.measured)}
        stdio.write_data(format_json(numbers.to_json() | coded))
    if not args.quiet:
        for line in numbers.lines():
            stdio.write_note(line)
        if made is not None:
            encoded = made.encoded
            summary = format_summary(made.inspection, escape_name(target), encoded.dropped, made.seconds, encoded.lost)
            stdio.write_note(f"encoded from the slimmed network: {summary}")
    return OK


def _make_request(
    args: argparse.Namespace, target: Path, seconds: float, watch: Callable[[str, float], None]
) -> SlimRequest:
    from wcodec.structure.request import SlimRequest, chosen_amount, parse_rank

    return SlimRequest(
        amount=chosen_amount({of: getattr(args, of) for of in ("width", "params", "macs")}, args.uniform),
        speedup=args.speedup,
        low_rank=parse_rank(args.low_rank),
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
        seconds=seconds,
        state=target.with_name(f".{target.name}.slimming"),
        resume=args.resume,
        watch=watch,
        log=(lambda _: None) if args.quiet else stdio.write_note,
    )
