"""What the gate says about a path, without using the image: for `sacroplasty inspect` and for lists of series."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sacroplasty.errors import SacroplastyError
from sacroplasty.io.isolation import isolated
from sacroplasty.io.series import ImageSeries, file_kind, read_series
from sacroplasty.io.verdict import Remark, Verdict


@dataclass(frozen=True)
class Inspection:
    """Verdict, the gravest code and its sentence, all remarks, the stacks found, and the eight corners in LPS mm.

    `corners_mm` has i fastest, in canonical storage order; empty where the image was rejected. `code` is empty and
    `message` says so where nothing was noticed.
    """

    verdict: Verdict
    code: str
    message: str
    remarks: tuple[Remark, ...] = ()
    stacks: tuple[str, ...] = ()
    corners_mm: tuple[tuple[float, float, float], ...] = ()
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    modality: str = ""

    @property
    def rejected(self) -> bool:
        """The gate refuses the image."""
        return self.verdict is Verdict.REJECT

    def describe(self) -> str:
        """The verdict and everything behind it, one line each."""
        lines = [f"{self.verdict}  {self.code}  {self.message}".replace("    ", "  ")]
        lines += [f"  {r.code}  {r.message}" for r in self.remarks if r.code != self.code]
        lines += [f"  stack  {stack}" for stack in self.stacks]
        if self.shape and self.spacing_mm:
            counts = " x ".join(map(str, self.shape))
            lines.append(f"  {counts} voxels of {' x '.join(f'{s:.3g}' for s in self.spacing_mm)} mm")
        lines += [f"  corner  {x:10.2f} {y:10.2f} {z:10.2f}" for x, y, z in self.corners_mm]
        return "\n".join(lines)


def inspect(path: str | os.PathLike[str], *, series: str | None = None, modality: str = "CT") -> Inspection:
    """The gate's verdict on the image at a path; never raises for what the image is."""
    stacks: tuple[str, ...] = ()
    try:
        if file_kind(Path(path)) == "dicom":
            stacks = tuple(isolated("stacks", Path(path)))
        scan = read_series(path, series=series, modality=modality)
    except SacroplastyError as error:
        return Inspection(Verdict.REJECT, error.code, error.sentence, stacks=stacks)
    return _accepted(scan, stacks)


def _accepted(scan: ImageSeries, stacks: tuple[str, ...]) -> Inspection:
    gravest = next((r for r in scan.remarks if r.verdict is scan.verdict), None)
    corners = tuple((float(x), float(y), float(z)) for x, y, z in scan.volume.grid.corners_mm)
    return Inspection(
        verdict=scan.verdict,
        code=gravest.code if gravest else "",
        message=gravest.message if gravest else "Nothing to remark.",
        remarks=scan.remarks,
        stacks=stacks,
        corners_mm=corners,
        shape=scan.volume.grid.shape,
        spacing_mm=scan.volume.grid.spacing_mm,
        modality=scan.modality,
    )
