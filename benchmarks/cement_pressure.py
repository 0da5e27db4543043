"""Pressure at the syringe and its share in the cannula, in cancellous bone, against what was measured.

Baroud and Steffen (PMC3454663): about 95 % of the pressure is lost in the cannula. Krebs (PMID 15738774): peaks of
1693 ± 653 kPa in vivo, at most 3215, cement injected early (300-500 s after mixing) or late. The block is uniform; its
permeability is the prior of this room or the value that Baroud measured. Prints a table and writes
benchmarks/cement_pressure.csv.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from sacroplasty.cement import Medium, Source, cement_named, inject
from sacroplasty.evidence import evidence, value
from sacroplasty.plan import Needle

N, SPACING_MM, POROSITY, VOLUME_ML = 32, 1.25, 0.85, 3.0
AGES_S = (240.0, 300.0, 400.0, 500.0)
GAUGES = (11, 13)


def row(permeability_m2: float, age_s: float, gauge: int) -> dict[str, object]:
    """The end of an injection of 3 mL at the usual rate that begins at an age."""
    rate, cement, needle = value("cement.injection_rate"), cement_named("simplex-p"), Needle.gauge(gauge)
    law = cement.at(age_s + VOLUME_ML / rate)
    shape = (N, N, N)
    medium = Medium(np.full(shape, permeability_m2), np.full(shape, POROSITY), SPACING_MM)
    source = Source.at((N // 2,) * 3, needle.inner_diameter_mm / 2)
    run = inject(
        medium, source, volume_ml=VOLUME_ML, rate_ml_s=rate, cement=law, marrow_pa_s=value("cement.marrow_viscosity")
    )
    tip = float(run.tip_pressure_pa[-1]) / 1e3
    drop = law.cannula_drop_pa(rate, needle.length_mm, needle.inner_diameter_mm) / 1e3
    share, peak = evidence("cement.cannula_share"), evidence("cement.syringe_pressure_peak")
    return {
        "permeability_m2": f"{permeability_m2:.1e}", "gauge": gauge, "mixed_s_ago_at_start": age_s,
        "tip_kpa": round(tip, 1), "syringe_kpa": round(tip + drop), "cannula_share": round(drop / (tip + drop), 3),
        "share_in_published_range": bool((share.low or 0) <= drop / (tip + drop) <= (share.high or 1)),
        "syringe_in_published_range": bool((peak.low or 0) <= tip + drop <= (peak.high or 0)),
    }  # fmt: skip


def main() -> None:
    """Both permeabilities, four ages, two gauges."""
    permeabilities = (10.0 ** value("assumptions.cement_log10_permeability"), value("cement.permeability_reported"))
    rows = [row(k, age, gauge) for k in permeabilities for gauge in GAUGES for age in AGES_S]
    for line in rows:
        print(line)
    with (Path(__file__).parent / "cement_pressure.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
