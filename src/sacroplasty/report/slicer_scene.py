"""A case as a folder that 3D Slicer opens: CT, segments, needles as lines, models and a scene script in plain files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sacroplasty import NOT_FOR_CLINICAL_USE
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


def _line(plan: Plan, number: int) -> dict[str, Any]:
    needle = plan.needles[number]
    path = needle.trajectory
    ends = (("entry", path.entry_mm), ("target", path.target_mm))
    return {
        "type": "Line",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "fixedNumberOfControlPoints": True,
        "labelFormat": "%N-%d",
        "name": f"needle {number + 1} {plan.approach} {plan.side}",
        "description": f"{needle.needle.describe()}. {NOT_FOR_CLINICAL_USE}",
        "controlPoints": [
            {
                "id": str(n + 1),
                "label": label,
                "description": "",
                "associatedNodeID": "",
                "position": [float(v) for v in point],
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
                "value": round(path.length_mm, 3),
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
) -> tuple[Path, ...]:
    """Write CT, segments, lesion, needles (.mrk.json) and surface models (.stl with SPACE=LPS); what was written.

    Dragging the folder into Slicer loads everything; each file also stands for itself.
    """
    top = Path(folder)
    wanted = models or {name: labels.mask(name) for name in MODELLED if labels.has(name)}
    written = [
        write_nifti(ct, top / "ct.nii.gz"),
        write_nrrd(labels, top / "anatomy.seg.nrrd"),
        write_text(top / "needles.mrk.json", json.dumps(markups(plan), indent=1, allow_nan=False)),
    ]
    if lesion is not None:
        written.append(write_nrrd(lesion, top / "lesion.seg.nrrd"))
    for name, mask in {**wanted, **({"lesion": lesion} if lesion is not None else {})}.items():
        vertices, faces = surface_of(mask)
        written.append(write_mesh(np.asarray(vertices), np.asarray(faces), top / f"{name}.stl"))
    return tuple(written)


def write_text(path: Path, text: str) -> Path:
    """Write a small text file in one step."""
    return write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))
