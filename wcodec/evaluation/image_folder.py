"""A folder of images as examples: sub-folders are classes; size and channels are those of the network's input."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

import numpy as np

from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Array, ModelInput, RawExamples

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}


def read(folder: Path, wanted: tuple[ModelInput, ...], limit: int | None) -> RawExamples:
    """The images of `folder` as uint8, resized bilinearly to the network's input; at most `limit`, spread evenly.

    Raises: RecipeError without Pillow, without images, or if the network does not take one image.
    """
    height, width, channels, first = _find_layout(folder, wanted)
    files, classes, names = _list_images(folder)
    if limit is not None and limit < len(files):
        chosen = np.linspace(0, len(files) - 1, limit).round().astype(int).tolist()
        files, classes = [files[i] for i in chosen], [classes[i] for i in chosen]
    pixels: list[Array] = []
    for file in files:
        image = _open_image(file, MODES[channels], height, width)
        if pixels and image.shape != pixels[0].shape:
            first_size, size = pixels[0].shape[:2], image.shape[:2]
            raise RecipeError(f"{file}: expected {first_size} pixels as in {files[0].name}, got {size}")
        pixels.append(image)
    stacked = np.stack(pixels).reshape(len(pixels), *pixels[0].shape[:2], channels)
    notes = [f"{len(files)} images of {folder}"]
    if names:
        notes.append(f"classes are the folders {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}")
    return RawExamples(
        str(folder),
        ("images",),
        (np.moveaxis(stacked, -1, 1) if first else stacked,),
        (np.array(classes, np.int64),) if names else (),
        tuple(notes),
    )


def _find_layout(folder: Path, wanted: tuple[ModelInput, ...]) -> tuple[int | None, int | None, int, bool]:
    """Height, width (None: as in the file), channels, and whether channels come first."""
    if len(wanted) == 1:
        match wanted[0].shape:
            case (height, width, (1 | 3 | 4) as channels):
                return height, width, channels, False
            case ((1 | 3 | 4) as channels, height, width):
                return height, width, channels, True
            case (height, width):
                return height, width, 1, False
    shapes = ", ".join(str(want.shape) for want in wanted)
    raise RecipeError(f"{folder}: images expected a network with one input (height, width, 1, 3 or 4), got {shapes}")


def _list_images(folder: Path) -> tuple[list[Path], list[int], list[str]]:
    """Image files, their class numbers, and the names of the classes (none if the folder is flat)."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files: list[Path] = []
    classes: list[int] = []
    for number, place in enumerate([folder / name for name in names] or [folder]):
        inside = sorted(file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        files += inside
        classes += [number] * len(inside)
    if not files:
        raise RecipeError(f"{folder}: expected images ({', '.join(sorted(SUFFIXES))}), found none")
    return files, classes, names


def _open_image(file: Path, mode: str, height: int | None, width: int | None) -> Array:
    """One image as uint8[height, width] or [height, width, channels]."""
    try:
        pillow = importlib.import_module("PIL.Image")
    except ImportError as exc:
        raise RecipeError("--data FOLDER: expected Pillow to read images, it is missing: pip install pillow") from exc
    try:
        with pillow.open(file) as image:
            size = (width or image.width, height or image.height)
            converted = image.convert(mode)
            if converted.size != size:
                converted = converted.resize(size, pillow.Resampling.BILINEAR)
            return np.asarray(converted, np.uint8)
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as exc:
        raise RecipeError(f"{file}: expected an image, got {type(exc).__name__}: {exc}") from exc
