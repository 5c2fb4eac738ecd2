"""The jobs of an encoding of several files: one for each file, with the facts that it needs about the others."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from wcodec.codec.magnitude_pruning import Counts, count_magnitudes, threshold_of
from wcodec.codec.plan import Prune
from wcodec.codec.statistics import scan_tensors
from wcodec.container.dtypes import to_float32
from wcodec.container.wire import READER_VERSION
from wcodec.errors import ModelFileError, WcodecError
from wcodec.files import sha256_of
from wcodec.model import Model, Tensor
from wcodec.model.dataclass import dataclass, replace
from wcodec.modelfiles import open_model, shard_list
from wcodec.modelfiles.roles import find_quantized_modules, module_of
from wcodec.modelfiles.shards import File, Folder, external_model, open_source
from wcodec.pipeline.folder_decoder import SUFFIX, earlier_of
from wcodec.planning.allocation import WeightTotals, lossy_weights, weight_totals
from wcodec.planning.patterns import check_patterns, find_tensors, is_used
from wcodec.planning.recipe import Options, Recipe

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

T = TypeVar("T")


@dataclass(frozen=True)
class EncodeJob:
    """One file to encode, by any process or machine, which opens the file itself.

    part:   `target` by its path in the folder of all parts.
    totals: of the model of which the file is a shard.
    exact:  its modules that are quantised according to other shards.
    size:   a factor on the steps, without a search; None: a budget of the recipe is searched in this file.
    """

    source: Path
    target: Path
    part: str
    recipe: Recipe
    beside: Path | None
    threads: int
    base: Path | None = None
    totals: WeightTotals | None = None
    exact: tuple[str, ...] = ()
    size: float | None = None

    def opened(self) -> AbstractContextManager[Model]:
        """The file as a model. Raises: ModelFileError."""
        return open_source(self.source, self.recipe.keep_optimizer, self.beside, self.exact)


@dataclass(frozen=True)
class JobResult:
    """The result of a job."""

    file_bytes: int
    error: float
    dropped: tuple[str, ...]
    digest: bytes


def plan_jobs(
    folder: Folder, target: Path, recipe: Recipe, base: Path | None, threads: int, executor: Executor | None
) -> tuple[list[EncodeJob], list[WeightTotals | None]]:
    """A job for each file, and the totals of files that may be lossy, if there are several.

    Raises: ModelFileError, RecipeError.
    """
    jobs = make_jobs(folder, target, recipe, base, threads)
    surveys = _survey_files(folder, jobs, executor)
    return _add_thresholds(folder, _add_totals(folder, jobs, surveys), executor), surveys


def part_names_of(folder: Folder) -> list[str]:
    """The names of the finished parts, without the suffix."""
    return shard_list.part_names([file.name for file in folder.files], folder.empty)


def survey(job: EncodeJob) -> WeightTotals:
    """The totals of one file.

    Raises: ModelFileError, RecipeError.
    """
    with job.opened() as model:
        statistics = [found.statistics for found in scan_tensors(model.tensors, job.threads)]
        return weight_totals(model, statistics, job.recipe)


def count_weights(job: EncodeJob, high: int | None) -> Counts:
    """`count_magnitudes` of the weights of one file that may be pruned."""
    with job.opened() as model:
        lossy = lossy_weights(model.tensors, job.recipe)
        return count_magnitudes((to_float32(tensor.read(), tensor.dtype) for tensor in lossy), high)


def _survey_files(folder: Folder, jobs: Sequence[EncodeJob], executor: Executor | None) -> list[WeightTotals | None]:
    """The totals of each file that may be lossy, if there are several; None for the others."""
    lossy = [file.is_model and not job.recipe.is_whole for file, job in zip(folder.files, jobs, strict=True)]
    if sum(lossy) < 2:
        return [None] * len(jobs)
    found = iter(run_all(survey, [job for job, is_lossy in zip(jobs, lossy, strict=True) if is_lossy], executor))
    return [next(found) if is_lossy else None for is_lossy in lossy]


def _add_totals(folder: Folder, jobs: Sequence[EncodeJob], surveys: Sequence[WeightTotals | None]) -> list[EncodeJob]:
    """The jobs, each with the totals of all files of its model."""
    totals: dict[str, WeightTotals] = {}
    for file, own in zip(folder.files, surveys, strict=True):
        if own:
            totals[file.model] = totals[file.model] + own if file.model in totals else own
    return [
        replace(job, totals=totals[file.model]) if own else job
        for file, job, own in zip(folder.files, jobs, surveys, strict=True)
    ]


def _add_thresholds(folder: Folder, jobs: Sequence[EncodeJob], executor: Executor | None) -> list[EncodeJob]:
    """The jobs, with one pruning threshold for the files of a model if the recipe ranks all weights together."""
    models: dict[str, list[int]] = defaultdict(list)
    for number, (file, job) in enumerate(zip(folder.files, jobs, strict=True)):
        prune = job.recipe.options.prune
        if job.totals and job.recipe.global_sparsity and prune and prune.rule == "sparsity":
            models[file.model].append(number)
    found = list(jobs)
    for numbers in models.values():
        own = [jobs[number] for number in numbers]
        amount = own[0].recipe.options.prune.amount if own[0].recipe.options.prune else 0.0

        def counts(high: int | None, own: Sequence[EncodeJob] = own) -> Counts:
            each = run_all(partial(count_weights, high=high), own, executor)
            return np.asarray(np.sum(each, axis=0), np.int64)

        prune = Prune("absolute", threshold_of(counts, amount))
        for number in numbers:
            options = replace(jobs[number].recipe.options, prune=prune)
            found[number] = replace(jobs[number], recipe=replace(jobs[number].recipe, options=options))
    return found


def run_all(work: Callable[[EncodeJob], T], jobs: Sequence[EncodeJob], executor: Executor | None) -> list[T]:
    """work(job) for each job, by the executor or here; jobs that no worker finished are done here."""
    from concurrent.futures import BrokenExecutor, CancelledError

    def submit_job(job: EncodeJob) -> Future[T] | None:
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
        except (Exception, CancelledError):  # an executor may raise anything when its workers die
            return work(replace(job, threads=0))

    begun = [(job, submit_job(job)) for job in jobs]
    return [result(job, future) for job, future in begun]


def make_jobs(folder: Folder, target: Path, recipe: Recipe, base: Path | None, threads: int) -> list[EncodeJob]:
    """A job for each file, whose part has no name yet (`name_part`)."""
    jobs = []
    quantized = _find_quantized_elsewhere(folder, recipe)
    root = folder.root.resolve()  # workers may have another directory; files keep their names, which links would change
    for file, name, own in zip(folder.files, part_names_of(folder), _choose_recipes(folder, recipe), strict=True):
        source = root / file.name
        earlier = earlier_of(base and base.resolve(), file.name)
        beside = root / file.beside if file.beside else None
        exact = quantized.get(file.name, ())
        jobs.append(EncodeJob(source, target / name, name, own, beside, threads, earlier, exact=exact))
    return jobs


def name_part(job: EncodeJob, target: Path) -> EncodeJob:
    """The job with a part name that depends on its inputs; a file that was written since counts as another one."""
    facts = job.source.stat()
    said = (job.source.name, facts.st_size, facts.st_mtime_ns, job.recipe, READER_VERSION)
    whole = repr((*said, job.base and sha256_of(job.base), job.totals, job.exact, job.size))
    key = hashlib.blake2b(whole.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    part = f"{job.part}.{key}{SUFFIX}"
    return replace(job, target=(target / part).resolve(), part=part)


def _choose_recipes(folder: Folder, recipe: Recipe) -> list[Recipe]:
    """The recipe of each file, with the patterns that find something in it.

    Raises: RecipeError for a pattern that finds nothing in any file.
    """
    exact = Recipe(options=Options(lossless=True), effort=recipe.effort)
    has_patterns = bool(recipe.include or recipe.exclude or recipe.rules)
    tensors = [_list_tensors(folder, file) if has_patterns and file.is_model else () for file in folder.files]
    check_patterns(tuple(chain.from_iterable(tensors)), recipe)
    made = []
    for file, own in zip(folder.files, tensors, strict=True):
        include = tuple(pattern for pattern in recipe.include if find_tensors(pattern, own))
        exclude = tuple(pattern for pattern in recipe.exclude if find_tensors(pattern, own))
        fitted = replace(
            recipe,
            rules=tuple(rule for rule in recipe.rules if is_used(rule, own)),
            include=include,
            exclude=(".",) if own and recipe.include and not include else exclude,
        )
        made.append(fitted if file.is_model else exact)
    return made


def _find_quantized_elsewhere(folder: Folder, recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """By file: its modules that are quantised according to all files of the model, such as by codes in another file."""
    shards: dict[str, dict[str, tuple[Tensor, ...]]] = defaultdict(dict)
    for file in folder.files:
        if file.is_model and not recipe.is_whole:
            shards[file.model][file.name] = _list_tensors(folder, file)
    found = {}
    for files in shards.values():
        modules = find_quantized_modules(tuple(chain.from_iterable(files.values()))) if len(files) > 1 else set()
        for name, tensors in files.items():
            found[name] = tuple(sorted(modules & {module_of(tensor.name) for tensor in tensors}))
    return found


def _list_tensors(folder: Folder, file: File) -> tuple[Tensor, ...]:
    path = folder.root / file.name
    if file.beside:
        return external_model(path, folder.root / file.beside).tensors
    try:
        with open_model(path, keep_optimizer=True) as model:
            return model.tensors
    except ModelFileError:
        return ()
