"""The audit of a stored case: a later CT read, audited, compared with the look before, and kept beside the plan."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sacroplasty.anatomy import Anatomy
from sacroplasty.case import CaseFolder
from sacroplasty.cement import CementResult
from sacroplasty.errors import CaseError, InputError
from sacroplasty.evidence import collected
from sacroplasty.io import read_series
from sacroplasty.lesion import Lesion
from sacroplasty.outcome.audit import CementAudit, audit_ct
from sacroplasty.outcome.audit_migration import Migration, migration
from sacroplasty.outcome.audit_path import AgainstSimulation, against_simulation
from sacroplasty.plan import Plan
from sacroplasty.space import Volume

PREFIX = "follow_"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class FollowUpScan:
    """A stored look: the audit, its comparison with the simulation and with the look before, and what it rests on.

    `plan_version` is the hash of the plan the audit was made against, `source` where the CT came from.
    """

    name: str
    audit: CementAudit
    against: AgainstSimulation | None
    since: str
    migration: Migration | None
    plan_version: str
    source: dict[str, object]


def follow_case(
    stored: CaseFolder, ct: Path, name: str, *, cement_hu: float | None = None, since: str = "",
    progress: Progress | None = None,
) -> FollowUpScan:  # fmt: skip
    """Audit a later CT of a stored case and keep the result in the folder `follow_<name>`.

    `since` names an earlier look to compare with; without it the one stored last is taken. InputError for a name that
    is no short word or is taken; CaseError without anatomy.
    """
    stage = PREFIX + name
    if not NAME.fullmatch(name):
        raise InputError("A follow-up's name must be a short word", got=name, remedy="Use for example day-1 or month-3")
    if stored.has(stage):
        raise InputError("There is a follow-up of this name", got=name, remedy="Give another --name")
    if not stored.has("segment"):
        raise CaseError("The case has no anatomy yet", remedy="Run `sacroplasty segment` first")
    earlier = _earlier(stored, since)
    say = progress or (lambda fraction, message: None)
    say(0.0, "Reading both scans")
    series = read_series(ct, modality="CT")
    with collected() as keys:
        plan_ct, anatomy = stored.read_value("images", Volume), stored.read_value("segment", Anatomy)
        lesions = stored.read_value("lesion", tuple[Lesion, ...]) if stored.has("lesion") else ()
        plans = stored.read_value("plan", tuple[Plan, ...]) if stored.has("plan") else ()
        plan = next((one for one in plans if one.feasible), None)
        say(0.2, "Registering, then looking for cement")
        lesion = lesions[0] if lesions else None
        audit = audit_ct(plan_ct, anatomy, lesion, series.volume, plan=plan, scan=name, cement_hu=cement_hu)
        say(0.8, "Comparing")
        against = _against(stored, audit)
        moved = migration(earlier.audit, audit) if earlier and (earlier.audit.cement or audit.cement) else None
    look = FollowUpScan(
        name, audit, against, earlier.name if earlier else "", moved, plan_version(stored),
        {**series.provenance, "verdict": series.verdict.value},
    )  # fmt: skip
    from sacroplasty.outcome.audit_pictures import audit_png

    extra = {
        "leaks.csv": leak_table(audit).encode(),
        "audit.txt": "\n".join(sentences(look)).encode(),
        "audit.png": audit_png(plan_ct, anatomy, lesion, series.volume, audit),
    }
    stored.write_value(stage, look, extra=extra, evidence=sorted(keys), number=len(follow_ups(stored)) + 1)
    say(1.0, "Stored")
    return look


def read_follow_up(stored: CaseFolder, name: str) -> FollowUpScan:
    """A stored look; CaseError where it is missing or was made against another plan than the case has now."""
    look: FollowUpScan = stored.read_value(PREFIX + name, FollowUpScan)
    if look.plan_version != plan_version(stored):
        raise CaseError(
            "The follow-up was audited against another plan", got=name, remedy="Audit the scan again under a new name"
        )
    return look


def follow_ups(stored: CaseFolder) -> tuple[str, ...]:
    """Names of the stored looks, in the order they were made."""
    entries = {name: entry for name, entry in stored.index["stages"].items() if name.startswith(PREFIX)}
    return tuple(name.removeprefix(PREFIX) for name in sorted(entries, key=lambda n: (entries[n]["number"], n)))


def plan_version(stored: CaseFolder) -> str:
    """What the case's anatomy, lesion and plan are made of: changes when one of them does."""
    import hashlib

    parts = [stored.index["stages"].get(name, {}).get("files", {}) for name in ("images", "segment", "lesion", "plan")]
    return hashlib.sha256(repr([sorted(files.items()) for files in parts]).encode()).hexdigest()


