"""A virtual trial: 1,000 patients described, as many run as asked for, simulated rates with exact intervals.

    python benchmarks/cohort_trial.py --keep FOLDER [--patients 40] [--finished]

`--finished` makes the tables from the patients that were run before, without running another.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from sacroplasty.cohort.job import kept_row
from sacroplasty.cohort.table import write_table
from sacroplasty.cohort.trial import job_of, rates_of, run_patient
from sacroplasty.cohort.trial_plots import trial_pngs
from sacroplasty.cohort.virtual_patient import described

OUT = Path(__file__).with_suffix(".csv")
PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
DESCRIBED, SEED = 1000, 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--finished", action="store_true")
    given = parser.parse_args()
    people = [described(number, SEED) for number in range(DESCRIBED)]
    rows = []
    for person in people[: given.patients]:
        job = job_of(person, SEED)
        row = kept_row(given.keep, job.key)
        if row is None and not given.finished:
            begun = time.process_time()
            row = run_patient(job, str(given.keep))
            print(f"{job.name}: {row['status']}, {time.process_time() - begun:.0f} s CPU", flush=True)
        if row is not None:
            rows.append(row)
    cells = [cell for row in rows if row["status"] == "ok" for cell in row["cells"]]
    rates = rates_of(cells)
    for rate in rates:
        print(f"{rate.approach}, {rate.guidance}: {rate.describe()}")
    print(f"{len(people)} described, {len(rows)} run, {sum(row['status'] != 'ok' for row in rows)} failed; simulated")
    write_table([{"name": f"{r.approach}, {r.guidance}", "status": "ok", **asdict(r)} for r in rates], OUT)
    for name, picture in trial_pngs(people, cells, rates).items():
        (PICTURES / f"trial_{name}").write_bytes(picture)


if __name__ == "__main__":
    main()
