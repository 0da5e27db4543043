"""Virtual patients and the trial on them: the same seed, the same patients; exact rates; failures are rows."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sacroplasty.cohort import trial
from sacroplasty.cohort.job import Row
from sacroplasty.cohort.trial import Rate, job_of, rates_of, run_patient, run_trial
from sacroplasty.cohort.virtual_patient import Place, described
from sacroplasty.errors import AnatomyError, InputError
from sacroplasty.plan import Level


def cells_of(job: Any) -> list[Row]:
    """Made-up cells: the first approach hits in even patients."""
    number = job.patient.number
    return [{"name": job.name, "approach": "trans-sacroiliac", "guidance": "fluoroscopy", "feasible": True,
             "success": number % 2 == 0, "breach": False, "delivered": True, "leak": number == 0, "neural_leak": False,
             "leaks": "presacral" if number == 0 else ""},
            {"name": job.name, "approach": "interpedicular", "guidance": "fluoroscopy", "feasible": False}]  # fmt: skip


def pretended(job: Any, out: str) -> Row:
    row: Row = {"name": job.name, "status": "ok", "cells": cells_of(job)}
    trial.keep_row(Path(out), job.key, row)
    return row


def test_a_seed_gives_the_same_patients() -> None:
    people = [described(n, 7) for n in range(1000)]
    assert people == [described(n, 7) for n in range(1000)]
    assert people[5] != described(5, 8)
    # The number of patients of a trial changes none of them.
    assert described(999, 7) == people[999]


def test_the_population_has_the_shares_it_was_drawn_from() -> None:
    people = [described(n, 3) for n in range(1000)]
    assert sum(p.tumour for p in people) / 1000 == pytest.approx(0.845, abs=0.04)
    levels = Counter(p.level for p in people)
    assert levels[Level.S1] / 1000 == pytest.approx(0.45, abs=0.05)
    fractures = [p.lumbar_hu for p in people if not p.tumour]
    assert sum(fractures) / len(fractures) == pytest.approx(44.8, abs=6.0)
    assert all(p.place is Place.BODY or p.level is not Level.S5 for p in people)
    assert all(5.0 <= p.radius_mm <= 15.0 for p in people)
    assert not any(p.ventral_destroyed for p in people if not p.tumour)


def test_rates_count_only_those_in_whom_it_could_happen() -> None:
    cells = [{"approach": "trans-sacroiliac", "guidance": "ct", "feasible": n < 3, "success": n < 2 if n < 3 else None}
             for n in range(4)]  # fmt: skip
    found = {rate.outcome: rate for rate in rates_of(cells)}
    assert (found["feasible"].events, found["feasible"].total) == (3, 4)
    assert (found["success"].events, found["success"].total) == (2, 3)
    # Clopper-Pearson of 2 in 3.
    assert (found["success"].low, found["success"].high) == pytest.approx((0.0943, 0.9916), abs=1e-4)
    assert "leak" not in found
    assert "simulated" in Rate("a", "b", "leak", 1, 2, 0.5, 0.1, 0.9).describe()


def test_a_trial_can_be_made_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def counted(job: Any, out: str) -> Row:
        ran.append(job.name)
        return pretended(job, out)

    monkeypatch.setattr(trial, "run_patient", counted)
    run_trial(tmp_path, patients=3, describe=20)
    done = run_trial(tmp_path, patients=5, describe=20)
    assert ran == [f"virtual-{n:04d}" for n in range(5)]
    assert done.failed == 0
    success = next(r for r in done.rates if r.outcome == "success")
    assert (success.events, success.total) == (3, 5)
    with (tmp_path / "patients.csv").open(encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 20
    for name in ("patients.png", "rates.png", "leaks.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"


def test_a_patient_that_cannot_be_built_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AnatomyError("The lesion meets no sacral bone")

    monkeypatch.setattr(trial, "built", refuse)
    row = run_patient(job_of(described(0, 1), 1), str(tmp_path))
    assert (row["status"], row["code"]) == ("failed", "SAC-E400")
    monkeypatch.setattr(trial, "built", lambda *_: 1 / 0)
    assert run_patient(job_of(described(0, 1), 1), str(tmp_path))["code"] == "SAC-E999"


def test_a_trial_runs_patients_that_it_describes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="runs some of the patients"):
        run_trial(tmp_path, patients=5, describe=2)


@pytest.mark.slow
def test_a_virtual_patient_goes_all_the_way(tmp_path: Path) -> None:
    row = run_patient(job_of(described(0, 1), 1), str(tmp_path))
    assert row["status"] == "ok", row
    assert {cell["approach"] for cell in row["cells"]} == {str(a) for a in trial.APPROACHES}
    assert any(cell["feasible"] for cell in row["cells"])
