"""The command line: help at once, one sentence and exit code 2 for bad input, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sacroplasty.errors import InputError
from sacroplasty.io import read_ct, write_nifti
from sacroplasty.space import Grid, Volume
from sacroplasty.workflow import STAGES
from sacroplasty.workflow.beforehand import require_usable
from sacroplasty.workflow.parameters import CementParameters, LesionParameters, PlanParameters
from tests.data import ROOT


def sacroplasty(*arguments: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
    words = [sys.executable, "-m", "sacroplasty", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=env)


def refused(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    lines = [line for line in result.stderr.strip().splitlines() if line.startswith("SAC-")]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def block_ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A readable CT without anatomy: soft tissue in air."""
    grid = Grid.aligned((-100, -100, -60), (100, 100, 60), 4.0)
    radius = np.hypot(*(grid.centres_mm()[..., axis] for axis in (0, 1)))
    path = tmp_path_factory.mktemp("ct") / "block.nii.gz"
    write_nifti(Volume(np.where(radius < 80, 40, -1000).astype(np.int16), grid), path)
    return path


def test_help_names_every_stage() -> None:
    result = sacroplasty("--help")
    assert result.returncode == 0
    assert all(stage.name in result.stdout for stage in STAGES)


@pytest.mark.parametrize("verb", ["run", "demo", "inspect", "cite", "audit", *(stage.name for stage in STAGES)])
def test_every_verb_has_help(verb: str) -> None:
    result = sacroplasty(verb, "--help")
    assert result.returncode == 0
    assert "Usage" in result.stdout


def test_missing_file(tmp_path: Path) -> None:
    sentence = refused(sacroplasty("run", "--ct", tmp_path / "none.nii.gz", "--out", tmp_path / "case"))
    assert "SAC-G00" in sentence
    assert not (tmp_path / "case").exists()


def test_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "note.nii.gz").write_text("hello")
    refused(sacroplasty("run", "--ct", tmp_path / "note.nii.gz", "--out", tmp_path / "case"))
    refused(sacroplasty("inspect", tmp_path / "note.nii.gz"))


def test_inspect_answers_in_json(block_ct: Path) -> None:
    result = sacroplasty("inspect", block_ct, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["verdict"] in {"accept", "warn"}
    assert np.shape(found["corners_mm"]) == (8, 3)


def test_no_case(tmp_path: Path) -> None:
    assert "no case" in refused(sacroplasty("plan", tmp_path))


def test_a_stage_before_its_time(tmp_path: Path, block_ct: Path) -> None:
    refused(sacroplasty("run", "--ct", block_ct, "--out", tmp_path / "case", "--lesion-sphere", "0,0,0,8"))


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        (LesionParameters(sphere=("0,0,200,8",)), "outside the scan"),
        (LesionParameters(click=("0,150,0",)), "outside the scan"),
        (LesionParameters(sphere=("0,0,8",)), "needs 4 numbers"),
        (PlanParameters(approach=("sideways",)), "unknown"),
        (PlanParameters(gauge=16), "gauge"),
        (PlanParameters(guidance="by feel"), "guidance"),
        (CementParameters(cement="mortar"), "cement"),
    ],
)
def test_what_cannot_be_served_is_refused_before_the_work_begins(block_ct: Path, parameters: object, word: str) -> None:
    with pytest.raises(InputError, match=f"(?i){word}"):
        require_usable(read_ct(block_ct, acknowledge=["all"]), {"stage": parameters})


def test_a_run_that_cannot_end_does_not_begin(tmp_path: Path, block_ct: Path) -> None:
    told = refused(sacroplasty("run", "--ct", block_ct, "--out", tmp_path / "case", "--lesion-click", "0,0,200"))
    assert "outside the scan" in told
    assert not (tmp_path / "case" / "segment").exists()


def test_nothing_to_cite() -> None:
    assert "nothing to cite" in refused(sacroplasty("cite"))


def test_the_whole_evidence_can_be_cited() -> None:
    result = sacroplasty("cite", "--all")
    assert result.returncode == 0, result.stderr
    assert "needles.outer_diameter_13g: 2.413" in result.stdout
