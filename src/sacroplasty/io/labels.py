"""Label maps and masks from other programs, and whether they lie on the CT's grid."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sacroplasty.io.gate import checked_geometry
from sacroplasty.io.isolation import isolated
from sacroplasty.io.raw import RawImage
from sacroplasty.io.series import file_kind
from sacroplasty.io.storage import canonical
from sacroplasty.io.verdict import rejected
from sacroplasty.space import Grid, LabelMap, Mask, Volume

TABLES = ("totalsegmentator-v1", "totalsegmentator-v2")
# Share of a mask that must lie in tissue rather than air, and the Hounsfield value that parts them.
_LEAST_IN_BODY = 0.5
_AIR_HU = -300
# Share of a mask that may be lost when it is brought to another grid.
_MOST_LOST = 0.02


@cache
def label_table(name: str) -> Mapping[int, str]:
    """Label values and names of a known table: totalsegmentator-v1 or -v2."""
    if name not in TABLES:
        raise rejected("SAC-G064", "There is no such table of labels", got=name, remedy="Use " + " or ".join(TABLES))
    text = resources.files(__package__).joinpath(name.replace("-", "_") + ".txt").read_text(encoding="utf-8")
    return _table(text, name)


def _table(text: str, source: str) -> dict[int, str]:
    """Names by value from lines `value name`; empty lines and lines with # are skipped."""
    names = {}
    for line in text.splitlines():
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2 or not words[0].isdigit():
            raise rejected("SAC-G064", "A table of labels must have lines `value name`", got=f"{source}: {line[:60]}")
        names[int(words[0])] = words[1]
    return names


def read_labels(path: str | os.PathLike[str], *, names: str | Mapping[int, str] | None = None) -> LabelMap:
    """The named structures at a path, canonical storage order, world unchanged.

    A multilabel .nii(.gz) or .nrrd, a .seg.nrrd, a DICOM SEG, or a folder with one mask file per structure. Names come
    from `names` (a mapping, or a table of TABLES), else from the file itself, else from `labels.txt` or `<name>.txt`
    beside it with lines `value name`. Raises GeometryError or InputError (SAC-G06x) rather than guessing.
    """
    source = Path(path)
    kind = file_kind(source)
    job = "label_folder" if source.is_dir() else "segmentation" if kind == "dicom" else "load"
    raw = isolated(job, source)
    own = {int(value): name for value, name in json.loads(raw.about.get("label_names") or "{}").items()}
    given = dict(label_table(names)) if isinstance(names, str) else dict(names or {})
    found = given or own or _beside(source)
    values, grid = _labels(raw, source.name)
    present = set(np.unique(values).tolist()) - {0}
    if not found or present - found.keys():
        unnamed = ", ".join(map(str, sorted(present - found.keys())[:10]))
        raise rejected(
            "SAC-G064",
            "Label values without a name",
            got=f"{source.name}: {unnamed}",
            remedy="Put `labels.txt` with lines `value name` beside it, or name a table: " + ", ".join(TABLES),
        )
    return LabelMap(values, grid, found)


def _beside(source: Path) -> dict[int, str]:
    stem = source.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".nrrd")
    for name in (f"{stem}.txt", f"{stem}_labels.txt", "labels.txt"):
        table = source.parent / name
        if table.is_file() and table.stat().st_size < 1_000_000:
            return _table(table.read_text(encoding="utf-8", errors="replace"), name)
    return {}


def _labels(raw: RawImage, name: str) -> tuple[npt.NDArray[np.unsignedinteger], Grid]:
    """Unsigned values on their grid, in canonical storage order; odd values are refused."""
    checked_geometry(raw)
    array = raw.array
    if not np.issubdtype(array.dtype, np.integer) and not (
        np.isfinite(array).all() and bool((array == np.rint(array)).all())
    ):
        raise rejected(
            "SAC-G063", "Labels must be whole numbers", got=name, remedy="Save a label map, not probabilities"
        )
    if array.min() < 0 or array.max() > 65535:
        raise rejected("SAC-G063", "Label values must lie between 0 and 65535", got=f"{array.min()} to {array.max()}")
    turned, affine, _ = canonical(array, raw.affine_lps)
    i, j, k = turned.shape
    grid = Grid.from_affine((i, j, k), affine, raw.about.get("frame_of_reference_uid", ""))
    return np.ascontiguousarray(turned).astype(np.uint8 if array.max() < 256 else np.uint16), grid


