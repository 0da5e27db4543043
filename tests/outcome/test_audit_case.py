"""A later CT of a stored case: audited, kept beside the plan, compared with the look before, read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from sacroplasty.case import CaseFolder
from sacroplasty.cohort.verbs import follow
from sacroplasty.errors import CaseError, GeometryError, InputError
from sacroplasty.io import write_nifti
from sacroplasty.outcome.audit_case import follow_case, follow_ups, read_follow_up
from sacroplasty.outcome.leak import LeakClass, Statement
from sacroplasty.workflow import evidence_keys, load_case
from tests.outcome.audit_patient import Ball, later_ct, moved, patient

MAIN = Ball((1.0, 14.0, 1.0), 7.5)
VENTRAL = Ball((0.0, -5.0, -6.0), 3.5)


@pytest.fixture
def stored(tmp_path: Path) -> CaseFolder:
    p = patient()
    folder = CaseFolder.create(tmp_path / "case", "block")
    folder.write_value("images", p.ct, path="ct")
    folder.write_value("segment", p.anatomy)
    folder.write_value("lesion", (p.lesion,))
    folder.write_value("plan", (p.plan,))
    return folder


@pytest.fixture
def scans(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "day1.nii.gz", tmp_path / "month3.nii.gz"
    write_nifti(later_ct((MAIN, VENTRAL)), first)
    write_nifti(later_ct((MAIN,), move=moved((-8.0, 3.0, -6.0)), seed=5), second)
    return first, second


def test_a_case_is_followed(stored: CaseFolder, scans: tuple[Path, Path]) -> None:
    said: list[str] = []
    look = follow_case(stored, scans[0], "day-1", progress=lambda f, m: said.append(m))
    folder = stored.path / "follow_day-1"
    assert {"leaks.csv", "audit.txt", "audit.png"} <= {f.name for f in folder.iterdir()}
    assert "CT,presacral,presacral" in (folder / "leaks.csv").read_text(encoding="utf-8")
    assert said[-1] == "Stored"
    again = CaseFolder.open(stored.path)
    kept = read_follow_up(again, "day-1")
    assert kept.audit.cement_ml == look.audit.cement_ml
    assert kept.audit.leaks.sites == look.audit.leaks.sites
    assert kept.audit.leaks.statements[LeakClass.PRESACRAL] is Statement.LEAK
    assert np.array_equal(np.asarray(kept.audit.labels.array), np.asarray(look.audit.labels.array))
    # The stored case itself still loads, and can cite what the audit used.
    assert load_case(again).plan is not None
    assert "assumptions.audit_border" in evidence_keys(again)
    later = follow_case(again, scans[1], "month-3")
    assert follow_ups(again) == ("day-1", "month-3")
    assert later.since == "day-1"
    assert later.migration is not None
    assert later.migration.migrated
    text = (stored.path / "follow_month-3" / "audit.txt").read_text(encoding="utf-8")
    assert "gone" in text
    assert "Not assessable on this scan: vein" in text


def test_what_cannot_be_followed_is_refused(stored: CaseFolder, scans: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="short word"):
        follow_case(stored, scans[0], "../day")
    with pytest.raises(InputError, match="no such follow-up"):
        follow_case(stored, scans[0], "day-1", since="day-0")
    bare = CaseFolder.create(tmp_path / "bare", "bare")
    with pytest.raises(CaseError, match="no anatomy"):
        follow_case(bare, scans[0], "day-1")
    other = later_ct((MAIN,))
    write_nifti(type(other)(np.roll(np.asarray(other.array), 25, axis=1)[:, ::-1], other.grid), tmp_path / "x.nii.gz")
    with pytest.raises(GeometryError):
        follow_case(stored, tmp_path / "x.nii.gz", "day-1")
    assert follow_ups(stored) == ()


def test_an_audit_of_another_plan_is_not_shown(stored: CaseFolder, scans: tuple[Path, Path]) -> None:
    follow_case(stored, scans[0], "day-1")
    with pytest.raises(InputError, match="of this name"):
        follow_case(stored, scans[0], "day-1")
    p = patient()
    stored.write_value("plan", (p.plan.with_(rank=2),))
    with pytest.raises(CaseError, match="another plan"):
        read_follow_up(stored, "day-1")


def test_the_verb_follows_a_case(stored: CaseFolder, scans: tuple[Path, Path]) -> None:
    app = typer.Typer()
    app.command()(follow)
    found = CliRunner().invoke(app, [str(stored.path), "--ct", str(scans[0]), "--name", "day-1", "--json"])
    assert found.exit_code == 0, found.output
    facts = json.loads(found.stdout[found.stdout.index("{\n") :])
    assert facts["cement_ml"] > 1.0
    assert any("presacral" in sentence for sentence in facts["sentences"])
