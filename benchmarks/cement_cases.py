"""The three patients of the papers, simulated: nominal runs by lesion model and an ensemble. Nothing is tuned to them.

Prints a table and writes benchmarks/cement_cases.csv. Usage: python benchmarks/cement_cases.py [members] [case ...]
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

from sacroplasty.anatomy import Anatomy
from sacroplasty.cement import LesionModel, plan_dose, simulate_ensemble, simulate_injection, simulate_venogram
from sacroplasty.lesion import Lesion, lesion_from_mask
from sacroplasty.phantom import NamedCase, named_case
from sacroplasty.plan import Injection, Level, NeedlePlan, Plan, Side, Trajectory
from sacroplasty.space import Volume

CEMENT = {"zhang-1": "simplex-p", "zhang-2": "simplex-p", "yeo": "exolent-spine"}
# Of the simulated CT and its truth: coarse, so that the table takes minutes.
SPACING_MM = 1.8
# Zhang gives no volume for the second patient; the first's is used.
VOLUME_ML = {"zhang-1": 6.0, "zhang-2": 6.0, "yeo": 2.0}


def plan_of(case: NamedCase) -> Plan:
    """A path as the paper describes it: from the right through the ilium, or from the canal at S4 up into S3."""
    anatomy = case.anatomy
    places = case.lesion_mask.points_mm()
    bony = anatomy.labels.at(places) == anatomy.labels.values["sacrum"]
    target = places[bony].mean(axis=0)
    if case.name == "yeo":
        assert anatomy.canal is not None
        line = anatomy.canal.centreline_mm
        near = line[np.argmin(np.linalg.norm(line - anatomy.require_level(Level.S4).body_centre_mm, axis=1))]
        entry = target + (near - target) / np.linalg.norm(near - target) * 80.0
    else:
        entry = target + np.array([-78.0, 52.0, 4.0])
    x, y, z = (float(v) for v in entry)
    path = Trajectory((x, y, z), (float(target[0]), float(target[1]), float(target[2])))
    deposit = Injection(path.length_mm, VOLUME_ML[case.name], 0.05, CEMENT[case.name])
    needle = NeedlePlan(case.needle, path, injections=(deposit,), bevel_azimuth_deg=0.0)
    return Plan(case.approach, Side.RIGHT, Level.S3 if case.name == "yeo" else Level.S1, (needle,))


def patient_of(name: str) -> tuple[Volume, Anatomy, Lesion, Plan]:
    """Simulated CT, true anatomy, lesion and plan of a paper's patient."""
    case = named_case(name, spacing_mm=SPACING_MM, truth_spacing_mm=SPACING_MM)
    return case.ct, case.anatomy, lesion_from_mask(case.ct, case.anatomy, case.lesion_mask), plan_of(case)


def rows_of(name: str, members: int) -> list[dict[str, object]]:
    """One line per lesion model and one for the ensemble."""
    ct, anatomy, lesion, plan = patient_of(name)
    rows: list[dict[str, object]] = []
    for model in LesionModel:
        start = time.process_time()
        run = simulate_injection(ct, anatomy, lesion, plan, cement=CEMENT[name], lesion_model=model)
        leaks = "; ".join(f"{leak.compartment} {leak.volume_ml:.2f} mL" for leak in run.leaks) or "none"
        rows.append({
            "case": name, "run": f"nominal, {model}", "injected_ml": round(run.injected_ml, 2),
            "lesion_fill": round(run.lesion_fill, 2), "leaks": leaks, "peak_syringe_kpa": round(run.peak_syringe_kpa),
            "stopped": run.stopped, "cpu_s": round(time.process_time() - start, 1),
        })  # fmt: skip
        print(rows[-1], flush=True)
    start = time.process_time()
    many = simulate_ensemble(ct, anatomy, lesion, plan, cement=CEMENT[name], members=members, seed=1)
    chances = "; ".join(
        f"{leak.compartment} {leak.probability:.0%} ({leak.probability_low:.0%}-{leak.probability_high:.0%})"
        for leak in many.leaks
    )
    dose = plan_dose(many)
    rows.append({
        "case": name, "run": f"ensemble of {many.members}", "injected_ml": VOLUME_ML[name],
        "lesion_fill": " / ".join(f"{v:.2f}" for v in many.fill_by_volume[-1]), "leaks": chances,
        "peak_syringe_kpa": " / ".join(f"{v:.0f}" for v in many.peak_syringe_kpa),
        "stopped": f"{many.ended_early:.0%} ended early; dose {dose.volume_ml:.1f} mL, limited by {dose.limited_by}",
        "cpu_s": round(time.process_time() - start, 1),
    })  # fmt: skip
    print(rows[-1], flush=True)
    if name == "yeo":
        venogram = simulate_venogram(ct, anatomy, lesion, plan)
        best = venogram.best_shift
        rows.append({
            "case": name, "run": "venogram", "injected_ml": venogram.volume_ml, "lesion_fill": "",
            "leaks": "; ".join(f"{o.order}. {o.name} {o.share:.0%}" for o in venogram.outlets), "peak_syringe_kpa": "",
            "stopped": f"best tip {best.along_mm:+.0f} mm along, {best.across_mm:+.0f} mm across", "cpu_s": "",
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Runs the cases named after the number of members, all without."""
    members = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    rows = [row for name in sys.argv[2:] or list(CEMENT) for row in rows_of(name, members)]
    with (Path(__file__).parent / "cement_cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
