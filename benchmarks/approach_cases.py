"""The papers' three patients as phantoms: which approach is ranked first, against the paper's own. Writes
benchmarks/approach_cases.csv.

Each case is planned twice: with the phantom's true anatomy, and from its simulated CT alone through `segment`. The
images are simulated; the lesion mask is given in both.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from sacroplasty.anatomy import segment  # noqa: E402
from sacroplasty.approach import merit, plan_trajectories  # noqa: E402
from sacroplasty.errors import SacroplastyError  # noqa: E402
from sacroplasty.lesion import lesion_from_mask  # noqa: E402
from sacroplasty.phantom import named_case  # noqa: E402

HEADS = (
    "case", "anatomy", "paper_approach", "first", "first_is_the_papers", "second", "merit_gap", "planned_ml",
    "paper_ml", "skin_to_target_mm", "worst_margin_mm", "breach_probability", "cpu_s", "why",
)  # fmt: skip


def row(name: str, case, anatomy, label: str) -> tuple[object, ...]:
    """One line of the table."""
    lesion = lesion_from_mask(case.ct, anatomy, case.lesion_mask, resample=True)
    start = time.process_time()
    plans = plan_trajectories(case.ct, anatomy, lesion, needle=None)
    spent = time.process_time() - start
    leads = {p.approach: p for p in reversed(plans) if p.feasible}
    order = sorted(leads.values(), key=lambda p: p.rank)
    if not order:
        nothing = ("none", False, "", "", "", case.volume_ml or "", "", "", "", f"{spent:.1f}")
        return (name, label, case.approach.value, *nothing, plans[0].reasons[0])
    first = order[0]
    second, gap = (
        (order[1].approach.value, merit(order[1]) - merit(first)) if len(order) > 1 else ("none", float("nan"))
    )
    m = first.measures
    return (
        name, label, case.approach.value, first.approach.value, first.approach is case.approach, second, f"{gap:.2f}",
        f"{first.total_volume_ml:.1f}", case.volume_ml or "", f"{m['skin_to_target_mm']:.0f}",
        f"{m['worst_margin_mm']:.1f}", f"{m['breach_probability']:.3f}", f"{spent:.1f}", first.reasons[0],
    )  # fmt: skip


def main() -> None:
    """Print the table and write the CSV."""
    rows = []
    for name in ("zhang-1", "zhang-2", "yeo"):
        case = named_case(name, spacing_mm=(1.0, 1.0, 1.0))
        rows.append(row(name, case, case.anatomy, "true"))
        print(*rows[-1], sep="; ", flush=True)
        try:
            rows.append(row(name, case, segment(case.ct), "bare CT"))
        except SacroplastyError as error:
            rows.append((name, "bare CT", case.approach.value, "none", False, *([""] * 8), str(error)))
        print(*rows[-1], sep="; ", flush=True)
    with (Path(__file__).with_suffix(".csv")).open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(HEADS)
        writer.writerows(rows)
    agree = sum(bool(r[4]) for r in rows)
    print(f"the paper's approach is first in {agree} of {len(rows)}")


if __name__ == "__main__":
    main()
