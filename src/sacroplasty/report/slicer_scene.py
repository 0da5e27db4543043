"""A case as a folder that 3D Slicer opens: CT, segments, needles as lines, models and a scene script in plain files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sacroplasty import NOT_FOR_CLINICAL_USE
from sacroplasty.fluoroscopy import View
from sacroplasty.io import write_atomically, write_mesh, write_nifti, write_nrrd
from sacroplasty.plan import Plan
from sacroplasty.report.surface import surface_of
from sacroplasty.space import LabelMap, Mask, Volume

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
MODELLED = ("sacrum", "coccyx", "l5", "hip_left", "hip_right")


def markups(plan: Plan) -> dict[str, Any]:
    """A plan's needles as Slicer lines in LPS mm: control point 0 is the entry, point 1 the target."""
    return {"@schema": _SCHEMA, "markups": [_line(plan, number) for number in range(len(plan.needles))]}


def view_markups(views: Sequence[View]) -> dict[str, Any]:
    """Every C-arm view's central ray as a Slicer line in LPS mm: point 0 is the X-ray source, point 1 the detector."""
    lines = []
    for number, view in enumerate(views, start=1):
        detector = view.source_mm + view.ahead * view.carm.source_detector_mm
        name = f"view {number} {view.name}".strip()
        said = f"{view.angles_label}; {view.tilt_words}. {NOT_FOR_CLINICAL_USE}"
        lines.append(_marked(name, said, ("source", view.source_mm), ("detector", detector)))
    return {"@schema": _SCHEMA, "markups": lines}


def _line(plan: Plan, number: int) -> dict[str, Any]:
    needle = plan.needles[number]
    path = needle.trajectory
    name = f"needle {number + 1} {plan.approach} {plan.side}"
    said = f"{needle.needle.describe()}. {NOT_FOR_CLINICAL_USE}"
    return _marked(name, said, ("entry", path.entry_mm), ("target", path.target_mm))


def _marked(name: str, description: str, *ends: tuple[str, npt.ArrayLike]) -> dict[str, Any]:
    """A locked line between two named points; the description stands at both, where the schema has a field for it."""
    first, last = (np.asarray(point, dtype=np.float64) for _, point in ends)
    return {
        "type": "Line",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "fixedNumberOfControlPoints": True,
        "labelFormat": "%N-%d",
        "name": name,
        "controlPoints": [
            {
                "id": str(n + 1),
                "label": label,
                "description": description,
                "associatedNodeID": "",
                "position": [float(v) for v in np.asarray(point)],
                "orientation": [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0],
                "selected": True,
                "locked": True,
                "visibility": True,
                "positionStatus": "defined",
            }
            for n, (label, point) in enumerate(ends)
        ],
        "measurements": [
            {
                "name": "length",
                "enabled": True,
                "value": round(float(np.linalg.norm(last - first)), 3),
                "units": "mm",
                "printFormat": "%-#4.4g%s",
            }
        ],
    }


def write_slicer_scene(
    folder: str | os.PathLike[str],
    ct: Volume,
    labels: LabelMap,
    plan: Plan,
    *,
    lesion: Mask | None = None,
    models: Mapping[str, Mask] | None = None,
    views: Sequence[View] = (),
) -> tuple[Path, ...]:
    """Write CT, segments, lesion, needles and views' central rays (.mrk.json), surface models (.stl); what was written.

    Dragging the folder into Slicer loads everything; each file also stands for itself.
    """
    top = Path(folder)
    wanted = models or {name: labels.mask(name) for name in MODELLED if labels.has(name)}
    written = [
        write_nifti(ct, top / "ct.nii.gz"),
        write_nrrd(labels, top / "anatomy.seg.nrrd"),
        write_text(top / "needles.mrk.json", json.dumps(markups(plan), indent=1, allow_nan=False)),
    ]
    if views:
        text = json.dumps(view_markups(views), indent=1, allow_nan=False)
        written.append(write_text(top / "views.mrk.json", text))
    if lesion is not None:
        written.append(write_nrrd(lesion, top / "lesion.seg.nrrd"))
    for name, mask in {**wanted, **({"lesion": lesion} if lesion is not None else {})}.items():
        vertices, faces = surface_of(mask)
        written.append(write_mesh(np.asarray(vertices), np.asarray(faces), top / f"{name}.stl"))
    return tuple(written)


def write_text(path: Path, text: str) -> Path:
    """Write a small text file in one step."""
    return write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))
