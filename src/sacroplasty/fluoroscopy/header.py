"""The geometry that an XA or RF image carries in its DICOM header, as a view."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from sacroplasty.errors import GeometryError
from sacroplasty.fluoroscopy.carm import CArm
from sacroplasty.fluoroscopy.view import PatientPosition, View
from sacroplasty.plan import as_point

# A single plane image without magnification table has square pixels to this share.
_SQUARE = 1e-3


def view_from_dataset(dataset: Dataset, isocentre_mm: npt.ArrayLike, carm: CArm | None = None) -> View:
    """The nominal view of an XA or RF image: distances, pixel size, positioner angles and patient position.

    The angles are taken as the standard defines them, about the patient. Headers do not say where the isocentre is in a
    CT: give it (LPS mm), then register. Missing geometry raises GeometryError; nothing is guessed. `carm` lends limits
    and housings, its distances and detector are replaced.
    """
    machine = carm or CArm.profile()
    needed = {
        "DistanceSourceToDetector": "source-detector distance (0018,1110)",
        "DistanceSourceToPatient": "source-patient distance (0018,1111)",
        "PositionerPrimaryAngle": "primary angle (0018,1510)",
        "PositionerSecondaryAngle": "secondary angle (0018,1511)",
        "ImagerPixelSpacing": "imager pixel spacing (0018,1164)",
        "Rows": "rows",
        "Columns": "columns",
        "PatientPosition": "patient position (0018,5100)",
    }
    missing = [words for name, words in needed.items() if dataset.get(name) in (None, "")]
    if missing:
        raise GeometryError(
            "The header does not hold the C-arm's geometry",
            got=f"no {', '.join(missing)}",
            remedy="Export the original XA or RF object, or enter the numbers by hand",
        )
    down, across = (float(v) for v in dataset.ImagerPixelSpacing)
    if abs(down - across) > _SQUARE * across:
        raise GeometryError("The detector's pixels are not square", got=f"{down} x {across} mm")
    position = str(dataset.PatientPosition)
    if position not in PatientPosition.__members__:
        raise GeometryError("The patient position is not one of a lying patient", got=position)
    changes = dict(machine.__dict__)
    changes.update(
        name=str(dataset.get("ManufacturerModelName", machine.name)),
        source_detector_mm=float(dataset.DistanceSourceToDetector),
        source_isocentre_mm=float(dataset.DistanceSourceToPatient),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        pixel_mm=across,
    )
    primary, secondary = float(dataset.PositionerPrimaryAngle), float(dataset.PositionerSecondaryAngle)
    if not np.isfinite([primary, secondary]).all():
        raise GeometryError("The positioner angles are not numbers", got=f"{primary}, {secondary}")
    name = str(dataset.get("SeriesDescription", ""))
    return View(CArm(**changes), primary, secondary, as_point(isocentre_mm), PatientPosition(position), name)
