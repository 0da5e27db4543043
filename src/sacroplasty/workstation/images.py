"""Images as the page draws them: bare little-endian arrays, coarse levels first, made once and kept as files."""

from __future__ import annotations

import gzip
import shutil
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from sacroplasty.case import CaseFolder, from_json, to_json
from sacroplasty.io import write_atomically
from sacroplasty.space import Grid, Volume
from sacroplasty.workstation.casebook import Casebook, digest_of, stored_json
from sacroplasty.workstation.refusals import not_there
from sacroplasty.workstation.warm import Warm

# A level with this few voxels is small enough to be the first that arrives.
COARSEST_VOXELS = 400_000
# Fast compression: the way to the page is short.
_COMPRESSION = 1
# Counts up when these files or their description change: files of an older program are made anew.
_FORMAT = 2
# What an MRI is shown between.
_MR_WINDOW_PERCENT = (1.0, 99.5)
_STAGE_OF = {"ct": "images", "labels": "segment", "mr": "segment",
             "cement_arrival": "cement", "cement_fraction": "cement",
             "venogram": "venogram"}  # fmt: skip


@dataclass(frozen=True)
class _Image:
    """One image of a case: its array with meaning."""

    kind: str
    unit: str
    array: npt.NDArray[Any]
    grid: Grid
    names: dict[str, str]


class Images:
    """The images of the cases of a casebook; files kept by the casebook, replaced when their stage changes."""

    def __init__(self, casebook: Casebook, warm: Warm) -> None:
        self.casebook, self.warm = casebook, warm
        self._making: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def names(self, folder: CaseFolder) -> tuple[str, ...]:
        """Every image that the case has."""
        found = [name for name, stage in _STAGE_OF.items() if folder.has(stage)]
        if "mr" in found and "mr" not in stored_json(self.casebook, folder.path.name, "segment")["maps"]:
            found.remove("mr")
        if folder.has("lesion"):
            found += [f"lesion-{n}" for n in range(1, len(stored_json(self.casebook, folder.path.name, "lesion")) + 1)]
        return tuple(found)

    def described(self, identifier: str) -> list[dict[str, Any]]:
        """What the page needs to know before it fetches."""
        folder = self.casebook.open(identifier)
        return [self.one(identifier, name) for name in self.names(folder)]

    def one(self, identifier: str, name: str) -> dict[str, Any]:
        """One image's description, made once and kept; 404 where the case has no such image."""
        path = self._path(identifier, name, "described.json")
        if path.is_file():
            return cast(dict[str, Any], from_json(path.read_text(encoding="utf-8"), path.name))
        found = self._described(identifier, name)
        forget_older(path.parent, name)
        content = to_json(found).encode()
        write_atomically(path, lambda stream: stream.write(content))
        return found

    def _path(self, identifier: str, name: str, file: str) -> Path:
        """One of an image's files, in a folder named by the content it is made from; 404 where there is no image."""
        folder = self.casebook.open(identifier)
        stage = _stage(name)
        if stage is None or not folder.has(stage):
            raise not_there("The case has no such image", got=repr(name[:40]))
        return self.casebook.display(identifier, f"{name}-{_FORMAT}{digest_of(folder, stage)}", file)

    def _described(self, identifier: str, name: str) -> dict[str, Any]:
        image = self._image(identifier, name)
        seen = image.array[np.isfinite(image.array)] if image.kind == "mr" else image.array
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        # A few bright voxels of an MRI would leave everything else dark.
        window = np.percentile(seen, _MR_WINDOW_PERCENT).tolist() if image.kind == "mr" and seen.size else [low, high]
        return {
            "name": name, "kind": image.kind, "unit": image.unit, "type": _wire(image.array).name,
            "lowest": low, "highest": high, "window": window, "names": image.names, "present": _present(image),
            "levels": [_level(identifier, name, n, grid, _wire(image.array)) for n, grid in enumerate(_grids(image))],
        }  # fmt: skip

    def prepare(self, identifier: str) -> None:
        """Make every file that the page will ask for, coarse levels first."""
        for one in self.described(identifier):
            for level in reversed(one["levels"]):
                self.file(identifier, one["name"], level["level"])

    def file(self, identifier: str, name: str, level: int) -> Path:
        """The gzip file of one level; 404 where there is none."""
        path = self._path(identifier, name, f"{level}.gz")
        if path.is_file():
            return path
        image = self._image(identifier, name)
        if not 0 <= level < len(_grids(image)):
            raise not_there("The image has no such level", got=str(level))
        with self._making[str(path)]:
            if not path.is_file():
                forget_older(path.parent, name)
                self._write(image, level, path)
        return path

    def _write(self, image: _Image, level: int, path: Path) -> None:
        array = image.array
        if level:
            volume = Volume(np.asarray(array), image.grid, image.unit).binned((2**level,) * 3)
            array = np.rint(volume.array) if np.issubdtype(image.array.dtype, np.integer) else volume.array
        content = np.asarray(array, dtype=_wire(image.array)).tobytes(order="F")
        packed = gzip.compress(content, _COMPRESSION, mtime=0)
        write_atomically(path, lambda stream: stream.write(packed))

    def _image(self, identifier: str, name: str) -> _Image:
        warm = self.warm
        if name == "ct":
            ct = warm.ct(identifier)
            return _Image("ct", ct.unit, _as_int16(ct.array), ct.grid, {})
        if name == "labels":
            labels = warm.anatomy(identifier).labels
            return _Image("labels", "", labels.array, labels.grid, {str(v): n for v, n in labels.names.items()})
        if name == "mr":
            maps = warm.anatomy(identifier).maps
            if "mr" not in maps:
                raise not_there("The case has no MRI", remedy="Give one with the anatomy")
            # The map is 0 where the MRI does not reach; nothing seen is not dark tissue.
            seen = np.where(maps["mr"].array == 0, np.nan, maps["mr"].array)
            return _Image("mr", maps["mr"].unit, seen.astype(np.float32), maps["mr"].grid, {})
        if name == "venogram":
            cloud = warm.venogram(identifier).concentration
            return _Image("contrast", "1", cloud.array, cloud.grid, {})
        if name.startswith("cement_"):
            cement = warm.cement(identifier)
            volume = cement.arrival_ml if name == "cement_arrival" else cement.cement_fraction
            return _Image("cement", volume.unit, volume.array, volume.grid, {})
        number = _lesion_number(name)
        lesions = warm.lesions(identifier)
        if number is None or not 1 <= number <= len(lesions):
            raise not_there("The case has no such image", got=repr(name[:40]))
        mask = lesions[number - 1].mask
        return _Image("lesion", "", mask.array.astype(np.uint8), mask.grid, {"1": "lesion"})


