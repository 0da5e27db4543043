"""A case as standard objects: a folder for 3D Slicer, DICOM for a PACS."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from sacroplasty.case import Case
from sacroplasty.errors import InputError
from sacroplasty.fluoroscopy import displayed
from sacroplasty.io import write_bytes
from sacroplasty.report.dicom_export import encapsulated_pdf, measurement_report, secondary_capture, segmentation
from sacroplasty.report.dicom_presentation import presentation_state
from sacroplasty.report.dicom_source import ct_series, saved, source_series
from sacroplasty.report.dicom_structures import structure_set
from sacroplasty.report.pdf import to_pdf
from sacroplasty.report.pictures import view_contours
from sacroplasty.report.plan_report import plan_document
from sacroplasty.report.slicer_scene import write_slicer_scene
from sacroplasty.space import Mask

FORMATS = ("slicer", "dicom")


def export_case(
    case: Case, folder: Path, formats: tuple[str, ...] = FORMATS, *, source: Path | None = None,
    when: datetime | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """Write a case under `folder/slicer` and `folder/dicom`; the files written.

    `source` is the DICOM series the CT was read from, so that the objects refer to the patient's own images; without
    it an anonymous series is written too. `when` is the date in the objects.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError("The export format is unknown", got=", ".join(unknown), remedy=f"Use {', '.join(FORMATS)}")
    written: list[Path] = []
    if "slicer" in formats:
        written += _slicer(case, folder / "slicer")
    if "dicom" in formats:
        written += _dicom(case, folder / "dicom", source, when or datetime(2000, 1, 1))
    return tuple(written)


def _slicer(case: Case, folder: Path) -> tuple[Path, ...]:
    anatomy, lesion = case.require("anatomy"), case.lesion
    plan = case.plan
    if plan is None:
        raise InputError("There is no feasible plan to export", remedy="See plan/plan.json for the reasons")
    folder.mkdir(parents=True, exist_ok=True)
    shown = lesion.mask if lesion else None
    written = write_slicer_scene(
        folder, case.ct, anatomy.labels, plan, lesion=shown, views=[s.view for s in case.views]
    )
    for number, shot in enumerate(case.views, start=1):
        picture = Image.fromarray(displayed(shot, view_contours(case, shot)).rgb)
        content = BytesIO()
        picture.save(content, format="PNG")
        written += (write_bytes(folder / f"view_{number:02d}.png", content.getvalue()),)
    return written


def _structures(case: Case) -> dict[str, Mask]:
    labels = case.require("anatomy").labels
    masks = {name: labels.mask(name) for name in ("sacrum", "canal", "root_tunnel") if labels.has(name)}
    if case.lesion is not None:
        masks["lesion"] = case.lesion.mask
    if case.cement is not None:
        filled = case.cement.saturation
        masks["cement_simulated"] = Mask(np.asarray(filled.array) >= 0.5, filled.grid)
    return {name: mask.resampled(case.ct.grid) for name, mask in masks.items()}


def _dicom(case: Case, folder: Path, source: Path | None, when: datetime) -> list[Path]:
    images = source_series(source, case.ct) if source is not None else ct_series(case.ct, when=when)
    written = []
    if source is None:
        written += [saved(ds, folder / "ct" / f"{number:04d}.dcm") for number, ds in enumerate(images, start=1)]
    labels, lesion, plan = case.require("anatomy").labels, case.lesion, case.plan
    objects = {
        "segmentation": segmentation(labels, images, when, lesion=lesion.mask if lesion else None),
        "structures": structure_set({n: m for n, m in _structures(case).items() if not m.is_empty()}, images, when),
        "report": encapsulated_pdf(to_pdf(plan_document(case)), images, when, title=f"Sacroplasty plan {case.name}"),
    }
    if plan is not None:
        objects["measurements"] = measurement_report(plan, images, when, lesion=lesion)
        objects["presentation"] = presentation_state(plan, images, when)
    for number, shot in enumerate(case.views, start=1):
        picture = displayed(shot, view_contours(case, shot)).rgb
        name = f"view_{number:02d}"
        objects[name] = secondary_capture(picture, images, when, description=shot.view.name or name, number=number)
    return written + [saved(ds, folder / f"{name}.dcm") for name, ds in objects.items()]
