"""Work on the anatomy by hand: structures drawn anew, places moved. What was made from the old anatomy is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sacroplasty.anatomy import STRUCTURES, Anatomy, Face, Foramen, Hiatus, Landmark, segment
from sacroplasty.errors import AnatomyError, InputError
from sacroplasty.evidence import collected
from sacroplasty.io import read_mask
from sacroplasty.plan import Finding, Level, Point, Severity, Side, State
from sacroplasty.space import LabelMap, Mask
from sacroplasty.workflow import Progress, downstream, load_case, made_from, stage
from sacroplasty.workstation.casebook import Casebook, revision_of
from sacroplasty.workstation.jobs import Job
from sacroplasty.workstation.working import WorkingFolder

# Structures inside the sacrum are derived from the bones; drawn ones are taken as they are.
INSIDE = frozenset({"canal", "root_tunnel", "si_joint_left", "si_joint_right", "disc_l5_s1"})
# How surely a person points at a place on a CT, mm, one standard deviation per axis.
_POINTED_MM = 1.0


def draw(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """The anatomy with one structure as drawn: bones, vessels and bowel lead to everything else anew."""
    assert job.case is not None
    name = job.arguments["structure"]
    folder = WorkingFolder.begin(casebook.open(job.case).path)
    case = load_case(folder)
    anatomy: Anatomy = case.require("anatomy")
    mask = read_mask(Path(job.arguments["mask"]))
    with collected() as keys:
        labels = drawn(anatomy.labels, name, mask)
        if name in INSIDE:
            progress(0.5, f"Taking the {name.replace('_', ' ')} as drawn")
            found = with_drawn_inside(anatomy, labels, name)
        else:
            found = segment(case.ct, _outside(labels), progress=progress)
    return keep(casebook, folder, found, keys, f"{name} drawn by hand", {"structure": name})


def drawn(labels: LabelMap, name: str, mask: Mask) -> LabelMap:
    """The labels with a structure exactly where the mask is; what it gives up becomes its surroundings' background."""
    labels.grid.require_same(mask.grid, "The labels and the drawn mask")
    number = {known: value for value, known in STRUCTURES.items()}[name]
    array = np.array(labels.array)
    array[array == number] = 0
    array[mask.array] = number
    return LabelMap(array, labels.grid, {**labels.names, number: name})


def _outside(labels: LabelMap) -> LabelMap:
    """Bones, vessels and organs alone: what lies inside the sacrum is found anew."""
    kept = {value: name for value, name in labels.names.items() if name not in INSIDE and name != "metal"}
    return LabelMap(np.where(np.isin(labels.array, list(kept)), labels.array, 0), labels.grid, kept)


def with_drawn_inside(anatomy: Anatomy, labels: LabelMap, name: str) -> Anatomy:
    """The anatomy with an inner structure as drawn; its lines are said to be those found before."""
    remark = Finding(
        Severity.CAUTION,
        "ANATOMY-DRAWN",
        f"The {name.replace('_', ' ')} is drawn by hand; centrelines, foramina and roots are as found before.",
        name,
    )
    others = tuple(f for f in anatomy.findings if (f.code, f.structure) != (remark.code, name))
    sure = {**anatomy.confidences, name: 1.0}
    return anatomy.with_(labels=labels, findings=(*others, remark), confidences=sure)


def move(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """The anatomy with places where a person put them."""
    assert job.case is not None
    folder = WorkingFolder.begin(casebook.open(job.case).path)
    progress(0.2, "Moving the places")
    with collected() as keys:
        found = moved(load_case(folder).require("anatomy"), job.arguments)
    details = {name: job.arguments[name] for name in ("foramina", "landmarks", "hiatus_apex_mm", "reason")}
    return keep(casebook, folder, found, keys, "places moved by hand", details)


def moved(anatomy: Anatomy, wanted: Mapping[str, Any]) -> Anatomy:
    """Foramina, landmarks and the hiatus' apex where they were put; each becomes `given`."""
    foramina = list(anatomy.foramina)
    for place in wanted.get("foramina", ()):
        key = (Level(place["level"]), Side(place["side"]), Face(place["face"]))
        foramina = _with_foramen(foramina, key, _point(place["centre_mm"]))
    landmarks = dict(anatomy.landmarks)
    for name, position in wanted.get("landmarks", {}).items():
        if name not in landmarks:
            raise InputError("The anatomy has no such landmark", got=name[:60], remedy=f"Use {', '.join(landmarks)}")
        landmarks[name] = Landmark(name, _point(position), State.GIVEN, _POINTED_MM)
    hiatus = anatomy.hiatus
    if wanted.get("hiatus_apex_mm"):
        hiatus = _moved_hiatus(anatomy, _point(wanted["hiatus_apex_mm"]))
    return anatomy.with_(foramina=tuple(foramina), landmarks=landmarks, hiatus=hiatus)


def _point(position: Any) -> Point:
    x, y, z = position
    return float(x), float(y), float(z)


def _with_foramen(foramina: list[Foramen], key: tuple[Level, Side, Face], centre: Point) -> list[Foramen]:
    found = next((f for f in foramina if (f.level, f.side, f.face) == key), None)
    if found is None or not found.state.known:
        raise AnatomyError(
            "This foramen has no size or direction that could be moved",
            got=" ".join(key) + (f", {found.state}" if found else ""),
            remedy="Draw the root tunnel instead",
        )
    given = replace(found, centre_mm=centre, state=State.GIVEN, uncertainty_mm=_POINTED_MM, confidence=1.0)
    return [given if one is found else one for one in foramina]


def _moved_hiatus(anatomy: Anatomy, apex: Point) -> Hiatus:
    level = anatomy.levels_at([apex])[0]
    if anatomy.hiatus is None or not anatomy.hiatus.state.known or level is None:
        raise AnatomyError(
            "This scan has no measured hiatus that could be moved there",
            got="outside the known levels" if anatomy.hiatus else "none",
            remedy="Use a scan that shows the whole sacrum",
        )
    return replace(anatomy.hiatus, apex_mm=apex, apex_level=level, state=State.GIVEN, uncertainty_mm=_POINTED_MM)


def keep(
    casebook: Casebook, folder: WorkingFolder, anatomy: Anatomy, keys: set[str], event: str, details: dict[str, Any]
) -> dict[str, Any]:
    """Store a corrected anatomy with what was done to it."""
    entry = folder.index["stages"]["segment"]
    forget = tuple(later for later in downstream("segment") if folder.has(later))
    folder.write_value(
        "segment", anatomy, forget=forget, parameters={**entry.get("parameters", {}), "corrected": event},
        evidence=sorted({*keys, *entry.get("evidence", ())}), made_from=made_from(folder, stage("segment")),
    )  # fmt: skip
    folder.note(event, details)
    return {"case": folder.path.name, "revision": revision_of(casebook.open(folder.path.name))}
