"""Leaks as facts: where, how much, how they were looked for; a rate never mixes ways of looking.

CT finds 106 leaks where radiographs find 63 (s13018-019-1459-4), so a rate without its modality means nothing. What a
modality cannot show is recorded as not assessable, never as absent (Zhang's second patient had no CT).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from sacroplasty.errors import InputError
from sacroplasty.outcome.meta_analysis import exact_interval
from sacroplasty.plan import Level, Point, Side


class Modality(StrEnum):
    """How leaks were looked for."""

    CT = "CT"
    CONE_BEAM_CT = "cone-beam CT"
    FLUOROSCOPY = "fluoroscopy"
    RADIOGRAPH = "radiograph"


class Statement(StrEnum):
    """What can be said about one compartment."""

    LEAK = "leak"
    NO_LEAK = "no leak"
    NOT_ASSESSABLE = "not assessable"


class LeakClass(StrEnum):
    """Classes of the sacral leak taxonomy."""

    TRACK = "needle track"
    VEIN = "vein"
    ARTERY = "artery"
    PRESACRAL = "presacral"
    SOFT_TISSUE = "posterior soft tissue"
    TUMOUR = "tumour outside bone"
    FORAMEN_ANTERIOR = "anterior foramen"
    FORAMEN_POSTERIOR = "posterior foramen"
    CANAL = "canal"
    SI_JOINT = "SI joint"
    DISC = "L5-S1 disc"
    ILIUM = "ilium"
    L5 = "L5"


# Classes whose cement lies against nerves; a projection cannot tell them from bone (R62).
NEURAL = (LeakClass.CANAL, LeakClass.FORAMEN_ANTERIOR, LeakClass.FORAMEN_POSTERIOR)
PROJECTIONS = (Modality.FLUOROSCOPY, Modality.RADIOGRAPH)


@dataclass(frozen=True)
class LeakSite:
    """Cement in one compartment where it should not be.

    `compartment` is its full name (`S1 anterior foramen right`); `depth_mm` how far it reaches beyond the bone,
    `tubular` whether it is long and thin as in a vein; `nearest_root` the nerve root next to it and its distance.
    `significant` follows from place and volume, `reason` says which; `symptomatic` comes from the patient, never from
    an image. Volumes are None where the modality gives none.
    """

    kind: LeakClass
    compartment: str
    side: Side
    level: Level | None
    modality: Modality
    volume_ml: float | None = None
    depth_mm: float | None = None
    where_mm: Point | None = None
    tubular: bool = False
    nearest_root: str = ""
    root_distance_mm: float | None = None
    significant: bool = False
    reason: str = ""
    symptomatic: bool | None = None

    def describe(self) -> str:
        """One line: place, volume, significance, how it was seen."""
        level = f" at {self.level}" if self.level and str(self.level) not in self.compartment else ""
        amount = "volume not measured" if self.volume_ml is None else f"{self.volume_ml:.2f} mL"
        weight = "significant" if self.significant else "not significant"
        root = f", {self.root_distance_mm:.1f} mm from the {self.nearest_root}" if self.nearest_root else ""
        return f"{self.compartment}{level}: {amount}{root}; {weight} ({self.reason}); seen on {self.modality}"


@dataclass(frozen=True)
class LeakRecord:
    """All that one look with one modality says: sites, and a statement per class of compartment."""

    modality: Modality
    sites: tuple[LeakSite, ...] = ()
    statements: Mapping[LeakClass, Statement] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "statements", MappingProxyType(dict(self.statements)))
        strange = {site.modality for site in self.sites} - {self.modality}
        if strange:
            raise InputError(
                "One leak record holds one modality", got=f"{self.modality} and {', '.join(sorted(strange))}",
                remedy="Keep a record per modality",
            )  # fmt: skip
        silent = [site.kind for site in self.sites if self.statements.get(site.kind) is not Statement.LEAK]
        if silent:
            raise InputError("A leak site needs the statement that its class leaks", got=", ".join(silent))

    @property
    def leaked_ml(self) -> float | None:
        """mL of all sites, None where a site has no volume."""
        volumes = [site.volume_ml for site in self.sites]
        return None if None in volumes else float(sum(v for v in volumes if v is not None))


def fluoroscopy_record(seen: Sequence[LeakSite] = (), *, modality: Modality = Modality.FLUOROSCOPY) -> LeakRecord:
    """What an assessment without CT can say: leaks seen are leaks; canal and foramina are not assessable otherwise.

    A leak that a radiograph shows in the canal stays a leak. Where none was seen in soft tissue, veins, disc or along
    the needle, that is `no leak` on this modality, which finds about six of ten.
    """
    if modality not in PROJECTIONS:
        raise InputError("This record is for projections alone", got=modality, remedy="Audit the CT instead")
    statements = {
        kind: Statement.NOT_ASSESSABLE if kind in (*NEURAL, LeakClass.SI_JOINT) else Statement.NO_LEAK
        for kind in LeakClass
    }
    statements.update({site.kind: Statement.LEAK for site in seen})
    return LeakRecord(modality, tuple(seen), statements)


@dataclass(frozen=True)
class LeakRate:
    """Share of procedures with a leak of one class, by one modality, of those where it could be assessed."""

    modality: Modality
    kind: LeakClass
    leaks: int
    assessed: int
    not_assessable: int
    rate: float
    low: float
    high: float


def leak_rates(records: Iterable[LeakRecord]) -> tuple[LeakRate, ...]:
    """Rates with exact 95 % intervals for every modality by itself and every class; never pooled over modalities.

    Procedures where a class was not assessable, or nothing was said of it, are not in its denominator.
    """
    groups: dict[Modality, list[LeakRecord]] = {}
    for record in records:
        groups.setdefault(record.modality, []).append(record)
    rates = []
    for modality in sorted(groups):
        for kind in LeakClass:
            said = [record.statements.get(kind, Statement.NOT_ASSESSABLE) for record in groups[modality]]
            blind = said.count(Statement.NOT_ASSESSABLE)
            leaks, assessed = said.count(Statement.LEAK), len(said) - blind
            if assessed:
                low, high = exact_interval(leaks, assessed)
                rates.append(LeakRate(modality, kind, leaks, assessed, blind, leaks / assessed, low, high))
    return tuple(rates)


def require_one_modality(records: Iterable[LeakRecord]) -> Modality:
    """The modality that all records share; InputError where they mix, because rates must not be pooled over them."""
    found = {record.modality for record in records}
    if len(found) != 1:
        raise InputError(
            "Leak rates must not be pooled over modalities", got=", ".join(sorted(found)) or "no record",
            remedy="Compare within one modality",
        )  # fmt: skip
    return found.pop()