def _present(image: _Image) -> list[str]:
    """Names of labels that have a voxel, in the order of their values."""
    if not image.names:
        return []
    values = np.flatnonzero(np.bincount(image.array.ravel())).tolist()
    return [image.names[str(value)] for value in values if str(value) in image.names]


def forget_older(place: Path, name: str) -> None:
    """Make room for files of a new content: those of the same name with another digest go."""
    for other in place.parent.glob(f"{name}-*"):
        if other != place and other.name.rpartition("-")[0] == name:
            shutil.rmtree(other, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)


def _lesion_number(name: str) -> int | None:
    head, _, number = name.partition("-")
    return int(number) if head == "lesion" and number.isascii() and number.isdigit() and len(number) < 4 else None


def _stage(name: str) -> str | None:
    return "lesion" if _lesion_number(name) is not None else _STAGE_OF.get(name)


def _as_int16(array: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """HU as whole numbers for the display; values beyond 16 bits do not occur in a CT that passed the gate."""
    if array.dtype == np.int16:
        return array
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(array), limits.min, limits.max).astype(np.int16)


def _wire(array: npt.NDArray[Any]) -> np.dtype[Any]:
    """The little-endian type in which an array travels."""
    return array.dtype.newbyteorder("<")


def _grids(image: _Image) -> list[Grid]:
    """The grid of every level: a CT has coarser ones, masks and simulated clouds are small as they are."""
    grids = [image.grid]
    while image.kind == "ct" and np.prod(grids[-1].shape) > COARSEST_VOXELS and min(grids[-1].shape) >= 4:
        grids.append(image.grid.binned((2 ** len(grids),) * 3))
    return grids


def _level(identifier: str, name: str, number: int, grid: Grid, wire: np.dtype[Any]) -> dict[str, Any]:
    axes = grid.patient_from_voxel.vectors(np.eye(3)) / np.asarray(grid.spacing_mm)[:, None]
    return {
        "level": number, "url": f"/api/cases/{identifier}/images/{name}/{number}", "shape": list(grid.shape),
        "spacing_mm": list(grid.spacing_mm), "origin_mm": grid.patient_from_voxel.points((0.0, 0.0, 0.0)).tolist(),
        "direction": axes.ravel().tolist(), "bytes": int(np.prod(grid.shape)) * wire.itemsize,
    }  # fmt: skip
