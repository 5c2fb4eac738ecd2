"""Models of several files: one .wcz a file and an index, made by any executor, with the same bytes by each.

The name of a finished part has a key of its source and options in it until all parts are finished, so that an
interrupted encoding goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

from wcodec.codec.statistics import scan_tensors
from wcodec.container.reader import parse
from wcodec.container.wire import READER_VERSION
from wcodec.container.writer import Writer
from wcodec.errors import ModelFileError, WcodecError
from wcodec.files import sha256_of, unchanged, whole_file
from wcodec.model import Progress, Tensor
from wcodec.modelfiles import open_model, shard_list
from wcodec.modelfiles.shards import File, Folder, external_model, folder_of, missing_data, opened
from wcodec.pipeline.encoder import Encoded, encode
from wcodec.pipeline.folder_decoder import INDEX, SUFFIX, earlier_of
from wcodec.pipeline.part_folder import only_encoder
from wcodec.planning.allocation import WeightTotals, weight_totals
from wcodec.planning.patterns import check_patterns, find_tensors, is_used
from wcodec.planning.recipe import Options, Recipe

T = TypeVar("T")


@dataclass(frozen=True)
class EncodeJob:
    """One file to encode, for whichever process or machine takes it: it opens the file itself.

    part:   `target` by its path in the folder of all parts.
    totals: of the model whose shard the file is.
    """

    source: Path
    target: Path
    part: str
    recipe: Recipe
    beside: Path | None
    threads: int
    base: Path | None = None
    totals: WeightTotals | None = None


@dataclass(frozen=True)
class EncodeResult:
    """What came of a job."""

    file_bytes: int
    error: float
    dropped: tuple[str, ...]
    digest: bytes


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
    executor: who encodes the parts (processes, machines that see the same folders); None: this process, one by one.
    Raises: ModelFileError, RecipeError, BudgetError, OSError. Parts that are finished stay, for the next attempt.
    """
    with only_encoder(target, folder.root.stat().st_mode & 0o777 | 0o700) as parts:
        with unchanged(*(folder.root / file.name for file in folder.files)):
            jobs, surveys = plan_jobs(folder, target, recipe, base, 1 if executor else threads, executor)
            parts.begin([job.part for job in jobs])
            for job in jobs:
                job.target.parent.mkdir(parents=True, exist_ok=True)
            done = run_all(run, jobs, executor)
        encoded = finish_folder(folder, target, jobs, done, surveys)
        parts.finish({f"{name}{SUFFIX}" for name in part_names_of(folder)})
    return encoded


def plan_jobs(
    folder: Folder, target: Path, recipe: Recipe, base: Path | None, threads: int, executor: Executor | None
) -> tuple[list[EncodeJob], list[WeightTotals | None]]:
    """A job for each file, and the totals of those that may be lossy, where these are several.

    Raises: ModelFileError, RecipeError.
    """
    jobs = make_jobs(folder, target, recipe, base, threads)
    surveys = _surveys(folder, jobs, executor)
    return [name_part(job, target) for job in _with_totals(folder, jobs, surveys)], surveys


def finish_folder(
    folder: Folder,
    target: Path,
    jobs: Sequence[EncodeJob],
    done: Sequence[EncodeResult],
    surveys: Sequence[WeightTotals | None],
) -> Encoded:
    """Give the parts their names, and write the index."""
    for job, name in zip(jobs, part_names_of(folder), strict=True):
        job.target.replace(target / f"{name}{SUFFIX}")
    skeleton = shard_list.pack(
        [file.name for file in folder.files], [(one.file_bytes, one.digest) for one in done], folder.empty
    )
    energies = [survey.energy if survey else 0.0 for survey in surveys]
    error = max((one.error for one in done), default=0.0)
    if any(energies):
        error = sum(one.error * energy for one, energy in zip(done, energies, strict=True)) / sum(energies)
    with whole_file(target / INDEX) as temporary, temporary.open("w+b") as out:
        source_bytes = sum(job.source.stat().st_size for job in jobs)
        length = Writer(out).finish("shards", (), skeleton, source_bytes, error)
    notes = tuple(note for file in folder.files for note in missing_data(folder.root / file.name))
    dropped = tuple(name for one in done for name in one.dropped)
    return Encoded(length + sum(one.file_bytes for one in done), error, dropped, notes)


def part_names_of(folder: Folder) -> list[str]:
    """What the finished parts are called, without the suffix."""
    return shard_list.part_names([file.name for file in folder.files], folder.empty)


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
    """Write `target`, a .wcz file, or a folder of them where the model is of several files.

    folder:   the files, where `shards.folder_of(source)` was asked already.
    base:     an earlier version of the file, or a folder of those.
    executor: who does the work; see `encode_folder`.
    Raises: ModelFileError, RecipeError, BudgetError, OSError.
    """
    folder = folder or folder_of(source, recipe.is_whole)
    if folder:
        return encode_folder(folder, target, recipe, base=base, threads=threads, executor=executor)
    if executor:
        return executor.submit(encode, source.resolve(), target.resolve(), recipe, base=base, threads=1).result()
    return encode(source, target, recipe, base=base, threads=threads, progress=progress)


