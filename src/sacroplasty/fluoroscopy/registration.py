"""Where the patient of the CT lies in the C-arm's world, from two (one, or more) shots.

Coarse global search on binned shots, then robust least squares on finer ones; the bone of the CT is the moving image.
With calibrated geometry six numbers are sought. Without, the machine's source-detector distance and each further shot's
pose against the first are sought too, held by priors. A quality gate looks patch by patch whether the bone's edges are
seen where they are drawn; where it fails the search starts again elsewhere, and what never passes says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.alignment import Alignment, Fit, Unknown, covariance, posed, refined, rigid
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.radiograph import Radiograph
from sacroplasty.fluoroscopy.search import Search, Vector, minimised
from sacroplasty.fluoroscopy.sketch import Sketch
from sacroplasty.fluoroscopy.view import View
from sacroplasty.plan import Point, as_point
from sacroplasty.space import Frame, Transform, Volume, readonly

# Columns of the shots at the three levels: global search, first and last least squares.
_PIXELS = (64, 128, 256)


@dataclass(frozen=True, eq=False)
class Registration:
    """Where the patient lies.

    `views` are the shots' views with what was found in them: use them to project and to triangulate. `rig_from_patient`
    carries CT coordinates (LPS mm) to those the nominal angles belong to. `covariance` (6, 6) is of the rotation vector
    in degrees and the translation in mm about `centre_mm`. `mismatch` is one minus the correlation of the gradients,
    `agreement` the share of patches whose edges lie where the shots have them (0 where it was not measured);
    `accepted` tells whether the gate passed, `restarts` how often it had to start again.
    """

    views: tuple[View, ...]
    rig_from_patient: Transform
    centre_mm: Point
    covariance: npt.NDArray[np.float64]
    mismatch: float
    accepted: bool
    restarts: int
    calibrated: bool
    agreement: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariance", readonly(self.covariance))

    def covariance_at(self, point_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Covariance (3, 3) in mm² of where a patient point (3,) is placed by the registration."""
        arm = np.asarray(point_mm, dtype=np.float64) - np.asarray(self.centre_mm)
        x, y, z = np.radians(arm)
        lever = np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])
        jacobian = np.hstack([lever, np.eye(3)])
        return np.asarray(jacobian @ self.covariance @ jacobian.T)

    @property
    def sentence(self) -> str:
        """The result in words."""
        error = float(np.sqrt(np.trace(self.covariance_at(self.centre_mm))))
        verdict = "accepted" if self.accepted else "NOT accepted: do not use, take new shots or give landmarks"
        return (
            f"Registration {verdict}; expected error {error:.2f} mm, {self.agreement:.0%} of the bone's edges in place."
        )


def bone_volume(ct: Volume, centre_mm: npt.ArrayLike, reach_mm: float | None = None) -> PackedVolume:
    """HU above water within `reach_mm` of a point along each axis, packed: what a registration compares.

    Fat, gas and air count as water, so that a cut through the body leaves no edge. Soft tissue, bowel gas and limbs lie
    otherwise in a prone patient; pelvis and sacrum keep their shape.
    """
    reach = value("assumptions.registration_reach") if reach_mm is None else reach_mm
    centre = np.asarray(centre_mm, dtype=np.float64)
    ends = centre + reach * np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])
    part = ct.cropped(ct.grid.box_around(ends))
    excess = np.maximum(np.asarray(part.array, dtype=np.float32), 0)
    return PackedVolume.of(Volume(excess, part.grid, "HU"))


def register(
    bone: Volume | PackedVolume,
    shots: Sequence[Radiograph],
    *,
    centre_mm: npt.ArrayLike | None = None,
    start: Transform | None = None,
    calibrated: bool = True,
    capture_deg: float = 10.0,
    capture_mm: float = 20.0,
    restarts: int | None = None,
    seed: int = 0,
) -> Registration:
    """Find the patient of a CT (HU, or `bone_volume` of it) in shots whose views carry the nominal geometry.

    start: a first guess, rig from patient (see `pose_from_landmarks`); None trusts the nominal isocentres.
    calibrated: False also corrects the machine's source-detector distance and each further shot's pose, within priors.
    capture_deg, capture_mm: how far off the start may be. restarts: searches after a failed one, None for the default.
    A result that fails the gate has `accepted` False.
    """
    if not shots:
        raise InputError("Registration needs at least one shot", got="none")
    centre = as_point(shots[0].view.isocentre_mm if centre_mm is None else centre_mm)
    packed = bone if isinstance(bone, PackedVolume) else bone_volume(bone, centre)
    begin = start or Transform.identity(Frame.PATIENT)
    # One shot cannot tell the distance from the depth.
    several = not calibrated and len(shots) > 1
    rough, full = Unknown(scale=several), Unknown(scale=several, poses=several)
    levels = [
        Alignment(packed, shots, begin, centre, pixels=pixels, unknown=unknown)
        for pixels, unknown in zip(_PIXELS, (rough, rough, full), strict=True)
    ]
    spread = np.array([capture_deg] * 3 + [capture_mm] * 3 + [value("assumptions.registration_scale_sd")] * several)
    spread[:6] /= 3.0
    again = int(value("assumptions.registration_restarts")) if restarts is None else restarts
    best: tuple[float, Vector] = (-1.0, np.zeros(rough.count(len(shots))))
    for tried in range(again + 1):
        best = max(best, _searched(levels, spread * (1 + 0.5 * tried), seed + tried), key=lambda run: run[0])
        if best[0] >= value("assumptions.registration_least_agreement"):
            break
    fine = levels[-1]
    fit = refined(fine, np.append(best[1], np.zeros(fine.count - len(best[1]))), steps=6)
    # Judged on the middle level: finer patches hold more noise and soft tissue than bone.
    judge = Alignment(packed, shots, begin, centre, pixels=_PIXELS[1], unknown=full)
    agreement = judge.agreement(fit.p)
    views = tuple(
        posed(fit.p, shot.view.with_(rig_from_patient=None), n, full, begin, centre) for n, shot in enumerate(shots)
    )
    return Registration(
        views,
        rigid(fit.p[:6], centre) @ begin,
        centre,
        _covariance(fine, fit),
        fine.mismatch(fit.p),
        agreement >= value("assumptions.registration_least_agreement"),
        tried,
        calibrated,
        agreement,
    )


def _searched(levels: Sequence[Alignment], spread: Vector, seed: int) -> tuple[float, Vector]:
    """Agreement and numbers after a global search on the coarsest level and least squares there and on the next."""
    coarse, middle = levels[:2]
    _cost, p = minimised(Sketch(coarse).mismatch, np.zeros(coarse.count), Search(spread), seed)
    p = refined(coarse, p, steps=4, tolerance=0.05).p
    p = refined(middle, p, steps=5, tolerance=0.03).p
    return middle.agreement(p), p


def _covariance(alignment: Alignment, fit: Fit) -> npt.NDArray[np.float64]:
    """(6, 6) of the pose: the fit's own, plus what shots contain and no CT explains (soft tissue, gas, metal)."""
    found = covariance(alignment, fit)[:6, :6]
    angle, shift = (value(f"assumptions.registration_systematic_{part}") for part in ("angle", "shift"))
    return np.asarray(found + np.diag([angle**2] * 3 + [shift**2] * 3))
