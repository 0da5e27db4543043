"""The patient's facts from a sheet to the judgement on screen and in the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sacroplasty.case import Case, CaseFolder, verify_trail
from sacroplasty.errors import InputError
from sacroplasty.lesion import PUBLISHED, Verdict, empty_sheet, facts_from_sheet, lesion_from_sphere
from sacroplasty.lesion.facts import PatientFacts
from sacroplasty.report import describe_suitability, plan_document
from sacroplasty.workflow import load_case, store_ct
from tests.lesion.toy import toy
from tests.test_cli import refused, sacroplasty

SHEET = """
aetiology = "lymphoma"
age_years = 62
[pain]
nrs = 8
sites = ["low back", "buttock"]
movement = "worse on loading, better lying"
radicular = false
[blood]
inr = 2.4
[[prior]]
therapy = "radiotherapy"
relief_lost = true
"""


@pytest.fixture
def folder(tmp_path: Path) -> CaseFolder:
    """A stored case with a lesion in the middle of the bone."""
    ct, anatomy = toy(2.0)
    stored = CaseFolder.create(tmp_path / "case", "toy")
    store_ct(stored, ct, {})
    stored.write_value("segment", anatomy)
    stored.write_value("lesion", (lesion_from_sphere(ct, anatomy, (0.0, 12.0, -12.0), 6.0),))
    stored.write("report", lambda place: (place / "report.html").write_text("old"))
    return stored


def test_a_sheet_says_what_is_known_and_leaves_the_rest_open() -> None:
    facts = facts_from_sheet(SHEET)
    assert facts.age_years == 62
    assert facts.blood.inr == 2.4
    assert facts.blood.platelets_10e9_l is None
    assert facts.prior[0].relief_lost
    assert facts_from_sheet(json.dumps({"age_years": 62})) == PatientFacts(age_years=62.0)


def test_the_empty_sheet_knows_nothing_and_names_every_field() -> None:
    text = empty_sheet()
    assert facts_from_sheet(text) == PatientFacts()
    assert {"inr", "platelets_10e9_l", "consent_procedure", "nrs", "therapy"} <= {w.strip("# =") for w in text.split()}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("inr = 2", "no field of this name"),
        ("[blood]\ninr = '2'", "inr needs a number"),
        ("[blood]\nanticoagulated = 1", "true or false"),
        ("[blood]\ninr = nan", "needs a number"),
        ("[blood]\ninr = 90", "between 0.5 and 20"),
        ("aetiology = 'cancer'", "knows no such word"),
        ("pain = 8", "table of its own"),
        ("[pain]\nsites = 'leg'", "needs a list"),
        ("[[prior]]\ndetail = 'long ago'", "needs the field therapy"),
        ("[pain", "cannot be read"),
        ("{", "cannot be read"),
    ],
)
def test_what_a_sheet_cannot_mean_is_refused(text: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        facts_from_sheet(text)


def test_facts_are_kept_judged_and_outdate_the_report(folder: CaseFolder, tmp_path: Path) -> None:
    sheet = tmp_path / "facts.toml"
    sheet.write_text(SHEET)
    said = sacroplasty("suitability", folder.path, "--facts", sheet)
    assert said.returncode == 0, said.stderr
    assert "judged suitable once corrected" in said.stdout
    assert "INR" in said.stdout
    again = CaseFolder.open(folder.path)
    assert load_case(again).facts == facts_from_sheet(SHEET)
    assert not again.has("report")
    assert json.loads(sacroplasty("suitability", folder.path, "--json").stdout)["verdict"] == Verdict.CORRECT_FIRST


def test_an_override_is_recorded_and_only_where_there_is_something_to_override(
    folder: CaseFolder, tmp_path: Path
) -> None:
    refused(sacroplasty("suitability", folder.path, "--override", "urgent", "--by", "the team", "--on", "soon"))
    said = sacroplasty("suitability", folder.path, "--override", "urgent", "--by", "the team", "--on", "2024-02-01")
    assert "Override by the team" in said.stdout
    assert "override recorded" in [entry.event for entry in verify_trail(folder.path / "audit.jsonl")]
    assert load_case(CaseFolder.open(folder.path)).override is not None


def test_the_sheet_is_there_for_the_asking_and_bad_ones_leave_the_case_alone(
    folder: CaseFolder, tmp_path: Path
) -> None:
    assert "[blood]" in sacroplasty("suitability", "--template").stdout
    bad = tmp_path / "bad.toml"
    bad.write_text("inr = 2")
    refused(sacroplasty("suitability", folder.path, "--facts", bad))
    refused(sacroplasty("suitability", folder.path, "--facts", tmp_path / "none.toml"))
    for useless in ("", "# long\n" * 20_000):
        bad.write_text(useless)
        assert "empty or too long" in refused(sacroplasty("suitability", folder.path, "--facts", bad))
    refused(sacroplasty("suitability"))
    assert CaseFolder.open(folder.path).has("report")


def test_the_report_holds_the_judgement_and_its_sources() -> None:
    ct, anatomy = toy(2.0)
    case = Case("toy", ct, anatomy=anatomy, lesions=(lesion_from_sphere(ct, anatomy, (0.0, 12.0, -12.0), 6.0),))
    for facts in (PatientFacts(), PUBLISHED["zhang-1"]):
        known = Case(case.name, ct, anatomy=anatomy, lesions=case.lesions, facts=facts)
        document = plan_document(known)
        (section,) = [one for one in document.sections if one.title == "Suitability"]
        said = " ".join(str(block) for block in section.blocks)
        assert ("images alone" in said) == (facts == PatientFacts())
        assert "Alternatives" in said
        assert any(one.title == "Sources of the numbers" for one in document.sections)
        assert known.suitability is not None
        assert describe_suitability(known.suitability)[0].startswith("Suitability: ")