def run(job: EncodeJob) -> EncodeResult:
    """Encode one file, unless it is there already.

    Raises: as `encoder.encode` does.
    """
    if job.target.exists():
        try:
            with job.target.open("rb") as file:
                container = parse(file)
            return EncodeResult(container.file_bytes, container.error, (), sha256_of(job.target))
        except WcodecError:
            job.target.unlink(missing_ok=True)
    source, target, recipe = job.source, job.target, job.recipe
    encoded = encode(source, target, recipe, beside=job.beside, base=job.base, totals=job.totals, threads=job.threads)
    return EncodeResult(encoded.file_bytes, encoded.error, encoded.dropped, sha256_of(job.target))


def survey(job: EncodeJob) -> WeightTotals:
    """The totals of one file.

    Raises: ModelFileError, RecipeError.
    """
    with opened(job.source, job.recipe.keep_optimizer, job.beside) as model:
        statistics = [found.statistics for found in scan_tensors(model.tensors, job.threads)]
        return weight_totals(model, statistics, job.recipe)


def _surveys(folder: Folder, jobs: Sequence[EncodeJob], executor: Executor | None) -> list[WeightTotals | None]:
    """The totals of each file that may be lossy, where these are several; None for the others."""
    lossy = [file.is_model and not job.recipe.is_whole for file, job in zip(folder.files, jobs, strict=True)]
    if sum(lossy) < 2:
        return [None] * len(jobs)
    found = iter(run_all(survey, [job for job, is_lossy in zip(jobs, lossy, strict=True) if is_lossy], executor))
    return [next(found) if is_lossy else None for is_lossy in lossy]


def _with_totals(folder: Folder, jobs: Sequence[EncodeJob], surveys: Sequence[WeightTotals | None]) -> list[EncodeJob]:
    """The jobs, each with the totals of all files of its model."""
    totals: dict[str, WeightTotals] = {}
    for file, own in zip(folder.files, surveys, strict=True):
        if own:
            totals[file.model] = totals[file.model] + own if file.model in totals else own
    return [
        replace(job, totals=totals[file.model]) if own else job
        for file, job, own in zip(folder.files, jobs, surveys, strict=True)
    ]


def run_all(work: Callable[[EncodeJob], T], jobs: Sequence[EncodeJob], executor: Executor | None) -> list[T]:
    """work(job) of each, by the executor or here; what became of no worker's hands is done here."""

    def submitted(job: EncodeJob) -> Future[T] | None:
        try:
            return executor.submit(work, job) if executor else None
        except BrokenExecutor:
            return None

    def result(job: EncodeJob, future: Future[T] | None) -> T:
        if future is None:
            return work(job)
        try:
            return future.result()
        except (WcodecError, OSError):
            raise
        except (Exception, CancelledError):  # whatever an executor raises when its workers die
            return work(replace(job, threads=0))

    begun = [(job, submitted(job)) for job in jobs]
    return [result(job, future) for job, future in begun]


def make_jobs(folder: Folder, target: Path, recipe: Recipe, base: Path | None, threads: int) -> list[EncodeJob]:
    """A job for each file, whose part is to be named yet (`name_part`)."""
    jobs = []
    root = folder.root.resolve()  # workers may stand elsewhere; files keep their names, which links would change
    for file, name, own in zip(folder.files, part_names_of(folder), _recipes(folder, recipe), strict=True):
        source = root / file.name
        earlier = earlier_of(base and base.resolve(), file.name)
        beside = root / file.beside if file.beside else None
        jobs.append(EncodeJob(source, target / name, name, own, beside, threads, earlier))
    return jobs


def name_part(job: EncodeJob, target: Path) -> EncodeJob:
    """The job, its part called by what it depends on; a file that was written since is another one."""
    facts = job.source.stat()
    said = (job.source.name, facts.st_size, facts.st_mtime_ns, job.recipe, READER_VERSION)
    whole = repr((*said, job.base and sha256_of(job.base), job.totals))
    key = hashlib.blake2b(whole.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    part = f"{job.part}.{key}{SUFFIX}"
    return replace(job, target=(target / part).resolve(), part=part)


def _recipes(folder: Folder, recipe: Recipe) -> list[Recipe]:
    """The recipe of each file: its share of the size, and the patterns that find something in it.

    Raises: RecipeError for a pattern that finds nothing anywhere.
    """
    exact = Recipe(options=Options(lossless=True), effort=recipe.effort)
    has_patterns = bool(recipe.include or recipe.exclude or recipe.rules)
    tensors = [_tensors(folder, file) if has_patterns and file.is_model else () for file in folder.files]
    check_patterns(tuple(chain.from_iterable(tensors)), recipe)
    sizes = [(folder.root / file.name).stat().st_size for file in folder.files]
    made = []
    for file, own, size in zip(folder.files, tensors, sizes, strict=True):
        include = tuple(pattern for pattern in recipe.include if find_tensors(pattern, own))
        exclude = tuple(pattern for pattern in recipe.exclude if find_tensors(pattern, own))
        fitted = replace(
            recipe,
            rules=tuple(rule for rule in recipe.rules if is_used(rule, own)),
            include=include,
            exclude=(".",) if own and recipe.include and not include else exclude,
            target_bytes=max(1, int(recipe.target_bytes * (size / (sum(sizes) or 1)))) if recipe.target_bytes else None,
        )
        made.append(fitted if file.is_model else exact)
    return made


def _tensors(folder: Folder, file: File) -> tuple[Tensor, ...]:
    path = folder.root / file.name
    if file.beside:
        return external_model(path, folder.root / file.beside).tensors
    try:
        with open_model(path, keep_optimizer=True) as model:
            return model.tensors
    except ModelFileError:
        return ()
