"""Panels A to G of a case report, made from a case's own images as both source papers arrange them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from sacroplasty.case import Case
from sacroplasty.errors import CaseError
from sacroplasty.fluoroscopy import Radiograph, render
from sacroplasty.report.course_schematic import course_schematic
from sacroplasty.report.document import Figure
from sacroplasty.report.imaging import Outline, SliceStyle, axial, sagittal, slice_picture
from sacroplasty.report.pictures import radiograph_png
from sacroplasty.space import Volume

_LESION = "#D55E00"
_LETTER_SHARE = 0.09


@dataclass(frozen=True)
class Panels:
    """The panels that could be made, and for each letter that is missing the reason."""

    figures: tuple[Figure, ...]
    missing: tuple[tuple[str, str], ...]


def panels(case: Case, mr: Volume | None = None) -> Panels:
    """A sagittal CT, B sagittal MR, C axial schematic, D and E needle lateral and AP, F and G cement lateral and AP.

    D to G are simulated radiographs and say so; real ones take their place before publication. `mr` lies in the CT's
    frame of reference. CaseError where the case has no lesion.
    """
    lesion = case.require("lesions")[0]
    figures: list[Figure] = []
    missing: list[tuple[str, str]] = []
    centre = lesion.centre_mm
    outline = (Outline(lesion.mask, _LESION, "lesion"),)
    wide = SliceStyle(width_mm=170, height_mm=150)
    first = slice_picture(case.ct, sagittal(centre), "bone", outline, wide)
    figures.append(_panel("A", first, f"Sagittal CT through the {lesion.kind.value} lesion (outlined), before."))
    if mr is not None:
        picture = slice_picture(mr, sagittal(centre), "MR", outline, wide)
        figures.append(_panel("B", picture, "Sagittal MR image at the same place."))
    else:
        picture = slice_picture(case.ct, axial(centre), "bone", outline, wide)
        figures.append(_panel("B", picture, "Axial CT through the lesion; no MR image belongs to this case."))
    if case.plan is None:
        missing += [(letter, "the case has no feasible plan") for letter in "CDE"]
    else:
        schematic = course_schematic(case.require("anatomy"), case.lesions, case.plan)
        figures.append(_panel("C", schematic, f"Schematic of the {case.plan.approach} course in its own axial plane."))
        _shots(case, "DE", figures, missing, cement=False)
    if case.cement is None:
        missing += [(letter, "the case has no cement") for letter in "FG"]
    else:
        _shots(case, "FG", figures, missing, cement=True)
    return Panels(tuple(figures), tuple(missing))


def _shots(case: Case, letters: str, figures: list[Figure], missing: list[tuple[str, str]], *, cement: bool) -> None:
    """The lateral and the anteroposterior radiograph, with the needle or with the cement."""
    for letter, word, said in ((letters[0], "lateral", "Lateral"), (letters[1], "AP", "Anteroposterior")):
        try:
            shot = _view(case.views, word)
        except CaseError as error:
            missing.append((letter, error.what))
            continue
        if cement:
            shot = render(case.ct, shot.view, cement=case.require("cement").cement_fraction)
        what = "cement in the lesion after the procedure" if cement else "the needle with its tip in the lesion"
        caption = f"{said} fluoroscopic view (simulated), {shot.view.angles_label}: {what}."
        figures.append(_panel(letter, radiograph_png(shot), caption))


def _view(views: Sequence[Radiograph], word: str) -> Radiograph:
    found = next((shot for shot in views if word in shot.view.name), None)
    if found is None:
        raise CaseError(f"the case has no {word} view")
    return found


def _panel(letter: str, png: bytes, caption: str) -> Figure:
    """The picture with its letter on a white strip above, so that nothing in the picture is covered."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    size = max(18, int(_LETTER_SHARE * picture.height))
    sheet = Image.new("RGB", (picture.width, picture.height + int(1.25 * size)), "white")
    sheet.paste(picture, (0, int(1.25 * size)))
    ImageDraw.Draw(sheet).text((int(0.2 * size), 0), letter, fill="black", font=ImageFont.load_default(size))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return Figure(buffer.getvalue(), f"{letter}. {caption}", 0.5)
