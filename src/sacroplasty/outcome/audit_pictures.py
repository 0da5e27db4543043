"""One picture of an audit: the plan's CT above, the later CT brought onto it below, cement drawn by its place."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy import Anatomy
from sacroplasty.lesion import Lesion
from sacroplasty.outcome.audit import CementAudit
from sacroplasty.outcome.audit_compartments import LESION, SACRUM
from sacroplasty.space import Grid, Points, Volume

Array = npt.NDArray[Any]

PIXEL_MM, HALF_MM = 0.5, 60.0
WINDOW = (-160.0, 1400.0)
# Colours that stay apart for the colour-blind (Okabe and Ito's palette); wanted places first.
WANTED_COLOUR = "#56B4E9"
LEAK_COLOURS = ("#D55E00", "#E69F00", "#F0E442", "#009E73", "#CC79A7", "#0072B2")
PLANES = (("axial", 0, 1, 2), ("sagittal", 1, 2, 0), ("coronal", 0, 2, 1))


def audit_png(plan_ct: Volume, anatomy: Anatomy, lesion: Lesion | None, later_ct: Volume, audit: CementAudit) -> bytes:
    """PNG bytes: axial, sagittal and coronal slices through the cement, and mL by place."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    centre = _centre(anatomy, lesion, audit)
    back = Volume(later_ct.array, _in_plan(later_ct, audit, plan_ct.grid.frame_of_reference_uid))
    colours = _colours(audit)
    figure = Figure(figsize=(11.0, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 4, gridspec_kw={"width_ratios": (1, 1, 1, 0.9)})
    for column, plane in enumerate(PLANES):
        for row, (ct, title) in enumerate(((plan_ct, "plan's CT"), (back, audit.scan))):
            _slice(axes[row, column], ct, plane, centre, f"{plane[0]}, {title}")
            _outline(axes[row, column], lesion, plane, centre)
            if row:
                _cement(axes[row, column], audit, plane, centre, colours)
    _bars(axes[0, 3], audit, colours)
    axes[1, 3].axis("off")
    axes[1, 3].text(0.0, 1.0, _words(audit), va="top", fontsize=8, wrap=True, transform=axes[1, 3].transAxes)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return stream.getvalue()


def _centre(anatomy: Anatomy, lesion: Lesion | None, audit: CementAudit) -> Points:
    if audit.cement is not None:
        return audit.cement.centroid_mm()
    return np.asarray(lesion.centre_mm) if lesion else anatomy.labels.mask("sacrum").centroid_mm()


def _in_plan(later_ct: Volume, audit: CementAudit, uid: str) -> Grid:
    """The later CT's grid in the plan's frame."""
    return Grid(later_ct.grid.shape, audit.registration.later_from_plan.inverse @ later_ct.grid.patient_from_voxel, uid)


def _points(plane: tuple[str, int, int, int], centre: Points) -> tuple[Points, Array]:
    """Positions (v, u, 3) of a slice's pixels and their offsets (n,) along each axis."""
    _, across, up, _ = plane
    steps = np.arange(-HALF_MM, HALF_MM + PIXEL_MM / 2, PIXEL_MM)
    points = np.broadcast_to(centre, (len(steps), len(steps), 3)).copy()
    points[..., across] += steps[None, :]
    points[..., up] += steps[:, None]
    return points, steps


def _slice(axis: Any, ct: Volume, plane: tuple[str, int, int, int], centre: Points, title: str) -> None:
    points, steps = _points(plane, centre)
    # Radiological display: patient right on the left of the picture, posterior below, head above.
    origin = "upper" if plane[0] == "axial" else "lower"
    axis.imshow(ct.sampled(points), cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], origin=origin,
                extent=_extent(steps, origin))  # fmt: skip
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])
    left, right = ("A", "P") if plane[0] == "sagittal" else ("R", "L")
    axis.text(0.02, 0.5, left, color="white", transform=axis.transAxes, fontsize=8)
    axis.text(0.94, 0.5, right, color="white", transform=axis.transAxes, fontsize=8)
    axis.plot((-55, -45), (-55 if origin == "lower" else 55,) * 2, color="white", linewidth=2)


def _extent(steps: Array, origin: str) -> tuple[float, float, float, float]:
    low, high = float(steps[0]), float(steps[-1])
    return (low, high, high, low) if origin == "upper" else (low, high, low, high)


def _outline(axis: Any, lesion: Lesion | None, plane: tuple[str, int, int, int], centre: Points) -> None:
    if lesion is None:
        return
    points, steps = _points(plane, centre)
    inside = lesion.mask.contains(points).astype(float)
    if inside.any():
        axis.contour(steps, steps, inside, (0.5,), colors="#009E73", linewidths=0.8)


def _cement(
    axis: Any, audit: CementAudit, plane: tuple[str, int, int, int], centre: Points, colours: dict[str, str]
) -> None:
    if audit.labels is None:
        return
    points, steps = _points(plane, centre)
    here = audit.labels.at(points)
    for number, name in audit.labels.names.items():
        inside = (here == number).astype(float)
        if inside.any():
            axis.contour(steps, steps, inside, (0.5,), colors=colours.get(name, WANTED_COLOUR), linewidths=1.2)


def _colours(audit: CementAudit) -> dict[str, str]:
    leaks = [name for name in audit.compartments if name not in (LESION, SACRUM)]
    return {name: LEAK_COLOURS[n % len(LEAK_COLOURS)] for n, name in enumerate(leaks)}


def _bars(axis: Any, audit: CementAudit, colours: dict[str, str]) -> None:
    names = sorted(audit.compartments, key=lambda name: audit.compartments[name])
    volumes = [audit.compartments[name] for name in names]
    axis.barh(range(len(names)), volumes, color=[colours.get(name, WANTED_COLOUR) for name in names])
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    for n, volume in enumerate(volumes):
        axis.text(volume, n, f" {volume:.2f}", va="center", fontsize=7)
    axis.margins(x=0.2)
    axis.set_title("cement by place, mL", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _words(audit: CementAudit) -> str:
    filled = f"Lesion {audit.lesion_ml:.1f} mL, {100 * audit.filling:.0f} % filled"
    lines = [
        f"New cement {audit.cement_ml:.2f} mL", filled if audit.lesion_ml else "No lesion given",
        f"Registration: halves agree to {audit.registration.spread_mm:.1f} mm", f"Modality: {audit.leaks.modality}",
        "Green: lesion; blue: cement in bone", "Research software, not for clinical use",
    ]  # fmt: skip
    return "\n".join(lines)
