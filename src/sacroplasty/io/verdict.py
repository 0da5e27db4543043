"""Verdicts of the geometry gate: accept, warn, reject, each with a stable code and a sentence with the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from sacroplasty.errors import GeometryError, InputError, SacroplastyError


class Verdict(StrEnum):
    """ACCEPT: use it. WARN: use it once the warnings are acknowledged; they stay with the plan. REJECT: not usable."""

    ACCEPT = "accept"
    WARN = "warn"
    REJECT = "reject"


# Every code of the gate, what it stands for and the verdict it leads to. Codes are never reused for another meaning.
CODES = MappingProxyType({
    "SAC-G001": (Verdict.REJECT, "no readable image at this path"),
    "SAC-G002": (Verdict.REJECT, "not a regular file or folder"),
    "SAC-G003": (Verdict.REJECT, "the file is damaged or not what its name says"),
    "SAC-G004": (Verdict.REJECT, "reading went over the memory or time limit, or the reader crashed"),
    "SAC-G005": (Verdict.REJECT, "the format or kind of image is not supported"),
    "SAC-G006": (Verdict.WARN, "some files of the folder could not be read"),
    "SAC-G007": (Verdict.REJECT, "the archive is not safe to unpack"),
    "SAC-G010": (Verdict.REJECT, "several series or stacks: one must be chosen"),
    "SAC-G011": (Verdict.REJECT, "several patients or studies under one series"),
    "SAC-G012": (Verdict.REJECT, "several frames of reference under one series"),
    "SAC-G013": (Verdict.WARN, "images set aside: scouts, reference images, other orientations"),
    "SAC-G014": (Verdict.WARN, "duplicate slices with the same pixels dropped"),
    "SAC-G015": (Verdict.REJECT, "two different slices at one position"),
    "SAC-G016": (Verdict.REJECT, "too few slices for a volume"),
    "SAC-G020": (Verdict.REJECT, "image position or orientation missing"),
    "SAC-G021": (Verdict.REJECT, "image orientation not finite, not unit or not perpendicular"),
    "SAC-G022": (Verdict.REJECT, "voxel spacing missing, not finite or not plausible for a patient"),
    "SAC-G023": (Verdict.REJECT, "gantry tilt: the slices are sheared against each other"),
    "SAC-G024": (Verdict.REJECT, "slices unevenly spaced"),
    "SAC-G025": (Verdict.REJECT, "slices missing"),
    "SAC-G026": (Verdict.WARN, "slices thicker than planning should use"),
    "SAC-G027": (Verdict.REJECT, "field of view not plausible for a patient"),
    "SAC-G028": (Verdict.WARN, "small field of view"),
    "SAC-G029": (Verdict.REJECT, "two independent readers disagree about the corners"),
    "SAC-G030": (Verdict.REJECT, "rescale slope or intercept missing or not plausible"),
    "SAC-G031": (Verdict.REJECT, "values are not plausible Hounsfield units"),
    "SAC-G032": (Verdict.WARN, "no air in view: the Hounsfield scale could not be checked"),
    "SAC-G033": (Verdict.REJECT, "values that are not finite"),
    "SAC-G034": (Verdict.REJECT, "pixel format not plausible for CT or MR"),
    "SAC-G035": (Verdict.ACCEPT, "padding outside the scan replaced by air"),
    "SAC-G036": (Verdict.WARN, "lossy compression"),
    "SAC-G037": (Verdict.WARN, "patient position unknown or unusual"),
    "SAC-G038": (Verdict.WARN, "the rescale rule changes between slices"),
    "SAC-G039": (Verdict.WARN, "declared padding lies among values of a body and was not applied"),
    "SAC-G040": (Verdict.REJECT, "sform and qform disagree"),
    "SAC-G041": (Verdict.REJECT, "no sform or qform: orientation unknown"),
    "SAC-G042": (Verdict.WARN, "units of the coordinates not stated, taken as mm"),
    "SAC-G043": (Verdict.REJECT, "units of the coordinates are not mm"),
    "SAC-G044": (Verdict.REJECT, "not one scalar 3-D image"),
    "SAC-G050": (Verdict.REJECT, "the NRRD header states no patient space"),
    "SAC-G051": (Verdict.REJECT, "the header names data outside its own folder"),
    "SAC-G060": (Verdict.REJECT, "mask or labels on another grid"),
    "SAC-G061": (Verdict.REJECT, "mask or labels in another frame of reference"),
    "SAC-G062": (Verdict.REJECT, "mask empty"),
    "SAC-G063": (Verdict.REJECT, "mask or label values odd"),
    "SAC-G064": (Verdict.REJECT, "label names missing"),
    "SAC-G070": (Verdict.WARN, "resampled on request to even slice spacing"),
    "SAC-G071": (Verdict.WARN, "resampled on request to remove gantry tilt"),
    "SAC-G090": (Verdict.REJECT, "the archive sent something else than was asked for, or too much"),
    "SAC-G091": (Verdict.REJECT, "the archive does not answer, or refuses"),
    "SAC-G095": (Verdict.REJECT, "the key for de-identification is not usable"),
    "SAC-G096": (Verdict.WARN, "the pixels may show the patient's name"),
    "SAC-G097": (Verdict.WARN, "files left out of a de-identified copy"),
    "SAC-G080": (Verdict.WARN, "warnings not acknowledged"),
})  # fmt: skip


@dataclass(frozen=True)
class Remark:
    """One thing the gate noticed: its code, its verdict and a sentence."""

    code: str
    message: str

    @property
    def verdict(self) -> Verdict:
        """What the code leads to."""
        return CODES[self.code][0]


_FILE_CODES = frozenset(f"SAC-G{n:03}" for n in (1, 2, 3, 4, 5, 7, 10, 64, 90, 91, 95))


def rejected(code: str, what: str, *, got: str = "", remedy: str = "") -> SacroplastyError:
    """The error to raise: GeometryError for geometry, InputError for files and formats, both with the gate's code."""
    kind = InputError if code in _FILE_CODES else GeometryError
    return kind(what, got=got, remedy=remedy, code=code)


def worst(remarks: tuple[Remark, ...]) -> Verdict:
    """The gravest verdict among the remarks; ACCEPT where there are none."""
    order = list(Verdict)
    return max((r.verdict for r in remarks), key=order.index, default=Verdict.ACCEPT)
