"""The dimensions of one phantom: the published norm, subjects drawn around it, and variants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self, TypeVar

import numpy as np

from sacroplasty.errors import InputError
from sacroplasty.evidence import evidence, value

Six = tuple[float, float, float, float, float, float]
Four = tuple[float, float, float, float]
Values = TypeVar("Values", Six, Four)


class Variant(StrEnum):
    """Anatomical variants that a planner must survive."""

    NORMAL = "normal"
    DYSMORPHIC = "dysmorphic"
    ABSENT_HIATUS = "absent hiatus"
    SHALLOW_HIATUS = "shallow hiatus"
    TRANSITIONAL = "transitional"


class Metal(StrEnum):
    """Hardware in the field of view."""

    NONE = "none"
    HIP = "hip prosthesis left"
    ROD = "L5-S1 rods"


@dataclass(frozen=True)
class PhantomShape:
    """Dimensions of a lumbosacral pelvis, mm and degrees, in the sacrum's own coordinates.

    Six values stand at the body boundaries S1 top, S1|S2 ... S4|S5, S5 bottom; four at the foramina S1 to S4. Arc
    lengths run along the ventral midline from the promontory caudally. `asymmetry_mm` holds, per foramen level, how
    far the left exits lie more lateral and more caudal than the right ones; `width_asymmetry` is the relative
    difference of the half widths, left minus right. `bone_scale` is 1 for healthy bone and falls with osteoporosis.
    """

    boundaries_arc_mm: Six
    tangent_deg: Six
    body_depth_mm: Six
    canal_depth_mm: Six
    canal_half_width_mm: Six
    roof_mm: Six
    half_width_mm: Six
    alar_recess_mm: Six
    dorsal_fall_mm: Six
    anterior_arc_mm: Four
    anterior_lateral_mm: Four
    anterior_width_mm: Four
    anterior_height_mm: Four
    posterior_arc_mm: Four
    posterior_lateral_mm: Four
    posterior_width_mm: Four
    posterior_height_mm: Four
    hiatus_apex_arc_mm: float
    hiatus_width_mm: float
    hiatus_depth_mm: float
    sac_end_arc_mm: float
    si_gap_mm: float
    alar_slope: float = 0.15
    disc_height_mm: float = 10.0
    asymmetry_mm: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 4
    width_asymmetry: float = 0.0
    bone_scale: float = 1.0
    fat_mm: float = 18.0
    variant: Variant = Variant.NORMAL

    def __post_init__(self) -> None:
        if not 0.2 <= self.bone_scale <= 1.5:
            raise InputError("The bone scale must be 0.2 to 1.5", got=str(self.bone_scale), remedy="1 is healthy bone")
        if np.any(np.diff(self.boundaries_arc_mm) < 8) or self.boundaries_arc_mm[0] != 0:
            raise InputError(
                "Body boundaries must rise from 0 in steps of at least 8 mm", got=str(self.boundaries_arc_mm)
            )
        if not self.boundaries_arc_mm[2] < self.hiatus_apex_arc_mm <= self.boundaries_arc_mm[5]:
            raise InputError(
                "The hiatus apex must lie between S3 and the sacrum's end", got=str(self.hiatus_apex_arc_mm)
            )
        if self.si_gap_mm <= 0 or self.hiatus_depth_mm <= 0:
            raise InputError(
                "Joint gap and hiatus depth must be positive", got=f"{self.si_gap_mm}, {self.hiatus_depth_mm}"
            )

    @property
    def hiatus_open(self) -> bool:
        """The roof opens before the sacrum's end."""
        return self.variant is not Variant.ABSENT_HIATUS

    @classmethod
    def norm(cls) -> Self:
        """The mean of the published norms; what no publication gives is the form of the prototype, by eye."""
        four = [f"s{k}" for k in range(1, 5)]
        anterior_arc = _four(f"phantom.{k}_anterior_arc" for k in four)
        s1, s2, s3, s4 = anterior_arc
        lead = value("phantom.boundary_above_anterior_foramen")
        bounds = (0.0, s1 - lead, s2 - lead, s3 - lead, s4 - lead, value("phantom.ventral_arc_length"))
        offsets = _four(f"phantom.{k}_posterior_caudal_offset" for k in four)
        half_width = value("phantom.interauricular_distance") / 2
        return cls(
            boundaries_arc_mm=bounds,
            tangent_deg=(value("phantom.sacral_slope"), 42.0, 32.0, 12.0, -8.0, -22.0),
            body_depth_mm=(32.0, 25.0, 17.5, 13.0, 10.0, 8.0),
            canal_depth_mm=(15.0, 13.0, 11.0, 8.5, 7.0, 6.0),
            canal_half_width_mm=(15.0, 13.5, 10.5, 8.0, 7.0, 6.5),
            roof_mm=(4.0, 4.5, 4.0, 3.5, 3.0, 2.5),
            half_width_mm=(half_width, half_width - 2.0, half_width - 12.0, half_width - 22.0, 23.0, 11.0),
            alar_recess_mm=(12.0, 7.0, 2.0, -1.0, -1.0, 0.0),
            dorsal_fall_mm=(8.0, 12.0, 11.0, 8.0, 6.0, 3.0),
            anterior_arc_mm=anterior_arc,
            anterior_lateral_mm=_four(f"phantom.{k}_anterior_lateral" for k in four),
            anterior_width_mm=_four(f"phantom.{k}_anterior_width" for k in four),
            anterior_height_mm=_four(f"phantom.{k}_anterior_height" for k in four),
            posterior_arc_mm=tuple(a + o for a, o in zip(anterior_arc, offsets, strict=True)),  # type: ignore[arg-type]
            posterior_lateral_mm=_four(f"phantom.{k}_posterior_lateral" for k in four),
            posterior_width_mm=_four(f"phantom.{k}_posterior_width" for k in four),
            posterior_height_mm=_four(f"phantom.{k}_posterior_height" for k in four),
            hiatus_apex_arc_mm=bounds[5] - value("phantom.hiatus_height"),
            hiatus_width_mm=value("phantom.hiatus_intercornual_width"),
            hiatus_depth_mm=value("phantom.hiatus_depth"),
            sac_end_arc_mm=(bounds[1] + bounds[2]) / 2,
            si_gap_mm=value("phantom.si_joint_gap"),
        )

    @classmethod
    def drawn(cls, seed: int) -> Self:
        """A subject drawn around the norm with the published spread (assumed where none is published)."""
        rng = np.random.default_rng(seed)
        base = cls.norm()
        size = 1.0 + _spread("phantom.sacral_size", rng)
        bend = rng.normal(0.0, 4.0) + np.linspace(0.0, 1.0, 6) * rng.normal(0.0, 8.0)
        widths = np.asarray(base.half_width_mm) * (1.0 + 0.5 * _spread("phantom.interauricular_distance", rng) / 54.0)
        shift = rng.normal(0.0, 1.2, (4, 2))
        bounds = _scaled(base.boundaries_arc_mm, size)
        apex = bounds[5] - float(np.clip(value("phantom.hiatus_height") + _spread("phantom.hiatus_height", rng), 6, 32))
        canal = 1.0 + float(np.clip(rng.normal(0.0, 0.07), -0.15, 0.15))
        lateral = 1.0 + float(np.clip(rng.normal(0.0, 0.05), -0.1, 0.1))
        return replace(
            base,
            boundaries_arc_mm=bounds,
            tangent_deg=_six(np.asarray(base.tangent_deg) + bend),
            body_depth_mm=_scaled(base.body_depth_mm, 1.0 + float(rng.normal(0.0, 0.07))),
            canal_depth_mm=_scaled(base.canal_depth_mm, canal),
            canal_half_width_mm=_scaled(base.canal_half_width_mm, canal),
            roof_mm=_scaled(base.roof_mm, 1.0 + float(np.clip(rng.normal(0.0, 0.12), -0.25, 0.25))),
            half_width_mm=_six(widths),
            anterior_arc_mm=_scaled(base.anterior_arc_mm, size),
            posterior_arc_mm=_scaled(base.posterior_arc_mm, size),
            anterior_lateral_mm=_scaled(base.anterior_lateral_mm, lateral),
            posterior_lateral_mm=_scaled(base.posterior_lateral_mm, lateral),
            anterior_width_mm=_jittered(base.anterior_width_mm, 0.08, rng),
            anterior_height_mm=_jittered(base.anterior_height_mm, 0.08, rng),
            posterior_width_mm=_jittered(base.posterior_width_mm, 0.12, rng),
            posterior_height_mm=_jittered(base.posterior_height_mm, 0.12, rng),
            hiatus_apex_arc_mm=float(np.clip(apex, bounds[3] + 2.0, bounds[5] - 5.0)),
            hiatus_width_mm=float(
                np.clip(base.hiatus_width_mm + _spread("phantom.hiatus_intercornual_width", rng), 6, 20)
            ),
            hiatus_depth_mm=float(np.clip(base.hiatus_depth_mm + _spread("phantom.hiatus_depth", rng), 1.9, 10.4)),
            sac_end_arc_mm=float(np.clip(base.sac_end_arc_mm + rng.normal(0.0, 8.0), bounds[1] - 8, bounds[2] + 8)),
            asymmetry_mm=tuple((float(a), float(b)) for a, b in shift),
            width_asymmetry=float(np.clip(rng.normal(0.0, 0.02), -0.05, 0.05)),
            fat_mm=float(np.clip(rng.normal(base.fat_mm, 6.0), 6.0, 40.0)),
        )

    def dysmorphic(self) -> Self:
        """The upper sacrum as in dysmorphism: steep alae, narrow S1 corridor, tall oval foramina, a residual disc."""
        s1, s2, s3, s4 = self.anterior_height_mm
        heights = (1.25 * s1, 1.1 * s2, s3, s4)
        r1, r2, *rest = self.alar_recess_mm
        recess = _six([1.6 * r1, 1.4 * r2, *rest])
        return replace(
            self, variant=Variant.DYSMORPHIC, alar_slope=0.75, anterior_height_mm=heights, alar_recess_mm=recess,
        )  # fmt: skip

    def absent_hiatus(self) -> Self:
        """The canal's roof is closed to the sacrum's end."""
        return replace(self, variant=Variant.ABSENT_HIATUS)

    def shallow_hiatus(self) -> Self:
        """A hiatus at the lower end of the published depth range."""
        low = evidence("phantom.hiatus_depth_range").low
        return replace(self, variant=Variant.SHALLOW_HIATUS, hiatus_depth_mm=float(low if low is not None else 1.9))

    def transitional(self) -> Self:
        """L5 sacralised on the left: a broad transverse process fused with the ala, and a thin disc."""
        return replace(self, variant=Variant.TRANSITIONAL, disc_height_mm=4.0)

    def osteoporotic(self, bone_scale: float = 0.5) -> Self:
        """Thinned cortex and marrow moved towards fat by `bone_scale` (1 is healthy)."""
        return replace(self, bone_scale=bone_scale)

    def with_(self, **changes: object) -> Self:
        """A copy with fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]


def _four(keys: object) -> Four:
    a, b, c, d = (value(key) for key in keys)  # type: ignore[attr-defined]
    return a, b, c, d


def _six(values: object) -> Six:
    a, b, c, d, e, f = (float(v) for v in values)  # type: ignore[attr-defined]
    return a, b, c, d, e, f


def _scaled(values: Values, factor: float) -> Values:
    return tuple(v * factor for v in values)  # type: ignore[return-value]


def _jittered(values: Four, relative: float, rng: np.random.Generator) -> Four:
    factors = 1.0 + np.clip(rng.normal(0.0, relative, 4), -2 * relative, 2 * relative)
    a, b, c, d = (float(v * f) for v, f in zip(values, factors, strict=True))
    return a, b, c, d


def _spread(key: str, rng: np.random.Generator) -> float:
    """One draw around zero with the standard deviation of an entry, whose low and high are mean ± 1 SD; cut at 2 SD."""
    entry = evidence(key)
    if entry.low is None or entry.high is None:
        raise InputError("The entry has no spread to draw from", got=key)
    sd = (entry.high - entry.low) / 2
    return float(np.clip(rng.normal(0.0, sd), -2 * sd, 2 * sd))
