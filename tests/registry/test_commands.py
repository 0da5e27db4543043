"""The verbs of `sacroplasty registry`, from an empty file to plots and a case report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sacroplasty.cli import app
from sacroplasty.errors import CaseError, InputError

RUNNER = CliRunner()


def run(*words: str | Path) -> str:
    result = RUNNER.invoke(app, ["registry", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "registry.sqlite"
    assert "Added 3 of 3" in run("add", "--example", "--registry", path)
    return path


def test_list_and_show(place: Path) -> None:
    listed = run("list", "--registry", place)
    assert "yeo  74 y  rectal  S3  interpedicular  NRS 6 to 2" in listed
    assert "zhang-1  62 y  lymphoma  S1  trans-sacroiliac  pain in words" in listed
    shown = run("show", "zhang-2", "--registry", place)
    assert "Gone on against the judgement: urged by patient and family" in shown
    assert "Radiotherapy: open (not known: stability" in shown
    with pytest.raises(InputError, match="registry list"):
        run("show", "nobody", "--registry", place)


def test_a_record_goes_out_is_changed_and_comes_back(place: Path, tmp_path: Path) -> None:
    record = json.loads(run("show", "yeo", "--json", "--registry", place))
    record["birth_year"] = 1949
    (tmp_path / "record.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(CaseError, match="other facts"):
        run("add", tmp_path / "record.json", "--registry", place)
    assert "Added 1 of 1" in run("add", tmp_path / "record.json", "--known", "replace", "--registry", place)
    with pytest.raises(InputError, match="unclear what to add"):
        run("add", "--registry", place)
    with pytest.raises(InputError, match="no such record"):
        run("add", tmp_path / "nothing.json", "--registry", place)


@pytest.mark.parametrize("form", ["json", "csv", "fhir", "redcap"])
def test_export_and_import(form: str, place: Path, tmp_path: Path) -> None:
    run("export", tmp_path / "out", "--format", form, "--registry", place)
    other = tmp_path / "other.sqlite"
    assert "Imported 3 of 3" in run("import", tmp_path / "out", "--format", form, "--registry", other)
    assert "Imported 0 of 3" in run("import", tmp_path / "out", "--format", form, "--registry", other)
    assert run("list", "--registry", other) == run("list", "--registry", place)


def test_sharing_needs_a_receiver_and_keeps_names_at_home(place: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.sqlite"
    said = run("export", tmp_path / "out", "--receiver", "B", "--keys", keys, "--registry", place)
    assert "episode.ethics_statement (1)" in said
    assert "3 of 3 patients are alone" in said
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert '"yeo"' not in text
    assert "IRB" not in text
    with pytest.raises(InputError, match="receiver and a key file"):
        run("export", tmp_path / "out2", "--receiver", "B", "--registry", place)
    known = run("pseudonym", "Jane Canary, 1", "--keys", keys).strip()
    assert run("pseudonym", known, "--reverse", "--keys", keys).strip() == "Jane Canary, 1"


def test_follow_up_reminders_and_chart(place: Path, tmp_path: Path) -> None:
    run("follow-up", "yeo", "--name", "6 months", "--day", "182", "--nrs", "3", "--registry", place)
    record = json.loads(run("show", "yeo", "--json", "--registry", place))
    assert [one["nrs"] for one in record["episodes"][0]["pain_scores"]] == [10, 6, 2, 2, 3]
    assert "0 open appointments" in run("reminders", "--today", "2030-01-01", "--registry", place)
    run("chart", "yeo", "--out", tmp_path / "chart.png", "--registry", place)
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    for words, bad in (("0 to 10", ["--nrs", "30"]), ("patient, or no episode", [])):
        who = "yeo" if bad else "nobody"
        with pytest.raises(InputError, match=words):
            run("follow-up", who, "--name", "x", "--day", "1", *bad, "--registry", place)
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        run("reminders", "--today", "soon", "--registry", place)


def test_figures_of_the_cohort_and_the_published_series(place: Path, tmp_path: Path) -> None:
    assert "0 episodes" in run("summary", "--registry", place)
    counted = run("summary", "--examples", "--registry", place)
    assert "Leaks on radiograph, interpedicular: 1 of 1" in counted
    said = run("meta", "--out", tmp_path / "plots", "--registry", place, "--examples")
    assert "Change in pain over 6 series: -5.08" in said
    assert "Left out: ortiz-2012 has the patients of kortman-2013-lesion" in said
    assert "this registry, interpedicular: -4.0" in said
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"forest.png", "funnel.png"}
    with pytest.raises(InputError, match="method is unknown"):
        run("meta", "--method", "magic")


def test_literature_by_topic() -> None:
    assert "4.1 mL: Yeo et al. 2024, citing Kortman 2013" in run("literature", "volume")
    assert "tian-2019, 10 patients" in run("literature", "guidance")
    assert "micro-fractures" in run("literature")


def test_a_case_report_from_the_registry(place: Path, tmp_path: Path) -> None:
    assert "Wrote 3 files" in run("report", "yeo", "--out", tmp_path / "report", "--registry", place)
    assert "74-year-old woman" in (tmp_path / "report" / "case_report.md").read_text(encoding="utf-8")
