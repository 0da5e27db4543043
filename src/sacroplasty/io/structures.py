"""RT Structure Sets as masks on a CT's grid."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sacroplasty.io.isolation import isolated
from sacroplasty.io.verdict import rejected
from sacroplasty.space import Grid, Mask

# Contours whose points leave their slice by more than this share of the slice spacing lie on other slices.
_OFF_SLICE = 0.25


def load_structures(path: Path) -> dict[str, Any]:
    """Frame of reference and closed contours by structure name, LPS mm, as plain data. Runs in the child process."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        if ds.get("Modality") != "RTSTRUCT":
            raise rejected(
                "SAC-G005", "The file is not an RT Structure Set", got=str(ds.get("Modality", "no modality"))
            )
        names = {int(roi.ROINumber): str(roi.ROIName) for roi in ds.StructureSetROISequence}
        frames = {str(roi.get("ReferencedFrameOfReferenceUID", "")) for roi in ds.StructureSetROISequence}
        found: dict[str, list[list[float]]] = {}
        for item in ds.ROIContourSequence:
            name = names[int(item.ReferencedROINumber)]
            if name in found:
                raise rejected("SAC-G063", "Two structures have one name", got=name[:80])
            closed = [c for c in item.get("ContourSequence", []) if c.ContourGeometricType == "CLOSED_PLANAR"]
            found[name] = [[float(v) for v in contour.ContourData] for contour in closed]
    return {"frames": sorted(frames - {""}), "contours": found}


def read_structures(path: str | os.PathLike[str], grid: Grid) -> dict[str, Mask]:
    """Every structure with closed contours, filled by even-odd on the CT's grid, whose slices it must lie on.

    Raises GeometryError where the frame of reference is another or contours do not lie on slices of the grid.
    """
    source = Path(path)
    if not source.is_file():
        raise rejected("SAC-G001", "There is nothing at this path", got=source.name)
    found = isolated("structures", source)
    uid = grid.frame_of_reference_uid
    if len(found["frames"]) > 1 or (uid and found["frames"] and found["frames"] != [uid]):
        got = f"{', '.join(found['frames'])} against {uid or 'none'}"
        raise rejected("SAC-G061", "Structures and CT lie in different frames of reference", got=got)
    return {name: _filled(name, contours, grid) for name, contours in found["contours"].items() if contours}


def _filled(name: str, contours: list[list[float]], grid: Grid) -> Mask:
    # Slow to import, and few cases need it.
    from skimage.draw import polygon2mask

    out = np.zeros(grid.shape, dtype=bool)
    for contour in contours:
        if len(contour) % 3 or len(contour) < 9 or not np.isfinite(contour).all():
            raise rejected("SAC-G063", "A contour has fewer than three finite points", got=name[:80])
        index = grid.voxel_from_patient.points(np.reshape(contour, (-1, 3)))
        # The contour lies across the axis along which its points do not move, whatever the storage order.
        axis = int(np.argmin(np.ptp(index, axis=0)))
        place = float(index[:, axis].mean())
        number = round(place)
        if np.abs(index[:, axis] - number).max() > _OFF_SLICE or not 0 <= number < grid.shape[axis]:
            what = "Contours do not lie on the CT's slices"
            got = f"{name[:60]} at slice {place:.2f} of {grid.shape[axis]}"
            raise rejected("SAC-G060", what, got=got, remedy="Use the CT that the structures were drawn on")
        across = [n for n in range(3) if n != axis]
        plane = polygon2mask((grid.shape[across[0]], grid.shape[across[1]]), index[:, across])
        view = np.moveaxis(out, axis, 0)
        view[number] ^= plane
    return Mask(out, grid)
