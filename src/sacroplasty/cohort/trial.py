"""A trial on virtual patients: approaches and guidance modes, one placement drawn for each, rates with exact intervals.

Everything is simulated: the patients, the placements, the cement. A rate says how the program's own rules and models
behave over a population, not what happens to people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sacroplasty import __version__
from sacroplasty.anatomy import Anatomy
from sacroplasty.approach import RULES, placement_error
from sacroplasty.approach.judge import judge
from sacroplasty.approach.planner import plan_trajectories, task_of
from sacroplasty.approach.uncertainty import placements
from sacroplasty.cement import simulate_injection
from sacroplasty.cohort.engine import run_here, run_on_dask
from sacroplasty.cohort.job import FAILED, OK, Row, failure, keep_row, kept_row
from sacroplasty.cohort.table import write_failures, write_table
from sacroplasty.cohort.virtual_patient import VirtualPatient, built, described
from sacroplasty.errors import InputError, PlanError, SacroplastyError
from sacroplasty.evidence import value
from sacroplasty.lesion import Lesion
from sacroplasty.outcome.meta_analysis import exact_interval
from sacroplasty.plan import Approach, NeedlePlan, Plan, Trajectory, as_point
from sacroplasty.space import Volume
from sacroplasty.workflow import Progress, silent

STATEMENT = "Simulated patients, placements and cement; not validated, not for clinical use."
APPROACHES = tuple(Approach)
GUIDANCES = ("fluoroscopy", "ct", "navigation")
# Where cement is simulated as well: the cost of a patient lies there.
CEMENTED = ("fluoroscopy", "navigation")
CEMENT_SPACING_MM, CEMENT_UPDATES = 1.5, 10
NEURAL_WORDS = ("canal", "foramen", "root tunnel")
OUTCOMES = ("success", "breach", "leak", "neural_leak")


@dataclass(frozen=True)
class TrialJob:
    """One virtual patient to run."""

    name: str
    patient: VirtualPatient
    trial_seed: int
    key: str


@dataclass(frozen=True)
class Rate:
    """How often an outcome came in one approach and guidance mode, of the patients in whom it could."""

    approach: str
    guidance: str
    outcome: str
    events: int
    total: int
    rate: float
    low: float
    high: float

    def describe(self) -> str:
        """The rate with its exact 95 % interval."""
        return (
            f"{self.outcome} {self.events} of {self.total}, {100 * self.rate:.0f} % "
            f"({100 * self.low:.0f} to {100 * self.high:.0f} %), simulated"
        )


@dataclass(frozen=True)
class Trial:
    """All cells (patient, approach, guidance), the rates, patients that failed, and what the numbers are."""

    rows: tuple[Row, ...]
    rates: tuple[Rate, ...]
    failed: int
    statement: str = STATEMENT


def run_trial(
    out: Path, *, patients: int = 10, describe: int = 1000, seed: int = 1, workers: int = 0, scheduler: str = "",
    progress: Progress = silent,
) -> Trial:  # fmt: skip
    """Describe virtual patients, run the first `patients` of them, and write tables and plots into `out`.

    The patients of a seed are always the same ones, so that a trial can be made larger later: what is done is kept.
    """
    if not 1 <= patients <= describe:
        raise InputError("A trial runs some of the patients it describes", got=f"{patients} of {describe}")
    people = [described(number, seed) for number in range(describe)]
    write_table([{"name": name_of(p), "status": OK, **_plain(p)} for p in people], out / "patients.csv")
    jobs = [job_of(person, seed) for person in people[:patients]]
    found = {job.key: row for job in jobs if (row := kept_row(out, job.key)) is not None}

    def finished(job: TrialJob, row: Row) -> None:
        found[job.key] = row
        progress(len(found) / len(jobs), f"{len(found)} of {len(jobs)} virtual patients")

    left = [job for job in jobs if job.key not in found]
    if left and (workers or scheduler):
        run_on_dask(run_patient, left, out, finished, workers=workers or 1, scheduler=scheduler)
    else:
        run_here(run_patient, left, out, finished)
    rows = [found[job.key] for job in jobs]
    cells = tuple(cell for row in rows if row["status"] == OK for cell in row["cells"])
    rates = rates_of(cells)
    write_table([{"status": OK, **cell} for cell in cells], out / "cells.csv")
    write_table([{"name": f"{r.approach}, {r.guidance}", "status": OK, **asdict(r)} for r in rates], out / "rates.csv")
    write_failures(rows, out / "failures.csv")
    from sacroplasty.cohort.trial_plots import trial_pngs

    for name, picture in trial_pngs(people, cells, rates).items():
        (out / name).write_bytes(picture)
    return Trial(cells, rates, sum(row["status"] == FAILED for row in rows))


def name_of(patient: VirtualPatient) -> str:
    """For example `virtual-0007`."""
    return f"virtual-{patient.number:04d}"


def _plain(patient: VirtualPatient) -> Row:
    return {key: str(v) if hasattr(v, "value") else v for key, v in asdict(patient).items()}


def job_of(patient: VirtualPatient, trial_seed: int) -> TrialJob:
    """The patient's job, with the hash of all that its result depends on."""
    settings = (APPROACHES, GUIDANCES, CEMENTED, CEMENT_SPACING_MM, CEMENT_UPDATES)
    parts = (__version__, "trial", sorted(_plain(patient).items()), trial_seed, [str(s) for s in settings])
    return TrialJob(name_of(patient), patient, trial_seed, hashlib.sha256(repr(parts).encode()).hexdigest())


