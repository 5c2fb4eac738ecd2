"""Default output paths, and the checks that keep files from being overwritten."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from wcodec.errors import WcodecError
from wcodec.pipeline.decoded_suffix import MODEL_SUFFIXES

SUFFIX = ".wcz"


def derive_container_path(source: Path) -> Path:
    """model.h5 -> model.h5.wcz. Inverse: `derive_model_path`."""
    return source.with_name(source.name + SUFFIX)


def derive_model_path(source: Path, suffix: str) -> Path:
    """model.h5.wcz -> model.h5; a name without such a suffix gets `suffix`: small.wcz -> small.h5."""
    name = source.name.removesuffix(SUFFIX)
    says = name != source.name and Path(name).suffix in MODEL_SUFFIXES
    return source.with_name(name if says else name + suffix)


def check_source(source: Path) -> Path:
    """Check that the file or folder to read exists. Pipes are refused because they cannot be read twice, devices
    because they may be endless.

    Raises: WcodecError.
    """
    if not source.exists():
        raise WcodecError(f"{source}: expected a file, found none")
    if not (source.is_file() or source.is_dir()):
        raise WcodecError(f"{source}: expected a file, found a device or a pipe")
    if not os.access(source, os.R_OK):
        raise WcodecError(f"{source}: cannot be read: {os.strerror(errno.EACCES)}")
    return source if source.name else source.resolve()


def check_target(source: Path, target: Path, force: bool) -> Path:
    """The file to write, checked so that no other file is lost.

    Raises: WcodecError if it is the source or `-`, exists (without `force`), is not a file, or has no folder.
    """
    if str(target) == "-":
        raise WcodecError("-: expected a file to write; nothing is written to standard output")
    if target.exists() and target.samefile(source):
        raise WcodecError(f"{target}: expected another output, got the input itself")
    if target.is_dir():
        raise WcodecError(f"{target}: expected a file to write, found a folder")
    if target.exists() and not target.is_file():
        raise WcodecError(f"{target}: expected a file to write, found a device or a pipe")
    if target.exists() and not force:
        raise WcodecError(f"{target}: exists already; -f overwrites it, -o names another")
    if not target.parent.is_dir():
        raise WcodecError(f"{target}: the folder {target.parent} does not exist")
    if target.is_symlink() and _is_loop(target):
        raise WcodecError(f"{target}: expected a file to write, found a link that leads nowhere")
    return target.resolve() if target.is_symlink() else target


def check_folder(source: Path, target: Path, force: bool) -> Path:
    """The folder to write: a new one, an unfinished one of an earlier run, or with `force` a finished one.

    Raises: WcodecError.
    """
    if target.exists() and not target.is_dir():
        raise WcodecError(f"{target}: expected a folder to write a model of several files to, found a file")
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise WcodecError(f"{target}: expected a folder outside of the one that is encoded")
    if (target / "index.wcz").exists() and not force:
        raise WcodecError(f"{target}: exists already; -f overwrites it, -o names another")
    if not target.resolve().parent.is_dir():
        raise WcodecError(f"{target}: the folder {target.parent} does not exist")
    return target


def _is_loop(link: Path) -> bool:
    try:
        link.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False
