"""Models of several files: one .wcz for each file and an index, encoded by any executor with the same bytes.

Until all parts are finished, the name of a finished part has a key of its source and options, so that an interrupted
encoding continues.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.container.reader import parse
from wcodec.container.records import pack_error, parse_error
from wcodec.container.writer import Writer
from wcodec.errors import BudgetError, WcodecError
from wcodec.files import guard_unchanged, make_folders, sha256_of, whole_file
from wcodec.model import Progress
from wcodec.modelfiles import shard_list
from wcodec.modelfiles.shards import Folder, describe_missing_data, folder_of
from wcodec.pipeline.encoder import Encoded, encode
from wcodec.pipeline.folder_budget import encode_within_budget
from wcodec.pipeline.folder_decoder import INDEX, SUFFIX
from wcodec.pipeline.folder_jobs import EncodeJob, JobResult, name_part, part_names_of, plan_jobs, run_all
from wcodec.pipeline.part_folder import only_encoder
from wcodec.planning.allocation import WeightTotals
from wcodec.planning.recipe import Recipe

if TYPE_CHECKING:
    from concurrent.futures import Executor


def encode_folder(
    folder: Folder,
    target: Path,
    recipe: Recipe,
    *,
    base: Path | None = None,
    threads: int = 0,
    executor: Executor | None = None,
) -> Encoded:
    """Write the folder `target`: a .wcz for each file, and the index. Inverse: `folder_decoder.decode_folder`.

    base:     a folder with earlier versions of the files, by the same names.
    executor: encodes the parts (processes, machines that see the same folders); None: this process, one by one.
    Raises: ModelFileError, RecipeError, BudgetError, OSError. Finished parts stay for the next attempt, except after a
    BudgetError.
    """
    with only_encoder(target, folder.root.stat().st_mode & 0o777 | 0o700) as parts:
        with guard_unchanged(*(folder.root / file.name for file in folder.files)):

            def encode_all(jobs: Sequence[EncodeJob]) -> tuple[list[EncodeJob], list[JobResult]]:
                named = [name_part(job, target) for job in jobs]
                parts.begin([job.part for job in named])
                for job in named:
                    make_folders(target, job.part, folder.root)
                return named, run_all(run, named, executor)

            planned, surveys = plan_jobs(folder, target, recipe, base, 1 if executor else threads, executor)
            index_bytes = partial(_measure_index, folder)
            try:
                jobs, done = encode_within_budget(folder, planned, surveys, encode_all, index_bytes, executor)
            except BudgetError:
                parts.finish(())  # another attempt would have the same result
                raise
        encoded = finish_folder(folder, target, jobs, done, surveys)
        parts.finish({f"{name}{SUFFIX}" for name in part_names_of(folder)})
    return encoded


def finish_folder(
    folder: Folder,
    target: Path,
    jobs: Sequence[EncodeJob],
    done: Sequence[JobResult],
    surveys: Sequence[WeightTotals | None],
) -> Encoded:
    """Give the parts their final names, and write the index."""
    for job, name in zip(jobs, part_names_of(folder), strict=True):
        job.target.replace(target / f"{name}{SUFFIX}")
    energies = [survey.energy if survey else 0.0 for survey in surveys]
    error = max((one.error for one in done), default=0.0)
    if any(energies):
        error = sum(one.error * energy for one, energy in zip(done, energies, strict=True)) / sum(energies)
    sources = [job.source for job in jobs]
    private = min(sources, key=lambda source: source.stat().st_mode & 0o077, default=None)
    with whole_file(target / INDEX, private) as temporary, temporary.open("w+b") as out:
        source_bytes = sum(source.stat().st_size for source in sources)
        length = Writer(out).finish("shards", (), _pack_skeleton(folder, done), source_bytes, error)
    notes = tuple(note for file in folder.files for note in describe_missing_data(folder.root / file.name))
    dropped = tuple(name for one in done for name in one.dropped)
    return Encoded(length + sum(one.file_bytes for one in done), error, dropped, notes)


def _pack_skeleton(folder: Folder, done: Sequence[JobResult]) -> bytes:
    parts = [(one.file_bytes, one.digest) for one in done]
    return shard_list.pack([file.name for file in folder.files], parts, folder.empty)


def _measure_index(folder: Folder, done: Sequence[JobResult]) -> int:
    """The size of the index of these parts; missing ones are assumed to be very large."""
    absent = folder.files[len(done) :]
    guessed = (JobResult(1 << 40, 0.0, (), hashlib.sha256(os.fsencode(file.name)).digest()) for file in absent)
    return Writer(BytesIO()).finish("shards", (), _pack_skeleton(folder, [*done, *guessed]), 1 << 40, 0.0)


def encode_any(
    source: Path,
    target: Path,
    recipe: Recipe,
    *,
    folder: Folder | None = None,
    base: Path | None = None,
    threads: int = 0,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Write `target`, a .wcz file, or a folder of them if the model has several files.

    folder:   the result of `shards.folder_of(source)`, if it is known.
    base:     an earlier version of the file, or a folder of those.
    executor: runs the work; see `encode_folder`.
    Raises: ModelFileError, RecipeError, BudgetError, OSError.
    """
    folder = folder or folder_of(source, recipe.is_whole)
    if folder:
        return encode_folder(folder, target, recipe, base=base, threads=threads, executor=executor)
    if executor:
        return executor.submit(encode, source.resolve(), target.resolve(), recipe, base=base, threads=1).result()
    return encode(source, target, recipe, base=base, threads=threads, progress=progress)


def run(job: EncodeJob) -> JobResult:
    """Encode one file, unless it is already encoded.

    Raises: the same errors as `encoder.encode`.
    """
    if job.target.exists():
        try:
            with job.target.open("rb") as file:
                container = parse(file)
            return JobResult(container.file_bytes, container.error, (), sha256_of(job.target))
        except WcodecError:
            job.target.unlink(missing_ok=True)
    source, target, recipe = job.source, job.target, job.recipe
    encoded = encode(
        source,
        target,
        recipe,
        size=job.size or 1.0,
        beside=job.beside,
        base=job.base,
        totals=job.totals,
        exact=job.exact,
        searches=job.size is None,
        threads=job.threads,
    )
    # The error as the file stores it, so that the index does not depend on which parts existed.
    error = parse_error(pack_error(encoded.error))
    return JobResult(encoded.file_bytes, error, encoded.dropped, sha256_of(job.target))
