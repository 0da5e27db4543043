"""What the answers for the papers' three patients depend on, and where each paper's observation lies among them.

One choice at a time is set to the ends of its range; then many members draw all choices at once, and every outcome is
ranked against every choice (Spearman). Nothing is tuned to the papers. Prints tables and writes
benchmarks/cement_sensitivity.csv and benchmarks/cement_observations.csv.
Usage: python benchmarks/cement_sensitivity.py [members] [case ...]
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from cement_cases import CEMENT, patient_of
from sacroplasty.cement import LesionModel, Material, cement_named
from sacroplasty.cement.deposits import Setting, prepare
from sacroplasty.cement.ensemble import SPACING_MM, History, Member, draw_members, leak_threshold_ml, run_member
from sacroplasty.evidence import evidence, value
from sacroplasty.lesion import Lesion

FILE = Path(__file__).parent
FORAMINA = "foramen"
# What the papers saw, as outcomes of a simulated injection.
OUTCOMES: dict[str, tuple[str, ...]] = {
    "needle track": ("needle track",),
    "presacral": ("presacral", "presacral tumour", "peritumoural veins"),
    "foramina": (FORAMINA,),
    "canal": ("canal",),
}


def amounts(found: History) -> dict[str, float]:
    """Outcome volumes (mL) and lesion fill of one run."""
    final = {name: float(series[-1]) for name, series in found.by_name.items()}
    result = {
        outcome: sum(v for name, v in final.items() if name in parts or (FORAMINA in parts and FORAMINA in name))
        for outcome, parts in OUTCOMES.items()
    }
    result["outside, track apart"] = sum(v for name, v in final.items() if name != "needle track")
    return {**result, "lesion fill": float(found.fill[-1]), "peak kPa": found.peak_kpa}


def ends(lesion: Lesion) -> list[tuple[str, str, Member]]:
    """Every choice at the ends of its range, the others nominal."""
    nominal = Material.nominal(lesion)
    marrow = value("cement.marrow_viscosity")
    base = Member(nominal, 1.0, marrow, (0.0, 0.0, 0.0), 0, 1)
    rows = [("nominal", "", base)]

    def material(field: str, key: str) -> None:
        found = evidence(f"assumptions.{key}")
        for end in (found.low, found.high):
            rows.append((field, f"{end}", Member(nominal.with_(**{field: end}), 1.0, marrow, (0.0, 0.0, 0.0), 0, 1)))

    material("log10_permeability", "cement_log10_permeability")
    material("log10_cortex_permeability", "cement_log10_cortex_permeability")
    material("cortex_open_below_mm", "cement_cortex_open_below")
    material("soft_yield_kpa", "cement_soft_yield")
    material("track_gap_mm", "cement_track_gap")
    material("drainage_length_mm", "cement_drainage_length")
    material("tail_share", "cement_tail_share")
    spread = value("assumptions.cement_cortex_spread")
    for end in (-2, 2):
        changed = nominal.with_(cortex_factor=float(np.exp(end * spread)))
        rows.append(("cortex_factor", f"{end} SD", Member(changed, 1.0, marrow, (0.0, 0.0, 0.0), 0, 1)))
        thick = float(np.exp(end * value("assumptions.cement_viscosity_spread")))
        rows.append(("cement viscosity", f"{end} SD", Member(nominal, thick, marrow, (0.0, 0.0, 0.0), 0, 1)))
    for model in LesionModel:
        rows.append(
            ("lesion_model", model.value, Member(nominal.with_(lesion_model=model), 1.0, marrow, (0, 0, 0), 0, 1))
        )
    marrows = evidence("cement.marrow_viscosity")
    for viscosity in (float(marrows.low or 0), float(marrows.high or 0)):
        rows.append(("marrow viscosity", f"{viscosity}", Member(nominal, 1.0, viscosity, (0.0, 0.0, 0.0), 0, 1)))
    far = 2 * value("assumptions.cement_tip_error")
    for axis, names in enumerate((("right", "left"), ("front", "back"), ("foot", "head"))):
        for sign, name in zip((-1, 1), names, strict=True):
            shift = [0.0, 0.0, 0.0]
            shift[axis] = sign * far
            rows.append(("tip", f"{far:.0f} mm {name}", Member(nominal, 1.0, marrow, tuple(shift), 0, 1)))  # type: ignore[arg-type]
    for count in (1, 4):
        rows.append(("hidden veins", f"{count}", Member(nominal, 1.0, marrow, (0.0, 0.0, 0.0), count, 1)))
    return rows


def choices(member: Member) -> dict[str, float]:
    """The drawn numbers of a member, to be ranked."""
    m = member.material
    return {
        "permeability": m.log10_permeability,
        "cortex permeability": m.log10_cortex_permeability,
        "thickness that counts as broken": m.cortex_open_below_mm,
        "cortex factor": m.cortex_factor,
        "soft yield": m.soft_yield_kpa,
        "void": float(m.lesion_model is LesionModel.VOID),
        "track gap": m.track_gap_mm,
        "drainage length": m.drainage_length_mm,
        "tail share": m.tail_share,
        "cement viscosity": member.viscosity_factor,
        "marrow viscosity": member.marrow_pa_s,
        "tip left": member.tip_shift_mm[0],
        "tip back": member.tip_shift_mm[1],
        "tip headwards": member.tip_shift_mm[2],
        "hidden veins": float(member.veins),
    }


def one_at_a_time(name: str, setting: Setting, lesion: Lesion) -> list[dict[str, object]]:
    """One line per end of a range."""
    rows = []
    for choice, end, member in ends(lesion):
        found = run_member(setting, member, cement_named(CEMENT[name]).name)
        line: dict[str, object] = {"case": name, "choice": choice, "set_to": end}
        if found is None:
            line["ended"] = "the tip is blocked"
        else:
            line |= {k: round(v, 3) for k, v in amounts(found).items()}
            line["ended"] = "early" if found.stopped else ""
        rows.append(line)
        print(line, flush=True)
    return rows


SEEN: dict[str, tuple[str, str, Callable[[dict[str, float], float], bool]]] = {
    "zhang-1": (
        "6 mL, no leak seen on fluoroscopy",
        "outside, track apart",
        lambda a, least: a["outside, track apart"] < least,
    ),
    "zhang-2": ("cement in the needle track", "needle track", lambda a, least: a["needle track"] >= least),
    "yeo": (
        "2 mL, minimal presacral extravasation",
        "presacral",
        lambda a, least: least <= a["presacral"] <= 0.5,
    ),
}


def observed(name: str, members: tuple[Member, ...], runs: list[History | None]) -> dict[str, object]:
    """Where the paper's observation lies among the members, and which choices it follows."""
    kept = [(m, amounts(r)) for m, r in zip(members, runs, strict=True) if r is not None]
    what, outcome, holds = SEEN[name]
    least, visible = leak_threshold_ml(), float(evidence("assumptions.cement_leak_threshold").high or 0.1)
    values = np.array([a[outcome] for _, a in kept])
    ranks = {
        choice: float(stats.spearmanr([choices(m)[choice] for m, _ in kept], values).statistic)
        for choice in choices(kept[0][0])
    }
    strongest = sorted((c for c in ranks if np.isfinite(ranks[c])), key=lambda c: -abs(ranks[c]))[:4]
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {
        "case": name,
        "observation": what,
        "members": len(kept),
        "share_of_members": round(float(np.mean([holds(a, least) for _, a in kept])), 2),
        "share_at_0.1_ml": round(float(np.mean([holds(a, visible) for _, a in kept])), 2),
        "outcome": f"{outcome}, mL",
        "p5": round(float(low), 3),
        "median": round(float(middle), 3),
        "p95": round(float(high), 3),
        "follows (Spearman)": "; ".join(f"{c} {ranks[c]:+.2f}" for c in strongest),
    }


def write(name: str, rows: list[dict[str, object]]) -> None:
    """A committed table."""
    with (FILE / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Runs the cases named after the number of members, all without."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 96
    ends_of, seen = [], []
    for name in sys.argv[2:] or list(CEMENT):
        ct, anatomy, lesion, plan = patient_of(name)
        setting = prepare(ct, anatomy, lesion, plan, spacing_mm=SPACING_MM)
        ends_of += one_at_a_time(name, setting, lesion)
        members = draw_members(lesion, count, 1)
        seen.append(observed(name, members, [run_member(setting, m, CEMENT[name]) for m in members]))
        print(seen[-1], flush=True)
    write("cement_sensitivity.csv", ends_of)
    write("cement_observations.csv", seen)


if __name__ == "__main__":
    main()
