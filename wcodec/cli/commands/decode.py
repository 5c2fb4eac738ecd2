"""wcodec decode: .wcz -> model file, or some of its tensors."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path

from wcodec.cli import stdio
from wcodec.cli.errors import OK
from wcodec.cli.max_output_option import add_max_output_option
from wcodec.cli.output_paths import check_target, derive_model_path
from wcodec.cli.pipes import is_piped, open_input, open_output
from wcodec.cli.shared_options import add_table_options
from wcodec.errors import RecipeError, WcodecError, escape_name
from wcodec.pipeline.decoded_suffix import MODEL_SUFFIXES, refuse_wrong_suffix
from wcodec.planning.run_options import REQUEST_WORDS

EXAMPLE = "wcodec decode model.h5.wcz -o restored.h5"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("source", metavar="X.wcz", nargs="+", type=Path, help="a file that encode wrote")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, help="the output (default: the name without .wcz)")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the output")
    parser.add_argument(
        "--tensor",
        metavar="NAME",
        action="append",
        help="decode only this tensor, by its name in inspect or the end of it, to .npz or .npy",
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="remove dead units (no incoming or no outgoing weights); outputs stay the same (needs Keras)",
    )
    parser.add_argument(
        "--as",
        dest="as_",
        choices=("int8", "int4"),
        help="write OUT.keras with integer layers of Keras, which need less memory (needs Keras)",
    )
    parser.add_argument("--base", metavar="OLD", type=Path, help="the base file, if encode used --base")
    add_max_output_option(parser)
    add_table_options(parser, [REQUEST_WORDS["threads"]])


def run(args: argparse.Namespace) -> int:
    """Decode a file, a folder or some tensors.

    Raises: WcodecError, OSError.
    """
    from wcodec.pipeline.folder_decoder import index_of

    with ExitStack() as stack:
        source = stack.enter_context(open_input(args.source))
        if args.compact and (args.tensor or is_piped(args.source, args.output) or index_of(source)):
            raise RecipeError(
                "--compact: expected one file with a Keras model to write, got tensors, a pipe or a folder"
            )
        if args.as_:
            return _decode_integers(args, source)
        if args.tensor:
            return _decode_some(args, source)
        if index := index_of(source):
            return _decode_folder(args, index)
        return _decode_whole(args, source)


def _decode_integers(args: argparse.Namespace, source: Path) -> int:
    """Write a Keras model whose layers have the integers of the file.

    Raises: RecipeError if it cannot be written as one .keras file.
    """
    from wcodec.api.decode_file import decode_to_integers
    from wcodec.reporting.number_format import format_size

    start = time.perf_counter()
    target = args.output or source.with_name(source.name.removesuffix(".wcz")).with_suffix(".keras")
    asked = [word for word in ("tensor", "compact") if getattr(args, word)]
    if asked or is_piped(args.source, args.output) or not source.is_file():
        got = f"--{asked[0]}" if asked else "a pipe or a folder"
        raise RecipeError(f"--as {args.as_}: expected one file to decode to OUT.keras, got {got}")
    target = check_target(source, target, args.force)
    log, limit = stdio.choose_log(args.quiet), args.max_output
    after = decode_to_integers(source, target, args.as_, base=args.base, max_output=limit, log=log)
    if not args.quiet:
        before, seconds = format_size(source.stat().st_size), time.perf_counter() - start
        stdio.write_note(
            f"{escape_name(target)}: {before} -> {format_size(after)}, all checksums match, {seconds:.1f} s"
        )
    return OK


def _decode_folder(args: argparse.Namespace, index: Path) -> int:
    """Write all files of a folder."""
    from wcodec.cli.progress import show_progress
    from wcodec.pipeline.folder_decoder import decode_folder

    packed = index.resolve().parent
    plain = packed.name.removesuffix(".wcz")
    target = args.output or packed.with_name(plain if plain != packed.name else f"{plain}.decoded")
    if target.suffix in MODEL_SUFFIXES - {Path(plain).suffix}:
        raise RecipeError(f"{target}: expected a folder to write a model of several files to, got {target.suffix}")
    if target.exists():
        raise WcodecError(f"{target}: exists already; -o names another folder")
    if not target.resolve().parent.is_dir():
        raise WcodecError(f"{target}: the folder {target.parent} does not exist")
    start = time.perf_counter()
    with show_progress("decode", args.quiet) as progress:
        decode_folder(
            index, target, base=args.base, max_output=args.max_output, threads=args.threads or 0, progress=progress
        )
    if not args.quiet:
        stdio.write_note(f"{escape_name(target)}: all checksums match, {time.perf_counter() - start:.1f} s")
    return OK


def _decode_whole(args: argparse.Namespace, source: Path) -> int:
    """Write the model file of a .wcz."""
    from wcodec.api.decode_file import decode_compacted
    from wcodec.cli.progress import show_progress
    from wcodec.modelfiles import suffix
    from wcodec.pipeline.decoder import decode, open_container
    from wcodec.pipeline.open_container import is_lossless
    from wcodec.reporting.number_format import format_size

    start = time.perf_counter()
    with open_container(source, max_output=args.max_output) as opened:
        # A lossless file may have had any name.
        exact = is_lossless(opened.container)
        if args.base and opened.container.base is None and not args.quiet:
            stdio.write_note(f"{escape_name(source)}: needs no --base, {escape_name(args.base)} is not read")
        kind = suffix(opened.container.kind, opened.container.skeleton)
    ending, piped = "" if exact and source.with_suffix("").suffix else kind, is_piped(args.source, args.output)
    if args.output and not piped:
        refuse_wrong_suffix(source, args.output, kind, exact=exact)
    with ExitStack() as stack:
        if piped:
            target = stack.enter_context(open_output(args.force))
        else:
            target = check_target(source, args.output or derive_model_path(source, ending), args.force)
        with show_progress("decode", args.quiet) as progress:
            limit, threads = args.max_output, args.threads or 0
            if args.compact:
                found = decode_compacted(source, target, kind, base=args.base, max_output=limit, threads=threads)
            else:
                decode(source, target, base=args.base, max_output=limit, threads=threads, progress=progress)
        before, after = source.stat().st_size, target.stat().st_size
    if not args.quiet:
        if args.compact:
            stdio.write_note("{} of {} units were dead, and were taken out".format(*found))
        seconds = time.perf_counter() - start
        shown = "standard output" if piped else escape_name(target)
        stdio.write_note(
            f"{shown}: {format_size(before)} -> {format_size(after)}, all checksums match, {seconds:.1f} s"
        )
    return OK


def _decode_some(args: argparse.Namespace, source: Path) -> int:
    """Write the named tensors; only their bytes are read."""
    import numpy as np

    from wcodec.api import weights as api
    from wcodec.container.dtypes import to_float32
    from wcodec.files import whole_file

    target = args.output or source.with_suffix(".npz")
    if target.suffix not in {".npz", ".npy"} or (target.suffix == ".npy" and len(set(args.tensor)) > 1):
        raise RecipeError(f"{target}: expected .npz, or .npy for one --tensor")
    check_target(source, target, args.force)
    weights = api.open(source, base=args.base, max_output=args.max_output)
    try:
        names = list(dict.fromkeys(weights.find(asked) for asked in args.tensor))
    except KeyError as error:
        raise RecipeError(f"--tensor: {error.args[0]}") from error
    values = {name: weights.stored(name) for name in names}
    plain = {
        f"{name}.npy": to_float32(array, "bfloat16") if weights.facts(name).dtype == "bfloat16" else array
        for name, array in values.items()
    }
    with whole_file(target, source) as temporary:
        if target.suffix == ".npy":
            with temporary.open("wb") as file:
                np.save(file, next(iter(plain.values())), allow_pickle=False)
        else:
            # Not numpy's savez, which cannot have an array named "file".
            import zipfile

            with zipfile.ZipFile(temporary, "w") as archive:
                for name, array in plain.items():
                    with archive.open(name, "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, array, allow_pickle=False)
    if not args.quiet:
        stdio.write_note(f"{escape_name(target)}: {len(names)} of {len(weights)} tensors")
    return OK
