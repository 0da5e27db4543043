"""What each stage may be told: one frozen value per stage, from which every door makes its options."""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def option(default: Any, help_text: str, *, in_run: str = "") -> Any:
    """A stage parameter with the sentence that `--help` shows, and its name in `run` where that differs."""
    return field(default=default, metadata={"help": help_text, "in_run": in_run})


def repeated(kind: Any) -> type | None:
    """The type of each value of a parameter that may be repeated; None for one that is given once."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None


@dataclass(frozen=True)
class ReadParameters:
    """How the CT is read."""

    series: str | None = option(None, "DICOM series or stack to take, as `inspect` lists it.")
    acknowledge: tuple[str, ...] = option((), "Code of a warning that was read and accepted; may be repeated.")
    resample_irregular: bool = option(False, "Resample unevenly spaced slices; recorded with the case.")
    resample_tilted: bool = option(False, "Resample a gantry-tilted scan; recorded with the case.")


@dataclass(frozen=True)
class FactsParameters:
    """What is known of the patient beside the images."""

    facts: Path | None = option(
        None,
        "Sheet of facts about the patient, TOML or JSON; `sacroplasty suitability --template` prints an empty one.",
    )


@dataclass(frozen=True)
class SegmentParameters:
    """What `segment` may be told."""

    labels: Path | None = option(
        None, "Bone labels: TotalSegmentator (one file or a folder), 3D Slicer .seg.nrrd, DICOM SEG or NIfTI."
    )
    mr: Path | None = option(None, "MRI of the sacrum, registered to the CT and shown beside it.")
    thecal_sac_end: str | None = option(None, "End of the thecal sac as seen on MRI: X,Y,Z in the CT's patient LPS mm.")


@dataclass(frozen=True)
class LesionParameters:
    """Where the lesions are, each given in one of four ways that may be mixed; none lets the search propose them."""

    mask: tuple[Path, ...] = option(
        (), "Lesion mask on the CT's grid: NIfTI, NRRD, .seg.nrrd or DICOM SEG; may be repeated.", in_run="lesion"
    )
    sphere: tuple[str, ...] = option(
        (), "Sphere X,Y,Z,R: centre in patient LPS mm and radius in mm; may be repeated.", in_run="lesion_sphere"
    )
    click: tuple[str, ...] = option(
        (), "Point X,Y,Z in patient LPS mm inside the lesion, which is grown from there; may be repeated.",
        in_run="lesion_click",
    )  # fmt: skip
    mr_mask: tuple[Path, ...] = option(
        (), "Lesion mask drawn on the MRI that was given with --mr; may be repeated.", in_run="lesion_on_mr"
    )
    treat: int = option(
        1, "Which of several lesions is treated, counted as masks, spheres, clicks, masks on MRI, or as the search "
        "found them. It is planned for.",
    )  # fmt: skip


@dataclass(frozen=True)
class PlanParameters:
    """Which needle and which ways to try."""

    approach: tuple[str, ...] = option((), "Approach to plan; may be repeated. All of them where none is given.")
    gauge: int = option(13, "Needle gauge, 8 to 15.")
    guidance: str = option(
        "fluoroscopy", "Guidance that sets the placement error: fluoroscopy, ct, ct-laser, cone-beam-ct, navigation."
    )
    forecast: bool = option(
        False,
        "Simulate 64 injections for the best path of the first three approaches; dose and rank them by it. Minutes.",
    )


@dataclass(frozen=True)
class ViewsParameters:
    """How the shots are simulated."""


@dataclass(frozen=True)
class CementParameters:
    """What is injected."""

    cement: str = option("simplex-p", "Cement by catalogue name.")
    volume_ml: float | None = option(None, "Volume in mL; the plan's own where none is given.")


@dataclass(frozen=True)
class ReportParameters:
    """What the report holds."""


def numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """`count` finite numbers separated by commas; InputError otherwise."""
    from sacroplasty.errors import InputError

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(math.isfinite(v) for v in values):
        raise InputError(f"{what} needs {count} numbers separated by commas", got=text, remedy="Use mm in patient LPS")
    return values