def read_mask(path: str | os.PathLike[str], *, label: int | str | None = None) -> Mask:
    """The one structure in a file: its single label value, or `label` by value or name. Never empty."""
    source = Path(path)
    if isinstance(label, str) or file_kind(source) == "dicom":
        labels = read_labels(source)
        wanted = label if isinstance(label, str) else None
        names = [wanted] if wanted else list(labels.names.values())
        if wanted is None and len(names) != 1:
            raise rejected(
                "SAC-G063", "The file holds several structures", got=", ".join(names), remedy="Choose one by name"
            )
        return _not_empty(labels.mask(*names), source.name)
    return _not_empty(_mask(isolated("load", source), source.name, label), source.name)


def _mask(raw: RawImage, name: str, label: int | None) -> Mask:
    values, grid = _labels(raw, name)
    present = [int(v) for v in np.unique(values) if v]
    if label is None and len(present) > 1:
        raise rejected(
            "SAC-G063",
            "The mask holds several label values",
            got=f"{name}: {', '.join(map(str, present[:10]))}",
            remedy="Choose one label",
        )
    return Mask(values == label if label is not None else values > 0, grid)


def _not_empty(mask: Mask, name: str) -> Mask:
    if mask.is_empty():
        raise rejected("SAC-G062", "The mask is empty", got=name, remedy="Check the label value, or draw it again")
    return mask


def require_mask_on_grid(mask: Mask, grid: Grid, *, resample: bool = False, ct: Volume | None = None) -> Mask:
    """The mask on `grid`: as it is where both are one lattice, resampled only on request, refused otherwise.

    A mask whose voxels coincide with the grid's (cropped or padded) is placed without interpolation. With `ct`, most
    of it must lie in tissue. Raises GeometryError SAC-G060 to G063.
    """
    uids = {mask.grid.frame_of_reference_uid, grid.frame_of_reference_uid} - {""}
    if len(uids) > 1:
        raise rejected(
            "SAC-G061",
            "Mask and CT lie in different frames of reference",
            got=" and ".join(sorted(uids)),
            remedy="Draw the mask on this CT, or register the images first",
        )
    if mask.grid.same_as(grid):
        placed = Mask(mask.array, grid)
    elif _one_lattice(mask.grid, grid) or resample:
        placed = mask.resampled(grid)
    else:
        raise rejected(
            "SAC-G060",
            "The mask lies on another grid than the CT",
            got=f"{mask.grid.describe()} against {grid.describe()}",
            remedy="Save it on the CT's grid, or ask for resampling",
        )
    if abs(placed.volume_ml - mask.volume_ml) > max(_MOST_LOST * mask.volume_ml, 8 * grid.voxel_volume_ml):
        raise rejected(
            "SAC-G060",
            "Part of the mask lies outside the CT",
            got=f"{placed.volume_ml:.1f} of {mask.volume_ml:.1f} mL inside",
            remedy="Check that mask and CT belong together",
        )
    _not_empty(placed, "mask")
    if ct is not None and float((ct.array[placed.array].astype(np.float32) > _AIR_HU).mean()) < _LEAST_IN_BODY:
        raise rejected("SAC-G063", "Most of the mask lies in air", remedy="Check that mask and CT belong together")
    return placed


def _one_lattice(a: Grid, b: Grid) -> bool:
    """The voxel centres of both grids coincide where they overlap, to 0.01 mm."""
    b_from_a = (b.voxel_from_patient @ a.patient_from_voxel).matrix
    steps_equal = np.abs((b_from_a[:3, :3] - np.eye(3)) * np.asarray(a.shape)).max() * max(b.spacing_mm) < 0.01
    shift = b_from_a[:3, 3]
    return bool(steps_equal and np.abs((shift - np.rint(shift)) * b.spacing_mm).max() < 0.01)