def run_patient(job: TrialJob, out: str) -> Row:
    """One virtual patient through every approach and guidance mode; the row holds a cell for each. Never raises."""
    try:
        ct, anatomy, lesion = built(job.patient)
        cells: list[Row] = []
        for approach in APPROACHES:
            cells += _cells(job, ct, anatomy, lesion, approach)
        row: Row = {"name": job.name, "status": OK, "cells": cells}
    except SacroplastyError as error:
        row = failure(job.name, "trial", error.code, error.sentence)
    except Exception as error:  # one patient's defect must not end the trial; the row names it
        row = failure(job.name, "trial", "SAC-E999", f"Unexpected {type(error).__name__}: {str(error)[:300]}.")
    keep_row(Path(out), job.key, row)
    return row


def _cells(job: TrialJob, ct: Volume, anatomy: Anatomy, lesion: Lesion, approach: Approach) -> list[Row]:
    """One cell per guidance mode for one approach; a single one that says why where it is not feasible."""
    common = {"name": job.name, "approach": str(approach), "level": str(job.patient.level),
              "place": str(job.patient.place), "kind": str(job.patient.kind)}  # fmt: skip
    plans = plan_trajectories(ct, anatomy, lesion, approaches=(approach,), alternatives=1)
    plan = next((one for one in plans if one.feasible), None)
    if plan is None:
        return [{**common, "guidance": guidance, "feasible": False} for guidance in GUIDANCES]
    volume = min(value("assumptions.trial_fill") * lesion.volume_ml, value("cement.session_volume_warning"))
    cells = []
    for guidance in GUIDANCES:
        # One stream per approach and guidance, so that adding one changes no other.
        seed = int.from_bytes(hashlib.sha256(f"{job.patient.seed} {approach} {guidance}".encode()).digest()[:4], "big")
        actual, breached, off = _placed(ct, anatomy, lesion, plan, guidance, seed)
        hit = all(bool(lesion.mask.contains(needle.tip_mm)) for needle in actual.needles)
        cell = {**common, "guidance": guidance, "feasible": True, "tip_off_mm": round(off, 2), "tip_in_lesion": hit,
                "breach": bool(breached), "breached": breached, "success": hit and not breached}  # fmt: skip
        if guidance in CEMENTED:
            cell |= _cemented(ct, anatomy, lesion, actual, volume)
        cells.append(cell)
    return cells


def _placed(
    ct: Volume, anatomy: Anatomy, lesion: Lesion, plan: Plan, guidance: str, seed: int
) -> tuple[Plan, str, float]:
    """The plan as one drawn placement leaves it, the structure it touches ("" for none), and the first tip's error."""
    error, rule = placement_error(guidance), RULES[plan.approach]
    touched, needles, off = "", [], 0.0
    for number, needle in enumerate(plan.needles):
        scene = task_of(ct, anatomy, lesion, needle.needle, guidance).scene
        entries, ends = placements(scene, needle.trajectory, error, 2, seed + number)
        way = ends[0] - entries[0]
        beyond = value("assumptions.approach_overshoot")
        tip = ends[0] - way / np.linalg.norm(way) * beyond
        path = Trajectory(as_point(entries[0]), as_point(tip))
        judged = judge(scene, rule, needle.needle, path)
        worst = min(judged.clearances, key=lambda c: _distance(c), default=None)
        if worst is not None and _distance(worst) < 0 and not touched:
            touched = worst.structure
        needles.append(_moved(needle, path))
        off = off or float(np.linalg.norm(tip - np.asarray(needle.tip_mm)))
    return plan.with_(needles=tuple(needles)), touched, off


def _distance(clearance: Any) -> float:
    return float(clearance.distance_mm if clearance.estimate_mm is None else clearance.estimate_mm)


def _moved(needle: NeedlePlan, path: Trajectory) -> NeedlePlan:
    """The needle on another path, its deposits as far before the tip as they were planned."""
    longer = path.length_mm - needle.trajectory.length_mm
    injections = tuple(replace(i, tip_depth_mm=i.tip_depth_mm + longer) for i in needle.injections)
    return replace(needle, trajectory=path, injections=injections)


def _cemented(ct: Volume, anatomy: Anatomy, lesion: Lesion, plan: Plan, volume_ml: float) -> Row:
    """What a simulated injection through the placed needles comes to; nothing flows counts as not delivered."""
    try:
        result = simulate_injection(
            ct, anatomy, lesion, plan, volume_ml=volume_ml, spacing_mm=CEMENT_SPACING_MM, margin_mm=16.0,
            updates=CEMENT_UPDATES,
        )  # fmt: skip
    except PlanError:
        return {"delivered": False}
    neural = [leak for leak in result.leaks if any(word in leak.compartment for word in NEURAL_WORDS)]
    return {
        "delivered": True, "cement_ml": round(result.placed_ml, 2), "fill": round(result.lesion_fill, 3),
        "leak": bool(result.leaks), "neural_leak": bool(neural), "leaked_ml": round(result.leaked_ml, 3),
        "leaks": "; ".join(sorted(leak.compartment for leak in result.leaks)),
    }  # fmt: skip


def rates_of(cells: Sequence[Row]) -> tuple[Rate, ...]:
    """Feasibility and outcomes of every approach and guidance mode, each over the patients in whom it could happen."""
    rates = []
    for approach in APPROACHES:
        for guidance in GUIDANCES:
            here = [c for c in cells if c["approach"] == approach and c["guidance"] == guidance]
            for outcome in ("feasible", *OUTCOMES):
                known = [bool(c[outcome]) for c in here if c.get(outcome) is not None]
                if known:
                    low, high = exact_interval(sum(known), len(known))
                    share = sum(known) / len(known)
                    rates.append(Rate(str(approach), guidance, outcome, sum(known), len(known), share, low, high))
    return tuple(rates)
