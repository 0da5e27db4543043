"""The audit of a later CT against the plan: cement, leaks, filling, old cement, metal, path.

Cement is found as what came between the scans, so that old cement, dense bone and hardware do not count. All places
are in the plan's frame; what an image cannot show is said to be not assessable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from sacroplasty.anatomy import Anatomy
from sacroplasty.cement.tissue import VALUE, VESSELS
from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.lesion import Lesion
from sacroplasty.outcome.audit_cement import Cement, find_cement
from sacroplasty.outcome.audit_compartments import LESION, SACRUM, Sorted, name_places, sort_cement
from sacroplasty.outcome.audit_dense import BodyKind, DenseBody, dense_bodies
from sacroplasty.outcome.audit_path import PathFound, find_path
from sacroplasty.outcome.audit_registration import Registration, register
from sacroplasty.outcome.leak import LeakClass, LeakRecord, Modality, Statement
from sacroplasty.plan import Finding, Plan, Severity
from sacroplasty.space import LabelMap, Mask, Volume

# Slices thicker than this hide small leaks, mm.
THICK_SLICES_MM = 1.5


@dataclass(frozen=True, eq=False)
class CementAudit:
    """What a later CT shows against the plan.

    `cement_ml` is new cement alone, to be compared with what was injected; `occupied_ml` the bone and lesion it fills,
    trabeculae included. `filling` is the share of the lesion's place that `occupied` covers; `compartments` the mL of
    cement by place. `labels` names every hard voxel on a fine grid of the plan's frame, `fraction` is the cement share
    of each voxel there; both are None without cement. `leaks` holds sites and statements of this modality alone.
    """

    scan: str
    registration: Registration
    leaks: LeakRecord
    cement_ml: float
    occupied_ml: float
    lesion_ml: float
    filling: float
    compartments: Mapping[str, float] = field(default_factory=dict)
    cement_hu: float | None = None
    bodies: tuple[DenseBody, ...] = ()
    path: PathFound | None = None
    findings: tuple[Finding, ...] = ()
    fraction: Volume | None = None
    labels: LabelMap | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "compartments", MappingProxyType(dict(self.compartments)))

    @property
    def cement(self) -> Mask | None:
        """The place of the new cement, None where there is none."""
        return None if self.labels is None else Mask(np.asarray(self.labels.array) > 0, self.labels.grid)


def audit_ct(
    plan_ct: Volume,
    anatomy: Anatomy,
    lesion: Lesion | None,
    later_ct: Volume,
    *,
    plan: Plan | None = None,
    scan: str = "later CT",
    modality: Modality = Modality.CT,
    cement_hu: float | None = None,
    registration: Registration | None = None,
) -> CementAudit:
    """The audit of `later_ct` against the CT the plan was made on; GeometryError where they do not match.

    `cement_hu` is the CT value of pure cement where it is known; else it is read from the deposits' core.
    """
    if modality not in (Modality.CT, Modality.CONE_BEAM_CT):
        raise InputError(
            "Only a CT can be audited", got=modality, remedy="Record a fluoroscopy-only look with fluoroscopy_record"
        )
    if cement_hu is not None and not 500.0 <= cement_hu <= 30000.0:
        raise InputError("The CT value of cement must be 500 to 30000 HU", got=f"{cement_hu} HU")
    placed = register(plan_ct, anatomy, later_ct) if registration is None else registration
    bodies, metal = dense_bodies(plan_ct, anatomy, later_ct, placed)
    cement = find_cement(plan_ct, anatomy, later_ct, placed, cement_hu=cement_hu, metal=metal)
    needles = plan.needles if plan is not None else ()
    mask = lesion.mask if lesion is not None else None
    found = None
    if cement is not None:
        found = sort_cement(anatomy, cement, name_places(anatomy, mask, cement, needles), needles, modality)
    record = LeakRecord(modality, found.sites if found else (), _statements(anatomy, later_ct, placed, found))
    hard = None if cement is None or found is None else _labelled(cement, found)
    fraction = None if cement is None else cement.fraction
    lesion_ml, filling = _filling(mask, cement)
    return CementAudit(
        scan, placed, record, cement.volume_ml if cement else 0.0, cement.hard.volume_ml if cement else 0.0,
        lesion_ml, filling, found.volumes_ml if found else {}, cement.cement_hu if cement else None, bodies,
        find_path(plan, bodies, hard), _findings(cement, bodies, later_ct, record), fraction, hard,
    )  # fmt: skip


def _labelled(cement: Cement, found: Sorted) -> LabelMap:
    array = np.zeros(cement.hard.grid.shape, dtype=np.uint8)
    array[cement.hard.array] = found.numbers + 1
    return LabelMap(array, cement.hard.grid, {n + 1: name for n, name in enumerate(found.names)})


def _filling(lesion: Mask | None, cement: Cement | None) -> tuple[float, float]:
    """Volume of the lesion and the share of its place where cement is."""
    if lesion is None or lesion.is_empty():
        return 0.0, 0.0
    if cement is None:
        return lesion.volume_ml, 0.0
    return lesion.volume_ml, float(cement.hard.contains(lesion.points_mm()).mean())


def _statements(
    anatomy: Anatomy, later_ct: Volume, registration: Registration, found: Sorted | None
) -> dict[LeakClass, Statement]:
    """A statement for every class: leak, none, or not assessable on this scan with these labels."""
    leaking = {site.kind for site in found.sites} if found else set()
    present = set(np.unique(anatomy.labels.array).tolist())
    known = {
        LeakClass.CANAL: VALUE["canal"] in present,
        LeakClass.FORAMEN_ANTERIOR: VALUE["root_tunnel"] in present,
        LeakClass.FORAMEN_POSTERIOR: VALUE["root_tunnel"] in present,
        LeakClass.SI_JOINT: bool({VALUE["si_joint_left"], VALUE["si_joint_right"]} & present),
        LeakClass.DISC: VALUE["disc_l5_s1"] in present,
        LeakClass.L5: VALUE["l5"] in present,
        LeakClass.ILIUM: bool({VALUE["hip_left"], VALUE["hip_right"]} & present),
        LeakClass.VEIN: any(VALUE[name] in present for name in VESSELS if "vein" in name or "cava" in name),
        LeakClass.ARTERY: any(VALUE[name] in present for name in VESSELS if "artery" in name or "aorta" in name),
    }
    whole = registration.coverage >= value("assumptions.audit_whole_coverage")
    statements = {}
    for kind in LeakClass:
        if kind in leaking:
            statements[kind] = Statement.LEAK
        else:
            seen = known.get(kind, True) and whole
            statements[kind] = Statement.NO_LEAK if seen else Statement.NOT_ASSESSABLE
    return statements


def _findings(
    cement: Cement | None, bodies: tuple[DenseBody, ...], later_ct: Volume, record: LeakRecord
) -> tuple[Finding, ...]:
    """What the reader must know before trusting the numbers, and every significant leak."""
    found = []
    slice_mm = max(later_ct.grid.spacing_mm)
    if slice_mm > THICK_SLICES_MM:
        found.append(Finding(
            Severity.WARNING, "AUDIT-THICK-SLICES",
            f"Slices of {slice_mm:.1f} mm hide small leaks: no leak below 0.1 mL is excluded",
        ))  # fmt: skip
    if cement is not None and cement.saturated:
        found.append(Finding(
            Severity.WARNING, "AUDIT-SATURATED",
            "The cement reaches the end of the CT's scale, so its volume is an upper bound; give its CT value",
        ))  # fmt: skip
    if any(body.kind in (BodyKind.METAL, BodyKind.NEW_METAL) for body in bodies):
        found.append(Finding(
            Severity.WARNING, "AUDIT-METAL", "Metal in the scan: cement within 2.5 mm of it is not counted",
        ))  # fmt: skip
    found += [
        Finding(Severity.WARNING, "AUDIT-LEAK", site.describe(), site.compartment, site.where_mm)
        for site in record.sites if site.significant
    ]  # fmt: skip
    return tuple(found)


def cement_in_bone_ml(audit: CementAudit) -> float:
    """mL of cement where it was meant to be: lesion and sacrum."""
    return sum(audit.compartments.get(name, 0.0) for name in (LESION, SACRUM))
