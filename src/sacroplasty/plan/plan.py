"""A plan: one approach with its needle, path, crossings, clearances, deposits and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

from sacroplasty.plan.finding import Finding, Severity
from sacroplasty.plan.needle import Needle
from sacroplasty.plan.terms import Approach, Level, Side
from sacroplasty.plan.trajectory import Point, Trajectory


@dataclass(frozen=True)
class Crossing:
    """A structure the path goes through: depths below the skin of entering and leaving, `permitted` by the approach."""

    structure: str
    start_depth_mm: float
    end_depth_mm: float
    permitted: bool = True

    @property
    def length_mm(self) -> float:
        """Way inside the structure."""
        return self.end_depth_mm - self.start_depth_mm


@dataclass(frozen=True)
class Clearance:
    """Lower bound of the distance from the needle's surface to a structure, and where on the shaft it is smallest.

    `estimate_mm` is the best estimate of the same distance, never to be gated on. `breach_probability` and its 95 %
    upper bound are None where no placement error was modelled.
    """

    structure: str
    distance_mm: float
    depth_mm: float
    where_mm: Point
    required_mm: float = 0.0
    breach_probability: float | None = None
    breach_probability_upper: float | None = None
    estimate_mm: float | None = None


@dataclass(frozen=True)
class Injection:
    """A cement deposit: tip depth below the skin, volume, rate, cement's name, order among the case's deposits."""

    tip_depth_mm: float
    volume_ml: float
    rate_ml_s: float
    cement: str
    order: int = 1


@dataclass(frozen=True)
class NeedlePlan:
    """One needle of a plan: path, tip depth (the target unless withdrawn), bevel azimuth, what it crosses and how near.

    `bevel_azimuth_deg` is the direction the bevel faces, in the plane across the needle: 0 towards the head as far as
    the plane allows, then clockwise seen from the hub; None for a tip without bevel.
    """

    needle: Needle
    trajectory: Trajectory
    crossings: tuple[Crossing, ...] = ()
    clearances: tuple[Clearance, ...] = ()
    injections: tuple[Injection, ...] = ()
    bevel_azimuth_deg: float | None = None

    @property
    def tip_mm(self) -> Point:
        """Planned rest of the tip, LPS mm."""
        return self.trajectory.target_mm


@dataclass(frozen=True)
class Plan:
    """What the operator would do: an approach, its needles in order, measures, reasons and findings.

    `measures` holds named numbers with the unit in the name (skin_to_lesion_mm, marrow_space_mm, cephalad_deg ...).
    `rank` is 1 for the best of a case; `feasible` is False where a hard rule is broken, and `reasons` then says which,
    where and by how much.
    """

    approach: Approach
    side: Side
    target_level: Level
    needles: tuple[NeedlePlan, ...]
    measures: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    feasible: bool = True
    rank: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "measures", MappingProxyType(dict(self.measures)))

    def __reduce__(self) -> tuple[object, ...]:
        values = (
            self.approach,
            self.side,
            self.target_level,
            self.needles,
            dict(self.measures),
            self.reasons,
        )
        return type(self), (*values, self.findings, self.feasible, self.rank)

    @property
    def first(self) -> NeedlePlan:
        """The needle that is placed first."""
        return self.needles[0]

    @property
    def total_volume_ml(self) -> float:
        """Cement of all deposits."""
        return sum(i.volume_ml for needle in self.needles for i in needle.injections)

    @property
    def worst(self) -> Severity | None:
        """The gravest severity among the findings."""
        order = list(Severity)
        return max((f.severity for f in self.findings), key=order.index, default=None)

    def with_(self, **changes: object) -> Self:
        """A copy with fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]
