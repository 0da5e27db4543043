"""Where the real scans lie, and the program to run on them; a test whose scan is absent is skipped with the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sacroplasty.anatomy import Anatomy

ROOT = Path(__file__).resolve().parents[1]
# A synthetic lytic sphere in the S1 body of TotalSegmentator's scan: centre (LPS mm) and radius, placed by eye.
LABELLED_SPHERE = "0,-115,218,8"


def sacroplasty(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The program of this checkout, run to its end."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-m", "sacroplasty", *map(str, arguments)], capture_output=True, text=True, env=env
    )


def data_root() -> Path:
    """SACROPLASTY_DATA, else the folder shared/data beside the checkout."""
    return Path(os.environ.get("SACROPLASTY_DATA", ROOT.parent / "shared" / "data"))


def real(name: str) -> Path:
    """The path of a real scan, or a skip that says what is missing."""
    path = data_root() / name
    if not path.exists():
        pytest.skip(f"real scan {name} is absent: set SACROPLASTY_DATA to the folder that holds it")
    return path


def canal_runs_through(anatomy: Anatomy) -> bool:
    """Once under its roof the canal goes on to its end, through thick slices and what the mask had filled."""
    names = {number: name for name, number in anatomy.labels.values.items()}
    along = [names.get(int(number), "") for number in anatomy.labels.at(anatomy.canal.centreline_mm)]
    return set(along[along.index("canal") : -1]) == {"canal"}
