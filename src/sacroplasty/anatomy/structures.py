"""What a sacrum's anatomy consists of: the values that every planner, simulator and report reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Self

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy.magnetic_resonance import MRRegistration
from sacroplasty.anatomy.polyline import nearest_on_polyline
from sacroplasty.errors import AnatomyError
from sacroplasty.plan import Finding, Level, Point, Side, State
from sacroplasty.space import LabelMap, Mask, Points, Volume, readonly

# Names in Anatomy.labels. Bones hold bone only: canal and root tunnels are structures of their own.
STRUCTURES: Mapping[int, str] = MappingProxyType({
    1: "sacrum", 2: "coccyx", 3: "l5", 4: "hip_left", 5: "hip_right", 6: "femur_left", 7: "femur_right", 8: "l4",
    10: "canal", 11: "root_tunnel", 12: "si_joint_left", 13: "si_joint_right", 14: "disc_l5_s1",
    20: "iliac_artery_left", 21: "iliac_artery_right", 22: "iliac_vein_left", 23: "iliac_vein_right",
    24: "colon", 25: "bladder", 26: "aorta", 27: "vena_cava", 30: "metal",
})  # fmt: skip


class Face(StrEnum):
    """The side of the sacrum a foramen opens to."""

    ANTERIOR = "anterior"
    POSTERIOR = "posterior"


@dataclass(frozen=True)
class Landmark:
    """A named place, LPS mm; `uncertainty_mm` is one standard deviation per axis, `confidence` 0 to 1."""

    name: str
    position_mm: Point
    state: State = State.MEASURED
    uncertainty_mm: float = 1.0
    confidence: float = 1.0


@dataclass(frozen=True)
class Foramen:
    """One sacral foramen: centre on the bone's surface, unit axis pointing outwards, width (across) and height (along).

    Where `state` is not known (absent, outside, not found), the geometry is not to be used.
    """

    level: Level
    side: Side
    face: Face
    centre_mm: Point
    axis: Point
    width_mm: float
    height_mm: float
    state: State = State.MEASURED
    uncertainty_mm: float = 1.0
    confidence: float = 1.0

    @property
    def name(self) -> str:
        """For example `S1 anterior foramen right`."""
        return f"{self.level} {self.face} foramen {self.side}"

    @property
    def radius_mm(self) -> float:
        """Radius of the circle of equal area."""
        return float(np.sqrt(self.width_mm * self.height_mm)) / 2


@dataclass(frozen=True, eq=False)
class RootCourse:
    """A nerve root as a tube: polyline (n, 3) in LPS mm from the canal outwards, and its radius."""

    level: Level
    side: Side
    points_mm: Points
    radius_mm: float
    state: State = State.MEASURED
    uncertainty_mm: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "points_mm", readonly(self.points_mm))

    @property
    def name(self) -> str:
        """For example `S1 root right`."""
        return f"{self.level} root {self.side}"


@dataclass(frozen=True, eq=False)
class SacralFrame:
    """The patient's own sacral axes, unit vectors in LPS, and the curve of the ventral cortex in the midline.

    `origin_mm` is the promontory. `left`, `dorsal` and `cranial` are orthonormal; the mid-sagittal plane goes through
    `origin_mm` across `left`. `ventral_curve_mm` (n, 3) runs along the ventral cortex from the promontory caudally in
    steps of about 1 mm. `symmetry_residual_mm` tells how far the two halves differ.
    """

    origin_mm: Point
    left: Point
    dorsal: Point
    cranial: Point
    ventral_curve_mm: Points
    endplate_slope_deg: float
    symmetry_residual_mm: float = 0.0
    confidence: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ventral_curve_mm", readonly(self.ventral_curve_mm))

    @property
    def axes(self) -> npt.NDArray[np.float64]:
        """Rows left, dorsal, cranial (3, 3)."""
        return np.array([self.left, self.dorsal, self.cranial])

    @property
    def arc_mm(self) -> npt.NDArray[np.float64]:
        """Arc length (n,) of the ventral curve's points from the promontory."""
        steps = np.linalg.norm(np.diff(self.ventral_curve_mm, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    def tangent_at(self, arc_mm: float) -> npt.NDArray[np.float64]:
        """Unit tangent (3,) of the ventral curve, pointing caudally, at an arc length."""
        arc, curve = self.arc_mm, self.ventral_curve_mm
        middle = np.clip(arc_mm, arc[0], arc[-1])
        window = np.clip([middle - 3.0, middle + 3.0], arc[0], arc[-1])
        ends = np.stack([np.interp(window, arc, curve[:, axis]) for axis in range(3)], axis=1)
        offset = ends[1] - ends[0]
        return np.asarray(offset / np.linalg.norm(offset))

    def coordinates(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Sacral coordinates (..., 3) of positions (..., 3): arc length s along the ventral curve from the promontory,
        x towards the patient's left of the midline, and depth d dorsal of the ventral curve; all mm.
        """
        points = np.asarray(points_mm, dtype=np.float64)
        local = (points.reshape(-1, 3) - np.asarray(self.origin_mm)) @ self.axes.T
        curve = (self.ventral_curve_mm - np.asarray(self.origin_mm)) @ self.axes.T
        flat = np.ascontiguousarray(local[:, 1:])
        s, d = nearest_on_polyline(flat, np.ascontiguousarray(curve[:, 1:]), self.arc_mm)
        return np.stack([s, local[:, 0], d], axis=1).reshape(points.shape)

    def points(self, coordinates: npt.ArrayLike) -> Points:
        """Positions (..., 3) in LPS mm of sacral coordinates (..., 3) as (s, x, d): the way back."""
        s, x, d = np.moveaxis(np.asarray(coordinates, dtype=np.float64), -1, 0)
        arc, curve = self.arc_mm, self.ventral_curve_mm
        within = np.clip(s, arc[0], arc[-1])
        base = np.stack([np.interp(within, arc, curve[:, axis]) for axis in range(3)], axis=-1)
        ends = np.stack(
            [np.interp(np.clip(within + o, arc[0], arc[-1]), arc, curve[:, a]) for o in (-3, 3) for a in range(3)],
            axis=-1,
        )
        tangent = ends[..., 3:] - ends[..., :3]
        tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
        left = np.asarray(self.left)
        dorsal = np.cross(left, tangent)
        across = (base - np.asarray(self.origin_mm)) @ left
        return np.asarray(
            base + (s - within)[..., None] * tangent + (x - across)[..., None] * left + d[..., None] * dorsal
        )


@dataclass(frozen=True)
class SacralLevel:
    """One sacral segment: body between two arc lengths of the ventral curve, its centre, and how it is known."""

    level: Level
    upper_arc_mm: float
    lower_arc_mm: float
    body_centre_mm: Point
    state: State = State.MEASURED
    uncertainty_mm: float = 1.5


@dataclass(frozen=True, eq=False)
class Canal:
    """The sacral canal: centreline (n, 3) in LPS mm from L5/S1 caudally; its lumen is the label `canal`."""

    centreline_mm: Points
    state: State = State.MEASURED
    uncertainty_mm: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "centreline_mm", readonly(self.centreline_mm))


@dataclass(frozen=True)
class Hiatus:
    """The sacral hiatus: apex of the roof's opening, its level, depth (floor to roof), width and length, mm.

    `state` is ABSENT where the roof is closed to the end, OUTSIDE where the field of view ends above it; a depth of
    NaN is "not measurable".
    """

    apex_mm: Point
    apex_level: Level
    depth_mm: float
    width_mm: float
    length_mm: float
    state: State = State.MEASURED
    uncertainty_mm: float = 2.0


@dataclass(frozen=True)
class ThecalSac:
    """Caudal end of the dural sac: place in the canal and level."""

    end_mm: Point
    end_level: Level
    state: State = State.INFERRED
    uncertainty_mm: float = 10.0


@dataclass(frozen=True)
class PedicleCorridor:
    """The widest straight cylinder of bone through one pedicle: from the midline to where its axis leaves the ilium,
    LPS mm. The diameter is a lower bound at the narrowest place of the pedicle.
    """

    level: Level
    side: Side
    midline_mm: Point
    lateral_mm: Point
    diameter_mm: float
    state: State = State.MEASURED
    uncertainty_mm: float = 1.0

    @property
    def name(self) -> str:
        """For example `S1 corridor right`."""
        return f"{self.level} corridor {self.side}"


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Everything a needle may cross, must reach or must not touch, on one isotropic grid along the patient's axes.

    labels: names of STRUCTURES; body: inside of the skin, same grid; foramina and roots: only those with a statement
    (a missing one is listed with its state). `confidences` maps a structure's name to 0..1; `maps` holds derived
    volumes (for example `density_mg_cm3`, `cortex_thickness_mm`). `source` says how the bones were found; `mr` where an
    MRI lies, which `maps["mr"]` then shows.
    """

    labels: LabelMap
    body: Mask
    frame: SacralFrame
    levels: tuple[SacralLevel, ...]
    foramina: tuple[Foramen, ...] = ()
    roots: tuple[RootCourse, ...] = ()
    canal: Canal | None = None
    hiatus: Hiatus | None = None
    thecal_sac: ThecalSac | None = None
    landmarks: Mapping[str, Landmark] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    confidences: Mapping[str, float] = field(default_factory=dict)
    maps: Mapping[str, Volume] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    source: str = "bare CT"
    corridors: tuple[PedicleCorridor, ...] = ()
    mr: MRRegistration | None = None

    def __post_init__(self) -> None:
        self.labels.grid.require_same(self.body.grid, "The labels and the body mask")
        for name in ("landmarks", "measures", "confidences", "maps"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def level(self, level: Level) -> SacralLevel | None:
        """The segment of a level, where it lies in the field of view."""
        return next((found for found in self.levels if found.level is level), None)

    def require_level(self, level: Level) -> SacralLevel:
        """The segment of a level; AnatomyError where it is not known."""
        found = self.level(level)
        if found is None or not found.state.known:
            raise AnatomyError(
                f"{level} is not known in this scan",
                got=", ".join(str(known.level) for known in self.levels) or "no levels",
                remedy="Use a scan that covers it, or give landmarks",
            )
        return found

    def foramen(self, level: Level, side: Side, face: Face) -> Foramen | None:
        """One foramen with its state, if there is a statement about it."""
        return next((f for f in self.foramina if (f.level, f.side, f.face) == (level, side, face)), None)

    def levels_at(self, points_mm: npt.ArrayLike) -> list[Level | None]:
        """The sacral level at each position (n, 3) by its arc length, None above S1 or below the last known level."""
        arcs = self.frame.coordinates(np.asarray(points_mm, dtype=np.float64).reshape(-1, 3))[:, 0]
        return [
            next(
                (lv.level for lv in self.levels if lv.state.known and lv.upper_arc_mm <= s < lv.lower_arc_mm),
                None,
            )
            for s in arcs
        ]

    def with_(self, **changes: object) -> Self:
        """A copy with fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]
