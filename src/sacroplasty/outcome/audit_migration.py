"""Whether cement moved between two scans, both audited against the same plan."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cc3d
import numpy as np
from scipy import spatial

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.outcome.audit import CementAudit
from sacroplasty.plan import Point, as_point
from sacroplasty.space import Points

# Bodies are the same where their volumes differ by less than this share.
SAME_VOLUME = 0.35
# A moved body is looked for within this distance, mm.
REACH_MM = 60.0


class Change(StrEnum):
    """What became of one body of cement."""

    STAYED = "stayed"
    MOVED = "moved"
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True)
class BodyChange:
    """One body of cement: what became of it, volumes, how far its centre moved, where it is now (or was)."""

    change: Change
    before_ml: float
    after_ml: float
    shift_mm: float
    where_mm: Point


@dataclass(frozen=True)
class Migration:
    """All bodies; `tolerance_mm` is what two registrations and edges cannot tell apart."""

    bodies: tuple[BodyChange, ...]
    tolerance_mm: float
    volume_change_ml: float

    @property
    def migrated(self) -> bool:
        """Some cement moved, came or went."""
        return any(body.change is not Change.STAYED for body in self.bodies)

    def describe(self) -> str:
        """One sentence."""
        moved = [body for body in self.bodies if body.change is not Change.STAYED]
        if not moved:
            return f"No cement moved by more than {self.tolerance_mm:.1f} mm"
        parts = [f"{b.after_ml or b.before_ml:.2f} mL {b.change}" + (
            f" by {b.shift_mm:.1f} mm" if b.change is Change.MOVED else "") for b in moved]  # fmt: skip
        return "; ".join(parts)


@dataclass(frozen=True, eq=False)
class _Body:
    points: Points
    volume_ml: float


def migration(earlier: CementAudit, later: CementAudit) -> Migration:
    """What became of every body of cement from one audited scan to the next; InputError without cement in both."""
    if earlier.cement is None and later.cement is None:
        raise InputError("Neither scan shows cement", remedy="There is nothing that could have moved")
    tolerance = value("assumptions.audit_migration") + np.hypot(
        earlier.registration.spread_mm, later.registration.spread_mm
    )
    old, new = _bodies(earlier), _bodies(later)
    changes: list[BodyChange] = []
    free = set(range(len(old)))
    unmatched = []
    for body in new:
        match = _overlapping(body, old, free, tolerance)
        if match is None:
            unmatched.append(body)
            continue
        free.discard(match)
        shift = _shift(old[match], body)
        change = Change.MOVED if shift > tolerance else Change.STAYED
        changes.append(_changed(change, old[match], body, shift))
    for body in unmatched:
        near = [n for n in sorted(free) if _alike(old[n], body) and _shift(old[n], body) < REACH_MM]
        if near:
            match = min(near, key=lambda n: _shift(old[n], body))
            free.discard(match)
            changes.append(_changed(Change.MOVED, old[match], body, _shift(old[match], body)))
        else:
            changes.append(_changed(Change.NEW, None, body, 0.0))
    changes += [_changed(Change.GONE, old[n], None, 0.0) for n in sorted(free)]
    return Migration(tuple(changes), float(tolerance), later.cement_ml - earlier.cement_ml)


def _bodies(audit: CementAudit) -> list[_Body]:
    """Connected bodies of cement that count, largest first."""
    cement = audit.cement
    if cement is None:
        return []
    labels = cc3d.connected_components(np.asarray(cement.array), connectivity=26)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    found = []
    for number in np.argsort(-counts, kind="stable"):
        volume = float(counts[number]) * cement.grid.voxel_volume_ml
        if volume < value("assumptions.audit_smallest_leak"):
            break
        found.append(_Body(cement.grid.patient_from_voxel.points(np.argwhere(labels == number)), volume))
    return found


def _overlapping(body: _Body, old: list[_Body], free: set[int], tolerance: float) -> int | None:
    """The earlier body that lies where this one does, allowing for the tolerance."""
    shares = {n: _share_within(body.points, old[n].points, tolerance) for n in sorted(free)}
    best = max(shares, key=lambda n: shares[n], default=None)
    return best if best is not None and shares[best] > 0.5 else None


def _share_within(points: Points, others: Points, tolerance: float) -> float:
    sample = points[:: max(len(points) // 2000, 1)]
    distance, _ = spatial.cKDTree(others).query(sample, distance_upper_bound=tolerance)
    return float(np.isfinite(distance).mean())


def _alike(old: _Body, new: _Body) -> bool:
    return abs(old.volume_ml - new.volume_ml) <= SAME_VOLUME * max(old.volume_ml, new.volume_ml)


def _shift(old: _Body, new: _Body) -> float:
    return float(np.linalg.norm(new.points.mean(axis=0) - old.points.mean(axis=0)))


def _changed(change: Change, old: _Body | None, new: _Body | None, shift: float) -> BodyChange:
    there = new or old
    assert there is not None
    return BodyChange(
        change, old.volume_ml if old else 0.0, new.volume_ml if new else 0.0, shift,
        as_point(there.points.mean(axis=0)),
    )  # fmt: skip