def _earlier(stored: CaseFolder, since: str) -> FollowUpScan | None:
    names = follow_ups(stored)
    if since and since not in names:
        raise InputError("There is no such follow-up", got=since, remedy=f"Use one of {', '.join(names) or 'none'}")
    last = since or (names[-1] if names else "")
    return read_follow_up(stored, last) if last else None


def _against(stored: CaseFolder, audit: CementAudit) -> AgainstSimulation | None:
    if audit.cement is None or not stored.has("cement"):
        return None
    return against_simulation(audit.cement, audit.cement_ml, stored.read_value("cement", CementResult))


def leak_table(audit: CementAudit) -> str:
    """The leak sites as CSV text, one row each, with the modality in every row."""
    text = io.StringIO()
    columns = ("modality", "kind", "compartment", "side", "level", "volume_ml", "depth_mm", "tubular", "nearest_root",
               "root_distance_mm", "significant", "reason", "symptomatic")  # fmt: skip
    writer = csv.writer(text)
    writer.writerow(columns)
    for site in audit.leaks.sites:
        cells = [getattr(site, column) for column in columns]
        writer.writerow([f"{c:.3f}" if isinstance(c, float) else "" if c is None else c for c in cells])
    return text.getvalue()


def sentences(look: FollowUpScan) -> tuple[str, ...]:
    """What a reader needs, line by line."""
    a = look.audit
    lines = [
        f"Follow-up {look.name}, {a.leaks.modality}: registered to the plan's CT, halves agree to "
        f"{a.registration.spread_mm:.1f} mm, correlation {a.registration.correlation:.2f}.",
        f"New cement {a.cement_ml:.2f} mL" + (
            f", {100 * a.filling:.0f} % of the lesion's {a.lesion_ml:.1f} mL is filled." if a.lesion_ml else "."),
    ]  # fmt: skip
    if look.against is not None:
        lines.append(
            f"Simulated were {look.against.simulated_ml:.2f} mL; centres {look.against.shift_mm:.1f} mm apart, overlap "
            f"{look.against.dice:.2f} (simulated, not validated)."
        )
    lines += [f"Leak: {site.describe()}." for site in a.leaks.sites]
    if not a.leaks.sites:
        lines.append(f"No leak seen on {a.leaks.modality}.")
    blind = [str(kind) for kind, said in a.leaks.statements.items() if said == "not assessable"]
    if blind:
        lines.append(f"Not assessable on this scan: {', '.join(blind)}.")
    for body in a.bodies:
        lines.append(f"{str(body.kind).capitalize()}: {body.volume_ml:.1f} mL in {body.place}.")
    lines.append(_path_line(look))
    if look.migration is not None:
        lines.append(f"Since {look.since}: {look.migration.describe()}.")
    lines += [f"{f.severity}: {f.message}." for f in a.findings if f.code != "AUDIT-LEAK"]
    return tuple(lines)


def _path_line(look: FollowUpScan) -> str:
    path = look.audit.path
    if path is None:
        return "Needle path: not assessable on this scan."
    return (
        f"Needle path by {path.source}: {path.off_at_entry_mm:.1f} mm off the planned entry, "
        f"{path.off_at_target_mm:.1f} mm off the target, turned {path.turned_deg:.1f} deg."
    )
