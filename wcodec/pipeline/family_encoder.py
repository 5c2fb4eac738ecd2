"""`--family`: encoding of a folder of similar files against each other. Inverse: `folder_decoder`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from wcodec.errors import WcodecError
from wcodec.files import make_folders, sha256_of
from wcodec.model.dataclass import replace
from wcodec.modelfiles.shards import Folder
from wcodec.pipeline.base_chain import chain_of, digest_of
from wcodec.pipeline.encoder import Encoded
from wcodec.pipeline.family import find_parents, waves
from wcodec.pipeline.folder_decoder import INDEX, SUFFIX, parts_of
from wcodec.pipeline.folder_encoder import finish_folder, run
from wcodec.pipeline.folder_jobs import EncodeJob, JobResult, make_jobs, name_part, part_names_of, run_all
from wcodec.pipeline.part_folder import only_encoder
from wcodec.planning.recipe import Recipe


def encode_family(
    folder: Folder, target: Path, recipe: Recipe, *, threads: int = 0, executor: Executor | None = None
) -> Encoded:
    """Write the folder `target`: a .wcz for each file, with another one as its base if that is smaller, and the index.

    Parts that `target` already has are kept, so that a new file rewrites no other. The base of a lossless file is the
    other file itself, which its .wcz represents; that of a lossy one is the .wcz.
    executor: as in `encode_folder`. Raises: ModelFileError, RecipeError, OSError.
    """
    with only_encoder(target, folder.root.stat().st_mode & 0o777 | 0o700) as parts:
        jobs = make_jobs(folder, target, recipe, None, 1 if executor else threads)
        kept = _find_parts(jobs, folder, target)
        parents = find_parents([job.source for job in jobs], {number: depth for number, (_, depth) in kept.items()})
        found: dict[int, JobResult] = {}
        for wave in waves(parents):
            for number in wave:
                jobs[number] = name_part(_set_base(jobs, number, parents[number]), target)
            parts.begin([jobs[number].part for number in wave])
            for number in wave:
                make_folders(target, jobs[number].part, folder.root)
                if number in kept:
                    kept[number][0].replace(jobs[number].target)
            done = run_all(run, [jobs[number] for number in wave], executor)
            found |= dict(zip(wave, done, strict=True))
        results = [found[number] for number in range(len(jobs))]
        encoded = finish_folder(folder, target, jobs, results, [None] * len(jobs))
        parts.finish({f"{name}{SUFFIX}" for name in part_names_of(folder)})
    return encoded


def _set_base(jobs: Sequence[EncodeJob], number: int, parent: int | None) -> EncodeJob:
    """The job, coded against the finished part of its parent."""
    if parent is None:
        return jobs[number]
    base = jobs[parent].source if jobs[number].recipe.is_whole else jobs[parent].target
    return replace(jobs[number], base=base)


def _find_parts(jobs: Sequence[EncodeJob], folder: Folder, target: Path) -> dict[int, tuple[Path, int]]:
    """By number of a file: the finished part in `target`, and the number of its bases."""
    try:
        named = {shard.name: part for shard, part in parts_of(target / INDEX)}
    except (WcodecError, OSError):
        return {}
    kept = {}
    for number, (file, job) in enumerate(zip(folder.files, jobs, strict=True)):
        if part := named.get(file.name):
            depth = _find_depth(part, job)
            if depth is not None:
                kept[number] = (part, depth)
    return kept


def _find_depth(part: Path, job: EncodeJob) -> int | None:
    """The number of bases of a finished part; None if it is of another or an older file, or missing.

    A lossless part belongs to the file whose SHA-256 it has.
    """
    try:
        if job.recipe.is_whole:
            return len(chain_of(part)) if digest_of(part) == sha256_of(job.source) else None
        is_newer = part.stat().st_mtime_ns >= job.source.stat().st_mtime_ns
        return len(chain_of(part)) if is_newer else None
    except (WcodecError, OSError):
        return None
