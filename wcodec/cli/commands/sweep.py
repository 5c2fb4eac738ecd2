"""wcodec sweep: the size of a model against its loss."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.cli.output_paths import check_source
from wcodec.cli.report_option import add_report_option, check_report_target
from wcodec.cli.shared_options import (
    add_input_options,
    add_table_options,
    require_data,
)
from wcodec.planning.option_values import parse_seconds
from wcodec.planning.options import BY_WORD, Option
from wcodec.planning.run_options import INPUT_OPTIONS, REQUEST_WORDS, SCORE_OPTIONS
from wcodec.reporting.json_numbers import format_json

if TYPE_CHECKING:
    from wcodec.reporting.sweep import Commands


EXAMPLE = "wcodec sweep model.h5 --data mnist.npz:train --limit 5000 --report sweep.html"
REQUEST = ("quantizer", "set", "include", "exclude", "effort", "seed")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="SRC", type=Path, help="the model file: .h5, .keras, .weights.h5, .npz, ...")
    parser.add_argument("--points", metavar="N", type=int, default=8, help="number of encodings (default: 8)")
    parser.add_argument(
        "--time-limit", metavar="T", default="5m", help="start no measurement after this time (default: 5m)"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    add_report_option(parser)
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the report")

    learning = parser.add_argument_group("calibration and training (needs wcodec[keras])")
    add_table_options(learning, [REQUEST_WORDS[word] for word in ("data", "validation", "sensitivity")])
    add_table_options(learning, SCORE_OPTIONS)
    add_input_options(learning)

    how = parser.add_argument_group("encoding (as for encode)")
    add_table_options(how, [*(BY_WORD[word] for word in REQUEST), REQUEST_WORDS["threads"]])


def _make_commands(args: argparse.Namespace, source: Path) -> Commands:
    """The arguments of `encode` for the options that were typed."""
    from wcodec.reporting.sweep import Commands

    def spell_options(options: Sequence[Option]) -> str:
        words: list[str] = []
        for option in options:
            value = getattr(args, option.word)
            if option.switches:
                words += [flag for flag, meant, _ in option.switches if value == meant]
            else:
                values = value if isinstance(value, list) else [] if value is None else [value]
                words += [part for one in values for part in (option.flag, str(one))]
        return "".join(f" {shlex.quote(word)}" for word in words)

    plain = f"wcodec encode {shlex.quote(str(source))}" + spell_options([BY_WORD[word] for word in REQUEST])
    return Commands(
        plain, spell_options([REQUEST_WORDS["data"], REQUEST_WORDS["validation"], *SCORE_OPTIONS, *INPUT_OPTIONS])
    )


def run(args: argparse.Namespace) -> int:
    """Measure a model, and print the tables.

    Raises: WcodecError, OSError.
    """
    from wcodec.planning.parsing import parse_recipe

    source = check_source(args.source)
    require_data(args)
    recipe = parse_recipe({word: getattr(args, word) for word in REQUEST})
    seconds = parse_seconds("--time-limit", args.time_limit)
    report = check_report_target(args)
    from wcodec.api.request import Listeners, parse_request
    from wcodec.api.running import open_oracle
    from wcodec.cli.tables import format_sweep
    from wcodec.reporting.html_report import write_report
    from wcodec.reporting.sweep import sweep

    log = stdio.choose_log(args.quiet)
    words = ("data", "validation", "sensitivity", "score", "score_name", *(option.word for option in INPUT_OPTIONS))
    oracle = open_oracle(source, recipe, parse_request({word: getattr(args, word) for word in words}, Listeners(log)))
    found = sweep(
        source,
        recipe,
        points=args.points,
        seconds=seconds,
        oracle=oracle,
        threads=args.threads or 0,
        log=log,
        draw=report is not None,
        commands=_make_commands(args, source),
    )
    if report:
        write_report(report, source, found.balanced, found.histograms, sweep=found, command="sweep")
    if not found.complete:
        log(f"--time-limit {args.time_limit} ended the sweep early: a higher one, or fewer --points, measures all")
    stdio.write_data(format_json(found.to_json()) if args.json else format_sweep(found))
    return OK
